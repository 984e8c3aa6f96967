"""Average precision by hand, against PascalDetectionEvaluator, and with images that are there several times."""

import math

import numpy as np
import pytest

from tests.support.held_out_images import LABEL_MAP, figure, held
from tfod_csf.benchmarks.csf_small import detection_precision
from tfod_csf.benchmarks.csf_small.detection_precision import COUNTED, IGNORED, NAME, WHITE_CELL, ClassDetections
from tfod_csf.benchmarks.csf_small.source_images import NOT_SURE
from tfod_csf.cell_classes import UNKNOWN, WHITE_CELLS
from tfod_csf.evaluation.pascal_evaluator import PascalDetectionEvaluator


def value(rows, reading, class_name):
    return figure(rows, NAME, reading, class_name).estimate.value


def test_no_boxes_and_all_missed_and_one_found():
    nothing = detection_precision.figures(held(([], [])), replicates=10)
    assert all(math.isnan(row.estimate.value) and row.note == "no such cell" for row in nothing)
    missed = detection_precision.figures(held(([("monocyte", 0)], [])), replicates=10)
    assert value(missed, IGNORED, "monocyte") == value(missed, WHITE_CELL, WHITE_CELL) == 0
    found = detection_precision.figures(held(([("monocyte", 0)], [("monocyte", 0.02, 2)])), replicates=10)
    assert value(found, IGNORED, "monocyte") == 1
    assert math.isnan(value(found, IGNORED, "neutrophil"))
    [row] = [row for row in found if (row.reading, row.class_name) == (IGNORED, "monocyte")]
    assert (row.units, row.cells, row.note) == (1, 1, "no interval: too few units with such cells")


def test_a_false_cell_before_the_second_right_one():
    # By falling score: right, wrong, right. The area is 0.5 * 1 + 0.5 * 2/3.
    found = detection_precision.figures(
        held(
            ([("neutrophil", 0)], [("neutrophil", 0.9, 0), ("neutrophil", 0.8, 100)]),
            ([("neutrophil", 0)], [("neutrophil", 0.7, 0)]),
        ),
        replicates=10,
    )
    assert value(found, IGNORED, "neutrophil") == pytest.approx(0.5 + 0.5 * 2 / 3)


@pytest.mark.parametrize(
    ("label", "ignored", "counted"),
    [
        (UNKNOWN, 1.0, 0.5),  # a lymphocyte at an unknown cell counts neither way, or is wrong
        (NOT_SURE, 1.0, 1.0),
        ("monocyte", 0.5, 0.5),
    ],
)
def test_a_lymphocyte_at_a_cell_of_another_name(label, ignored, counted):
    image = ([("lymphocyte", 0), (label, 100)], [("lymphocyte", 0.9, 100), ("lymphocyte", 0.8, 0)])
    found = detection_precision.figures(held(image), replicates=10)
    assert value(found, IGNORED, "lymphocyte") == ignored
    assert value(found, COUNTED, "lymphocyte") == counted


def test_unknown_is_a_class_where_it_is_counted():
    image = ([(UNKNOWN, 0), (UNKNOWN, 100)], [(UNKNOWN, 0.9, 0)])
    found = detection_precision.figures(held(image), replicates=10)
    assert value(found, COUNTED, UNKNOWN) == 0.5
    assert not [row for row in found if (row.reading, row.class_name) == (IGNORED, UNKNOWN)]


def test_red_cells_are_of_densely_labeled_images_only():
    red = [("erythrocyte", 0)]
    found = detection_precision.figures(
        held(
            (red, [("erythrocyte", 0.9, 0)], {"folder": "pbc_dense"}),
            ([], [("erythrocyte", 0.95, 300)]),  # of pbc_mgg, whose red cells have no boxes
        ),
        replicates=10,
    )
    assert value(found, IGNORED, "erythrocyte") == value(found, COUNTED, "erythrocyte") == 1


