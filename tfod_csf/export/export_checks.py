"""Checks of an export that need no TensorFlow, so that mistakes are reported within a second."""

import pathlib
import re
from collections.abc import Collection, Mapping

from tfod_csf import model_folder
from tfod_csf.config import supported
from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.errors import UserError
from tfod_csf.files import folder_lock
from tfod_csf.label_map import LabelMap, check_num_classes
from tfod_csf.model_folder import ModelFolder

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
# What is written into a packed model afterwards is part of it, and is made again when it is packed again.
_PACKED_NAMES = (_EXPORTED_NAMES - {model_folder.CHECKPOINT_DIR, model_folder.OPENVINO_DIR}) | {
    model_folder.CLASSIFICATION,
    model_folder.MODEL_CARD,
}
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]*")


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


def check_packing(source: ModelFolder, output: pathlib.Path, version: str, card: pathlib.Path) -> None:
    """Raises ExportError when one of the arguments of `packing.pack` cannot be used."""
    needed = (source.saved_model_dir, source.checkpoint_dir, source.pipeline_config_path)
    missing = [path.name for path in needed if not path.exists()]
    if missing:
        raise ExportError(f"{source.path}: has no {' and no '.join(missing)}; give a folder of exporter_main_v2.")
    if not _VERSION.fullmatch(version):
        raise ExportError(f"--model_version={version}: expected letters, digits and dots, such as 1.0.")
    if not card.is_file():
        raise ExportError(f"--model_card={card}: there is no such file; a model does not ship without its card.")
    if (output / model_folder.CHECKPOINT_DIR).exists():
        raise ExportError(
            f"--output_dir={output} is an export, with a {model_folder.CHECKPOINT_DIR}/ that a packed model does not "
            "have and that would be lost; give a new folder."
        )
    check_replaceable(output, "--output_dir", _PACKED_NAMES)


def check_replaceable(
    output: pathlib.Path, flag: str = "--output_directory", written: Collection[str] = frozenset(_EXPORTED_NAMES)
) -> None:
    """Raises ExportError unless `output` is free, or holds nothing but an earlier export, which writes these names."""
    names = folder_lock.entries(output) if output.is_dir() else []
    foreign = sorted(name for name in names if name not in written)
    if foreign or (output.exists() and not output.is_dir()):
        raise ExportError(
            f"{flag}={output} holds {foreign[0] if foreign else 'a file'}, which no export wrote; give a new folder."
        )


def check_inputs_are_elsewhere(output: pathlib.Path, inputs: Mapping[str, str | None]) -> None:
    """Refuses an output folder that holds what is read, which replacing the folder would delete.

    Args:
      inputs: {flag: its path, or None}.

    Raises:
      ExportError: naming flag and path.
    """
    folder = output.resolve()
    for flag, given in inputs.items():
        if given and folder in (pathlib.Path(given).resolve(), *pathlib.Path(given).resolve().parents):
            raise ExportError(
                f"--{flag}={given} lies in --output_directory={output}, which is replaced as a whole; give a new "
                "folder."
            )


def check_has_checkpoint(path: pathlib.Path) -> None:
    """Raises ExportError unless `path` is a checkpoint's prefix or a folder with at least one checkpoint."""
    if pathlib.Path(f"{path}.index").is_file() or any(path.glob("*.index")):
        return
    what = "holds no checkpoint" if path.is_dir() else "is not there"
    raise ExportError(f"--trained_checkpoint_dir={path} {what}; give the --model_dir of training, or its folder best.")
