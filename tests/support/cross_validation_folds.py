"""Folds of a cross-validation whose measures can be worked out on paper."""

import numpy as np

from tfod_csf.cytology.studies.cross_validation.fold_results import FoldResult

CLASSES = ("lymphocyte", "monocyte", "neutrophil")


def fold(number, patients, mean_ap=0.5, average_precisions=(0.5, 0.5, 0.5), classes=CLASSES):
    """patients: of each, labeled, right, predicted and decided cells of the classes."""
    arrays = np.array(patients, np.int64).reshape(-1, 4, len(classes)).transpose(1, 0, 2)
    counts = dict(zip(("labeled", "right", "predicted", "decided"), arrays, strict=True))
    ids = tuple(f"{number}-{place}" for place in range(len(patients)))
    return FoldResult(number, classes, classes, mean_ap, np.array(average_precisions, float), ids, counts)


SIX_TWO_TWO = [[6, 2, 2], [5, 0, 1], [8, 0, 1], [5, 5, 0]]
ALL_RIGHT = [[10, 0, 0], [10, 0, 0], [10, 0, 0], [10, 0, 0]]
FEW = [[9, 0, 0], [9, 0, 0], [9, 0, 0], [0, 9, 0]]
