"""From an exported model folder to one that OpenVINO runs: float32, bfloat16 or int8.

Written into a folder beside the final one, run on images beside the SavedModel, and only then put in place. What was
measured with the SavedModel's scores, the temperature and the confusion matrix, is not copied: another arithmetic
gives other scores, and both are measured again with `calibrate` and `evaluate --store` on the new folder.
"""

import dataclasses
import importlib.metadata
import importlib.util
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import numpy as np

from tfod_csf import model_folder, provenance
from tfod_csf.errors import UserError
from tfod_csf.export import convert_saved_model, export_checks, model_info, parity_images
from tfod_csf.export.calibration_images import CalibrationImages
from tfod_csf.files import atomic_write, manifest, openvino_operations
from tfod_csf.inference import (
    no_telemetry,  # noqa: F401 - before OpenVINO
    self_test,
)
from tfod_csf.inference.detection_differences import DetectionDifferences
from tfod_csf.inference.detector import Detector
from tfod_csf.inference.self_test import SelfTest
from tfod_csf.label_map import save_label_map
from tfod_csf.model_folder import ModelFolder
from tfod_csf.score_temperature import CALIBRATION

FP32, BF16, INT8 = "fp32", "bf16", "int8"
FORMATS = (FP32, BF16, INT8)
_INPUT_TYPES = ("image_tensor", "float_image_tensor")
_PARITY_IMAGES = 4
# Detections below it are not compared where the model's own min_score is higher than what it gave.
_WEAKEST_SCORE = 0.05


@dataclasses.dataclass(frozen=True)
class _Tolerance:
    """How far an IR may be from its SavedModel; see `DetectionDifferences` for the quantities."""

    missing_fraction: float
    mean_score: float
    largest_score: float


# float32: the same sums in another order. Of the others, whether it is the same network at all is checked here; what
# the arithmetic costs is measured with annotated cells, by `benchmark --parts=formats`.
_TOLERANCES = {FP32: _Tolerance(0.0, 1e-3, 1e-3), BF16: _Tolerance(0.05, 0.05, 0.5), INT8: _Tolerance(0.05, 0.05, 0.5)}
# What of the SavedModel's model.json holds for the IR too.
_KEPT = ("feature_extractor", "input_size", "classes", "thresholds", "limits", "checkpoint", "step", "training_data")
_KEPT += (model_folder.TRAINING_IMAGES, model_folder.TRAINING_DOMAIN)


class OpenVINOExportError(UserError):
    """A model that cannot be exported as an IR."""


def check_export(source: ModelFolder, output: pathlib.Path) -> None:
    """Checks that take no time.

    Raises:
      OpenVINOExportError: OpenVINO or NNCF is not installed, the model does not take pixels, or the output folder
        holds a SavedModel.
      ExportError: the output folder holds something else.
    """
    missing = [name for name in ("openvino", "nncf") if importlib.util.find_spec(name) is None]
    if missing:
        raise OpenVINOExportError(
            f"export_openvino needs {' and '.join(missing)}, not installed; pip install 'tfod_csf[openvino]'."
        )
    if source.network_dir.name != model_folder.SAVED_MODEL_DIR:
        raise OpenVINOExportError(f"{source.path}: is an IR already; give the folder that exporter_main_v2 wrote.")
    input_type = source.info.get("input_type") or _INPUT_TYPES[0]
    if input_type not in _INPUT_TYPES:
        raise OpenVINOExportError(
            f"{source.path}: takes {input_type}, and OpenVINO decodes no images; export the model with "
            "exporter_main_v2 --input_type=image_tensor."
        )
    export_checks.check_replaceable(output, "--output_dir")
    kept = [name for name in (model_folder.SAVED_MODEL_DIR, model_folder.CHECKPOINT_DIR) if (output / name).exists()]
    if kept:
        raise OpenVINOExportError(
            f"--output_dir={output} holds {kept[0]} of another export, which would be lost; give a new folder."
        )


def export(
    source: ModelFolder, output: pathlib.Path, number_format: str, calibration: CalibrationImages | None = None
) -> DetectionDifferences:
    """Writes the model folder.

    Args:
      source: of exporter_main_v2 or import_frozen_graph.
      output: made; an earlier export in it is replaced.
      number_format: one of FORMATS.
      calibration: images for the ranges of int8, of which the first are compared; without them, synthetic ones are.

    Returns:
      How far detections of the IR and of the SavedModel differ.

    Raises:
      OpenVINOExportError: OpenVINO cannot convert it, or the IR finds something else than the SavedModel.
    """
    check_export(source, output)
    if number_format == INT8 and calibration is None:
        raise OpenVINOExportError("int8 needs images for its ranges; give --calibration_input_path.")
    images = calibration.first(_PARITY_IMAGES) if calibration else parity_images.synthetic()
    with atomic_write.replacing_folder(output) as part:
        network_dir = part / model_folder.OPENVINO_DIR
        network_dir.mkdir()
        _convert(source, network_dir, number_format)
        if number_format == INT8:
            _quantize(network_dir, calibration)
        operations = openvino_operations.unknown_operations(network_dir)
        if operations:
            raise OpenVINOExportError(
                f"{source.path}: its IR would hold operations that detection models do not have "
                f"({', '.join(operations[:5])}), so nothing was exported."
            )
        save_label_map(source.label_map, part / model_folder.LABEL_MAP)
        if source.pipeline_config_path.is_file():
            shutil.copyfile(source.pipeline_config_path, part / model_folder.PIPELINE_CONFIG)
        differences = _compare(source, network_dir, number_format, images)
        _write_self_test(source, part, number_format)
        info = _info(source, network_dir, number_format, calibration, differences)
        atomic_write.write_json(part / model_folder.INFO, info)
        manifest.write(part)
    return differences


