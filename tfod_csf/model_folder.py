"""The exported model's folder: what training hands to inference.

    exported_models/<name>/
      saved_model/       TensorFlow SavedModel with TFOD's signature
      checkpoint/        ckpt-0, the same weights under TFOD's keys
      pipeline.config    the config it was built from
      label_map.pbtxt    its classes
      model.json         input type, thresholds, class order, limits, training data, versions
      self_test/         drawn images and what the model finds in them (model_check; see inference/self_test.py)
      classification.json  what became of annotated validation cells, where evaluate --store was run
      SHA256SUMS         checksums of all of these

export_openvino writes such a folder with openvino/model.xml and model.bin instead of saved_model/ and checkpoint/.
pack_model writes one without checkpoint/, whose weights are those of saved_model/ in half precision, and with
MODEL_CARD.md; such folders ship with this package, and are opened by their name too (`by_name`).

A folder that TFOD itself exported has no label_map.pbtxt, no model.json and no SHA256SUMS: put the label map of its
training into it; without model.json the default thresholds count.

A model is a program: it is opened only if its files match their checksums and its graph only computes, or if the user
says that it can be trusted.
"""

import dataclasses
import hashlib
import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfod_csf import classification
from tfod_csf import label_map as label_maps
from tfod_csf.classification import Classification
from tfod_csf.errors import UserError
from tfod_csf.files import (
    atomic_write,
    checksums,
    given_files,
    manifest,
    openvino_operations,
    saved_model_operations,
)
from tfod_csf.label_map import LabelMap
from tfod_csf.shipped_models import by_name

SAVED_MODEL_DIR = "saved_model"
OPENVINO_DIR = "openvino"
CHECKPOINT_DIR = "checkpoint"
PIPELINE_CONFIG = "pipeline.config"
LABEL_MAP = "label_map.pbtxt"
INFO = "model.json"
SELF_TEST_DIR = "self_test"
CLASSIFICATION = "classification.json"
MODEL_CARD = "MODEL_CARD.md"
VERSION = "model_version"  # in model.json of a model that pack_model wrote
THRESHOLDS_CHOSEN = "thresholds_chosen"  # in model.json
TRAINING_IMAGES = "training_images"  # in model.json
TRAINING_DOMAIN = "training_domain"  # in model.json
MANIFEST = manifest.FILE_NAME
# {folder of the network: the file that makes it one}
_NETWORKS = {SAVED_MODEL_DIR: saved_model_operations.SAVED_MODEL, OPENVINO_DIR: openvino_operations.GRAPH}

# A detection counts as a cell from the first on, and as a cell of a known class from the second on (80 % in the paper).
DEFAULT_THRESHOLDS = {"min_score": 0.5, "unknown_below": 0.8}


_log = logging.getLogger("tfod_csf")


class ModelFolderError(UserError):
    """A folder that is not an exported model, or not one to be opened without the user's word."""


