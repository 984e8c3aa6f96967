"""Distances from training images whose statistics are made of normal random numbers."""

import dataclasses
import json

import numpy as np
import pytest

from tfod_csf.domain import training_domain
from tfod_csf.domain.picture_statistics import ASPECTS, STATISTICS
from tfod_csf.domain.training_domain import TrainingDomain, TrainingDomainError, describe

S = len(STATISTICS)
SPREAD = 10.0  # far above the spreads that say nothing
SIZE = STATISTICS.index("stained_size")


def images(number: int, seed: int = 0, center: float = 0.0) -> np.ndarray:
    """[N, S] of one kind, all statistics independent."""
    return np.random.default_rng(seed).normal(center, SPREAD, (number, S))


def shares_outside(domain: TrainingDomain, statistics: np.ndarray) -> float:
    return float(np.mean([not domain.judge(one).in_domain for one in statistics]))


def test_about_two_images_in_a_hundred_of_the_same_kind_are_flagged():
    outside = [shares_outside(describe(images(400, seed), [""] * 400), images(1000, 90 + seed)) for seed in range(3)]
    assert 0.01 < np.mean(outside) < 0.035


@pytest.mark.parametrize("number", [50, 100])
def test_about_two_in_a_hundred_are_flagged_by_few_training_images_too(number):
    outside = [
        shares_outside(describe(images(number, seed), [""] * number), images(300, 90 + seed)) for seed in range(8)
    ]
    assert 0.005 < np.mean(outside) < 0.035


def test_an_image_far_away_in_one_statistic_is_unlike_in_its_aspect():
    domain = describe(images(300), [""] * 300)
    image = np.zeros(S)
    image[SIZE] = 8 * SPREAD
    judgment = domain.judge(image)
    assert not judgment.in_domain
    (difference,) = judgment.differences
    assert (difference.aspect, difference.statistic) == ("size", "stained_size")
    assert difference.ratio == judgment.distance > 1
    assert difference.points == pytest.approx(8 * SPREAD, rel=0.1)
    assert domain.judge(np.zeros(S)).differences == ()


def test_the_differences_are_sorted_by_how_far_they_are_beyond_their_limits():
    image = np.zeros(S)
    image[SIZE], image[0] = 7 * SPREAD, 30 * SPREAD
    differences = describe(images(300), [""] * 300).judge(image).differences
    assert [one.aspect for one in differences] == ["light", "size"]
    assert differences[0].ratio > differences[1].ratio


def test_between_two_laboratories_nothing_is_like_either():
    two = np.concatenate([images(200, 0, -100.0), images(200, 1, 100.0)])
    domain = describe(two, [""] * 400)
    assert shares_outside(domain, images(100, 2, -100.0)) < 0.05
    assert shares_outside(domain, images(100, 3, 100.0)) < 0.05
    assert shares_outside(domain, images(100, 4, 0.0)) == 1


def test_a_rare_kind_that_varies_more_has_wider_limits_of_its_own():
    """Sixty images of a thousand have twice the spread: limits of all together would flag a third of such images."""
    known = np.concatenate([images(940, 0, -200.0), 200 + 2 * images(60, 1)])
    domain = describe(known, [""] * 1000)
    new = 200 + 2 * images(400, 2)
    wide = domain.centers[:, 0] > 0
    assert domain.widths[wide].min() > 1.2
    assert domain.widths.max() <= training_domain._WIDEST
    assert (domain.widths[~wide] == 1).all()
    narrow = dataclasses.replace(domain, widths=np.ones(len(wide)))
    assert shares_outside(narrow, new) > 2 * shares_outside(domain, new)
    assert shares_outside(domain, images(400, 3, -200.0)) < 0.04


def test_the_width_of_a_kind_is_its_own_quantile_where_clearly_more_images_are_beyond():
    ratios, kinds = np.full(200, 0.5), np.repeat([0, 1], 100)
    ratios[:5] = 1.2  # 2 of 100 are expected, and 2 + 3 * 1.4 = 6.2 are not clearly more
    ratios[100:107] = [1.1, 1.2, 1.3, 1.31, 1.32, 1.33, 1.4]
    # The 99th of 100 sorted ratios is the second largest; twice the 95 % quantile (1.1) is larger.
    assert training_domain._widths(ratios, kinds, 2).tolist() == [1.0, 1.33]
    ratios[100:107] = 9.0
    assert training_domain._widths(ratios, kinds, 3).tolist() == [1.0, 1.5, 1.0]


def test_limits_are_wider_where_patients_differ():
    """Each patient has a stain of its own; whoever mixes patients' images does not see that a new one may differ."""
    generator = np.random.default_rng(0)
    patients = np.repeat(np.arange(4), 50)
    differ = images(200) / 10 + generator.normal(0, SPREAD, (4, S))[patients]
    by_patient = describe(differ, [f"p{patient}" for patient in patients])
    by_image = describe(differ, [""] * 200)
    assert by_patient.grouped
    assert by_patient.groups == 4
    assert not by_image.grouped
    assert all(by_patient.limits[name] > by_image.limits[name] for name in by_patient.limits)


