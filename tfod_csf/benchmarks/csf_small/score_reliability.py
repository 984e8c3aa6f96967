"""Do scores of white cells mean what they say: reliability, calibration error, and what unknown_below leaves to people.

The cells are those that the model takes for one of the three white-cell classes (by `calibration.groups_of`). A cell is
right when a labeled cell of its class is at its place; one that nobody is sure of is in no count, and one without a
label is wrong.

Shape shorthand in this module:
  N: cells.  K: classes of the model.
"""

import math

import numpy as np

from tfod_csf import cell_classes
from tfod_csf.benchmarks.csf_small import held_out
from tfod_csf.benchmarks.csf_small.held_out import ExaminedImage, Figure, HeldOutSet
from tfod_csf.benchmarks.csf_small.source_images import NOT_SURE
from tfod_csf.cytology.studies import calibration
from tfod_csf.cytology.studies.calibration import ScoredCells
from tfod_csf.cytology.studies.method_comparison import Estimate
from tfod_csf.evaluation.matching import match_one_to_one
from tfod_csf.label_map import LabelMap
from tfod_csf.study import labelimg

CALIBRATION_ERROR, COVERAGE, ACCURACY = "expected calibration error", "coverage", "accuracy of decided cells"
BIN_ACCURACY, BIN_SCORE = "accuracy of a bin of scores", "mean score of a bin of scores"
ALL_SCORES = "all scores"
_NO_INTERVAL = "no interval: chance alone makes it larger in every sample"


def white_cells(held: HeldOutSet) -> tuple[ScoredCells, np.ndarray]:
    """(cells taken for one of the three classes, int [N] unit of each)."""
    classes = held.label_map.names
    scores, annotated, units = [np.zeros((0, len(classes)))], [], []
    for unit, one in zip(held_out.units_of(held.distinct), held.distinct, strict=True):
        names = _labels_at(one, held.label_map)
        sure = [row for row, name in enumerate(names) if name != NOT_SURE]
        multiclass_scores = one.cells.detections.multiclass_scores
        assert multiclass_scores is not None, "KeptDetections refuses models without"
        scores.append(multiclass_scores[sure, 1:])
        annotated += [names[row] for row in sure]
        units += [unit] * len(sure)
    cells = calibration.scored_cells(np.concatenate(scores), classes, annotated)
    is_white = calibration.groups_of(cells, classes)[cell_classes.GROUP_WHITE_CELLS]
    return cells.select(is_white), np.array(units, int)[is_white]


def _labels_at(one: ExaminedImage, label_map: LabelMap) -> list[str]:
    """[N] the model's class of the label at each cell's place, or NOT_SURE; "" without a label or such a class."""
    objects = list(one.image.objects)
    pairs = match_one_to_one(labelimg.boxes_of(objects), one.cells.detections.boxes, 0.5)
    names = [""] * len(one.cells.detections)
    for label, cell in zip(pairs.first, pairs.second, strict=True):
        name = objects[label].name
        names[cell] = name if name == NOT_SURE else label_map.resolve(name) or ""
    return names


def at_threshold(unknown_below: float) -> str:
    """The reading of figures of cells that are decided."""
    return f"score of {unknown_below:g} or more"


def figures(held: HeldOutSet, seed: int = 0) -> list[Figure]:
    """Calibration error, coverage and accuracy at unknown_below, and the bins of a reliability diagram."""
    cells, units = white_cells(held)
    number, num_units = len(cells.truth), len(np.unique(held_out.units_of(held.distinct)))
    threshold = held.thresholds.unknown_below
    at = at_threshold(threshold)
    is_decided = cells.confidence >= threshold
    per_unit = [
        held_out.sums_of_units(np.asarray(mask, int), units, num_units)
        for mask in (np.ones(number), is_decided, is_decided & cells.is_right, cells.is_right)
    ]
    error = calibration.expected_calibration_error(cells)
    return [
        Figure(CALIBRATION_ERROR, ALL_SCORES, "", _alone(error), np.count_nonzero(per_unit[0]), number, _NO_INTERVAL),
        held_out.share(ACCURACY, ALL_SCORES, "", per_unit[3], per_unit[0], seed),
        held_out.share(COVERAGE, at, "", per_unit[1], per_unit[0], seed),
        held_out.share(ACCURACY, at, "", per_unit[2], per_unit[1], seed),
        *_bins(cells),
    ]


def _bins(cells: ScoredCells) -> list[Figure]:
    rows = []
    for one in calibration.reliability(cells):
        reading = f"{one.low:.2f} to {one.high:.2f}"
        accuracy = Estimate(one.accuracy, one.accuracy_low, one.accuracy_high)
        note = "Wilson's interval, which takes cells as independent"
        rows.append(Figure(BIN_ACCURACY, reading, "", accuracy, 0, one.count, note))
        rows.append(Figure(BIN_SCORE, reading, "", _alone(one.mean_score), 0, one.count))
    return rows


def _alone(value: float) -> Estimate:
    return Estimate(value, math.nan, math.nan)