def _write_self_test(source: ModelFolder, part: pathlib.Path, number_format: str) -> None:
    """Of the IR itself, whose scores are not those of the SavedModel."""
    openvino_model, drawn = Detector(part / model_folder.OPENVINO_DIR, source.label_map), parity_images.synthetic()
    found = [openvino_model.detect(image) for image in drawn]
    tolerance = self_test.FLOAT32 if number_format == FP32 else self_test.FEWER_BITS
    SelfTest.made_of(drawn, found, source.thresholds["min_score"], tolerance).write(part)


def _convert(source: ModelFolder, network_dir: pathlib.Path, number_format: str) -> None:
    precision = "bf16" if number_format == BF16 else "f32"
    arguments = [str(source.network_dir), str(network_dir / openvino_operations.GRAPH), precision]
    finished = subprocess.run(
        [sys.executable, convert_saved_model.__file__, *arguments], capture_output=True, text=True, check=False
    )
    if finished.returncode:
        lines = finished.stderr.strip().splitlines() or [f"it ended with {finished.returncode}"]
        raise OpenVINOExportError(f"{source.path}: OpenVINO cannot convert the model ({lines[-1]}).")


def _quantize(network_dir: pathlib.Path, calibration: CalibrationImages) -> None:
    """Replaces the IR by one in int8."""
    import openvino

    from tfod_csf.export import openvino_quantization

    graph, weights = network_dir / openvino_operations.GRAPH, network_dir / openvino_operations.WEIGHTS
    # The bytes, not the file: OpenVINO maps a file's weights into memory, and it is written over below.
    model = openvino.Core().read_model(graph.read_text("utf-8"), openvino.Tensor(np.fromfile(weights, np.uint8)))
    model = openvino_quantization.quantized(model, calibration, calibration.num_images)
    openvino.save_model(model, graph, compress_to_fp16=False)


def _compare(
    source: ModelFolder, network_dir: pathlib.Path, number_format: str, images: tuple[np.ndarray, ...]
) -> DetectionDifferences:
    """Runs both on the images, as batch_infer runs them."""
    saved_model = Detector(source.network_dir, source.label_map, source.info.get("input_type"))
    openvino_model = Detector(network_dir, source.label_map)
    found = [(saved_model.detect(image), openvino_model.detect(image)) for image in images]
    strongest = max((float(detections.scores.max(initial=0)) for detections, _ in found), default=0.0)
    # A model that finds no cell in synthetic images is compared by what it finds with lower scores.
    differences = DetectionDifferences(max(_WEAKEST_SCORE, min(source.thresholds["min_score"], strongest / 2)))
    for one, other in found:
        differences.add(one, other)
    allowed = _TOLERANCES[number_format]
    if not (
        differences.missing_fraction <= allowed.missing_fraction
        and differences.mean_score <= allowed.mean_score
        and differences.largest_score <= allowed.largest_score
    ):
        raise OpenVINOExportError(
            f"{source.path}: the IR finds something else than the SavedModel on {len(images)} images: "
            f"{differences.num_missing} of {differences.num_cells} cells are missing, scores differ by up to "
            f"{differences.largest_score:.3g}; nothing was exported."
        )
    return differences


def _info(
    source: ModelFolder,
    network_dir: pathlib.Path,
    number_format: str,
    calibration: CalibrationImages | None,
    differences: DetectionDifferences,
) -> dict[str, Any]:
    """model.json."""
    is_emulated = number_format == BF16 and provenance.has_bfloat16() is False
    return {
        "format": 1,
        "manifest": model_folder.MANIFEST,
        "input_type": source.info.get("input_type") or _INPUT_TYPES[0],
        **{name: source.info[name] for name in _KEPT if name in source.info},
        "openvino": {
            "number_format": number_format,
            "fingerprint": model_folder.fingerprint(network_dir),
            "calibration_images": calibration.num_images if calibration else None,
            "calibration_fingerprint": calibration.fingerprint if calibration else None,
        },
        "source_model": {
            "name": source.name,
            "fingerprint": model_folder.fingerprint(source.network_dir),
            "vouched_for_by": source.vouched_for_by,
            CALIBRATION: source.info.get(CALIBRATION),
        },
        "difference_from_saved_model": {
            **dataclasses.asdict(differences),
            # Without bfloat16 instructions the comparison says nothing about bfloat16.
            "computed_in": FP32 if is_emulated else number_format,
            "processor": provenance.processor(),
        },
        "versions": model_info.versions() | {name: importlib.metadata.version(name) for name in ("openvino", "nncf")},
    }
