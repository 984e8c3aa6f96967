import json
import math

import numpy as np
import pytest
from tensorboard.compat.proto import event_pb2

from tests.support.tfrecord_frames import frame
from tfod_csf.commands import command_line
from tfod_csf.evaluation.training_report.training_curves import fit_asymptote, smoothed
from tfod_csf.files import csv_schemas, csv_tables

PRECISION = "PascalBoxes_Precision/mAP@0.5IOU"


def test_an_exact_curve_is_found_and_its_saturation_worked_by_hand():
    # 0.9 - 30 / x is within 0.01 of 0.9 from x = 3000 on; within 0.01 of its last value 0.897 from x = 2308 on.
    steps = np.arange(0, 10001, 100)
    values = np.r_[0.0, 0.9 - 30 / steps[1:]]
    fit = fit_asymptote(steps, values, 0.01)
    assert (fit.a, fit.b, fit.r_squared) == pytest.approx((0.9, 30, 1))
    assert fit.fit_step == pytest.approx(3000)
    assert fit.observed_step == 2400
    assert fit.saturated
    assert fit.count == 100  # step 0 is ignored


def test_a_short_or_still_rising_run_has_not_saturated():
    steps = np.arange(100, 1001, 100)
    assert not fit_asymptote(steps, 0.9 - 30 / steps, 0.01).saturated
    rising = fit_asymptote(steps, steps / 1000, 0.01)
    assert rising.observed_step is None
    assert not rising.saturated


def test_too_few_points_and_what_is_not_finite():
    assert fit_asymptote(np.array([0, 1, 2, 3]), np.array([1, 2, 3.0, 4]), 0.01) is None
    assert fit_asymptote(np.array([1, 2, 3, 4]), np.array([1, math.nan, 3, 4]), 0.01) is None
    flat = fit_asymptote(np.array([1, 2, 3, 4]), np.array([1, 1, 1, 1.0]), 0.01)
    assert math.isnan(flat.r_squared)
    assert flat.saturated


def test_running_median():
    assert smoothed([1, 9, 2, 3], 3).tolist() == [5, 2, 3, 2.5]


def write_events(folder, tags):
    folder.mkdir(parents=True)
    data = b""
    for tag, (steps, values) in tags.items():
        for step, value in zip(steps, values, strict=True):
            event = event_pb2.Event(step=int(step), wall_time=float(step))
            event.summary.value.add(tag=tag, simple_value=value)
            data += frame(event.SerializeToString())
    (folder / "events.out.tfevents.1").write_bytes(data)


def test_command_on_a_run(tmp_path, capsys):
    steps = np.arange(100, 10001, 100)
    losses = {"Loss/total_loss": (steps, 0.3 + 200 / steps), "learning_rate": (steps, 0.001 * 0.9 ** (steps / 1000))}
    losses["Loss/RPNLoss/objectness_loss"] = (steps, 0.1 + 50 / steps)
    write_events(tmp_path / "run" / "train", losses)
    precision = np.r_[-1.0, 0.9 - 30 / steps[9::10]]
    write_events(tmp_path / "run" / "eval", {PRECISION: (np.r_[0, steps[9::10]], precision)})
    best = {"metric": PRECISION, "value": 0.897, "step": 10000}
    (tmp_path / "run" / "best").mkdir()
    (tmp_path / "run" / "best" / "best.json").write_text(json.dumps(best), encoding="utf-8")
    flags = [f"--model_dir={tmp_path / 'run'}", f"--output_dir={tmp_path / 'out'}"]
    assert command_line.main(["training_report", *flags]) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert f"{PRECISION} 0.8970 at step 10,000, fit 0.9000 - 30.0 / step: saturated" in out
    assert "best checkpoint at step 10000" in out
    assert csv_schemas.load("training_curve").check(tmp_path / "out" / "training_curve.csv") == 311
    assert csv_schemas.load("training_fit").check(tmp_path / "out" / "training_fit.csv") == 3
    rows = {row["tag"]: row for row in csv_tables.read_rows(tmp_path / "out" / "training_fit.csv")}
    assert (rows[PRECISION]["saturated_step_fit"], rows[PRECISION]["saturated_step_observed"]) == ("3000", "3000")
    assert rows["Loss/total_loss"]["b"] == "-200.0000"
    for suffix in ("png", "svg"):
        assert (tmp_path / "out" / f"training_report.{suffix}").stat().st_size > 10_000


def test_folders_without_numbers_are_one_sentence(tmp_path, capsys):
    for folder in (tmp_path, tmp_path / "none"):
        status = command_line.main(["training_report", f"--model_dir={folder}", f"--output_dir={tmp_path / 'out'}"])
        assert status == 1
    errors = capsys.readouterr().err
    assert "no TensorBoard event file with numbers" in errors
    assert "no such folder" in errors
