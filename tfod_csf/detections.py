"""Detections of one image, and the CSV they travel in.

Shapes: N detections, K foreground classes. Boxes are ymin, xmin, ymax, xmax in pixels of the original image (0..height,
0..width), not of a resized or padded one. Classes are label-map ids (1-based, background never). Nothing is padded.
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence

import numpy as np

from tfod_csf.errors import UserError
from tfod_csf.files import csv_tables
from tfod_csf.label_map import LabelMap

COLUMNS = ("image", "width", "height", "num_at_limit", "class_id", "class", "score", "ymin", "xmin", "ymax", "xmax")
BACKGROUND_COLUMN = "score_background"


class DetectionsError(UserError):
    """A detections table that cannot be used."""


@dataclasses.dataclass
class Detections:
    """What a detector found in one image.

    Attributes:
      image: name of the image, unique in its run (for example "patient_07/IMG_0001.jpg").
      width: pixels of the original image.
      height: pixels of the original image.
      boxes: float32 [N, 4].
      classes: int32 [N].
      scores: float32 [N], 0..1.
      multiclass_scores: float32 [N, K + 1], background at 0, or None.
      num_at_limit: the detector returned as many objects as it can; further cells may be missing.
    """

    image: str
    width: int
    height: int
    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    multiclass_scores: np.ndarray | None = None
    num_at_limit: bool = False

    def __post_init__(self):
        self.boxes = np.asarray(self.boxes, dtype=np.float32).reshape(-1, 4)
        self.classes = np.asarray(self.classes, dtype=np.int32).reshape(-1)
        self.scores = np.asarray(self.scores, dtype=np.float32).reshape(-1)
        lengths = {"boxes": len(self.boxes), "classes": len(self.classes), "scores": len(self.scores)}
        if self.multiclass_scores is not None:
            self.multiclass_scores = np.asarray(self.multiclass_scores, dtype=np.float32)
            if self.multiclass_scores.ndim != 2:
                raise ValueError(
                    f"{self.image}: multiclass_scores has shape {self.multiclass_scores.shape}, not [N, K+1]"
                )
            lengths["multiclass_scores"] = len(self.multiclass_scores)
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{self.image}: detections of different lengths: {lengths}")

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, mask_or_indices: np.ndarray | Sequence) -> "Detections":
        """The detections a bool mask [N] keeps, or those at int indices, in that order."""
        chosen = np.asarray(mask_or_indices)
        if chosen.size == 0:
            chosen = chosen.astype(np.int64)
        multiclass_scores = None if self.multiclass_scores is None else self.multiclass_scores[chosen]
        return dataclasses.replace(
            self,
            boxes=self.boxes[chosen],
            classes=self.classes[chosen],
            scores=self.scores[chosen],
            multiclass_scores=multiclass_scores,
        )


def score_columns(label_map: LabelMap) -> list[str]:
    """Columns of multiclass scores: the background, then "score_<class>" in the order of ids."""
    return [BACKGROUND_COLUMN, *(f"score_{name}" for name in label_map.names)]


def _text(value: np.float32) -> str:
    """Shortest decimal that reads back as the same float32."""
    return np.format_float_positional(value, unique=True, trim="-")


def _rows(detections: Detections, label_map: LabelMap) -> Iterator[dict]:
    image = {
        "image": detections.image,
        "width": detections.width,
        "height": detections.height,
        "num_at_limit": int(detections.num_at_limit),
    }
    if not len(detections):
        yield image
    for index in range(len(detections)):
        class_id = int(detections.classes[index])
        row = dict(image, class_id=class_id, score=_text(detections.scores[index]))
        row["class"] = label_map.name_of(class_id)
        row.update(zip(("ymin", "xmin", "ymax", "xmax"), map(_text, detections.boxes[index])))
        if detections.multiclass_scores is not None:
            row.update(zip(score_columns(label_map), map(_text, detections.multiclass_scores[index])))
        yield row


def write_detections_csv(path: str | os.PathLike, detections: Sequence[Detections], label_map: LabelMap) -> None:
    """Writes one row per detection; an image without any has one row with empty class and box, so it is not lost."""
    columns = [*COLUMNS]
    if any(item.multiclass_scores is not None for item in detections):
        columns += score_columns(label_map)
    csv_tables.write_rows(path, columns, (row for item in detections for row in _rows(item, label_map)))


def _detections_from_rows(rows: list[dict[str, str]], score_names: list[str]) -> Detections:
    found = [row for row in rows if row["class_id"]]
    multiclass_scores = None
    if found and score_names and found[0][score_names[0]]:
        multiclass_scores = [[float(row[name]) for name in score_names] for row in found]
    return Detections(
        image=rows[0]["image"],
        width=int(rows[0]["width"]),
        height=int(rows[0]["height"]),
        boxes=[[float(row[side]) for side in ("ymin", "xmin", "ymax", "xmax")] for row in found],
        classes=[int(row["class_id"]) for row in found],
        scores=[float(row["score"]) for row in found],
        multiclass_scores=multiclass_scores,
        num_at_limit=rows[0]["num_at_limit"] == "1",
    )


def read_detections_csv(path: str | os.PathLike) -> list[Detections]:
    """Reads what `write_detections_csv` wrote, images in the order of their first rows.

    Raises:
      DetectionsError: names the file and the image whose rows cannot be read.
    """
    rows = csv_tables.read_rows(path, COLUMNS)
    by_image: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_image.setdefault(row["image"], []).append(row)
    score_names = [name for name in (rows[0] if rows else {}) if name.startswith("score_")]
    result = []
    for image, image_rows in by_image.items():
        try:
            result.append(_detections_from_rows(image_rows, score_names))
        except ValueError as error:
            raise DetectionsError(f"{path}: image {image!r}: {error}; was the table changed by hand?") from error
    return result
