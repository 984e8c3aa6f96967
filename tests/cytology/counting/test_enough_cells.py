"""The one answer: which of the three numbers decides, and what is not known."""

import numpy as np
import pytest
from scipy import stats

from tfod_csf.cytology.counting.differential import DifferentialRules, differential
from tfod_csf.cytology.counting.enough_cells import first_lasting, images_needed

RULES = DifferentialRules()


def of_images(images, rules=RULES, unknown=0, patient_id="p"):
    counts = dict(zip(("lymphocyte", "monocyte", "neutrophil"), np.sum(images, axis=0).tolist(), strict=True))
    return differential(patient_id, {"m": {**counts, "unknown": unknown}}, rules=rules, image_counts=images)


def test_images_needed_against_the_binomial_distribution():
    # Ten images, each of one class: j drawn images are Binomial(j, 1/2) / j.
    images = [[40, 0, 0]] * 5 + [[0, 40, 0]] * 5
    within = [
        stats.binom.cdf(np.floor(0.8 * j + 1e-9), j, 0.5) - stats.binom.cdf(np.ceil(0.2 * j - 1e-9) - 1, j, 0.5)
        for j in range(1, 41)
    ]
    assert images_needed("p", images, 30) == pytest.approx(first_lasting(np.array(within), 0.95) + 1, abs=2)
    assert images_needed("p", images, 10) is None  # 0.95 needs about 96 images


def test_even_images_need_what_the_interval_needs():
    # 50 / 25 / 25 %: 138 cells for a reach of 10 points; the images are all alike, so that one settles.
    assert of_images([[10, 5, 5]] * 7).enough.answer == "yes"
    assert of_images([[10, 5, 5]] * 7).cells_needed == 138
    assert of_images([[10, 5, 5]] * 6).enough.answer == "no"


def test_the_minimum_decides_where_it_is_largest():
    assert of_images([[10, 5, 5]] * 20, DifferentialRules(min_white_cells=350)).cells_needed == 350


def test_clustered_cells_need_more():
    clustered = of_images([[20, 0, 0], [0, 20, 0], [0, 0, 20]] * 5)
    assert clustered.enough.answer == "no"
    assert clustered.cells_needed is None or clustered.cells_needed > 300


def test_one_class_is_not_known_unless_even_independent_cells_are_too_few():
    found = of_images([[20, 0, 0]] * 6)
    assert (found.enough.answer, found.cells_needed) == ("not known", 46)
    assert "one class" in found.enough.why
    assert of_images([[8, 0, 0]] * 5).enough.answer == "no"  # 40 cells: 0 % reaches 11.3 points


def test_few_images_are_not_known():
    found = of_images([[50, 25, 25]] * 4)
    assert found.enough.answer == "not known"
    assert found.enough.why.startswith("4 images with white cells cannot show")


def test_unknown_cells_forbid_a_yes():
    assert of_images([[20, 10, 10]] * 8, unknown=35).enough.answer == "yes"  # 35 of 355 are 9.9 %
    found = of_images([[20, 10, 10]] * 8, unknown=36)
    assert found.enough.answer == "not known"
    assert "10.1 % of the white cells" in found.enough.why


def test_too_few_cells_and_no_cells_are_not_enough():
    assert of_images([[2, 1, 1]] * 5).enough.answer == "no"
    assert of_images(np.zeros((0, 3))).enough.answer == "no"


def test_the_answer_agrees_with_the_interval():
    rng = np.random.default_rng(8)
    for number in range(40):
        shares = rng.dirichlet([0.5, 1, 2], size=12)
        mixed = rng.uniform() * shares + (1 - rng.uniform()) * shares.mean(axis=0)
        images = rng.multinomial(rng.integers(3, 40), mixed / mixed.sum(axis=1, keepdims=True))
        found = of_images(images, patient_id=str(number))
        if found.enough.answer == "yes":
            assert found.reach_points <= 10 + 1e-9
        elif found.shares and found.cells_needed is not None and found.enough.answer == "no":
            assert found.white_cells < found.cells_needed
