"""One patient's images through detectors that answer what the test says; no TensorFlow."""

import dataclasses
import hashlib

import numpy as np
import pytest
from PIL import Image

from tfod_csf.detections import Detections
from tfod_csf.files import csv_schemas, csv_tables
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.image_detector import DetectionFailedError
from tfod_csf.inference.runs.image_workers import ImageWorkers
from tfod_csf.inference.runs.patient_examination import finished
from tfod_csf.inference.runs.patient_results import PatientJob, run_patient
from tfod_csf.label_map import LabelMap, label_map_from_names
from tfod_csf.problems import ProblemLog
from tfod_csf.study.patients import find_images

CLASSES = ("lymphocyte", "monocyte")


@dataclasses.dataclass
class Answers:
    """A detector with the same answer for every image: rows of (class id, score) beside each other."""

    rows: tuple[tuple[int, float], ...] = ((1, 0.9), (2, 0.6))
    name: str = "m"
    fails_on: str = ""
    has_class_scores: bool = True
    fingerprint: str = "0" * 64
    label_map: LabelMap = dataclasses.field(default_factory=lambda: label_map_from_names(CLASSES))
    max_detections_per_class: int | None = None
    temperature: float = 1.0

    def decode_jpeg(self, jpeg: bytes) -> np.ndarray | None:
        """None: JPEGs are decoded by Pillow."""
        return None

    def detect(self, pixels: np.ndarray, image: str = "", jpeg: bytes | None = None) -> Detections:
        if image == self.fails_on:
            raise DetectionFailedError("out of memory")
        scores = np.array([score for _, score in self.rows])
        multiclass = np.zeros([len(self.rows), 3])
        for row, (class_id, score) in enumerate(self.rows):
            multiclass[row, [0, class_id]] = 1 - score, score
        return Detections(
            image=image,
            width=pixels.shape[1],
            height=pixels.shape[0],
            boxes=[[5, 10 * row, 15, 10 * row + 8] for row in range(len(self.rows))],
            classes=[class_id for class_id, _ in self.rows],
            scores=scores,
            multiclass_scores=multiclass if self.has_class_scores else None,
        )


@pytest.fixture
def images(tmp_path):
    """Two images of one patient."""
    (tmp_path / "images" / "p").mkdir(parents=True)
    for number in range(2):
        Image.new("RGB", (40, 30), (number, 0, 0)).save(tmp_path / "images" / "p" / f"{number}.png")
    return tmp_path / "images"


def run(images_dir, *detectors, draw=True):
    """(summary, problems, folder) of patient p."""
    problems, folder = ProblemLog(quiet=True), images_dir.parent / "out"
    files = find_images(images_dir, problems)
    seen = []
    job = PatientJob("p", folder, detectors, ScoreThresholds(), draw)
    workers = ImageWorkers(detectors[0].decode_jpeg)
    summary, checksums = finished(run_patient(job, files, problems, workers, on_image=lambda: seen.append(1)))
    assert checksums == {image.name: hashlib.sha256(image.path.read_bytes()).hexdigest() for image in files}
    assert len(seen) == len(files)
    assert csv_schemas.load("cells").check(folder / "cells.csv", CLASSES) == sum(summary.cells.values())
    csv_schemas.load("images").check(folder / "images.csv", [*CLASSES, "unknown"])
    return summary, problems.problems, folder


def test_cells_and_counts_of_every_image(images):
    summary, problems, folder = run(images, Answers())
    assert (summary.images, summary.failed, summary.cells, summary.examined) == (2, 0, {"m": 4}, {"m": 2})
    assert problems == []
    cells = csv_tables.read_rows(folder / "cells.csv")
    first, second = cells[:2]
    assert [first[side] for side in ("xmin", "ymin", "xmax", "ymax")] == ["0.00", "5.00", "8.00", "15.00"]
    assert (first["status"], first["counted_as"], first["score_lymphocyte"]) == ("counted", "lymphocyte", "0.9000")
    assert (second["predicted_class"], second["status"], second["counted_as"]) == ("monocyte", "unknown", "unknown")
    for row in csv_tables.read_rows(folder / "images.csv"):
        assert [row[f"count_{name}"] for name in (*CLASSES, "unknown")] == ["1", "0", "1"]
        assert (row["status"], row["limit_reached"], row["width"], row["height"]) == ("ok", "no", "40", "30")
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == ["0.png.jpg", "1.png.jpg"]


