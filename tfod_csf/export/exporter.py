"""From checkpoint to model folder: TFOD's directory layout and signatures, plus label map and thresholds.

Everything is written into a folder beside the final one, compared with the checkpoint (`parity.py`), and only then
takes its place, in one step where the system has one: whatever is at the output directory is complete and checked.
"""

import dataclasses
import hashlib
import pathlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfod_csf import model_folder
from tfod_csf.config.pipeline_config import load_pipeline_config, save_pipeline_config
from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.domain.training_domain import TrainingDomain
from tfod_csf.export import model_info, parity, parity_images, training_images
from tfod_csf.export.detection_module import DetectionModule
from tfod_csf.export.export_checks import ExportError, check_export, check_has_checkpoint
from tfod_csf.files import atomic_write, manifest
from tfod_csf.files.checksums import file_sha256
from tfod_csf.inference import self_test
from tfod_csf.inference.self_test import SelfTest
from tfod_csf.label_map import LabelMap, save_label_map
from tfod_csf.modeling import model_builder
from tfod_csf.training.checkpoints import checkpoint_view, run_checkpoints


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """What this package adds to TFOD's exporter.

    Attributes:
      min_score: score from which a detection counts as a cell, written into model.json.
      unknown_below: score below which a cell is unknown, written into model.json.
      compute_dtype: "float32", or "bfloat16" for faster and less exact inference on CPUs that have it.
      batch_signature: a second signature serving_batch for any number of uint8 images of one size.
      max_batch: images that batch_infer gives to serving_batch at a time, written into model.json; with 2 or more there
        is that signature.
      parity_images: uint8 [h, w, 3] images to compare on besides synthetic ones.
      training_domain: what the training images look like, written into model.json; None writes nothing.
    """

    min_score: float = model_folder.DEFAULT_THRESHOLDS["min_score"]
    unknown_below: float = model_folder.DEFAULT_THRESHOLDS["unknown_below"]
    compute_dtype: str = "float32"
    batch_signature: bool = False
    max_batch: int = 1
    parity_images: tuple[np.ndarray, ...] = ()
    training_domain: TrainingDomain | None = None

    @property
    def has_batch_signature(self) -> bool:
        """Whether there is a signature serving_batch."""
        return self.batch_signature or self.max_batch > 1


def use_only_the_cpu() -> None:
    """Hides GPUs from this process, so that both sides of the comparison compute alike; call it first.

    The SavedModel names no devices: it runs on a GPU where there is one.
    """
    tf.config.set_visible_devices([], "GPU")


def export(
    input_type: str,
    pipeline_config: pipeline_pb2.TrainEvalPipelineConfig,
    trained_checkpoint_dir: str | pathlib.Path,
    output_directory: str | pathlib.Path,
    label_map: LabelMap,
    options: ExportOptions = ExportOptions(),
) -> dict[str, float]:
    """Writes the model folder.

    Args:
      input_type: one of export_checks.INPUT_TYPES.
      pipeline_config: the config it was trained with, overrides merged.
      trained_checkpoint_dir: folder whose newest checkpoint is exported, or a checkpoint's prefix (`.../ckpt-7`).
      output_directory: made; an earlier export in it is replaced, anything else in it is an error.
      label_map: ids up to the config's num_classes; ids without a name are exported as "id 3".
      options: see ExportOptions.

    Returns:
      Largest difference of each output between SavedModel and checkpoint.
    """
    output, config = pathlib.Path(output_directory), pipeline_config.model.faster_rcnn
    check_export(input_type, pipeline_config, pathlib.Path(trained_checkpoint_dir), output, label_map)
    label_map = label_map.with_all_ids(config.num_classes)
    checkpoint = latest_checkpoint(trained_checkpoint_dir)
    model = restored_model(pipeline_config, checkpoint, options.compute_dtype)
    with atomic_write.replacing_folder(output) as part:
        _write_checkpoint(model, part / model_folder.CHECKPOINT_DIR)
        module = DetectionModule(model, config, input_type)
        save_module(module, part / model_folder.SAVED_MODEL_DIR, options.has_batch_signature)
        save_pipeline_config(pipeline_config, part / model_folder.PIPELINE_CONFIG)
        save_label_map(label_map, part / model_folder.LABEL_MAP)
        differences = _compare(part, input_type, options)
        info = _info(input_type, pipeline_config, checkpoint, label_map, options, differences)
        atomic_write.write_json(part / model_folder.INFO, info)
        manifest.write(part)
    return differences


