"""A study with everything that makes merging shards difficult, examined in one run or in shards, without TensorFlow.

The clock stands still in `still_clock`, so that runs can be compared byte by byte.
"""

import itertools
import pathlib
import time

from tests.support.hand_made_model import save_gray
from tfod_csf import provenance
from tfod_csf.classification import Classification
from tfod_csf.commands import inference_flags
from tfod_csf.detections import Detections
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.image_detector import DetectionFailedError
from tfod_csf.inference.runs import batch_run, merge, shard_run
from tfod_csf.inference.runs.shards import Shard
from tfod_csf.label_map import label_map_from_names
from tfod_csf.problems import ProblemLog

CLASSES = ("lymphocyte", "monocyte", "neutrophil")
NUM_PATIENTS = 13
FAILS_ON_GRAY = 250
COUNTING = {"max_unknown_percent": 10.0}


class Shades:
    """Finds 1 to 3 cells by the gray of an image, of a class that also follows from it; fails on FAILS_ON_GRAY."""

    max_detections_per_class, temperature = 3, 1.0

    def __init__(self, name="shades", fingerprint="f00d", fails=True):
        self.name, self.fingerprint, self._fails = name, fingerprint, fails
        self.label_map = label_map_from_names(list(CLASSES))
        self.seen = []

    def decode_jpeg(self, jpeg):
        return None

    def detect(self, pixels, image="", jpeg=None):
        gray = int(pixels[0, 0, 0])
        if gray == FAILS_ON_GRAY and self._fails:
            raise DetectionFailedError("out of memory")
        self.seen.append(gray)
        number, class_id = gray % 3 + 1, gray // 3 % 3 + 1
        boxes = [[10, 8 + 30 * cell, 36, 34 + 30 * cell] for cell in range(number)]
        others = [0.1 / len(CLASSES)] * (len(CLASSES) + 1)
        scores = [[*others[:class_id], 0.9, *others[class_id + 1 :]]] * number
        size = {"width": pixels.shape[1], "height": pixels.shape[0]}
        return Detections(image, **size, boxes=boxes, classes=[class_id] * number, scores=[0.9] * number,
                          multiclass_scores=scores)  # fmt: skip


def make_study(folder: pathlib.Path) -> pathlib.Path:
    """Patients of one to three images; see the comments for what is wrong with some."""
    for number in range(NUM_PATIENTS):
        for image in range(number % 3 + 1):
            save_gray(folder / f"p{number:02d}" / f"day{image}" / "a.png", 10 * number + image)
    save_gray(folder / "P03" / "a.png", 200)  # differs from p03 in capitals only
    save_gray(folder / "王=1" / "a.png", 201)
    save_gray(folder / "p02" / "copy.png", 20)  # the same bytes as day0/a.png of this patient
    for owner, finder in (("p01", "p05"), ("p01", "p11"), ("王=1", "p07")):
        (folder / finder / f"of_{owner}.png").write_bytes(next((folder / owner).rglob("a.png")).read_bytes())
    save_gray(folder / "p08" / "fails.png", FAILS_ON_GRAY)
    (folder / "p09" / "broken.jpg").write_bytes(b"no image")
    (folder / "p12" / "slide.svs").write_bytes(b"not read")
    return folder


def make_small_study(folder: pathlib.Path) -> pathlib.Path:
    """Patients a to e of one image each, with nothing wrong."""
    for number, name in enumerate("abcde"):
        save_gray(folder / name / "a.png", number)
    return folder


def still_clock(monkeypatch) -> None:
    """Every patient takes the same number of ticks, whoever examines it."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(provenance, "now", lambda: "2022-01-24T09:30:00+08:00")


def settings_of(images_dir, **changes) -> batch_run.RunSettings:
    return batch_run.RunSettings(str(images_dir), **{"model": ["exported/shades"], **changes})


def write_differentials(folder, record, counting=COUNTING):
    """As the commands batch_infer and merge_shards do."""
    return inference_flags.write_differentials(folder, record, counting)


def run_all(images_dir, out, *detectors, matrices: dict[str, Classification] | None = None, **changes):
    """One run of all patients."""
    models = detectors or (Shades(),)
    return batch_run.run(
        settings_of(images_dir, **changes),
        lambda: models,
        ScoreThresholds(),
        out,
        ProblemLog(quiet=True),
        write_differentials,
        matrices=matrices,
        vouched_for_by={"shades": "SHA256SUMS"},
    )


def run_shard(
    text, images_dir, out, *detectors, matrices=None, problems=None, thresholds=None, counting=COUNTING, **changes
):
    """One shard, "i/n"."""
    models = detectors or (Shades(),)
    return shard_run.run(
        settings_of(images_dir, **changes),
        Shard.parse(text),
        lambda: models,
        thresholds or ScoreThresholds(),
        out,
        problems or ProblemLog(quiet=True),
        counting,
        matrices=matrices,
        vouched_for_by={"shades": "SHA256SUMS"},
    )


def merge_all(out, problems=None, whose=None, count=write_differentials):
    """The merge."""
    return merge.run(out, problems or ProblemLog(quiet=True), count, whose)


def files(folder: pathlib.Path) -> dict[str, bytes]:
    """{path: bytes} of everything in an output folder besides what is kept of shards."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: path.read_bytes() for name, path in names.items() if not name.startswith("shards/")}
