"""Held-out images: each once, cells as batch_infer selects them, and what intervals sample."""

import math

import numpy as np
import pytest

from tests.support.held_out_images import LABEL_MAP, detections, held, source
from tfod_csf.benchmarks.csf_small import held_out
from tfod_csf.benchmarks.csf_small.held_out import HeldOutError
from tfod_csf.cytology.studies.method_comparison import Estimate
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.label_map import label_map_from_names

NEUTROPHIL = ("neutrophil", 0)


def test_cells_are_selected_and_repeated_pictures_are_one():
    first = source("a", [NEUTROPHIL])
    found = held(
        ([NEUTROPHIL], [("neutrophil", 0.9, 0), ("monocyte", 0.6, 1), ("monocyte", 0.4, 100)]),
        ([NEUTROPHIL], [], {"folder": "pbc_dense", "repeats": "pbc_mgg/block_00/image_0.jpg"}),
        ([NEUTROPHIL], [], {"folder": "pbc_dense", "repeats": first.key}),  # of which this set has no earlier one
    )
    assert found.examined[0].cells.predicted_class == ["neutrophil"]
    assert [one.image.path.stem for one in found.distinct] == ["image_0", "image_2"]
    assert [one.image.path.stem for one in found.dense] == ["image_1", "image_2"]


def test_no_image_an_image_of_two_models_and_another_class_are_refused():
    with pytest.raises(HeldOutError, match="In domain: there is no image in these folds"):
        held_out.examine("In domain", LABEL_MAP, ScoreThresholds(), [])
    image = source("a")
    twice = [(image, detections("a")), (image, detections("a"))]
    with pytest.raises(HeldOutError, match=r"a\.jpg: two models are to be tested with it; give each its own folds"):
        held_out.examine("", LABEL_MAP, ScoreThresholds(), twice)
    with pytest.raises(HeldOutError, match=r"class 'blast'; expected lymphocyte, "):
        held_out.examine("", label_map_from_names(["Lymphocyte", "blast"]), ScoreThresholds(), twice[:1])


def test_images_are_units_unless_they_are_in_a_group():
    found = held(([], []), ([], [], {"group": "g"}), ([], []), ([], [], {"group": "g"}))
    units = held_out.units_of(found.examined)
    assert len(np.unique(units)) == 3
    assert units[1] == units[3]
    assert held_out.units_of([]).tolist() == []


def test_intervals_need_units_and_samples_that_have_a_value():
    again = np.linspace(0, 1, 1001)
    found = held_out.interval(0.5, again, 1000)
    # 2.5 % and 97.5 %, moved outwards by Student's t and the factor sqrt(1000 / 999) by less than 0.001.
    assert (found.low, found.high) == pytest.approx((0.025, 0.975), abs=0.001)
    assert held_out.interval(0.5, again, 10).low < 0.01
    assert math.isnan(held_out.interval(0.5, again, 4).low)
    assert math.isnan(held_out.interval(math.nan, again, 1000).low)
    some = np.where(np.arange(1001) % 10 == 0, np.nan, again)
    assert math.isnan(held_out.interval(0.5, some, 1000).low)


def test_units_are_sampled_as_often_as_there_are_units():
    often = held_out.often_sampled(7, 50, seed=3)
    assert often.shape == (50, 7)
    assert set(often.sum(axis=1)) == {7}
    np.testing.assert_array_equal(often, held_out.often_sampled(7, 50, seed=3))


def test_sums_of_units():
    values = np.array([[1, 10], [2, 20], [3, 30]])
    assert held_out.sums_of_units(values, np.array([2, 0, 2]), 3).tolist() == [[2, 20], [0, 0], [4, 40]]


def test_a_share_says_what_its_interval_is():
    parts, wholes = np.array([1, 1, 0, 1, 0, 1]), np.ones(6, int)
    found = held_out.share("recall", "", "monocyte", parts, wholes)
    assert found.estimate.value == pytest.approx(4 / 6)
    assert found.estimate.low < 4 / 6 < found.estimate.high
    assert (found.units, found.cells, found.note) == (6, 6, "")
    all_right = held_out.share("recall", "", "monocyte", wholes, wholes)
    # Clopper and Pearson: 0.025 ** (1 / 6).
    assert (all_right.estimate.low, all_right.estimate.high) == pytest.approx((0.5407, 1.0), abs=1e-4)
    assert all_right.note == "all samples are alike; the interval takes cells as independent"
    few = held_out.share("recall", "", "monocyte", np.array([1, 1, 0]), np.array([1, 1, 4]))
    assert few.estimate.value == pytest.approx(2 / 6)
    assert (few.units, few.cells, few.note) == (3, 6, "no interval: too few units with such cells")
    none = held_out.share("recall", "", "monocyte", np.zeros(9, int), np.zeros(9, int))
    assert (none.cells, none.note) == (0, "no such cell")
    assert math.isnan(none.estimate.value)


def test_an_interval_of_no_width_is_noted():
    assert held_out.note_of(Estimate(1.0, 1.0, 1.0), 9) == "all samples are alike; the interval says nothing"
    assert held_out.note_of(Estimate(0.9, 0.8, 1.0), 9) == ""
