"""Composed patients by hand."""

import math

import numpy as np
import pytest

from tests.support.held_out_images import figure, held
from tfod_csf.benchmarks.csf_small import composed_patients
from tfod_csf.benchmarks.csf_small.composed_patients import (
    APART,
    AS_PREDICTED,
    EVERY,
    LARGEST,
    MIXTURES,
    NAME,
    CompositionSettings,
)
from tfod_csf.benchmarks.csf_small.source_images import NOT_SURE


def cell(label, found, score=0.9):
    return [(label, 0)], [(found, score, 0)]


# Every lymphocyte is taken for a monocyte, the other cells are right.
WRONG = [cell("lymphocyte", "monocyte"), cell("monocyte", "monocyte"), cell("neutrophil", "neutrophil")]


def test_percentages_of_a_model_that_takes_every_lymphocyte_for_a_monocyte():
    single = composed_patients.single_cells(held(*WRONG * 40))
    found = composed_patients.differences(single, np.arange(120), MIXTURES["18/23/59"], 100, 3, [0])
    # 0 / 41 / 59 instead of 18 / 23 / 59 in every patient, whichever images were taken.
    np.testing.assert_allclose(found, np.broadcast_to([18, 18, 0], (2, 3, 3)))


def test_unknown_cells_are_apart_or_as_predicted():
    images = [cell("lymphocyte", "lymphocyte", 0.7), *WRONG[1:]]
    settings = CompositionSettings(sizes=(3,), patients=2, samples=5)
    rows = composed_patients.figures(held(*images * 5), settings)
    # One of each: apart 0 / 50 / 50 instead of a third each; the mean of 33.3, 16.7 and 16.7 is 22.2.
    apart = figure(rows, NAME, APART, "even, 3 cells")
    assert apart.estimate.value == pytest.approx(200 / 9)
    assert apart.note == ""
    assert figure(rows, LARGEST, APART, "even, 3 cells").estimate.value == pytest.approx(100 / 3)
    assert figure(rows, NAME, AS_PREDICTED, "even, 3 cells").estimate.value == 0


def test_missed_and_false_cells_count():
    missed = composed_patients.single_cells(held(([("monocyte", 0)], [])))
    assert missed.counts.tolist() == [[[0, 0, 0]]] * 2
    false = held(([("monocyte", 0)], [("monocyte", 0.9, 0), ("neutrophil", 0.9, 100), ("erythrocyte", 0.9, 200)]))
    assert composed_patients.single_cells(false).counts.tolist() == [[[0, 1, 1]]] * 2


def test_only_images_with_one_white_cell_of_the_three_classes_are_used_and_each_once():
    images = held(
        cell("monocyte", "monocyte"),
        ([("monocyte", 0), ("erythrocyte", 100)], []),
        ([("monocyte", 0), ("neutrophil", 100)], []),
        ([("monocyte", 0), (NOT_SURE, 100)], []),
        ([("unknown", 0)], []),
        ([("erythrocyte", 0)], []),
        (*cell("monocyte", "monocyte"), {"repeats": "pbc_mgg/block_00/image_0.jpg"}),
    )
    assert composed_patients.single_cells(images).label.tolist() == [1, 1]
    assert composed_patients.images_of_class(images) == {"lymphocyte": 0, "monocyte": 2, "neutrophil": 0}


def test_no_image_is_used_twice_while_there_are_enough():
    rng = np.random.default_rng(0)
    of_class = [np.arange(5), np.arange(5, 10), np.arange(10, 12)]
    images = composed_patients.composed(rng, of_class, np.array([5, 4, 3]))
    assert sorted(images[:5]) == [0, 1, 2, 3, 4]
    assert len(set(images[5:9])) == 4
    assert set(images[9:]) <= {10, 11}
    assert len(images) == 12


@pytest.mark.parametrize(
    ("name", "size", "cells"),
    [
        ("5/3/92", 100, [5, 3, 92]),
        ("5/3/92", 300, [15, 9, 276]),
        ("1/7/91", 100, [1, 7, 92]),  # 1.01, 7.07, 91.92
        ("even", 100, [34, 33, 33]),
        ("87/6/7", 10, [9, 0, 1]),  # 8.7, 0.6, 0.7
    ],
)
def test_cells_of_a_mixture(name, size, cells):
    found = composed_patients.cells_of_mixture(MIXTURES[name], size)
    assert found.sum() == size
    assert found.tolist() == cells


def test_too_few_images_are_noted_and_a_class_without_any_leaves_no_patients():
    settings = CompositionSettings(sizes=(100,), patients=2, samples=5)
    rows = composed_patients.figures(held(*WRONG * 30), settings)
    assert figure(rows, NAME, APART, "87/6/7, 100 cells").note == (
        "images are repeated: lymphocyte (30 images for up to 87 cells)"
    )
    [row] = composed_patients.figures(held(*WRONG[:2] * 9), settings)
    assert math.isnan(row.estimate.value)
    assert row.note == "no patients: no image has one white cell that is a neutrophil"


def test_the_mean_of_the_mixtures_and_its_interval():
    images = held(*WRONG * 30)
    settings = CompositionSettings(sizes=(20,), patients=4, samples=60, seed=1)
    rows = composed_patients.figures(images, settings)
    means = [figure(rows, NAME, APART, f"{name}, 20 cells").estimate for name in MIXTURES]
    overall = figure(rows, NAME, APART, f"{EVERY}, 20 cells").estimate
    # Each lymphocyte moves to the monocytes: 2/3 of their percentage (1, 0, 4, 18, 7 of 20 cells), in every patient.
    assert [one.value for one in means] == pytest.approx([2 / 3 * 5 * cells for cells in (1, 0, 4, 18, 7)])
    assert overall.value == pytest.approx(np.mean([one.value for one in means]))
    assert overall.low == pytest.approx(overall.value)  # every image of a class is alike
    again = composed_patients.figures(images, settings)
    assert [row.estimate.value for row in again] == [row.estimate.value for row in rows]


def test_the_interval_is_wide_where_images_differ():
    images = [*WRONG, cell("lymphocyte", "lymphocyte"), *WRONG[1:]] * 10
    settings = CompositionSettings(sizes=(30,), patients=10, samples=60)
    found = figure(composed_patients.figures(held(*images), settings), NAME, APART, "even, 30 cells").estimate
    # About half of the 20 lymphocytes are monocytes: 10 * 0.5 / 30 of the cells move, 2/3 of 16.7 points.
    assert found.value == pytest.approx(2 / 3 * 100 / 6, abs=3)
    assert found.low < found.value - 2
    assert found.high > found.value + 2