def save_module(module: DetectionModule, saved_model_dir: pathlib.Path, has_batch_signature: bool) -> None:
    """Writes the SavedModel of a module, with serving_batch or without it."""
    signatures = {"serving_default": module.__call__.get_concrete_function()}
    if has_batch_signature:
        module.batch = module.batch_function()
        signatures["serving_batch"] = module.batch.get_concrete_function()
    tf.saved_model.save(module, str(saved_model_dir), signatures=signatures)


def latest_checkpoint(trained_checkpoint_dir: str | pathlib.Path) -> str:
    """Prefix of the newest checkpoint of a folder, or the given prefix.

    Raises:
      ExportError: there is none.
    """
    path = pathlib.Path(trained_checkpoint_dir)
    check_has_checkpoint(path)
    if pathlib.Path(f"{path}.index").is_file():
        return str(path)
    found = run_checkpoints.latest_checkpoint(path)
    if found is None:
        reason = run_checkpoints.why_not_resumable(path) or "the file checkpoint names none that is there"
        raise ExportError(f"--trained_checkpoint_dir={path}: {reason}, or give a prefix.")
    return found


def restored_model(
    pipeline_config: pipeline_pb2.TrainEvalPipelineConfig,
    checkpoint: str,
    compute_dtype: str = "float32",
    weights_dtype: str = "float32",
):
    """The network with the checkpoint's weights; every variable has to be in it.

    Args:
      pipeline_config: of its training.
      checkpoint: prefix; its variables may be in float16.
      compute_dtype, weights_dtype: see `model_builder.build`.

    Raises:
      ExportError: the checkpoint is damaged, of another model, or has weights that are too large for weights_dtype.
    """
    model = model_builder.build(
        pipeline_config.model, is_training=False, compute_dtype=compute_dtype, weights_dtype=weights_dtype
    )
    model.build_variables()
    variables = checkpoint_view.variables_by_key(model=checkpoint_view.checkpoint_view(model))
    try:
        reader = tf.train.load_checkpoint(checkpoint)
        stored = reader.get_variable_to_shape_map()
        wrong = [
            f"{key} is {stored.get(key, 'not there')}, expected {variable.shape.as_list()}"
            for key, variable in variables.items()
            if stored.get(key) != variable.shape.as_list()
        ]
        if wrong:
            raise ExportError(
                f"{checkpoint}: {len(wrong)} variables do not fit the config's model ({wrong[0]}); give the "
                "pipeline.config it was trained with."
            )
        values = {key: reader.get_tensor(key) for key in variables}
    except (tf.errors.OpError, IndexError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ExportError(f"{checkpoint}: cannot be read ({reason}); the file is damaged or truncated.") from error
    for key, variable in variables.items():
        variable.assign(_in_dtype(values[key], variable.dtype, f"{checkpoint}: {key}"))
    return model


def _in_dtype(value: np.ndarray, dtype: tf.DType, named: str) -> np.ndarray:
    """The weights in the variable's number format."""
    with np.errstate(over="ignore"):
        converted = value.astype(dtype.as_numpy_dtype)
    if not np.array_equal(np.isfinite(converted), np.isfinite(value)):
        raise ExportError(f"{named} holds weights that {dtype.name} cannot hold; keep this model in float32.")
    return converted


def _write_checkpoint(model, folder: pathlib.Path) -> None:
    root = tf.train.Checkpoint(model=checkpoint_view.checkpoint_view(model))
    tf.train.CheckpointManager(root, str(folder), max_to_keep=1).save(checkpoint_number=0)


def _compare(part: pathlib.Path, input_type: str, options: ExportOptions) -> dict[str, float]:
    """Compares the SavedModel with the network rebuilt from the files beside it, and writes the self-test."""
    pipeline_config = load_pipeline_config(part / model_folder.PIPELINE_CONFIG)
    checkpoint = str(part / model_folder.CHECKPOINT_DIR / "ckpt-0")
    drawn = parity_images.synthetic()

    def rebuilt() -> DetectionModule:
        model = restored_model(pipeline_config, checkpoint, options.compute_dtype)
        return DetectionModule(model, pipeline_config.model.faster_rcnn, input_type)

    compared = parity.compare(
        part / model_folder.SAVED_MODEL_DIR,
        rebuilt,
        input_type,
        (*drawn, *options.parity_images),
        options.compute_dtype,
        options.has_batch_signature,
    )
    found = [self_test.detections_of(outputs, image) for outputs, image in zip(compared.outputs, drawn)]
    tolerance = self_test.FLOAT32 if options.compute_dtype == "float32" else self_test.FEWER_BITS
    SelfTest.made_of(drawn, found, options.min_score, tolerance).write(part)
    return compared.differences


def _info(
    input_type: str,
    pipeline_config: pipeline_pb2.TrainEvalPipelineConfig,
    checkpoint: str,
    label_map: LabelMap,
    options: ExportOptions,
    differences: Mapping[str, float],
) -> dict[str, Any]:
    """model.json."""
    config = pipeline_config.model.faster_rcnn
    reader = tf.train.load_checkpoint(checkpoint)
    step = "step/.ATTRIBUTES/VARIABLE_VALUE"
    return {
        "format": 1,
        "manifest": model_folder.MANIFEST,
        "input_type": input_type,
        "signatures": ["serving_default", *(["serving_batch"] if options.has_batch_signature else [])],
        **({"max_batch": options.max_batch} if options.max_batch > 1 else {}),
        "compute_dtype": options.compute_dtype,
        "feature_extractor": config.feature_extractor.type,
        "input_size": model_info.input_size(config),
        "classes": label_map.names,
        "thresholds": {"min_score": options.min_score, "unknown_below": options.unknown_below},
        "limits": model_info.limits(config),
        "checkpoint": checkpoint,
        "step": int(reader.get_tensor(step)) if reader.has_tensor(step) else None,
        "training_data": training_data(pipeline_config),
        model_folder.TRAINING_IMAGES: training_images.describe(training_records(pipeline_config)),
        **({model_folder.TRAINING_DOMAIN: options.training_domain.as_json()} if options.training_domain else {}),
        "largest_difference_from_checkpoint": max(differences.values()),
        "versions": model_info.versions(),
    }


def training_records(pipeline_config: pipeline_pb2.TrainEvalPipelineConfig) -> list[str]:
    """Record files that the config trains on, sorted; those that are not there any more are missing."""
    patterns = pipeline_config.train_input_reader.tf_record_input_reader.input_path
    return sorted({path for pattern in patterns for path in tf.io.gfile.glob(pattern)})


def training_data(pipeline_config: pipeline_pb2.TrainEvalPipelineConfig) -> dict[str, Any]:
    """Records the config trains on: {"files": {name: sha256}, "fingerprint": sha256 of these or None}.

    Of files with one name in several folders, all but the first have a number behind it.
    """
    files: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for path in training_records(pipeline_config):
        name = pathlib.Path(path).name
        seen[name] += 1
        files[name if seen[name] == 1 else f"{name} ({seen[name]})"] = file_sha256(path)
    text = "".join(f"{name}\0{digest}\n" for name, digest in sorted(files.items()))
    return {"files": files, "fingerprint": hashlib.sha256(text.encode()).hexdigest() if files else None}
