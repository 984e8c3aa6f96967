"""Design effects by hand, and what few or odd images give."""

import numpy as np
import pytest
from scipy import stats

from tfod_csf.cytology.counting.clustering import Clustering, measure_clustering


def test_images_of_one_class_by_hand():
    # Each image is 20 cells off in two classes: 10 * 2 * 20^2 / (1 - 1 / 10) = 8,889 in 400 * (1/4 + 1/4) = 200.
    found = measure_clustering([[40, 0, 0]] * 5 + [[0, 40, 0]] * 5)
    assert found.design_effect == pytest.approx(8000 / 0.9 / 200)
    assert (found.white_cells, found.images, found.classes, found.equal_images) == (400, 10, 2, 10)
    # Student's quantile with (2 - 1) (10 - 1) degrees of freedom at 1 - 0.05 / 6 over the normal one.
    widening = (stats.t.ppf(1 - 0.05 / 6, 9) / stats.norm.ppf(1 - 0.05 / 6)) ** 2
    assert found.effective_cells(400) == pytest.approx(400 / (8000 / 0.9 / 200 * widening))


def test_independent_cells_have_a_design_effect_of_one_on_unequal_images_too():
    rng = np.random.default_rng(5)
    sizes = [1, 2, 4, 8, 16, 32, 64]
    found = [measure_clustering(rng.multinomial(sizes, [0.5, 0.3, 0.2])).design_effect for _ in range(3000)]
    assert np.mean(found) == pytest.approx(1, abs=0.03)


def test_even_images_are_never_worth_more_than_their_cells():
    even = measure_clustering([[5, 3, 2]] * 10)
    assert (even.design_effect, even.effective_cells(100)) == (0, 100)


@pytest.mark.parametrize(
    "counts",
    [
        np.zeros((0, 3)),
        np.zeros((4, 3)),
        [[1, 0, 0]],
        [[9, 1, 0]] * 4,
        [[9, 1, 0]] * 4 + [[0, 0, 0]] * 9,
        [[7, 0, 0]] * 9,
    ],
)
def test_no_cells_few_images_and_one_class_say_nothing(counts):
    found = measure_clustering(np.asarray(counts))
    assert found.design_effect is None
    assert found.effective_cells(50) == 50


def test_one_image_with_nearly_all_cells_is_worth_little():
    found = measure_clustering([[500, 300, 200], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]])
    assert found.equal_images == pytest.approx(1, abs=0.02)
    assert found.effective_cells(1005) < 30


def test_effective_cells_rise_with_the_cells():
    found = measure_clustering([[4, 2, 1], [1, 5, 2], [3, 3, 3], [6, 0, 1], [2, 2, 2]])
    cells = [found.effective_cells(n) for n in (5, 20, found.white_cells, 100, 1000)]
    assert cells == sorted(cells)
    assert Clustering().effective_cells(10) == 10