def test_no_group_is_in_two_folds():
    groups = ["a"] * 30 + ["b"] * 20 + ["c"] * 5 + ["d"] * 5
    folds, grouped = training_domain._folds(groups)
    assert grouped
    assert len(set(folds)) == 4
    assert all(len(set(folds[[name == group for name in groups]])) == 1 for group in "abcd")
    folds, grouped = training_domain._folds(["a"] * 12)
    assert not grouped
    assert np.bincount(folds).tolist() == [3, 3, 2, 2, 2]
    assert not training_domain._folds(["a"] * 60 + [""])[1]


@pytest.mark.parametrize(("sizes", "grouped"), [((85, 15), False), ((300, 10, 9), False), ((300, 10, 10), True)])
def test_one_patient_with_nearly_all_images(sizes, grouped):
    groups = [f"p{patient}" for patient, size in enumerate(sizes) for _ in range(size)]
    domain = describe(images(len(groups)), groups)
    assert domain.grouped is grouped
    assert domain.groups == len(sizes)
    assert domain.judge(images(1, 7)[0]).in_domain


def test_images_of_which_nothing_could_be_measured():
    with pytest.raises(TrainingDomainError, match="of 60 images fewer than 20 have anything to measure"):
        describe(np.full((60, S), np.nan), [""] * 60)


def test_a_quantile_by_hand():
    # Of 199 distances the 99 % quantile for a further one is the 198th: 200 * 0.99 = 198.
    assert training_domain._limit(np.arange(101.0, 300.0), 0.99) == 298
    assert training_domain._limit(np.arange(101.0, 151.0), 0.99) == 150  # too few: the largest
    # Of 199 distances the 95 % quantile is the 190th; five spoiled images are farther than twice that.
    assert training_domain._limit(np.array([1.0] * 194 + [100.0] * 5), 0.99) == 2


def test_statistics_that_nobody_could_measure_do_not_count():
    known = images(200)
    known[:, SIZE - 1] = np.nan
    known[:190, STATISTICS.index("edge_width")] = np.nan  # of ten images only
    domain = describe(known, [""] * 200)
    assert "focus" not in domain.limits
    image = np.zeros(S)
    assert domain.judge(image).in_domain
    image[[SIZE - 1, STATISTICS.index("edge_width")]] = 100 * SPREAD
    assert domain.judge(image).in_domain
    nothing = np.full(S, np.nan)
    assert domain.judge(nothing).distance == 0


def test_few_images_with_cells_do_not_make_every_image_with_cells_unlike():
    known = images(4000)
    known[30:, STATISTICS.index("edge_width")] = np.nan
    domain = describe(known, [""] * 4000)
    assert domain.limits["focus"] > 1
    assert domain.judge(images(1, 7)[0]).in_domain


def test_training_images_that_are_all_the_same():
    domain = describe(np.zeros((60, S)), [f"p{number % 6}" for number in range(60)])
    image = np.zeros(S)
    assert domain.judge(image).distance == 0
    image[SIZE] = 0.1  # 7 % larger
    assert domain.judge(image).in_domain
    image[SIZE] = 1.0
    assert not domain.judge(image).in_domain


def test_fewer_clipped_pixels_are_no_difference():
    domain, clipped = describe(images(200), [""] * 200), STATISTICS.index("clipped")
    for value, is_unlike in ((-50 * SPREAD, False), (50 * SPREAD, True)):
        image = np.zeros(S)
        image[clipped] = value
        assert domain.judge(image).in_domain is not is_unlike


def test_outliers_in_training_are_no_kind_of_their_own():
    known = np.concatenate([images(297), np.full((3, S), 500.0)])
    assert not describe(known, [""] * 300).judge(np.full(S, 500.0)).in_domain


def test_what_is_stored_judges_as_what_was_described():
    known = images(300)
    known[:, SIZE] = np.nan
    domain = describe(known, [f"p{number % 9}" for number in range(300)])
    text = json.dumps(domain.as_json(), allow_nan=False)
    assert len(text) < 8000
    read = TrainingDomain.of_json(json.loads(text), "model.json")
    for image in images(20, 5):
        assert read.judge(image).distance == pytest.approx(domain.judge(image).distance, rel=2e-3)
    assert read.as_json() == domain.as_json()


def test_a_model_that_was_stored_without_widths_has_one_width():
    stored = describe(images(300), [""] * 300).as_json()
    del stored["widths"]
    read = TrainingDomain.of_json(stored, "model.json")
    assert read.widths.tolist() == [1.0] * len(read.centers)


def test_too_few_images():
    with pytest.raises(TrainingDomainError, match=r"49 images are too few .* 50 are needed"):
        describe(images(49), [""] * 49)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"statistics": ["hue"]},
        {"centers": [[1.0]]},
        {"centers": []},
        {"limits": {}},
        {"limits": {"light": -1}},
        {"widths": [0.5]},
        {"widths": [1.0, 1.0]},
        {"covariances": {}},
        {"covariances": {name: [[1.0]] for name in ASPECTS}},
        {"images": None},
    ],
)
def test_numbers_of_another_version_are_refused(change):
    stored = {**describe(images(60), [""] * 60).as_json(), **change}
    with pytest.raises(TrainingDomainError, match=r"m/model.json: training_domain is not .* describe_domain again"):
        TrainingDomain.of_json(stored, "m/model.json")
