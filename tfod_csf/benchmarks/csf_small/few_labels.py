"""How far a few labeled images of a new laboratory go, from a trained model and from scratch, after some CPU minutes.

    python -m tfod_csf.benchmarks.csf_small.few_labels OUT --data_dir=DATA --start=EXPORTED --sizes=50 --budgets=5,15

The new laboratory is bccd; --start is an exported model that has not seen it (nothing in a model says what it has
seen, so give one of the recipe's --without_laboratory=bccd). For each number of labeled images, start and budget there
is a training of its own: its learning rate falls to a tenth over the steps that fit into the budget. One training with
a checkpoint at each budget would stop in the middle of its schedule at all budgets but the last.

From scratch means the same network (input size, anchors, limits) with random weights, and batch norm that is trained.
All other settings are the defaults of generate_pipeline_config, for both starts. CPU minutes are those that the
operating system counts for the training command, its start included. How many steps fit is measured beforehand with two
short trainings of each start; what a training really took is in the table.

The test images are those of one fold, with whole groups of overlapping pseudo-patients; the same for all trainings and
in none of them. The images of the other folds are labeled in one order, so that 100 images hold the 50.

Run again, the program resumes: what is finished is kept. A training that was interrupted begins again, because nobody
has counted what it took. Whatever is not there yet is listed.

  OUT/few_labels.csv     every training: settings, fingerprints, steps, CPU seconds, figures
  OUT/few_labels.md      the table that docs/TRAINING.md shows
  OUT/few_labels.png     its figure
  OUT/runs/, records/, calibration/, detections/    what they are made of
"""

import argparse
import csv
import dataclasses
import hashlib
import itertools
import json
import pathlib
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfod_csf import cell_classes, provenance
from tfod_csf.benchmarks.csf_small import few_labels_results, recipe, source_images
from tfod_csf.benchmarks.csf_small.few_labels_results import SCRATCH, STARTS, TRAINED
from tfod_csf.benchmarks.csf_small.held_out import CLASSES
from tfod_csf.benchmarks.csf_small.kept_detections import KeptDetections
from tfod_csf.benchmarks.csf_small.source_images import BCCD, NUM_FOLDS, SourceImage
from tfod_csf.config import paper_settings
from tfod_csf.config.from_model import StartingModel
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write
from tfod_csf.inference.detector import Detector
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.label_map import label_map_from_names, save_label_map
from tfod_csf.model_folder import ModelFolder, fingerprint

SIZES = (50, 100, 200)
BUDGETS = (5.0, 15.0, 60.0)
_CALIBRATION_STEPS = (10, 40)
# Fields of the config that --fine_tune_from sets otherwise than it does without a checkpoint.
_FROM_SCRATCH = (
    'train_config { fine_tune_checkpoint: "" } '
    "model { faster_rcnn { feature_extractor { batch_norm_trainable: true } } }"
)
_RUN, _SETTINGS = "run.json", "settings.json"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all trainings of a folder have in common.

    Attributes:
      test_fold: of bccd, to test with.
      seed: of the order of labeling and of the trainings.
      batch_size, learning_rate, optimizer: of the trainings; the rate is that of the first step.
    """

    test_fold: int = 1
    seed: int = 1
    batch_size: int = 4
    learning_rate: float = 0.001
    optimizer: str = paper_settings.RMS_PROP


@dataclasses.dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
      images: labeled ones.
      start: of `STARTS`.
      minutes: CPU minutes that it may take.
    """

    images: int
    start: str
    minutes: float

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"images_{self.images:03d}_{self.start}_minutes_{self.minutes:g}"

    def __str__(self):
        return f"{self.images} images, {few_labels_results.START_WORDS[self.start]}, {self.minutes:g} minutes"


def labeling_order(pool: Sequence[SourceImage], seed: int) -> list[SourceImage]:
    """The images in the order in which they are labeled.

    Those with complete boxes come first. Otherwise as a technician would choose: the next image has a white cell of the
    class of which fewest are labeled so far, as long as there is one; among such images the order is random.
    """
    shuffled = [pool[i] for i in np.random.default_rng(seed).permutation(len(pool))]
    order, labeled = [], Counter[str]()
    for is_dense in (True, False):
        left = [image for image in shuffled if image.is_dense == is_dense]
        while left:
            chosen = left.pop(_next_image(left, labeled))
            labeled.update(one.name for one in chosen.objects)
            order.append(chosen)
    return order