def test_an_image_without_cells_has_a_row_and_a_picture(images):
    summary, _, folder = run(images, Answers(rows=()))
    assert summary.cells == {"m": 0}
    assert [row["cells"] for row in csv_tables.read_rows(folder / "images.csv")] == ["0", "0"]
    assert (folder / "pictures" / "0.png.jpg").is_file()


def test_a_model_without_scores_per_class_leaves_their_columns_empty(images):
    _, _, folder = run(images, Answers(has_class_scores=False), draw=False)
    rows = csv_tables.read_rows(folder / "cells.csv")
    assert [(row["score"], row["score_lymphocyte"]) for row in rows[:2]] == [("0.9000", ""), ("0.6000", "")]
    assert not (folder / "pictures").exists()


def test_the_same_image_twice_is_counted_once(images):
    (images / "p" / "copy.png").write_bytes((images / "p" / "0.png").read_bytes())
    summary, problems, folder = run(images, Answers())
    assert (summary.images, summary.failed, summary.cells) == (3, 1, {"m": 4})
    rows = {row["image"]: row for row in csv_tables.read_rows(folder / "images.csv")}
    assert rows["copy.png"]["status"] == "failed"
    assert "the same bytes as 0.png" in rows["copy.png"]["reason"]
    assert [problem.action for problem in problems] == ["skipped"]


def test_an_unreadable_image_is_a_failed_row_with_the_reason(images):
    (images / "p" / "1.png").write_bytes(b"\x89PNG nothing")
    summary, problems, folder = run(images, Answers())
    assert (summary.failed, summary.detector_failures, summary.cells) == (1, 0, {"m": 2})
    (failed,) = [row for row in csv_tables.read_rows(folder / "images.csv") if row["status"] == "failed"]
    assert (failed["image"], failed["model"], failed["cells"]) == ("1.png", "", "")
    assert failed["reason"] == problems[0].reason


def test_an_image_that_one_of_two_models_cannot_handle_is_used_by_the_other(images):
    summary, problems, folder = run(images, Answers(), Answers(name="n", fails_on="1.png"))
    assert (summary.failed, summary.detector_failures) == (0, 1)
    assert summary.examined == {"m": 2, "n": 1}
    rows = [(row["image"], row["model"], row["status"]) for row in csv_tables.read_rows(folder / "images.csv")]
    assert rows == [("0.png", "m", "ok"), ("0.png", "n", "ok"), ("1.png", "m", "ok"), ("1.png", "n", "failed")]
    assert "model n failed: out of memory" in problems[0].reason
    assert sorted(path.name for path in (folder / "pictures" / "m").iterdir()) == ["0.png.jpg", "1.png.jpg"]
    assert [path.name for path in (folder / "pictures" / "n").iterdir()] == ["0.png.jpg"]


def test_a_reached_detection_limit_is_noted(images):
    # Two lymphocytes, and the model gives two of a class at most.
    summary, problems, folder = run(images, Answers(rows=((1, 0.9), (1, 0.8)), max_detections_per_class=2))
    assert summary.limit_reached == ["0.png", "1.png"]
    assert [row["limit_reached"] for row in csv_tables.read_rows(folder / "images.csv")] == ["yes", "yes"]
    assert [problem.action for problem in problems] == ["noted", "noted"]
    assert problems[0].reason == "model m reached its limit of 2 cells; some may be missing"
