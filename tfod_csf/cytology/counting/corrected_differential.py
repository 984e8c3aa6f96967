"""Corrected percentages of a run's patients: where they can be given, from which matrix, and else why not."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfod_csf import cell_classes, classification, run_folder
from tfod_csf.cell_classes import WHITE_CELLS
from tfod_csf.classification import Classification, FoundCells
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.counting import correction
from tfod_csf.cytology.counting.correction import CorrectedShares, OutcomeRates
from tfod_csf.cytology.counting.unlike_pictures import unlike_pictures
from tfod_csf.cytology.run_tables import PatientTables, Thresholds
from tfod_csf.wording import plural


@dataclasses.dataclass(frozen=True)
class Corrections:
    """The confusion matrices of a run.

    Attributes:
      matrices: {model: its matrix}.
      rates: {model: rates of its outcomes}.
      why_not: why a matrix does not apply to this run; "" where it does.
    """

    matrices: Mapping[str, Classification]
    rates: Mapping[str, OutcomeRates]
    why_not: str = ""

    @classmethod
    def of(cls, matrices: Mapping[str, Classification], why_not: str = "") -> "Corrections":
        """With the rates of the matrices."""
        return cls(matrices, {name: correction.outcome_rates(found) for name, found in matrices.items()}, why_not)

    @property
    def source(self) -> str:
        """Where the matrices come from, in words."""
        parts = []
        for model, found in self.matrices.items():
            where = f"{plural(found.num_cells, 'annotated cell')} of {plural(len(found.patients), 'patient')}"
            of_model = f"{model}: " if len(self.matrices) > 1 else ""
            parts.append(f"{of_model}{where} that the model never trained on ({found.source}, {found.date[:10]})")
        return "; ".join(parts)


@dataclasses.dataclass(frozen=True)
class CorrectedShare:
    """Corrected percentage of one white-cell class, with its simultaneous interval; percent of white cells."""

    percent: float
    ci_low: float
    ci_high: float


@dataclasses.dataclass(frozen=True)
class CorrectedDifferential:
    """Corrected percentages of one patient.

    Attributes:
      shares: {white-cell class: CorrectedShare}; empty where they cannot be given.
      why_not: the reason then, else "".
      unlike: what of the patient's pictures is unlike the validation's.
      source: where the matrix comes from.
    """

    shares: Mapping[str, CorrectedShare]
    why_not: str = ""
    unlike: tuple[str, ...] = ()
    source: str = ""

    @property
    def remark(self) -> str:
        """The remark on pictures unlike the validation's; "" without one."""
        return f"pictures unlike the validation's ({'; '.join(self.unlike)})" if self.unlike else ""


def read_corrections(inference_dir: str | os.PathLike, thresholds: Thresholds | None = None) -> Corrections | None:
    """The matrices that batch_infer copied into a run's folder; None where no model of the run has one.

    Args:
      thresholds: how cells are counted; None for the run's own.

    Raises:
      ClassificationError: a copy is missing, was changed, or cannot be used.
    """
    return corrections_of_record(inference_dir, run_folder.read_run(inference_dir), thresholds)


def corrections_of_record(
    inference_dir: str | os.PathLike, run: Mapping[str, Any], thresholds: Thresholds | None = None
) -> Corrections | None:
    """`read_corrections` for a run whose run.json is not written yet: `run` is its contents."""
    matrices = {
        model["name"]: classification.read_from_run(inference_dir, model[run_folder.CLASSIFICATION])
        for model in run.get("models") or []
        if model.get(run_folder.CLASSIFICATION)
    }
    return corrections_of_run(run, matrices, thresholds) if matrices else None


def corrections_of_run(
    run: Mapping[str, Any], matrices: Mapping[str, Classification], thresholds: Thresholds | None = None
) -> Corrections:
    """Matrices of a run's models, with the reason when one contradicts the run or how its cells are counted."""
    numbers = {name: float(value) for name, value in run["thresholds"].items() if name != "count_unknown"}
    if thresholds is not None:
        numbers |= {"min_score": thresholds.min_score, "unknown_below": thresholds.unknown_below}
    for model in run["models"]:
        found = matrices.get(model["name"])
        if found is None:
            return Corrections.of(matrices, f"model {model['name']} has no confusion matrix")
        temperature = float(model.get("temperature") or 1.0)
        differs = found.contradiction(model["fingerprint"], temperature, model["classes"])
        differs = differs or found.other_counting(numbers)
        if differs:
            return Corrections.of(matrices, f"the confusion matrix of {model['name']} does not apply: {differs}")
    return Corrections.of(matrices)


