"""From an exported model folder to the form in which a model ships: half the bytes, weights stored once.

    <name>/
      saved_model/       kernels and biases in float16, cast where they are read; all is computed in float32
      pipeline.config    without paths
      label_map.pbtxt    its classes
      model.json         that of the export, with model_version and what it was packed from
      self_test/         what the packed model finds in drawn images
      MODEL_CARD.md      what it is made of, how good it is, what it must not be used for
      SHA256SUMS         checksums of all of these

There is no checkpoint/: the variables of the SavedModel have a checkpoint's keys, and fine-tuning reads them. Plain
TensorFlow loads the SavedModel. Nothing is written unless it computes what the network restored from its own weights
computes, and finds what the export finds.
"""

import dataclasses
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfod_csf import model_folder
from tfod_csf.config.pipeline_config import load_pipeline_config, save_pipeline_config
from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.detections import Detections
from tfod_csf.export import export_checks, exporter, model_info, parity, parity_images
from tfod_csf.export.detection_module import DetectionModule
from tfod_csf.export.export_checks import ExportError
from tfod_csf.files import atomic_write, manifest
from tfod_csf.inference import self_test
from tfod_csf.inference.detection_differences import DetectionDifferences
from tfod_csf.inference.detector import Detector
from tfod_csf.inference.self_test import SelfTest
from tfod_csf.model_folder import ModelFolder
from tfod_csf.score_temperature import CALIBRATION

WEIGHTS_DTYPE = "float16"
# Measured with the scores of the unpacked model; made again with the packed one, or not at all.
_OF_OTHER_SCORES = (CALIBRATION, model_folder.THRESHOLDS_CHOSEN)


@dataclasses.dataclass(frozen=True)
class Packed:
    """What `pack` has written.

    Attributes:
      num_bytes: of all files.
      largest_difference: of any output from the network restored from the packed weights.
      from_source: how far its detections are from those of the export.
      thresholds_reset: whether its thresholds are those of the export before they were chosen on scores at a
        temperature, which is not copied.
    """

    num_bytes: int
    largest_difference: float
    from_source: DetectionDifferences
    thresholds_reset: bool


def pack(
    source: ModelFolder, output: pathlib.Path, version: str, card: pathlib.Path, keep_training_images: bool = True
) -> Packed:
    """Writes the packed folder; its name is that of the model.

    Args:
      source: of exporter_main_v2.
      output: made; an earlier packed model in it is replaced.
      version: of the model, for model.json.
      card: MODEL_CARD.md.
      keep_training_images: whether model.json keeps `training_images`, by which tiles are judged.

    Raises:
      ExportError: see `export_checks.check_packing`; a weight that float16 cannot hold; or the packed model finds
        something else than the export.
      ParityError: the packed SavedModel does not compute what its weights compute.
    """
    export_checks.check_packing(source, output, version, card)
    given = load_pipeline_config(source.pipeline_config_path)
    config = without_paths(given)
    with atomic_write.replacing_folder(output) as part:
        _write_saved_model(source, config, part / model_folder.SAVED_MODEL_DIR)
        save_pipeline_config(config, part / model_folder.PIPELINE_CONFIG)
        shutil.copyfile(source.path / model_folder.LABEL_MAP, part / model_folder.LABEL_MAP)
        shutil.copyfile(card, part / model_folder.MODEL_CARD)
        drawn, others = parity_images.synthetic(), parity_images.from_records(given)
        compared = _compare_with_weights(source, config, part, (*drawn, *others))
        packed = _detections(part / model_folder.SAVED_MODEL_DIR, source, (*drawn, *others))
        differences = _compare_with_source(source, (*drawn, *others), packed)
        SelfTest.made_of(drawn, packed[: len(drawn)], source.thresholds["min_score"], _tolerance(source)).write(part)
        largest = max(compared.values())
        left_out = _OF_OTHER_SCORES if keep_training_images else (*_OF_OTHER_SCORES, model_folder.TRAINING_IMAGES)
        info = _info(source, version, largest, differences, left_out)
        atomic_write.write_json(part / model_folder.INFO, info)
        manifest.write(part)
    num_bytes = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    return Packed(num_bytes, largest, differences, info["thresholds"] != source.info["thresholds"])


