"""Cells labeled by people (LabelImg XML), and which of them is which cell of the machine or of another person.

Shape shorthand in this module:
  N: machine cells.
  M: annotated cells of one image.
  K: classes whose scores are known.

Boxes are [N, 4] ymin, xmin, ymax, xmax in pixels of the original image.
"""

import dataclasses
import difflib
import os
import pathlib
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from tfod_csf import cell_classes
from tfod_csf.cytology import run_tables
from tfod_csf.detections import BOX_SIDES
from tfod_csf.errors import UserError
from tfod_csf.evaluation.matching import match_one_to_one
from tfod_csf.files import given_files
from tfod_csf.label_map import mapped_name
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg
from tfod_csf.study.patient_ids import composed

NOT_FOUND = ""


class AnnotationsError(UserError):
    """A folder of annotations cannot be used."""


@dataclasses.dataclass(frozen=True)
class ImageCells:
    """Cells of one image as one person labeled them.

    Attributes:
      names: [M] classes in the study's spelling.
      boxes: [M, 4] pixels.
    """

    names: tuple[str, ...]
    boxes: np.ndarray

    def counts(self) -> Counter:
        """Cells per class."""
        return Counter(self.names)


def read_annotations(
    folder: str | os.PathLike, problems: ProblemLog, class_map: Mapping[str, str] | None = None
) -> dict[str, ImageCells]:
    """All LabelImg XML below a folder.

    Args:
      class_map: of `label_map.parse_class_map`; cells whose name is mapped to "" are ignored.

    Returns:
      {path below the folder without its suffix, with "/", accents composed: cells}, sorted.

    Raises:
      AnnotationsError: no such folder, or no XML in it that can be read.
    """
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise AnnotationsError(f"{folder}: no such folder; give a folder of LabelImg XML.")
    found = {}
    below = given_files.files_below(root, problems.unlisted_folder, lambda name: not name.startswith("."))
    paths = sorted(path for path in map(pathlib.Path, below) if path.suffix.lower() == ".xml")
    foreign = [path for path in paths if not labelimg.is_annotation(path)]
    if foreign:
        labelimg.note_foreign_xml(root, foreign, problems)
    for path in sorted(set(paths) - set(foreign)):
        annotation = labelimg.read_annotation(path, problems)
        if annotation is None:
            continue
        named = [(cell_classes.canonical_name(mapped_name(o.name, class_map or {})), o) for o in annotation.objects]
        kept = [(name, labeled) for name, labeled in named if name]
        boxes = labelimg.boxes_of([labeled for _, labeled in kept])
        key = composed(path.relative_to(root).with_suffix("").as_posix())
        if key in found:
            problems.skipped(path, "another XML has the same name up to its spelling", "Keep one of them.")
            continue
        found[key] = ImageCells(tuple(name for name, _ in kept), boxes)
    if not found:
        raise AnnotationsError(f"{folder}: no LabelImg XML that can be read ({len(paths)} XML files found).")
    return found