@dataclass(frozen=True)
class ModelFolder:
    """An exported model's folder, checked for what inference needs.

    Attributes:
      path: the folder.
      label_map: its classes.
      info: contents of model.json; `thresholds` {"min_score", "unknown_below"} is always there.
      classification: contents of classification.json; None where there is none.
      network_dir: its saved_model/, or openvino/ where export_openvino wrote it.
      vouched_for_by: what says that this is the model as it was exported, for run.json: "SHA256SUMS", "nothing" (a
        folder without it or without model.json), or "--trust: " and what does not match or is suspicious. Of a model
        that ships with this package, "SHA256SUMS" is followed by its name, its version and `sha256`.
    """

    path: pathlib.Path
    label_map: LabelMap
    info: dict[str, Any] = field(repr=False)
    classification: Classification | None = field(default=None, repr=False)
    vouched_for_by: str = "nothing"
    network_dir: pathlib.Path = pathlib.Path()

    @classmethod
    def open(cls, path: str | os.PathLike, trust: bool = False) -> "ModelFolder":
        """Reads label map and model.json, and checks the files and what the SavedModel would do.

        Args:
          path: the folder, or the name of a model that ships with this package.
          trust: open it although its files do not match SHA256SUMS or its graph reaches beyond computing.

        Raises:
          ShippedModelError: there is no such folder, and no model of that name.
          ModelFolderError: no SavedModel, no label map, a model.json or classification.json that cannot be read or
            contradicts the label map, or, without `trust`, files or operations that a model of ours does not have.
          SavedModelError, OpenVINOModelError: the network's file cannot be read.
        """
        path = by_name.find_existing(path)
        if path.name in _NETWORKS and (path / _NETWORKS[path.name]).is_file():
            path = path.parent
        network_dir = path / _network_of(path)
        if not (path / LABEL_MAP).is_file():
            raise ModelFolderError(f"{path}: holds no {LABEL_MAP}; put the label map of its training there.")
        reasons = [*_changes(path), *_other_ir(path, network_dir), *_suspicious(network_dir)]
        vouched_for_by = _check_trust(path, reasons, trust)
        if vouched_for_by == "nothing":
            missing = " and ".join(name for name in (INFO, MANIFEST) if not (path / name).is_file())
            _log.warning("%s: has no %s; nothing says that this is the model as it was exported.", path, missing)
        label_map = label_maps.load_label_map(path / LABEL_MAP)
        label_map = label_map.with_all_ids(label_map.max_id)
        found = _read_classification(path, label_map)
        opened = cls(path, label_map, _read_info(path / INFO, label_map), found, vouched_for_by, network_dir)
        if vouched_for_by == MANIFEST and by_name.is_shipped(path):
            words = by_name.vouching_words(opened.name, opened.version, opened.sha256)
            return dataclasses.replace(opened, vouched_for_by=words)
        return opened

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def name_or_path(self) -> str:
        """For tables: the name of a model that ships, which is the same everywhere, or the path of another."""
        return self.name if by_name.is_shipped(self.path) else str(self.path)

    @property
    def version(self) -> str | None:
        """Of a model that pack_model wrote; None of others."""
        return self.info.get(VERSION)

    @property
    def sha256(self) -> str | None:
        """Of SHA256SUMS, and so of all files together; None where there is none."""
        path = self.path / MANIFEST
        return checksums.file_sha256(path) if path.is_file() else None

    @property
    def saved_model_dir(self) -> pathlib.Path:
        return self.path / SAVED_MODEL_DIR

    @property
    def checkpoint_dir(self) -> pathlib.Path:
        return self.path / CHECKPOINT_DIR

    @property
    def pipeline_config_path(self) -> pathlib.Path:
        return self.path / PIPELINE_CONFIG

    @property
    def thresholds(self) -> dict[str, float]:
        """{"min_score", "unknown_below"}, scores from 0 to 1."""
        return self.info["thresholds"]


def check_unchanged(path: str | os.PathLike, trust: bool = False) -> None:
    """Refuses a folder whose files do not match its SHA256SUMS; one without it passes.

    Raises:
      ModelFolderError: files do not match, and not `trust`.
    """
    _check_trust(pathlib.Path(path), _changes(pathlib.Path(path)), trust)


def _check_trust(path: pathlib.Path, reasons: Sequence[str], trust: bool) -> str:
    """Who vouches for a model against which these reasons speak, see `ModelFolder`."""
    if reasons and not trust:
        raise ModelFolderError(
            f"{path}: {'; '.join(reasons)}; copy or export the model again. Commands that have --trust open it as it "
            "is, if you know why it differs and who made it."
        )
    if reasons:
        _log.warning("%s: opened because of --trust, although %s.", path, "; ".join(reasons))
        return f"--trust: {'; '.join(reasons)}"
    return MANIFEST if (path / MANIFEST).is_file() and (path / INFO).is_file() else "nothing"


def _changes(path: pathlib.Path) -> list[str]:
    """How the folder differs from its manifest; a file beside the model's that nothing reads is no difference.

    A folder without model.json is not an export of ours, but somebody's who put a SavedModel and a label map together:
    nothing vouches for it, whatever manifest lies there.
    """
    if not (path / INFO).is_file():
        return []
    listed = manifest.read(path)
    if listed is None:
        return [f"{MANIFEST} is missing"] if _names_manifest(path / INFO) else []
    names = [name for name in (PIPELINE_CONFIG, LABEL_MAP, INFO, CLASSIFICATION) if (path / name).is_file()]
    for folder in (*_NETWORKS, CHECKPOINT_DIR):
        names += [file.relative_to(path).as_posix() for file in (path / folder).rglob("*") if file.is_file()]
    return manifest.differences(path, listed, names)