def corrected_differential(
    patient: PatientTables, corrections: Corrections, has_percentages: bool, alpha: float = 0.05
) -> CorrectedDifferential:
    """Corrected percentages of a patient (tables read with `details`).

    With several models each model's percentages and ends are corrected with its own matrix and then averaged. They
    describe the same cells of the same images, so that averaging makes no interval narrower.

    Args:
      corrections: of `read_corrections`.
      has_percentages: whether there are raw ones; without them there are no corrected ones either.
      alpha: probability that at least one of the three intervals misses its share.
    """
    why_not = corrections.why_not
    if not why_not and patient.is_reviewed:
        why_not = "a person has decided on cells; the matrix describes the machine's decisions"
    if not why_not and patient.grids:
        # One scan as one image would hide how cells lie together, and false detections are those of a whole field.
        why_not = "a picture was cut into tiles; the matrix describes images that are examined whole"
    lacking = [model for model in patient.models if model not in corrections.rates]
    if not why_not and lacking:
        why_not = f"model {lacking[0]} has no confusion matrix"
    if not why_not and not has_percentages:
        why_not = "no percentages that could be corrected"
    if why_not:
        return CorrectedDifferential({}, why_not, source=corrections.source)
    found = [_of_model(patient, corrections, model, alpha) for model in patient.models]
    known = [shares for shares in found if shares is not None]
    if len(known) < len(found) or not known:
        return CorrectedDifferential({}, "what was found is unlikely to be white cells", source=corrections.source)
    means = 100 * np.mean([[one.shares, one.low, one.high] for one in known], axis=0)  # [3 numbers, 3 classes]
    shares = {name: CorrectedShare(*map(float, means[:, k])) for k, name in enumerate(WHITE_CELLS)}
    unlike = tuple(words for model in patient.models for words in _unlike(patient, corrections, model))
    return CorrectedDifferential(shares, unlike=unlike, source=corrections.source)


def _of_model(patient: PatientTables, corrections: Corrections, model: str, alpha: float) -> CorrectedShares | None:
    unknown_below = corrections.matrices[model].thresholds["unknown_below"]
    counts = outcome_counts(patient, model, unknown_below)
    return correction.corrected_shares(counts, corrections.rates[model], alpha)


def outcome_counts(patient: PatientTables, model: str, unknown_below: float) -> np.ndarray:
    """int [I, J] cells of each image that the model examined, by observed outcome.

    Raises:
      TableError: cells.csv has cells of an image that the model has not examined by images.csv.
    """
    images = {name: row for row, name in enumerate(_examined(patient, model)["image"])}
    columns = {name: column for column, name in enumerate(correction.OBSERVED)}
    cells = patient.cells[patient.cells["model"] == model]
    not_examined = set(cells["image"]) - set(images)
    if not_examined:
        raise run_tables.TableError(
            f"{patient.folder}: cells.csv has cells of {min(not_examined)!r}, an image that {model} has not examined; "
            "run batch_infer again on this patient."
        )
    counts = np.zeros((len(images), len(columns)), int)
    for image, name, score in zip(cells["image"], cells["predicted_class"], cells["score"], strict=True):
        counts[images[image], columns[classification.outcome(name, score, unknown_below)]] += 1
    return counts


def _examined(patient: PatientTables, model: str) -> Any:
    """Rows of images.csv of the images that a model examined."""
    return patient.images[(patient.images["model"] == model) & (patient.images["status"] == run_folder.OK)]


def _unlike(patient: PatientTables, corrections: Corrections, model: str) -> list[str]:
    found = corrections.matrices[model]
    cells = found_cells(patient, model)
    if cells is None:
        return []
    own = classification.picture_features(cells, found.thresholds["unknown_below"])
    return unlike_pictures(own, found.patients)


def found_cells(patient: PatientTables, model: str) -> FoundCells | None:
    """The machine's cells of a model, for `classification.picture_features`; None without sizes of images or boxes."""
    examined = _examined(patient, model)
    if "width" not in examined or "xmin" not in patient.cells or examined[["width", "height"]].isna().any(axis=None):
        return None
    is_machine = patient.cells["status"].isin(cell_classes.MACHINE_STATUS)
    cells = patient.cells[(patient.cells["model"] == model) & is_machine]
    images = {name: row for row, name in enumerate(examined["image"])}
    return FoundCells(
        image_sizes=examined[["width", "height"]].to_numpy(float),
        image_of=cells["image"].map(images).to_numpy(int),
        predicted=list(cells["predicted_class"]),
        scores=cells["score"].to_numpy(float),
        box_sizes=np.stack([cells["xmax"] - cells["xmin"], cells["ymax"] - cells["ymin"]], axis=1).astype(float),
    )