def _next_image(left: Sequence[SourceImage], labeled: Counter[str]) -> int:
    for name in sorted(cell_classes.WHITE_CELLS, key=lambda name: labeled[name]):
        for number, image in enumerate(left):
            if any(one.name == name for one in image.objects):
                return number
    return 0


def steps_within(minutes: float, calibration: dict[str, float]) -> int:
    """Steps of a training that takes so many CPU minutes.

    Args:
      calibration: `start_seconds` that a training takes besides its steps, and `step_seconds` of a step.

    Raises:
      UserError: not a single one.

    >>> steps_within(5, {"start_seconds": 30, "step_seconds": 0.5})
    540
    """
    steps = int((60 * minutes - calibration["start_seconds"]) / calibration["step_seconds"])
    if steps < 1:
        raise UserError(
            f"--budgets: a training takes {calibration['start_seconds']:.0f} CPU seconds before its first step on this "
            f"machine, so no step fits into {minutes:g} minutes."
        )
    return steps


class FewLabels:
    """Trains and tests, in a folder.

    Args:
      images: of the new laboratory.
      out: the folder.
      start: folder or name of the exported model to start from.
      settings: see there.
      open_detector: makes the detector of an exported model.

    Raises:
      UserError: a model that a training cannot start from, or a folder of other settings.
    """

    def __init__(
        self,
        images: Sequence[SourceImage],
        out: pathlib.Path,
        start: str,
        settings: Settings,
        open_detector: Callable[[ModelFolder], ImageDetector] = Detector.open,
    ):
        self._out = out
        self._start = ModelFolder.open(start)
        self._settings = settings
        self._open_detector = open_detector
        self._test = [image for image in images if image.fold == settings.test_fold]
        self._order = labeling_order([image for image in images if image.fold != settings.test_fold], settings.seed)
        network = StartingModel.open(start).network.SerializeToString(deterministic=True)
        self._shared = {
            **dataclasses.asdict(settings),
            "test_images": source_images.data_fingerprint(self._test),
            "network": hashlib.sha256(network).hexdigest()[:16],
        }
        self._start_sha256 = fingerprint(self._start.network_dir)
        _kept(out / _SETTINGS, self._shared, dict)

    def run(self, training: Training) -> None:
        """Trains, exports, tests, and writes the training's run.json, unless it is there.

        Raises:
          UserError: a command failed, fewer images, too few minutes, or the run.json is of other settings.
        """
        folder = self._out / "runs" / training.name
        _kept(folder / _RUN, self._settings_of(training), lambda: self._train_and_test(training, folder))

    def test_start(self) -> None:
        """Tests the model to start from as it is."""
        training = Training(0, TRAINED, 0)

        def test() -> dict[str, Any]:
            return {"steps": 0, "cpu_seconds": 0.0, **self._figures(self._start)}

        _kept(self._out / "runs" / training.name / _RUN, self._settings_of(training), test)

    def write(self) -> list[str]:
        """Writes table and figure from what is finished.

        Returns:
          The trainings of the whole comparison that are not, in words.
        """
        records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(self._out.glob(f"runs/*/{_RUN}"))]
        rows = [few_labels_results.row_of(record) for record in records]
        there = {(row["images"], row["start"], row["minutes"]) for row in rows}
        missing = [str(one) for one in all_trainings() if dataclasses.astuple(one) not in there]
        few_labels_results.write(self._out, rows, missing)
        return missing

    def _settings_of(self, training: Training) -> dict[str, Any]:
        if training.images > len(self._order):
            raise UserError(f"--sizes: {training.images} images are to be labeled, but there are {len(self._order)}.")
        labeled = self._order[: training.images]
        cells = Counter(one.name for image in labeled for one in image.objects)
        return {
            **self._shared,
            **dataclasses.asdict(training),
            "model": self._start_sha256 if training.start == TRAINED else "",
            "labeled_images": source_images.data_fingerprint(labeled),
            "with_complete_boxes": sum(image.is_dense for image in labeled),
            "labeled_cells": {name: cells[name] for name in CLASSES},
        }

    def _train_and_test(self, training: Training, folder: pathlib.Path) -> dict[str, Any]:
        steps = steps_within(training.minutes, self._calibration(training.start))
        records = self._records(training.images)
        cpu_seconds = self._train(folder, records, training.start, steps)
        exported = folder / "exported"
        _run(
            *("exporter_main_v2", f"--pipeline_config_path={folder / 'pipeline.config'}"),
            *(f"--trained_checkpoint_dir={folder / 'model'}", f"--output_directory={exported}", "--nodomain_guard"),
        )
        figures = self._figures(ModelFolder.open(exported))
        return {"steps": steps, "cpu_seconds": round(cpu_seconds, 1), **figures}

    def _figures(self, model: ModelFolder) -> dict[str, Any]:
        kept = KeptDetections(model, self._out / "detections", self._open_detector)
        found = list(zip(self._test, kept.of_all(self._test), strict=True))
        return {
            "figures": few_labels_results.figures_of(kept.label_map, found),
            "date": provenance.now(),
            "processor": provenance.processor(),
        }

    def _calibration(self, start: str) -> dict[str, float]:
        """Measured with the fewest images; a step takes as long with more."""
        folder = self._out / "calibration" / start
        steps = _CALIBRATION_STEPS
        settings = {**self._shared, "start": start, "steps": list(steps)}

        def measure() -> dict[str, float]:
            records = self._records(min(SIZES[0], len(self._order)))
            took = [self._train(folder / f"steps_{number}", records, start, number) for number in steps]
            step_seconds = (took[1] - took[0]) / (steps[1] - steps[0])
            if step_seconds <= 0:
                raise UserError(
                    f"{folder}: a training of {steps[1]} steps took {took[1]:.0f} CPU seconds, one of {steps[0]} steps "
                    f"{took[0]:.0f}, so that a step cannot be measured; run again with nothing else running."
                )
            return {"start_seconds": took[0] - steps[0] * step_seconds, "step_seconds": step_seconds}

        return _kept(folder / "calibration.json", settings, measure)

    def _train(self, folder: pathlib.Path, records: pathlib.Path, start: str, steps: int) -> float:
        """CPU seconds of a training in `folder`."""
        config = folder / "pipeline.config"
        _run(
            *("generate_pipeline_config", f"--fine_tune_from={self._start.path}", f"--records_dir={records}"),
            *(f"--output_path={config}", f"--num_steps={steps}", f"--batch_size={self._settings.batch_size}"),
            *(f"--initial_learning_rate={self._settings.learning_rate}", f"--optimizer={self._settings.optimizer}"),
            *([f"--config_override={_FROM_SCRATCH}"] if start == SCRATCH else []),
        )
        training = ["model_main_tf2", f"--pipeline_config_path={config}", f"--model_dir={folder / 'model'}"]
        return _run(*training, f"--seed={self._settings.seed}")

    def _records(self, number: int) -> pathlib.Path:
        """The records of the first images in the order of labeling, with the test images on the test side."""
        folder = self._out / "records" / f"images_{number:03d}"
        labeled = self._order[:number]
        settings = {**self._shared, "labeled_images": source_images.data_fingerprint(labeled)}

        def make() -> dict[str, Any]:
            source_images.write_study([*labeled, *self._test], folder / "study")
            label_map, test_set = folder / "classes.pbtxt", folder / "test_set.csv"
            save_label_map(label_map_from_names(CLASSES), label_map)
            with atomic_write.replacing(test_set, newline="") as file:
                csv.writer(file).writerows([["image"], *([image.path.name] for image in self._test)])
            _run(
                *("create_csf_tf_record", f"--images_dir={folder / 'study'}", f"--output_dir={folder / 'records'}"),
                *(f"--label_map_path={label_map}", f"--test_set={test_set}", "--nodata_page"),
            )
            return {}

        _kept(folder / "records.json", settings, make)
        return folder / "records"


