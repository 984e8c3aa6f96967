"""From a TensorFlow 1 checkpoint of a slim type to one of ours, so that it can be exported or trained from.

What is written has the keys of a checkpoint that was trained here (docs/CHECKPOINTS.md), without optimizer state.
"""

import dataclasses
import pathlib

import tensorflow as tf

from tfod_csf import model_folder
from tfod_csf.config.pipeline_config import save_pipeline_config
from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.export.export_checks import ExportError
from tfod_csf.files import atomic_write, folder_lock
from tfod_csf.modeling import model_builder, slim_variable_names
from tfod_csf.training.checkpoints import checkpoint_view, tf1_checkpoints
from tfod_csf.training.checkpoints.checkpoint_files import CheckpointError, StoredCheckpoint, open_checkpoint

_PREFIX = "ckpt"
_WRITTEN = {"checkpoint", f"{_PREFIX}-0.index", f"{_PREFIX}-0.data-00000-of-00001", model_folder.PIPELINE_CONFIG}


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What was converted.

    Attributes:
      num_variables: of the model; all were found.
      unused: names of the checkpoint whose values were not used.
      step: the checkpoint's global_step; None if it has none.
      moving_averages: whether the values are the moving averages.
    """

    num_variables: int
    unused: tuple[str, ...]
    step: int | None
    moving_averages: bool


def check_output(output_directory: pathlib.Path) -> None:
    """Raises ExportError unless the folder is free, or holds nothing but an earlier conversion."""
    names = folder_lock.entries(output_directory) if output_directory.is_dir() else []
    unrelated = sorted(set(names) - _WRITTEN)
    if unrelated or (output_directory.exists() and not output_directory.is_dir()):
        raise ExportError(
            f"--output_directory={output_directory} holds {unrelated[0] if unrelated else 'a file'}, which no "
            "conversion wrote; give a new folder."
        )


def convert(
    pipeline_config: pipeline_pb2.TrainEvalPipelineConfig,
    checkpoint: str | pathlib.Path,
    output_directory: pathlib.Path,
    use_moving_averages: bool | None = None,
) -> Conversion:
    """Writes output_directory/ckpt-0, the file `checkpoint` that names it, and pipeline.config.

    Args:
      pipeline_config: of the checkpoint's training; its feature_extractor.type is a TensorFlow 1 type.
      checkpoint: prefix, folder or .tar.gz.
      output_directory: made; an earlier conversion in it is replaced.
      use_moving_averages: take the averages of a training checkpoint; an error if it has none. None: as
        eval_config.use_moving_averages says, and plain values where there are none, as in exported checkpoints.

    Raises:
      ExportError: there are unrelated files in the output directory.
      CheckpointError: the checkpoint cannot be read, is not of TensorFlow 1, or lacks a variable of the config's model
        or has it in another shape.
    """
    check_output(output_directory)
    wants_averages = (
        pipeline_config.eval_config.use_moving_averages if use_moving_averages is None else use_moving_averages
    )
    model = model_builder.build(pipeline_config.model, is_training=False)
    tf1_checkpoints.check_slim(model, str(checkpoint))
    model.build_variables()
    with open_checkpoint(checkpoint) as stored:
        if not tf1_checkpoints.is_tf1(stored.shapes):
            raise CheckpointError(
                f"{checkpoint}: is a checkpoint of TensorFlow 2, which needs no conversion; give it to "
                "exporter_main_v2, or as fine_tune_checkpoint."
            )
        has_averages = tf1_checkpoints.has_moving_averages(stored.shapes)
        if use_moving_averages and not has_averages:
            raise CheckpointError(
                f"{checkpoint}: holds no moving averages (in an exported checkpoint the plain values are the "
                "averages); start again without --use_moving_averages."
            )
        used = _restore_all(model, stored, str(checkpoint), wants_averages)
        shapes = stored.shapes
        step = int(stored.read(tf1_checkpoints.GLOBAL_STEP)) if tf1_checkpoints.GLOBAL_STEP in shapes else None
    with atomic_write.replacing_folder(output_directory) as part:
        _write(model, step, part)
        save_pipeline_config(pipeline_config, part / model_folder.PIPELINE_CONFIG)
    unused = sorted(set(shapes) - set(used) - {tf1_checkpoints.GLOBAL_STEP})
    return Conversion(len(used), tuple(unused), step, wants_averages and has_averages)


def _restore_all(model, stored: StoredCheckpoint, path: str, use_moving_averages: bool) -> tuple[str, ...]:
    """Gives every variable the checkpoint's value, which has to be there in the same shape; returns the names used."""
    variables = slim_variable_names.tf1_variables(model)
    sources = tf1_checkpoints.sources(variables, stored.shapes, use_moving_averages)
    shapes = {name: list(shape) for name, shape in stored.shapes.items()}
    wrong = [
        f"{source} is {shapes.get(source, 'not there')}, expected {variables[name].shape.as_list()}"
        for name, source in sources.items()
        if shapes.get(source) != variables[name].shape.as_list()
    ]
    if wrong:
        raise CheckpointError(
            f"{path}: {len(wrong)} of {len(variables)} variables do not fit the config's model ({wrong[0]}); give the "
            "pipeline.config it was trained with."
        )
    values = {name: stored.read(source) for name, source in sources.items()}
    for name, value in values.items():
        variables[name].assign(value)
    return tuple(sources.values())


def _write(model, step: int | None, folder: pathlib.Path) -> None:
    parts = {"model": checkpoint_view.checkpoint_view(model)}
    if step is not None:
        parts["step"] = tf.Variable(step, dtype=tf.int64)
    root = tf.train.Checkpoint(**parts)
    tf.train.CheckpointManager(root, str(folder), max_to_keep=1, checkpoint_name=_PREFIX).save(checkpoint_number=0)