def without_paths(config: pipeline_pb2.TrainEvalPipelineConfig) -> pipeline_pb2.TrainEvalPipelineConfig:
    """The config without folders of the machine that trained: of files only the names are kept."""
    kept = pipeline_pb2.TrainEvalPipelineConfig()
    kept.CopyFrom(config)
    for reader in (kept.train_input_reader, *kept.eval_input_reader):
        reader.label_map_path = pathlib.PurePath(reader.label_map_path).name
        paths = reader.tf_record_input_reader.input_path
        paths[:] = [pathlib.PurePath(path).name for path in paths]
    if kept.train_config.fine_tune_checkpoint:
        kept.train_config.fine_tune_checkpoint = pathlib.PurePath(kept.train_config.fine_tune_checkpoint).name
    return kept


def _compute_dtype(source: ModelFolder) -> str:
    return source.info.get("compute_dtype", "float32")


def _tolerance(source: ModelFolder) -> self_test.Tolerance:
    return self_test.FLOAT32 if _compute_dtype(source) == "float32" else self_test.FEWER_BITS


def _has_batch_signature(source: ModelFolder) -> bool:
    return "serving_batch" in source.info.get("signatures", ())


def _write_saved_model(
    source: ModelFolder, config: pipeline_pb2.TrainEvalPipelineConfig, saved_model_dir: pathlib.Path
) -> None:
    checkpoint = exporter.latest_checkpoint(source.checkpoint_dir)
    model = exporter.restored_model(config, checkpoint, _compute_dtype(source), WEIGHTS_DTYPE)
    module = DetectionModule(model, config.model.faster_rcnn, source.info["input_type"])
    exporter.save_module(module, saved_model_dir, _has_batch_signature(source))
    assets = saved_model_dir / "assets"
    if assets.is_dir() and not any(assets.iterdir()):
        assets.rmdir()  # neither git nor a wheel keeps an empty folder


def _compare_with_weights(
    source: ModelFolder,
    config: pipeline_pb2.TrainEvalPipelineConfig,
    part: pathlib.Path,
    images: tuple[np.ndarray, ...],
) -> dict[str, float]:
    """Differences of each output from those of a float32 network restored from the SavedModel's own variables."""
    saved_model_dir = part / model_folder.SAVED_MODEL_DIR
    weights = str(saved_model_dir / "variables" / "variables")

    def rebuilt() -> DetectionModule:
        restored = exporter.restored_model(config, weights, _compute_dtype(source))
        return DetectionModule(restored, config.model.faster_rcnn, source.info["input_type"])

    return parity.compare(
        saved_model_dir,
        rebuilt,
        source.info["input_type"],
        images,
        _compute_dtype(source),
        _has_batch_signature(source),
        source="the network with its weights",
    ).differences


def _detections(saved_model_dir: pathlib.Path, source: ModelFolder, images: tuple[np.ndarray, ...]) -> list[Detections]:
    detector = Detector(saved_model_dir, source.label_map, source.info["input_type"])
    return [detector.detect(image) for image in images]


def _compare_with_source(
    source: ModelFolder, images: tuple[np.ndarray, ...], packed: list[Detections]
) -> DetectionDifferences:
    """How far rounding the weights moves what is found."""
    expected = _detections(source.saved_model_dir, source, images)
    test = SelfTest.made_of(images, expected, source.thresholds["min_score"], _tolerance(source))
    differences = DetectionDifferences(test.min_score)
    for one, other in zip(expected, packed, strict=True):
        differences.add(one, other)
    faults = test.faults(differences)
    if faults:
        raise ExportError(
            f"{source.path}: with weights in {WEIGHTS_DTYPE} the model finds something else on {len(images)} images: "
            f"{'; '.join(faults)}; nothing was written."
        )
    return differences


def _thresholds(info: Mapping[str, Any]) -> dict[str, float]:
    """Of a model.json, for scores without its temperature."""
    chosen = info.get(model_folder.THRESHOLDS_CHOSEN) or {}
    return dict(chosen["before"] if chosen.get("temperature", 1.0) != 1.0 else info["thresholds"])


def _info(
    source: ModelFolder, version: str, largest: float, differences: DetectionDifferences, left_out: Sequence[str]
) -> Mapping[str, Any]:
    """model.json: that of the export, without paths."""
    kept = {name: value for name, value in source.info.items() if name not in left_out}
    checkpoint = pathlib.PurePath(str(kept.get("checkpoint", ""))).name
    return {
        **kept,
        "thresholds": _thresholds(source.info),
        "checkpoint": checkpoint,
        model_folder.VERSION: version,
        "weights_dtype": WEIGHTS_DTYPE,
        "largest_difference_from_checkpoint": largest,
        "versions": model_info.versions(),
        "packed_from": {
            "versions": source.info.get("versions"),
            "fingerprint": model_folder.fingerprint(source.saved_model_dir),
            "vouched_for_by": source.vouched_for_by,
            "difference": dataclasses.asdict(differences),
        },
    }
