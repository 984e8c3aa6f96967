"""The table of results, and the order of the pool."""

import numpy as np
import pytest

from tfod_csf.benchmarks.label_choice import drawn_pool, suggested_against_random
from tfod_csf.benchmarks.label_choice.suggested_against_random import NUM_CHOSEN, RANDOM, START, SUGGESTED, Results
from tfod_csf.cell_classes import STUDY_CLASSES
from tfod_csf.detections import Detections
from tfod_csf.errors import UserError
from tfod_csf.label_map import label_map_from_names


def test_mean_and_interval_of_three():
    # Standard error 1 / sqrt(3); Student's t of 2 degrees of freedom is 4.303.
    assert suggested_against_random.interval([1, 2, 3]) == "2.000 (-0.484 to 4.484)"
    assert suggested_against_random.interval([0.5]) == "0.500"
    assert suggested_against_random.interval([]) == "none"


def test_summary_of_one_repeat_and_one_that_is_not_complete(tmp_path):
    results = Results(tmp_path / "results.json")
    results.add(repeat=0, choice=START, fields=0, labels=0, map=0.2, rare_labels=0)
    for choice, gain in ((SUGGESTED, 0.02), (RANDOM, 0.01)):
        for fields in NUM_CHOSEN:
            results.add(
                repeat=0, choice=choice, fields=fields, labels=10 * fields, map=0.2 + gain * fields, rare_labels=1
            )
    results.add(repeat=1, choice=START, fields=0, labels=0, map=0.9, rare_labels=0)
    again = Results(tmp_path / "results.json")
    assert again.has(0, RANDOM, 24)
    assert not again.has(1, RANDOM, 24)
    text = suggested_against_random.summary(again.rows)
    assert "1 repeats; mAP of the start 0.200" in text
    assert "24 fields suggested: mAP 0.680, 240 labels, 1 of them rare" in text
    assert "    difference of mAP: 0.240" in text
    # 0.2 + 0.02 * 12 is 0.2 + 0.01 * 24, and 0.2 + 0.02 * 6 is 0.12 less.
    assert "12 fields suggested against 24 random: 0.50 of the labels, difference 0.000" in text
    assert "6 fields suggested against 24 random: 0.25 of the labels, difference -0.120" in text


def test_results_of_other_settings_are_refused(tmp_path, monkeypatch):
    Results(tmp_path / "results.json").add(repeat=0, choice=START, fields=0, labels=0, map=0.2, rare_labels=0)
    monkeypatch.setattr(suggested_against_random, "_STEPS", 7)
    with pytest.raises(UserError, match=r"results\.json: is of .*'steps': 240.* not .*'steps': 7.*; give a new folder"):
        Results(tmp_path / "results.json")


def test_the_order_begins_with_the_field_of_doubt_about_a_rare_class():
    label_map = label_map_from_names(STUDY_CLASSES)
    start, pool = drawn_pool.draw({"common": 1}, 2, seed=1), drawn_pool.draw({"common": 1, "monocytes": 1}, 2, seed=2)
    sure, doubtful = [0.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.6, 0.4, 0.0, 0.0]
    found = [
        Detections(one.image, 192, 144, np.array([[10, 10, 30, 30]]), [1], [max(scores)], np.array([scores]))
        for one, scores in zip(pool, [sure, sure, sure, doubtful], strict=True)
    ]
    order = suggested_against_random.suggested_order(found, pool, start, label_map)
    assert order[0] == 3
    assert sorted(order) == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_network_learns_and_starts_again_from_the_same_weights(tmp_path):
    from tfod_csf.benchmarks.label_choice.drawn_network import DrawnNetwork

    network = DrawnNetwork(label_map_from_names(STUDY_CLASSES), 2, tmp_path, seed=0)
    fields = drawn_pool.draw({"common": 1}, 4, seed=1)
    drawn_pool.write_record(fields, network.label_map, network.record)
    first = network.weights
    learned = []
    for _ in range(2):
        network.weights = first
        network.train(seed=3)
        learned.append(network.weights)
    assert any((before != after).any() for before, after in zip(first, learned[0], strict=True))
    for once, again in zip(*learned, strict=True):
        np.testing.assert_allclose(once, again, rtol=1e-4, atol=1e-6)
    found = network.detect(fields)
    assert [one.image for one in found] == [one.image for one in fields]
    assert found[0].multiclass_scores.shape[1] == 5
    assert 0 <= network.mean_average_precision(fields) <= 1
