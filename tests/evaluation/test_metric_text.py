import math

from tfod_csf.evaluation.metric_text import NO_GROUND_TRUTH, metric_text, metrics_table


def test_numbers_are_rounded_and_what_was_not_there_is_said():
    assert metric_text(2 / 3) == "0.6667"
    assert metric_text(2 / 3, 3) == "0.667"
    assert metric_text(0.0) == "0.0000"  # found nothing, which is not the same as nothing to find
    assert metric_text(math.nan) == metric_text(-1.0) == NO_GROUND_TRUTH


def test_a_table_is_aligned():
    assert metrics_table({"mAP": 0.5, "AR@100": -1}) == f"  mAP     0.5000\n  AR@100  {NO_GROUND_TRUTH}"
    assert metrics_table({}) == ""
