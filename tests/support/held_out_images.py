"""Held-out images with labels and detections that figures can be worked out of on paper."""

import pathlib

import numpy as np

from tfod_csf.benchmarks.csf_small import held_out
from tfod_csf.benchmarks.csf_small.held_out import CLASSES, HeldOutSet
from tfod_csf.benchmarks.csf_small.source_images import SourceImage
from tfod_csf.detections import Detections
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.label_map import label_map_from_names
from tfod_csf.study.labelimg import LabeledObject

SIDE = 20  # px of every box, all of them in one row
LABEL_MAP = label_map_from_names(CLASSES)


def source(key: str, labels=(), folder: str = "pbc_mgg", **fields) -> SourceImage:
    """An image that is no file; labels are (class, left)."""
    objects = [LabeledObject(name, left, 0, left + SIDE, SIDE) for name, left in labels]
    return SourceImage(pathlib.Path(f"{key}.jpg"), folder, "block_00", objects, 0, **fields)


def detections(key: str, found=(), label_map=LABEL_MAP) -> Detections:
    """Detections (class, score, left), best first; the rest of each score is the background's."""
    rows = sorted(found, key=lambda one: -one[1])
    classes = np.array([label_map.id_of(name) for name, _, _ in rows], int)
    scores = np.array([score for _, score, _ in rows])
    multiclass_scores = np.zeros((len(rows), len(label_map) + 1))
    multiclass_scores[np.arange(len(rows)), classes] = scores
    multiclass_scores[:, 0] = 1 - scores
    boxes = np.array([[0, left, SIDE, left + SIDE] for _, _, left in rows], float).reshape(-1, 4)
    return Detections(key, 640, 480, boxes, classes, scores, multiclass_scores)


def held(*images, label_map=LABEL_MAP, **thresholds) -> HeldOutSet:
    """A set of images (labels, found) or (labels, found, fields of the source image): image_0, image_1, ..."""
    found = []
    for number, (labels, cells, *fields) in enumerate(images):
        image = source(f"image_{number}", labels, **(fields[0] if fields else {}))
        found.append((image, detections(image.key, cells, label_map)))
    return held_out.examine("by hand", label_map, ScoreThresholds(**thresholds), found)


def figure(rows, name: str, reading: str, class_name: str = ""):
    """The one figure of that name."""
    [found] = [row for row in rows if (row.name, row.reading, row.class_name) == (name, reading, class_name)]
    return found
