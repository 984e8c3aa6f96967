"""Rows of the training report on series worked by hand."""

import json
import math

import numpy as np
import pytest

from tfod_csf.errors import UserError
from tfod_csf.evaluation.training_report import training_tables
from tfod_csf.evaluation.training_report.event_files import Series
from tfod_csf.evaluation.training_report.training_tables import fit_rows, plot_training, read_best

MAP = "PascalBoxes_Precision/mAP@0.5IOU"
LOSS = "Loss/total_loss"


def series(steps, values):
    steps = np.array(steps)
    return Series(steps, np.array(values, float), steps.astype(float))


def rows_of(runs, precision_tolerance=0.01, loss_tolerance=0.02):
    return {(row["run"], row["tag"]): row for row, _ in fit_rows(runs, precision_tolerance, loss_tolerance)}


def test_best_is_the_highest_precision_and_the_lowest_loss():
    runs = {
        "train": {LOSS: series([1, 2, 3], [5.0, 1.0, 2.0]), "learning_rate": series([1], [0.1])},
        "eval": {MAP: series([10, 20, 30], [0.5, 0.8, 0.6])},
    }
    rows = rows_of(runs)
    assert rows.keys() == {("train", LOSS), ("eval", MAP)}  # the learning rate is no curve to fit
    loss, precision = rows["train", LOSS], rows["eval", MAP]
    assert (loss["best_step"], loss["best_value"], loss["last_step"], loss["last_value"]) == (2, 1, 3, 2)
    assert (precision["best_step"], precision["best_value"]) == (20, 0.8)
    # A precision's tolerance is given in points, a loss's as a fraction of its range of 4.
    assert (precision["tolerance"], loss["tolerance"]) == (0.01, pytest.approx(0.08))


def test_no_ground_truth_and_what_is_not_finite_are_no_points():
    runs = {
        "eval": {
            MAP: series([0, 10, 20], [-1, 0.5, math.nan]),
            "DetectionBoxes_Recall/AR@100": series([0], [-1]),
            LOSS: series([5, 10], [-1.0, math.inf]),
        }
    }
    rows = rows_of(runs)
    assert rows.keys() == {("eval", MAP), ("eval", LOSS)}
    assert (rows["eval", MAP]["points"], rows["eval", MAP]["last_value"]) == (1, 0.5)
    assert rows["eval", LOSS]["last_value"] == -1  # -1 means "nothing" for a precision only
    assert "a" not in rows["eval", MAP]  # one point has no fit


def test_a_constant_loss_has_a_tolerance_above_zero():
    assert rows_of({"train": {LOSS: series([1, 2], [3, 3])}})["train", LOSS]["tolerance"] == 1e-12


def test_nothing_recorded():
    assert rows_of({}) == {}
    assert rows_of({"train": {}}) == {}


def test_best_json_in_either_place(tmp_path):
    assert read_best(tmp_path) is None
    (tmp_path / "best.json").write_text(json.dumps({"step": 1}), encoding="utf-8")
    assert read_best(tmp_path) == {"step": 1}
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "best.json").write_text(json.dumps({"step": 2}), encoding="utf-8")
    assert read_best(tmp_path) == {"step": 2}
    (tmp_path / "best" / "best.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"best\.json: not JSON"):
        read_best(tmp_path)


def test_figure_shows_precision_losses_and_learning_rate(saved_figures, tmp_path):
    steps = [1, 2, 3, 4]
    runs = {
        "train": {LOSS: series(steps, [4, 3, 2, 1]), "learning_rate": series(steps, [0.1] * 4)},
        "eval": {MAP: series(steps, [-1, 0.5, 0.75, 0.7]), LOSS: series(steps, [5, 4, 3, 2])},
        "eval_train_data": {LOSS: series(steps, [9, 9, 9, 9])},
    }
    (precision,) = [found for found in fit_rows(runs, 0.01, 0.02) if found[0]["tag"] == MAP]
    plot_training(tmp_path / "t.png", runs, precision, {"metric": MAP, "step": 3, "value": 0.75})
    top_left, top_right, bottom_left, bottom_right = saved_figures[0].axes
    assert top_left.lines[0].get_xydata().tolist() == [[2, 50], [3, 75], [4, 70]]  # percent, without the -1
    assert top_left.lines[-1].get_xydata().tolist() == [[3, 75]]
    assert top_left.lines[-1].get_label() == "best checkpoint: step 3"
    drawn = [line.get_ydata().tolist() for line in top_right.lines]
    assert [4, 3, 2, 1] in drawn
    assert [5, 4, 3, 2] in drawn
    assert [9, 9, 9, 9] not in drawn  # training data evaluated for comparison
    assert [text.get_text() for text in bottom_left.texts] == ["not recorded"]
    assert bottom_right.lines[0].get_ydata().tolist() == [0.1] * 4


def test_training_data_evaluated_for_comparison_is_not_the_runs_precision(tmp_path, monkeypatch):
    steps = [1, 2, 3, 4]
    runs = {
        "eval_train_data": {MAP: series(steps, [0.9] * 4)},
        "eval": {MAP: series(steps, [0.1, 0.2, 0.3, 0.4])},
    }
    monkeypatch.setattr(training_tables, "read_runs", lambda _: runs)
    row, best = training_tables.write_training_report(tmp_path, tmp_path / "out")
    assert (row["run"], row["last_value"], best) == ("eval", 0.4, None)


def test_the_star_is_on_the_curve_of_the_reader_that_chose_the_best_checkpoint(saved_figures, tmp_path, monkeypatch):
    steps = [1, 2, 3, 4]
    runs = {
        "eval/another_laboratory": {MAP: series(steps, [0.1, 0.2, 0.3, 0.4])},
        "eval/validation": {MAP: series(steps, [0.5, 0.6, 0.7, 0.6])},
    }
    monkeypatch.setattr(training_tables, "read_runs", lambda _: runs)
    best = {"metric": MAP, "step": 3, "value": 0.7, "run": "eval/validation"}
    (tmp_path / "best.json").write_text(json.dumps(best), encoding="utf-8")
    row, _ = training_tables.write_training_report(tmp_path, tmp_path / "out")
    assert (row["run"], row["best_value"]) == ("eval/validation", 0.7)
    lines = saved_figures[0].axes[0].lines
    assert lines[0].get_ydata().tolist() == [50, 60, 70, 60]
    assert lines[-1].get_xydata().tolist() == [[3, 70]]
    # An earlier version's best.json does not say which of the two it is of: no star.
    (tmp_path / "best.json").write_text(json.dumps({"metric": MAP, "step": 3, "value": 0.7}), encoding="utf-8")
    training_tables.write_training_report(tmp_path, tmp_path / "out")
    labels = [line.get_label() for line in saved_figures[-1].axes[0].lines]
    assert not any(label.startswith("best checkpoint") for label in labels)
