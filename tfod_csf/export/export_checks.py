"""Checks of an export that need no TensorFlow, so that mistakes are reported within a second."""

import pathlib

from tfod_csf import model_folder
from tfod_csf.config import supported
from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.errors import UserError
from tfod_csf.files import folder_lock
from tfod_csf.label_map import LabelMap, check_num_classes

INPUT_TYPES = ("image_tensor", "float_image_tensor", "encoded_image_string_tensor", "tf_example")
_EXPORTED_NAMES = {
    model_folder.SAVED_MODEL_DIR,
    model_folder.OPENVINO_DIR,
    model_folder.CHECKPOINT_DIR,
    model_folder.PIPELINE_CONFIG,
    model_folder.LABEL_MAP,
    model_folder.INFO,
    model_folder.SELF_TEST_DIR,
    model_folder.MANIFEST,
}


class ExportError(UserError):
    """A checkpoint that cannot be exported, or an output directory that cannot be used."""


def check_export(
    input_type: str,
    pipeline_config: pipeline_pb2.TrainEvalPipelineConfig,
    trained_checkpoint_dir: pathlib.Path,
    output_directory: pathlib.Path,
    label_map: LabelMap,
) -> None:
    """Raises UserError when one of the arguments of `exporter.export` cannot be used."""
    if input_type not in INPUT_TYPES:
        raise ExportError(f"--input_type={input_type} is not supported; use one of {', '.join(INPUT_TYPES)}.")
    supported.check_supported(pipeline_config, parts=("model",))
    config = pipeline_config.model.faster_rcnn
    if config.number_of_stages != 2:
        raise ExportError(
            "model.faster_rcnn.number_of_stages: 1 gives proposals without classes; an exported model needs 2."
        )
    check_num_classes(label_map, config.num_classes, model_folder.LABEL_MAP)
    check_replaceable(output_directory)
    check_has_checkpoint(trained_checkpoint_dir)


def check_replaceable(output: pathlib.Path, flag: str = "--output_directory") -> None:
    """Raises ExportError unless `output` is free, or holds nothing but an earlier export."""
    names = folder_lock.entries(output) if output.is_dir() else []
    foreign = sorted(name for name in names if name not in _EXPORTED_NAMES)
    if foreign or (output.exists() and not output.is_dir()):
        raise ExportError(
            f"{flag}={output} holds {foreign[0] if foreign else 'a file'}, which no export wrote; give a new folder."
        )


def check_has_checkpoint(path: pathlib.Path) -> None:
    """Raises ExportError unless `path` is a checkpoint's prefix or a folder with at least one checkpoint."""
    if pathlib.Path(f"{path}.index").is_file() or any(path.glob("*.index")):
        return
    what = "holds no checkpoint" if path.is_dir() else "is not there"
    raise ExportError(f"--trained_checkpoint_dir={path} {what}; give the --model_dir of training, or its folder best.")
