"""What surrounds an evaluation: its lines, its event file, its weights."""

import contextlib
import math

import numpy as np
import pytest

from tests.support.tiny_training import read_tags
from tfod_csf.errors import UserError
from tfod_csf.training.evaluation.evaluation_run import EvaluationRun, metric_lines


class Evaluator:
    """Stands in for FasterRcnnEvaluator: evaluates num_images in batches of 60 and makes one picture."""

    def __init__(self, num_images, events=()):
        self.total = num_images
        self.num_images = 0
        self.events = events
        self.pictures = {}
        self.after_batch = None

    def evaluate(self, num_steps):
        assert int(num_steps) == -1
        self.events.append("evaluate")
        self.num_images = 0
        while self.num_images < self.total:
            self.num_images = min(self.num_images + 60, self.total)
            self.after_batch(self.num_images)
        self.pictures = {"eval_side_by_side_0_0": np.zeros([4, 8, 3], np.uint8)}
        return {"PascalBoxes_Precision/mAP@0.5IOU": 0.5, "Loss/total_loss": 1.25}


def test_lines_are_tfods_and_name_missing_ground_truth():
    metrics = {"PascalBoxes_Precision/mAP@0.5IOU": 0.5, "DetectionBoxes_Precision/mAP (large)": -1.0, "x": math.nan}
    assert metric_lines(metrics, 20) == (
        "Eval metrics at step 20\n"
        "\t+ PascalBoxes_Precision/mAP@0.5IOU: 0.500000\n"
        "\t+ DetectionBoxes_Precision/mAP (large): n/a (no ground truth)\n"
        "\t+ x: n/a (no ground truth)"
    )
    assert metric_lines({}, 0) == "Eval metrics at step 0"


def test_a_pass_reports_every_hundred_images_and_writes_one_event_file_for_all_passes(tmp_path):
    events, lines, seen = [], [], []

    @contextlib.contextmanager
    def weights():
        events.append("averages")
        yield
        events.append("own weights")

    run = EvaluationRun(Evaluator(210, events), tmp_path, 210, weights)
    metrics = run.run(20, lines.append, seen.append)
    assert metrics == {"PascalBoxes_Precision/mAP@0.5IOU": 0.5, "Loss/total_loss": 1.25}
    assert lines == [
        "Finished eval step 120",
        "Finished eval step 210",
        "Performing evaluation on 210 images.",
        metric_lines(metrics, 20),
    ]
    assert seen == [60, 120, 180, 210]
    assert events == ["averages", "evaluate", "own weights"]
    run.run(40, lines.append)
    assert len(list(tmp_path.iterdir())) == 1
    assert read_tags(tmp_path) == {
        "eval_side_by_side_0_0": ("images", [20, 40]),
        "PascalBoxes_Precision/mAP@0.5IOU": ("scalars", [20, 40]),
        "Loss/total_loss": ("scalars", [20, 40]),
    }


def test_a_run_without_a_folder_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    EvaluationRun(Evaluator(1, []), None).run(20)
    assert list(tmp_path.iterdir()) == []


def test_records_without_an_image_are_an_error(tmp_path):
    with pytest.raises(UserError, match="the evaluation records yielded no image"):
        EvaluationRun(Evaluator(0, []), tmp_path).run(20)
    assert list(tmp_path.iterdir()) == []
