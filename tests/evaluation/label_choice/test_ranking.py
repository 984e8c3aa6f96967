"""The order of images on a line, where distances can be seen."""

import numpy as np
import pytest

from tfod_csf.evaluation.label_choice import ranking
from tfod_csf.evaluation.label_choice.image_measures import Description


def ranked(uncertainty, places, labeled=()):
    points = (np.array(some, float).reshape(-1, 1) for some in (places, labeled))
    return ranking.ranked(np.array(uncertainty, float), *points)


def test_of_equal_images_one_is_ranked_first_and_the_others_last():
    choices = ranked([1.0, 1.0, 1.0, 0.2], [0, 0, 0, 1])
    assert [choice.index for choice in choices] == [0, 3, 1, 2]
    assert [choice.novelty for choice in choices] == [1, 1, 0, 0]
    assert [choice.nearest for choice in choices] == [None, 0, 0, 0]


def test_what_is_like_a_labeled_image_waits():
    choices = ranked([1.0, 0.5], [0, 0.8], labeled=[0.0, 5.0])
    # (0.05 + 0.95 * 0.5) * 0.8
    assert [(c.index, c.score, c.nearest) for c in choices] == [(1, pytest.approx(0.42), 2), (0, 0, 2)]
    assert choices[0].uncertainty == 0.5


def test_uncertainty_decides_among_images_that_are_equally_far():
    assert [choice.index for choice in ranked([0.1, 0.3, 0.2], [0, 2, 4])] == [1, 2, 0]


def test_an_image_without_doubts_is_chosen_for_its_looks():
    # 0.05 * 1 against 1 * 0.04
    assert [choice.index for choice in ranked([1.0, 1.0, 0.0], [0, 0.04, 3])] == [0, 2, 1]


def test_the_model_doubts_nothing():
    choices = ranked([0, 0], [0, 1])
    assert [(c.index, c.uncertainty) for c in choices] == [(0, 0), (1, 0)]


@pytest.mark.parametrize("labeled", [[], [1.0]])
def test_one_image_and_none(labeled):
    assert [choice.index for choice in ranked([0.4], [1], labeled)] == [0]
    assert ranked([], [], labeled) == []


def test_after_the_first_ones_the_rest_is_in_the_order_of_its_products():
    uncertainty, places = [1.0, 0.9, 0.8, 0.1], [0, 0.1, 0.9, 0.95]
    points = np.array(places).reshape(-1, 1), np.zeros([0, 1])
    choices = ranking.ranked(np.array(uncertainty), *points, num_spread=1)
    # Distances to the first are kept: the last one is 0.95 from it, and not 0.05 from the one before it.
    assert [(c.index, c.nearest) for c in choices] == [(0, None), (2, 0), (3, 0), (1, 0)]
    assert choices[2].novelty == pytest.approx(0.95)


def description(cells, colors):
    return Description(np.array(cells, float), np.array(colors, float))


def test_the_mean_square_distance_of_images_is_one():
    generator = np.random.default_rng(0)
    some = [description(generator.normal(0, 9, 4), generator.normal(50, 3, 6)) for _ in range(30)]
    points = np.concatenate(ranking.places(some[:20], some[20:]))
    # Over all ordered pairs, an image with itself among them.
    assert ((points[:, np.newaxis] - points) ** 2).sum(axis=2).mean() == pytest.approx(1)


def test_one_unlabeled_image_is_as_far_from_labeled_ones_as_it_looks():
    # Cells 0 and 4: variance 4, so the spread is 4. They are 1 apart, the colors the same.
    places = ranking.places([description([4], [3])], [description([0], [3])])
    assert [part.tolist() for part in places] == [[[1, 0]], [[0, 0]]]
    [choice] = ranking.ranked(np.array([0.7]), *places)
    assert (choice.novelty, choice.score, choice.nearest) == (1, 1, 1)
    # Several that are equal among themselves are no nearer to the labeled one for that.
    points, labeled = ranking.places([description([4], [3])] * 2, [description([0], [3])])
    assert np.abs(points - labeled).sum(axis=1).min() > 1
    # One that looks like a labeled image is not new.
    [choice] = ranking.ranked(np.array([0.7]), *ranking.places([description([4], [3])], [description([4], [3])]))
    assert (choice.novelty, choice.score) == (0, 0)


def test_images_that_do_not_differ_in_cells():
    points, labeled = ranking.places([description([1], [0]), description([1], [2])], [])
    # Variance of the colors 1, so the spread is 2.
    assert points.tolist() == [[0, 0], [0, 1]]
    assert labeled.shape == (0, 2)
