"""Labeled images with detections whose mistakes can be counted on paper, for the pages of an evaluation."""

import numpy as np

from tfod_csf.evaluation.error_gallery.gallery import ExaminedImage
from tfod_csf.evaluation.evaluation_pages import EvaluationPages
from tfod_csf.evaluation.page_facts import PageFacts

CLASSES = ("lymphocyte", "monocyte", "neutrophil")
CATEGORIES = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
FACTS = PageFacts("csf", "test.record", 0.5, ("test.record: a remark.",), "2026-01-02")
_LETTERS = {"L": 1, "M": 2, "N": 3}


def boxes_of(cells):
    """[., 4] of (letter, left, top, ...), 20 pixels wide."""
    return np.array([[top, left, top + 20, left + 20] for _, left, top, *_ in cells], np.float32).reshape(-1, 4)


def examined(name, labels=(), found=(), difficult=(), width=160, height=120):
    """An image; labels are (letter, left, top), found ones (letter, left, top, score); `difficult` are labels too."""
    pixels = np.full([height, width, 3], 235, np.uint8)
    for ymin, xmin, ymax, xmax in boxes_of([*labels, *found]).astype(int):
        pixels[max(ymin, 0) : ymax, max(xmin, 0) : xmax] = (150, 120, 190)
    everything = [*labels, *difficult]
    groundtruth = {
        "groundtruth_boxes": boxes_of(everything),
        "groundtruth_classes": np.array([_LETTERS[cell[0]] for cell in everything], np.int32),
        "groundtruth_difficult": np.array([False] * len(labels) + [True] * len(difficult), bool),
        "groundtruth_is_crowd": np.zeros(len(everything), bool),
    }
    detections = {
        "detection_boxes": boxes_of(found),
        "detection_classes": np.array([_LETTERS[cell[0]] for cell in found], np.int32),
        "detection_scores": np.array([cell[3] for cell in found], np.float32),
    }
    is_cell = detections["detection_scores"] >= 0.5
    cells = {name: values[is_cell] for name, values in detections.items()}
    return ExaminedImage(name, pixels, groundtruth, detections, cells)


# One of each: right, confused, badly placed (IoU 12/28), invented, missed.
MIXED = examined(
    "p/<b>mixed</b>.jpg",
    labels=[("L", 5, 5), ("M", 40, 5), ("N", 80, 5), ("N", 5, 90)],
    found=[("L", 5, 5, 0.95), ("L", 40, 5, 0.9), ("N", 88, 5, 0.8), ("M", 120, 80, 0.7), ("N", 5, 90, 0.3)],
)
RIGHT = examined("p/right.jpg", labels=[("L", 30, 30), ("M", 90, 30)], found=[("L", 30, 30, 0.9), ("M", 90, 30, 0.6)])
EMPTY = examined("p/empty.jpg")


def pages_of(*images, patient_ids=()):
    """Pages of these images."""
    pages = EvaluationPages(CATEGORIES, 0.5, 0.8)
    for number, image in enumerate(images):
        patient_id = patient_ids[number] if patient_ids else "p"
        pages.add_image(image, patient_id, image.detections, image.detections["detection_scores"])
    return pages


def write(folder, *images, patient_ids=()):
    """Writes the pages of these images; returns the sentences."""
    pages = pages_of(*images, patient_ids=patient_ids)
    return pages.write(folder, pages.recommendations(), FACTS)
