"""run.json on two patients worked by hand."""

import dataclasses
import json
import pathlib

import pytest

from tfod_csf import run_folder
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.runs import inference_record
from tfod_csf.inference.runs.batch import BatchResult
from tfod_csf.inference.runs.patient_results import PatientSummary
from tfod_csf.label_map import LabelMap, label_map_from_names
from tfod_csf.problems import ProblemLog

THRESHOLDS = ScoreThresholds(0.5, 0.8, "apart", 0.6)


@dataclasses.dataclass
class Model:
    """What run.json says of a model."""

    name: str
    fingerprint: str = "0" * 64
    temperature: float = 1.5
    label_map: LabelMap = dataclasses.field(default_factory=lambda: label_map_from_names(["lymphocyte", "monocyte"]))


def record(result, models, problems=None):
    at_start = inference_record.record_at_start({"images_dir": "slides"}, models, THRESHOLDS, 2)
    assert at_start["finished"] is None
    return inference_record.make_record(at_start, result, problems or ProblemLog(quiet=True))


@pytest.fixture
def result():
    """Patient a: three images, one failed, two models; patient =b, done earlier: one image, by the first model only."""
    first = PatientSummary(
        images=3,
        failed=1,
        examined={"m1": 2, "m2": 2},
        cells={"m1": 10, "m2": 12},
        detection_seconds={"m1": 1.0, "m2": 0.5},
        seconds=2.123456,
        input_hash="a" * 64,
    )
    second = PatientSummary(images=1, examined={"m1": 1}, cells={"m1": 4}, detection_seconds={"m1": 0.2}, seconds=0.3)
    folders = {"a": pathlib.Path("out/patients/a"), "=b": pathlib.Path("out/patients/_b")}
    return BatchResult({"a": first, "=b": second}, folders, reused={"=b"}, kept=["c"])


def test_speed_is_the_mean_over_the_images_a_model_examined(result):
    found = record(result, [Model("m1"), Model("m2"), Model("m3")])
    # m1: 1.2 s for 3 images; m2: 0.5 s for 2; m3 examined nothing. An image takes the sum.
    assert [model["seconds_per_image"] for model in found["models"]] == [0.4, 0.25, None]
    assert found["seconds_per_image"] == 0.65


def test_patients_and_images(result):
    found = record(result, [Model("m1")])
    assert found["images"] == {"found": 4, "failed": 1}
    assert (found["patients"]["a"]["cells"], found["patients"]["a"]["seconds"]) == ({"m1": 10, "m2": 12}, 2.1235)
    assert [(name, row["folder"], row["done_in_earlier_run"]) for name, row in found["patients"].items()] == [
        ("a", "a", False),
        ("=b", "_b", True),
    ]
    assert found["kept_from_earlier_runs"] == ["c"]


def test_how_it_was_made(result):
    found = record(result, [Model("m1", fingerprint="f" * 64)])
    assert found["settings"] == {"images_dir": "slides"}
    assert found["finished"] >= found["started"] > "2022"
    assert found["num_patients"] == 2
    model = found["models"][0]
    assert (model["fingerprint"], model["temperature"]) == ("f" * 64, 1.5)
    assert model["classes"] == ["lymphocyte", "monocyte"]
    assert found["thresholds"] == {
        "min_score": 0.5,
        "unknown_below": 0.8,
        "count_unknown": "apart",
        "duplicate_iou": 0.6,
    }
    assert {"tfod_csf", "python", "tensorflow", "numpy"} <= set(found["versions"])
    assert found["machine"]["cores"] >= 1


def test_what_was_skipped_is_listed_and_what_was_only_noted_is_not(result):
    problems = ProblemLog(quiet=True)
    problems.skipped("a/1.jpg", "truncated", "Copy it again.")
    problems.noted("a/2.jpg", "gray", "")
    failures = record(result, [], problems)["failures"]
    assert [(failure["file"], failure["reason"]) for failure in failures] == [("a/1.jpg", "truncated")]


def test_nothing_examined():
    found = record(BatchResult(), [Model("m1")])
    assert (found["images"], found["patients"]) == ({"found": 0, "failed": 0}, {})
    assert found["seconds_per_image"] is None


def test_the_file_is_json_without_nan(tmp_path, result):
    run_folder.finish(tmp_path, record(result, [Model("m1")]), {})

    def refuse(name):
        raise AssertionError(name)

    written = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert written["patients"]["=b"]["cells"] == {"m1": 4}