def test_white_cells_as_one_class_are_found_under_any_name_and_once():
    # Lymphocyte and monocyte lie on one cell; as one class the better of them is kept, and nothing is wrong.
    image = (
        [("monocyte", 0), (UNKNOWN, 100)],
        [("lymphocyte", 0.9, 0), ("monocyte", 0.8, 1), ("neutrophil", 0.7, 100), ("erythrocyte", 0.99, 200)],
    )
    found = detection_precision.figures(held(image), replicates=10)
    assert value(found, WHITE_CELL, WHITE_CELL) == 1
    assert figure(found, NAME, WHITE_CELL, WHITE_CELL).cells == 2


def random_images(number):
    """Images on which three of four detections have the class of the label that they are at, or beside."""
    rng = np.random.default_rng(5)
    images = []
    for _ in range(number):
        names = [str(name) for name in rng.choice([*WHITE_CELLS, NOT_SURE], rng.integers(1, 4))]
        found = []
        for _ in range(rng.integers(0, 6)):
            place = int(rng.integers(len(names)))
            is_right = rng.random() < 0.75 and names[place] != NOT_SURE
            name = names[place] if is_right else str(rng.choice(WHITE_CELLS))
            found.append((name, float(rng.integers(1, 100)) / 100, float(100 * place + rng.integers(0, 9))))
        images.append(([(name, 100 * place) for place, name in enumerate(names)], found))
    return images


def pascal(images, class_name, often=None):
    """TFOD's evaluator, each image as often as given."""
    evaluator = PascalDetectionEvaluator(LABEL_MAP.categories)
    for number, one in enumerate(images.examined):
        objects = [label for label in one.image.objects if label.name in (class_name, NOT_SURE)]
        truth = {
            "groundtruth_boxes": [[o.ymin, o.xmin, o.ymax, o.xmax] for o in objects],
            "groundtruth_classes": [LABEL_MAP.id_of(class_name)] * len(objects),
            "groundtruth_difficult": [label.name == NOT_SURE for label in objects],
        }
        found = {f"detection_{name}": getattr(one.detections, name) for name in ("boxes", "scores", "classes")}
        for copy in range(1 if often is None else often[number]):
            evaluator.add_single_ground_truth_image_info((number, copy), truth)
            evaluator.add_single_detected_image_info((number, copy), found)
    return evaluator.evaluate()[f"PascalBoxes_PerformanceByCategory/AP@0.5IOU/{class_name}"]


@pytest.mark.parametrize("class_name", WHITE_CELLS)
def test_values_are_those_of_tfods_evaluator(class_name):
    images = held(*random_images(40))
    rows = detection_precision.figures(images, replicates=10)
    expected = pascal(images, class_name)
    assert 0.2 < expected < 0.8
    assert value(rows, COUNTED, class_name) == pytest.approx(expected)


def test_a_sample_has_the_value_of_images_that_are_there_several_times():
    images = held(*random_images(30))
    of_class = [
        detection_precision.class_detections(one, LABEL_MAP, {"monocyte"}, {NOT_SURE}) for one in images.examined
    ]
    often = np.random.default_rng(1).multinomial(30, np.full(30, 1 / 30), 8)
    scores = np.concatenate([one.scores for one in of_class])
    order = np.argsort(-scores, kind="stable")
    found = detection_precision._weighted_average_precisions(
        np.concatenate([one.is_true_positive for one in of_class])[order],
        np.repeat(np.arange(30), [len(one.scores) for one in of_class])[order],
        np.array([one.num_groundtruth for one in of_class]),
        often,
    )
    expected = [pascal(images, "monocyte", weights) for weights in often]
    np.testing.assert_allclose(found, expected)
    assert len(set(found.round(6))) > 4


def test_intervals_sample_units():
    right = ClassDetections(np.array([0.9]), np.array([True]), 1)
    missed = ClassDetections(np.zeros(0), np.zeros(0, bool), 1)
    images = [right, missed] * 10
    found = detection_precision.average_precision(images, np.arange(20), replicates=400)
    # The share of cells that were found: binomial with 20 trials, whose standard error is 0.11.
    assert found.value == 0.5
    assert (found.low, found.high) == pytest.approx((0.5 - 0.24, 0.5 + 0.24), abs=0.06)
    alike = detection_precision.average_precision(images, np.repeat(np.arange(10), 2), replicates=400)
    assert (alike.value, alike.low, alike.high) == (0.5, 0.5, 0.5)