def check_class_map(
    class_map: Mapping[str, str], folders: Iterable[str | os.PathLike], classes: Iterable[str] = ()
) -> None:
    """Refuses a class map that renames to what is no class anywhere: a slip of the pen would be a class of its own.

    Args:
      class_map: of `label_map.parse_class_map`.
      folders: of LabelImg XML; a name that occurs in one of them is a class.
      classes: of the run.

    Raises:
      AnnotationsError: as `read_annotations`; or a new name is none of the study's classes, `unknown`, or one of these.
    """
    if not class_map:
        return
    known = {*cell_classes.STUDY_CLASSES, cell_classes.UNKNOWN, *map(cell_classes.canonical_name, classes)}
    new_names = {cell_classes.canonical_name(new) for new in class_map.values() if new}
    if new_names <= known:
        return  # the usual case, in which no folder has to be read twice
    for folder in folders:
        for cells in read_annotations(folder, ProblemLog(quiet=True)).values():
            known.update(cells.names)
    for old, new in class_map.items():
        if new and cell_classes.canonical_name(new) not in known:
            near = difflib.get_close_matches(new.casefold(), sorted(known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}."
            raise AnnotationsError(f"--class_map: {old!r} is renamed to {new!r}, which is not a class; {hint}")


def cells_of_image(annotations: Mapping[str, ImageCells], patient_id: str, image: str) -> ImageCells | None:
    """Annotated cells of a patient's image; the XML lies in the patient's folder or, in a flat study, at the top."""
    stem = pathlib.PurePosixPath(image).with_suffix("").as_posix()
    return annotations.get(composed(f"{patient_id}/{stem}"), annotations.get(composed(stem)))


@dataclasses.dataclass
class MatchedCells:
    """Machine cells of annotated images with the name people gave them.

    Attributes:
      predicted: [N] class predicted by the machine.
      counted_as: [N] class it was counted under (unknown ones too).
      score: [N] score of the predicted class.
      class_scores: [N, K] scores of `scored_classes`.
      annotated: [N] the annotator's class; "" where no annotated cell is at that place.
      missed: annotated cells the machine did not find, per class.
      num_images: images that both the machine and the annotator saw.
      patient_ids: [N] whose cell it is.
      images: [N] on which of the patient's images it is.
      cell_ids: [N] its number there.
      missed_by_patient: {patient_id: annotated cells the machine did not find, per class}; every patient with an image
        that both saw is there, also one without any cell.
      reviewed: ids of the patients on whose cells a person has decided.
    """

    scored_classes: tuple[str, ...]
    predicted: np.ndarray
    counted_as: np.ndarray
    score: np.ndarray
    class_scores: np.ndarray
    annotated: np.ndarray
    missed: Counter
    num_images: int
    patient_ids: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, object))
    images: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, object))
    missed_by_patient: dict[str, Counter] = dataclasses.field(default_factory=dict)
    cell_ids: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, object))
    reviewed: frozenset[str] = frozenset()

    @property
    def compared_as(self) -> np.ndarray:
        """[N] class to compare with the annotated one: the predicted one; of reviewed patients the one counted.

        A cell that a person added has no predicted class, and one that a person named again has the machine's.
        """
        return np.where(np.isin(self.patient_ids, list(self.reviewed)), self.counted_as, self.predicted)

    @classmethod
    def joined(cls, parts: list["MatchedCells"]) -> "MatchedCells":
        """Cells of several patients together.

        Raises:
          AnnotationsError: the patients' tables score different classes.
        """
        scored = {part.scored_classes for part in parts if len(part.predicted)}
        if len(scored) > 1:
            raise AnnotationsError("cells.csv of different patients have different score columns; use one run.")
        columns = max(scored, default=(), key=len)
        together = {
            field: np.concatenate([getattr(part, field) for part in parts] or [np.empty(0, object)])
            for field in ("predicted", "counted_as", "score", "annotated", "patient_ids", "images", "cell_ids")
        }
        missed_by_patient: dict[str, Counter] = {}
        for part in parts:
            for patient_id, missed in part.missed_by_patient.items():
                missed_by_patient[patient_id] = missed_by_patient.get(patient_id, Counter()) + missed
        scores = [part.class_scores for part in parts if part.scored_classes == columns and len(part.predicted)]
        return cls(
            scored_classes=columns,
            class_scores=np.concatenate(scores) if scores else np.empty((0, len(columns))),
            missed=sum((part.missed for part in parts), Counter()),
            num_images=sum(part.num_images for part in parts),
            missed_by_patient=missed_by_patient,
            reviewed=frozenset().union(*(part.reviewed for part in parts)),
            **together,
        )


def match_patient(
    patient: run_tables.PatientTables, annotations: Mapping[str, ImageCells], model: str, iou_threshold: float = 0.5
) -> MatchedCells:
    """One model's cells of a patient (read with `details`) against the annotated ones, class-blind, one to one.

    Images without an annotation are ignored: their true cells are not known. So are images on which this model failed,
    whatever another model did: it has missed nothing there.
    """
    cells = patient.cells[patient.cells["model"] == model]
    positions = {name: np.flatnonzero(cells["image"] == name) for name in patient.images_used_by(model)}
    rows, annotated, num_images = [], [], 0
    missed: Counter[str] = Counter()
    boxes = cells[list(BOX_SIDES)].to_numpy(dtype=float)
    for image, of_image in positions.items():
        truth = cells_of_image(annotations, patient.patient_id, image)
        if truth is None:
            continue
        num_images += 1
        matching = match_one_to_one(boxes[of_image], truth.boxes, iou_threshold)
        names = np.full(len(of_image), NOT_FOUND, dtype=object)
        names[matching.first] = [truth.names[m] for m in matching.second]
        rows.append(of_image)
        annotated.append(names)
        missed.update(truth.names[m] for m in matching.unmatched_second)
    chosen = np.concatenate(rows) if rows else np.empty(0, int)
    canonical = cells[["predicted_class", "counted_as"]].map(cell_classes.canonical_name).to_numpy(dtype=object)
    of_model = dataclasses.replace(patient, cells=cells)
    return MatchedCells(
        scored_classes=patient.scored_classes,
        predicted=canonical[chosen, 0],
        counted_as=canonical[chosen, 1],
        score=cells["score"].to_numpy(dtype=float)[chosen],
        class_scores=of_model.class_scores()[chosen],
        annotated=np.concatenate(annotated) if annotated else np.empty(0, object),
        missed=missed,
        num_images=num_images,
        patient_ids=np.full(len(chosen), patient.patient_id, dtype=object),
        images=cells["image"].to_numpy(dtype=object)[chosen],
        missed_by_patient={patient.patient_id: missed} if num_images else {},
        cell_ids=cells["cell_id"].to_numpy(dtype=object)[chosen],
        reviewed=frozenset([patient.patient_id] if patient.is_reviewed and num_images else []),
    )
