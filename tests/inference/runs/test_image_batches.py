"""Images of one size behind each other are given to the model together; everything else is as one by one."""

import numpy as np
import pytest
from PIL import Image

from tfod_csf.detections import Detections
from tfod_csf.files import csv_tables
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.image_detector import BatchDetector, DetectionFailedError
from tfod_csf.inference.runs import batch
from tfod_csf.inference.runs.image_workers import WorkerLimits
from tfod_csf.label_map import label_map_from_names
from tfod_csf.problems import ProblemLog
from tfod_csf.study import patients

# Patient a: two sizes, a file that is no image, and one that the model cannot handle, in the order of their names.
SIZES = {"0": (40, 30), "1": (40, 30), "2": (40, 30), "3": (60, 30), "4": None, "5": (40, 30), "6": (40, 30)}


class OneByOne:
    """A detector whose cell has the shade of the image as its left side; it fails on images of shade 6."""

    name, fingerprint, temperature, max_detections_per_class = "shades", "f00d", 1.0, None
    label_map = label_map_from_names(["lymphocyte", "monocyte"])

    def __init__(self):
        self.alone, self.together = [], []

    def decode_jpeg(self, jpeg):
        return None

    def detect(self, pixels, image="", *, jpeg=None):
        self.alone.append(image)
        return self._found(pixels, image)

    def _found(self, pixels, image):
        shade = int(pixels[0, 0, 0])
        if shade == 6:
            raise DetectionFailedError("out of memory")
        scores = [[0.05, 0.9, 0.05]]
        return Detections(image, pixels.shape[1], pixels.shape[0], [[2, shade, 9, shade + 12]], [1], [0.9], scores)


class Together(OneByOne):
    def __init__(self, max_batch):
        super().__init__()
        self.max_batch = max_batch

    def detect_batch(self, pixels, images):
        assert len({one.shape for one in pixels}) == 1
        self.together.append(list(images))
        return [self._found(one, image) for one, image in zip(pixels, images, strict=True)]


@pytest.fixture
def images_dir(tmp_path):
    for patient in "ab":
        (tmp_path / "images" / patient).mkdir(parents=True)
        for name, size in SIZES.items():
            path = tmp_path / "images" / patient / f"{name}.png"
            shade = int(name) if patient == "a" else int(name) + 10
            if size is None:
                path.write_bytes(b"no image")
            else:
                Image.new("RGB", size, (shade, 0, 0)).save(path)
    return tmp_path / "images"


def run(images_dir, out, detector, limits):
    problems = ProblemLog(quiet=True)
    images = patients.find_images(images_dir, problems)
    batch.run(images, [detector], ScoreThresholds(), out, problems, draw=True, limits=limits)
    tables = {}
    for path in sorted(out.rglob("*.csv")):
        rows = csv_tables.read_rows(path)
        tables[path.relative_to(out)] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    return tables, problems.problems


@pytest.mark.parametrize("limits", [WorkerLimits(), WorkerLimits(2, 0), WorkerLimits(2, 100)])
def test_batches_are_of_one_size_and_give_what_each_image_gives_alone(images_dir, tmp_path, limits):
    alone = OneByOne()
    expected = run(images_dir, tmp_path / "alone", alone, WorkerLimits())
    assert not isinstance(alone, BatchDetector)
    detector = Together(2)
    assert run(images_dir, tmp_path / "out", detector, limits) == expected
    pairs = [["0.png", "1.png"], ["5.png", "6.png"]]
    assert detector.together == pairs * 2
    # The last pair of patient a failed together: each was tried alone.
    assert detector.alone == ["2.png", "3.png", "5.png", "6.png", "2.png", "3.png"]
    assert any("shades failed: out of memory" in problem.reason for problem in expected[1])


def test_a_batch_never_reaches_into_the_next_patient_or_over_another_image(images_dir, tmp_path):
    detector = Together(20)
    run(images_dir, tmp_path / "out", detector, WorkerLimits())
    assert detector.together == [["0.png", "1.png", "2.png"], ["5.png", "6.png"]] * 2
    one = Together(1)
    run(images_dir, tmp_path / "one", one, WorkerLimits())
    assert one.together == []


def test_the_share_of_the_time_is_that_of_the_batch(images_dir, tmp_path):
    run(images_dir, tmp_path / "out", Together(3), WorkerLimits())
    rows = csv_tables.read_rows(tmp_path / "out" / "patients" / "b" / "images.csv")
    assert len({row["seconds"] for row in rows[:3]}) == 1
    assert np.array([float(row["seconds"]) for row in rows if row["seconds"]]).min() >= 0
