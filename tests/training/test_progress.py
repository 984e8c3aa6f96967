import numpy as np

from tfod_csf.training import progress


def test_losses_are_printed_as_tfod_prints_them():
    text = progress.format_losses(
        {
            "Loss/total_loss": np.float32(0.49017572),
            "Loss/RPNLoss/objectness_loss": 0.10926249,
            "Loss/BoxClassifierLoss/classification_loss": 0.2522863,
        },
        0.00095,
    )
    # as in the reference's recorded console lines
    assert text == (
        "{'Loss/BoxClassifierLoss/classification_loss': 0.2522863,\n"
        " 'Loss/RPNLoss/objectness_loss': 0.10926249,\n"
        " 'Loss/total_loss': 0.49017572,\n"
        " 'learning_rate': 0.00095}"
    )


def test_time_left():
    assert progress.format_seconds(3725.2) == "1:02:05"
    assert progress.format_seconds(0) == "0:00:00"


def test_time_between_blocks_does_not_count(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    shown = progress.Progress(first_step=10, num_steps=100)

    def run_to(step, seconds):
        shown.restart_clock()
        now[0] += seconds
        shown.stop_clock(step)

    run_to(14, 2.0)
    now[0] += 1000.0  # an evaluation
    run_to(20, 3.0)
    assert shown.take_seconds_per_step() == 0.5
    assert shown.take_seconds_per_step() == 0.0


def test_report_says_what_is_left(caplog, monkeypatch):
    caplog.set_level("INFO", logger="tfod_csf")
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    shown = progress.Progress(first_step=0, num_steps=300)
    shown.restart_clock()
    now[0] = 33.0  # the first step traces the graph
    shown.step(0.5)
    now[0] = 33.0 + 99 * 0.5
    shown.stop_clock(100)
    assert shown.take_seconds_per_step() == 0.825
    shown.report(100, 1.027, {"Loss/total_loss": 0.5}, 0.001)
    shown.report(300, 1.0, {"Loss/total_loss": 0.5}, 0.001)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "Step 100 per-step time 1.027s; 200 steps to go, about 0:01:40"  # 200 * 0.5 s
    assert lines[2] == "Step 300 per-step time 1.000s"


def test_quiet_workers_say_nothing(caplog):
    caplog.set_level("INFO", logger="tfod_csf")
    shown = progress.Progress(first_step=0, num_steps=10, quiet=True)
    shown.step(0.5)
    shown.say("text")
    assert not caplog.records