def _names_manifest(path: pathlib.Path) -> bool:
    """Whether the exporter that wrote this model.json wrote a manifest too."""
    try:
        return given_files.read_json(path).get("manifest") == MANIFEST
    except (OSError, ValueError, AttributeError):
        return False


def _network_of(path: pathlib.Path) -> str:
    """SAVED_MODEL_DIR or OPENVINO_DIR, whichever the folder holds."""
    found = [folder for folder, name in _NETWORKS.items() if (path / folder / name).is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        raise ModelFolderError(f"{path}: holds {' and '.join(found)}, two models; give each a folder of its own.")
    files = " and no ".join(f"{folder}/{name}" for folder, name in _NETWORKS.items())
    raise ModelFolderError(f"{path}: holds no {files}; give the folder that exporter_main_v2 or export_openvino wrote.")


def _other_ir(path: pathlib.Path, network_dir: pathlib.Path) -> list[str]:
    """Whether model.json was written for another IR than that beside it; only export_openvino names it there."""
    if network_dir.name != OPENVINO_DIR:
        return []
    try:
        named = given_files.read_json(path / INFO)["openvino"]["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return [f"{INFO} does not say which IR it belongs to"]
    return [] if named == fingerprint(network_dir) else [f"{INFO} was written for another IR than {OPENVINO_DIR}/"]


def _suspicious(network_dir: pathlib.Path) -> list[str]:
    """What the network does that a detection model need not do."""
    if network_dir.name == SAVED_MODEL_DIR:
        operations = saved_model_operations.operations_beyond_computing(network_dir)
        what = "its SavedModel holds operations that can reach files, the network or Python"
    else:
        operations = openvino_operations.unknown_operations(network_dir)
        what = "its IR holds operations that detection models do not have"
    if not operations:
        return []
    names = ", ".join(operations[:5]) + (" and others" if len(operations) > 5 else "")
    return [f"{what} ({names})"]


def store_classification(path: str | os.PathLike, found: Classification) -> str:
    """Writes classification.json into a model's folder; returns a sentence for the console.

    Raises:
      ClassificationError: too few cells of a white-cell class; nothing is written.
    """
    found.check_enough()
    target = pathlib.Path(path) / CLASSIFICATION
    with manifest.replacing_listed(path, CLASSIFICATION) as beside:
        found.write(beside)
    return (
        f"confusion matrix of {found.num_cells} annotated cells of {len(found.patients)} patients stored in {target}; "
        "batch_infer hands it on from now on, and percentages are corrected with it."
    )


def store_thresholds(path: str | os.PathLike, thresholds: Mapping[str, float], chosen: Mapping[str, Any]) -> str:
    """Writes min_score and unknown_below into a model's model.json; returns a sentence for the console.

    Args:
      path: the folder.
      thresholds: {"min_score", "unknown_below"}, scores from 0 to 1.
      chosen: how they were chosen, with the "temperature" of the scores; kept as `thresholds_chosen`.

    Raises:
      ModelFolderError: there is no model.json, or it is not JSON.
    """
    target = pathlib.Path(path) / INFO
    info = _stored_info(target)
    before = {**DEFAULT_THRESHOLDS, **info.get("thresholds", {})}
    info["thresholds"] = {name: float(thresholds[name]) for name in DEFAULT_THRESHOLDS}
    info[THRESHOLDS_CHOSEN] = {**chosen, "before": before}
    with manifest.replacing_listed(path, INFO) as beside:
        atomic_write.write_json(beside, info)
    written = ", ".join(f"{name} {value:g} (before: {before[name]:g})" for name, value in info["thresholds"].items())
    return f"{written} stored in {target}; batch_infer uses them from now on."


def store_training_domain(path: str | os.PathLike, described: Mapping[str, Any]) -> None:
    """Writes what a model's training images look like into its model.json, where earlier numbers are replaced.

    Args:
      path: the folder.
      described: of `domain.training_domain.TrainingDomain.as_json`.

    Raises:
      ModelFolderError: there is no model.json, or it is not JSON.
    """
    info = {**_stored_info(pathlib.Path(path) / INFO), TRAINING_DOMAIN: dict(described)}
    with manifest.replacing_listed(path, INFO) as beside:
        atomic_write.write_json(beside, info)


def check_storable(path: str | os.PathLike) -> None:
    """Raises ModelFolderError where nothing can be stored in a model's model.json, before long work for it begins."""
    _stored_info(pathlib.Path(path) / INFO)


def _stored_info(path: pathlib.Path) -> dict[str, Any]:
    """Contents of a model.json that is to be changed."""
    try:
        return given_files.read_json(path)
    except FileNotFoundError as error:
        raise ModelFolderError(f"{path}: no such file; give the folder that exporter_main_v2 wrote.") from error
    except ValueError as error:
        raise ModelFolderError(f"{path}: not JSON ({error}); export the model again.") from error


def chosen_at_other_temperature(path: str | os.PathLike, temperature: float) -> bool:
    """Whether `store_thresholds` chose a model's unknown_below on scores of another temperature than this one."""
    chosen = given_files.read_json(pathlib.Path(path) / INFO).get(THRESHOLDS_CHOSEN)
    return isinstance(chosen, Mapping) and chosen.get("temperature") != temperature


def fingerprint(network_dir: str | os.PathLike) -> str:
    """sha256 over names and contents of a network's files; the same weights and graph give the same digest."""
    digest = hashlib.sha256()
    folder = pathlib.Path(network_dir)
    for path in sorted(map(pathlib.Path, given_files.files_below(folder, follow_links=False))):
        if not path.is_file():
            continue
        # fingerprint.pb holds a random id of the export, which does not change what the model computes.
        if path.name == "fingerprint.pb":
            continue
        digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        checksums.add_file(digest, path)
    return digest.hexdigest()


def _read_classification(path: pathlib.Path, label_map: LabelMap) -> Classification | None:
    """The model's confusion matrix; None where there is none.

    Without model.json somebody put the folder together, with a label map of their own: a matrix of other classes is
    then ignored with a warning, and percentages are not corrected.
    """
    matrix = path / CLASSIFICATION
    found = classification.read(matrix) if matrix.is_file() else None
    if found is None:
        return None
    if list(found.classes) != label_map.names:
        differs = f"was made for the classes {', '.join(found.classes)}, but {LABEL_MAP} beside it names " + ", ".join(
            label_map.names
        )
        if (path / INFO).is_file():
            raise ModelFolderError(f"{matrix}: {differs}; run evaluate --store again, or delete the file.")
        _log.warning("%s: is ignored, because it %s; run evaluate --store again.", matrix, differs)
        return None
    # Runs name the model by its folder, which may have been renamed since.
    return dataclasses.replace(found, model=path.resolve().name)


def _read_info(path: pathlib.Path, label_map: LabelMap) -> dict[str, Any]:
    info: dict[str, Any] = {}
    if path.is_file():
        try:
            info = given_files.read_json(path)
            thresholds = {
                name: float(info.get("thresholds", {}).get(name, value)) for name, value in DEFAULT_THRESHOLDS.items()
            }
        except (ValueError, TypeError, AttributeError) as error:
            raise ModelFolderError(f"{path}: is not what the exporter writes ({error}); export again.") from error
        info["thresholds"] = thresholds
    info.setdefault("thresholds", dict(DEFAULT_THRESHOLDS))
    for name, value in info["thresholds"].items():
        if not 0.0 <= value <= 1.0:
            raise ModelFolderError(f"{path}: thresholds.{name} is {value}; expected a score from 0 to 1.")
    classes = info.get("classes", label_map.names)
    if classes not in (label_map.names, label_map.written_names):
        raise ModelFolderError(
            f"{path}: names the classes {', '.join(map(str, classes))}, but {LABEL_MAP} beside it "
            f"{', '.join(label_map.names)}; the two must be of the same export."
        )
    return info