def _kept(path: pathlib.Path, settings: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a file holds of these settings; it is made where it is not there, in an empty folder.

    Raises:
      UserError: it is of other settings.
    """
    if path.is_file():
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["settings"] != settings:
            kept = record["settings"]
            changed = sorted(name for name in settings.keys() | kept.keys() if kept.get(name) != settings.get(name))
            raise UserError(f"{path}: is of other settings ({', '.join(changed)}); give a new folder.")
        return record
    if path.name != _SETTINGS:
        shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"settings": settings, **make()}
    atomic_write.write_json(path, record)
    return record


def _run(*command: str) -> float:
    """Runs a command of tfod_csf, and returns the CPU seconds that it and its own processes took.

    Raises:
      UserError: it failed.
    """
    before = recipe.cpu_seconds()
    status = subprocess.run([sys.executable, "-m", "tfod_csf", *command], check=False).returncode
    if status:
        raise UserError(f"{command[0]} ended with status {status}; its own message says why. Run again to resume.")
    return recipe.cpu_seconds() - before


def all_trainings(
    sizes: Sequence[int] = SIZES, starts: Sequence[str] = STARTS, budgets: Sequence[float] = BUDGETS
) -> list[Training]:
    """Every combination, the short ones first."""
    return [Training(size, start, minutes) for minutes, size, start in itertools.product(budgets, sizes, starts)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tfod_csf.benchmarks.csf_small.few_labels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, settings = parser.add_argument, Settings()
    add("out", type=pathlib.Path, help="folder of results")
    add("--data_dir", type=pathlib.Path, required=True, help="holds bccd_differential and bccd_dense")
    add("--start", required=True, help="exported model that has not seen bccd: its folder or its name")
    add("--sizes", default=",".join(map(str, SIZES)), help="numbers of labeled images (default: %(default)s)")
    add("--budgets", default=",".join(f"{one:g}" for one in BUDGETS), help="CPU minutes (default: %(default)s)")
    add("--starts", default=",".join(STARTS), help="model, scratch or both (default: %(default)s)")
    add("--test_fold", type=int, choices=range(NUM_FOLDS), default=settings.test_fold, help="default: %(default)s")
    add("--seed", type=int, default=settings.seed, help="of labeling and training (default: %(default)s)")
    add("--batch_size", type=int, default=settings.batch_size, help="images of a step (default: %(default)s)")
    add("--learning_rate", type=float, default=settings.learning_rate, help="of the first step (default: %(default)s)")
    add("--optimizer", choices=paper_settings.OPTIMIZERS, default=settings.optimizer, help="default: %(default)s")
    return parser


def asked_trainings(sizes: str, starts: str, budgets: str) -> list[Training]:
    """The trainings that flags ask for.

    Raises:
      UserError: a value that is none.

    >>> [one.name for one in asked_trainings("50", "model", "5,0.5")]
    ['images_050_model_minutes_5', 'images_050_model_minutes_0.5']
    """
    wrong = [one for one in starts.split(",") if one not in STARTS]
    if wrong:
        raise UserError(f"--starts: {wrong[0]!r} is no start; give {' or '.join(STARTS)}.")
    return all_trainings(_positive("sizes", sizes, int), starts.split(","), _positive("budgets", budgets, float))


def _positive(flag: str, text: str, kind: Callable[[str], Any]) -> list[Any]:
    try:
        numbers = [kind(one) for one in text.split(",")]
    except ValueError as error:
        raise UserError(f"--{flag}: {text!r} does not consist of numbers with commas between ({error}).") from None
    if not all(0 < number < float("inf") for number in numbers):
        raise UserError(f"--{flag}: {text!r} holds a number that is not above 0.")
    return numbers


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        asked = asked_trainings(options.sizes, options.starts, options.budgets)
        images = source_images.read_source_images(options.data_dir, [BCCD])
        settings = Settings(
            options.test_fold, options.seed, options.batch_size, options.learning_rate, options.optimizer
        )
        few = FewLabels(images, options.out, options.start, settings)
        if any(training.start == TRAINED for training in asked):
            few.test_start()
        for training in asked:
            few.run(training)
            missing = few.write()
    except UserError as error:
        parser.exit(1, f"{error}\n")
    print((options.out / "few_labels.md").read_text(encoding="utf-8"))
    if missing:
        print("Not there yet: " + "; ".join(missing) + ".")


if __name__ == "__main__":
    main()
