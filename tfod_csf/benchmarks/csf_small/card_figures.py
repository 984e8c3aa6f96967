"""Every figure of csf_small's model card, from held-out images, by one command.

    python -m tfod_csf.benchmarks.csf_small.card_figures OUT --data_dir=DATA \
      --in_domain FOLD_0/exported pbc,bccd 0 --in_domain FOLD_1/exported pbc,bccd 1 ... \
      --other_laboratory WITHOUT_BCCD/exported bccd --other_laboratory WITHOUT_PBC/exported pbc

The models of --in_domain are those of a cross-validation: each is tested with the folds that it was not trained on, and
each image with one model; their images are taken together, by laboratory. A model of --other_laboratory is tested with
all images of a laboratory that it was not trained on. Nothing in a model says which fields it learned from, so this
command cannot notice a model that has seen the images: give what the record of its training says.

  OUT/card_figures.csv    every figure with its interval
  OUT/card_figures.json   models with their sha256, fingerprint of the data, seed, thresholds, versions
  OUT/card_figures.md     what MODEL_CARD.md shows
  OUT/detections/         what was detected, for the next time; a stopped command resumes
"""

import argparse
import dataclasses
import importlib.metadata
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tfod_csf import provenance
from tfod_csf.benchmarks.csf_small import (
    card_text,
    cell_types,
    composed_patients,
    detection_precision,
    held_out,
    score_reliability,
    source_images,
)
from tfod_csf.benchmarks.csf_small.card_text import SetFigures
from tfod_csf.benchmarks.csf_small.composed_patients import CompositionSettings
from tfod_csf.benchmarks.csf_small.held_out import HeldOutError
from tfod_csf.benchmarks.csf_small.kept_detections import KeptDetections
from tfod_csf.benchmarks.csf_small.source_images import BCCD, NUM_FOLDS, PBC, SourceImage
from tfod_csf.cytology.studies.method_comparison import number_columns
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, csv_tables
from tfod_csf.inference.cell_selection import ScoreThresholds, common_thresholds
from tfod_csf.inference.detector import Detector
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.model_folder import ModelFolder

_COLUMNS = ("set", "laboratory", "figure", "reading", "class", "value", "ci_low", "ci_high", "units", "cells", "note")
_LABORATORIES = (PBC, BCCD)
_PACKAGES = ("tfod_csf", "tensorflow", "numpy")


@dataclasses.dataclass(frozen=True)
class HeldOutTest:
    """A model and the images of one laboratory that it had not seen.

    Attributes:
      title: of the set that they belong to.
      folds: those that the model was not trained on.
    """

    title: str
    model: pathlib.Path
    laboratory: str
    folds: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class FigureSettings:
    """Numbers that the figures depend on.

    Attributes:
      seed: of all random choices.
      replicates: bootstrap samples of an interval; those of shares of cells have 2,000.
      composition: of the composed patients.
      every: one of so many images is used; for a first look.
    """

    seed: int = 0
    replicates: int = 1000
    composition: CompositionSettings = dataclasses.field(default_factory=CompositionSettings)
    every: int = 1


def in_domain_tests(model: str, laboratories: str, folds: str) -> list[HeldOutTest]:
    """The tests of one --in_domain.

    Raises:
      HeldOutError: a laboratory or fold that there is not.

    >>> [(test.laboratory, test.folds) for test in in_domain_tests("m", "pbc,bccd", "0,3")]
    [('pbc', (0, 3)), ('bccd', (0, 3))]
    """
    known = [str(fold) for fold in range(NUM_FOLDS)]
    wrong = [fold for fold in folds.split(",") if fold not in known]
    if wrong:
        raise HeldOutError(f"--in_domain: {wrong[0]!r} is no fold; give folds of {known[0]} to {known[-1]}, as 0,3.")
    numbers = tuple(map(int, folds.split(",")))
    return [
        HeldOutTest(f"In domain: {laboratory}", pathlib.Path(model), _checked(laboratory, "--in_domain"), numbers)
        for laboratory in laboratories.split(",")
    ]


def other_laboratory_test(model: str, laboratory: str) -> HeldOutTest:
    """The test of one --other_laboratory.

    Raises:
      HeldOutError: no such laboratory.
    """
    title = f"A laboratory that was not trained on: {laboratory}"
    return HeldOutTest(title, pathlib.Path(model), _checked(laboratory, "--other_laboratory"), tuple(range(NUM_FOLDS)))


def _checked(laboratory: str, flag: str) -> str:
    if laboratory not in _LABORATORIES:
        raise HeldOutError(f"{flag}: {laboratory!r} is no laboratory; give {' or '.join(_LABORATORIES)}.")
    return laboratory


class CardFigures:
    """Detects, computes and writes.

    Args:
      images: all source images.
      out: where everything is written.
      settings: see there.
      min_score, unknown_below: None takes those of the models.
      open_detector: makes the detector of an exported model.
    """

    def __init__(
        self,
        images: Sequence[SourceImage],
        out: pathlib.Path,
        settings: FigureSettings,
        min_score: float | None = None,
        unknown_below: float | None = None,
        open_detector: Callable[[ModelFolder], ImageDetector] = Detector.open,
    ):
        self._images = images
        self._out = out
        self._settings = settings
        self._given_thresholds = {"min_score": min_score, "unknown_below": unknown_below}
        self._open_detector = open_detector

    def write(self, tests: Sequence[HeldOutTest]) -> None:
        """Writes the three files.

        Raises:
          HeldOutError: models of different classes, or an image for two models of one set.
        """
        models = {path: ModelFolder.open(path) for path in dict.fromkeys(test.model for test in tests)}
        thresholds = common_thresholds(
            {str(path): model.thresholds for path, model in models.items()}, **self._given_thresholds
        )
        kept = {
            path: KeptDetections(model, self._out / "detections", self._open_detector) for path, model in models.items()
        }
        sets = [
            self._set(title, [test for test in tests if test.title == title], kept, thresholds)
            for title in dict.fromkeys(test.title for test in tests)
        ]
        csv_tables.write_rows(self._out / "card_figures.csv", _COLUMNS, _csv_rows(sets))
        record = self._record(tests, kept, thresholds)
        atomic_write.write_json(self._out / "card_figures.json", record)
        text = "\n".join([self._introduction(record), *(card_text.section(found) for found in sets)])
        atomic_write.write_text(self._out / "card_figures.md", text)

    def _of(self, test: HeldOutTest) -> list[SourceImage]:
        wanted = [one for one in self._images if one.laboratory == test.laboratory and one.fold in test.folds]
        return wanted[:: self._settings.every]

    def _set(
        self,
        title: str,
        tests: Sequence[HeldOutTest],
        kept: dict[pathlib.Path, KeptDetections],
        thresholds: ScoreThresholds,
    ) -> SetFigures:
        label_map = kept[tests[0].model].label_map
        found = []
        for test in tests:
            if kept[test.model].label_map != label_map:
                raise HeldOutError(f"{test.model}: has other classes than {tests[0].model}; give models of one kind.")
            images = self._of(test)
            found += list(zip(images, kept[test.model].of_all(images), strict=True))
        held = held_out.examine(title, label_map, thresholds, found)
        settings = self._settings
        rows = [
            *detection_precision.figures(held, settings.replicates, settings.seed),
            *cell_types.figures(held, settings.replicates, settings.seed),
            *score_reliability.figures(held, settings.seed),
            *composed_patients.figures(held, settings.composition),
        ]
        names = [f"`{kept[test.model].fingerprint[:8]}` on fold {', '.join(map(str, test.folds))}" for test in tests]
        return SetFigures(held, tests[0].laboratory, names, rows)

    def _record(
        self, tests: Sequence[HeldOutTest], kept: dict[pathlib.Path, KeptDetections], thresholds: ScoreThresholds
    ) -> dict[str, Any]:
        return {
            "data_fingerprint": source_images.data_fingerprint(self._images),
            "settings": dataclasses.asdict(self._settings),
            "thresholds": dataclasses.asdict(thresholds),
            "models": [
                {
                    "set": test.title,
                    "model": test.model.name,
                    "sha256": kept[test.model].fingerprint,
                    "laboratory": test.laboratory,
                    "folds": list(test.folds),
                    "images": len(self._of(test)),
                }
                for test in tests
            ],
            "date": provenance.now(),
            "processor": provenance.processor(),
            "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        }

    def _introduction(self, record: dict[str, Any]) -> str:
        thresholds, settings = record["thresholds"], self._settings
        models = "\n".join(f"- `{sha256}`" for sha256 in dict.fromkeys(one["sha256"] for one in record["models"]))
        part = "" if settings.every == 1 else f" **Of one image in {settings.every} only.**"
        return (
            f"Computed by `python -m tfod_csf.benchmarks.csf_small.card_figures` on {record['date'][:10]} from data of "
            f"the fingerprint `{record['data_fingerprint']}`, seed {settings.seed}.{part} A cell is a detection with a "
            f"score of {thresholds['min_score']:g} or more; below {thresholds['unknown_below']:g} it is unknown. "
            "Intervals take the models as they are: that another training would give another model is not in them.\n\n"
            f"sha256 of the networks:\n\n{models}\n"
        )


def _csv_rows(sets: Sequence[SetFigures]) -> Iterable[dict[str, Any]]:
    for found in sets:
        for row in found.rows:
            yield {
                "set": found.held.title,
                "laboratory": found.laboratory,
                "figure": row.name,
                "reading": row.reading,
                "class": row.class_name,
                **number_columns(row.estimate),
                "units": row.units,
                "cells": row.cells,
                "note": row.note,
            }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tfod_csf.benchmarks.csf_small.card_figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=pathlib.Path, help="folder of results")
    parser.add_argument("--data_dir", type=pathlib.Path, required=True, help="holds pbc_mgg, pbc_dense, bccd_...")
    parser.add_argument(
        "--in_domain",
        nargs=3,
        action="append",
        default=[],
        metavar=("MODEL", "LABORATORIES", "FOLDS"),
        help="an exported model and the folds of these laboratories that it was not trained on, as pbc,bccd 0",
    )
    parser.add_argument(
        "--other_laboratory",
        nargs=2,
        action="append",
        default=[],
        metavar=("MODEL", "LABORATORY"),
        help="an exported model and a laboratory that it was not trained on",
    )
    parser.add_argument("--min_score", type=float, help="from which a detection is a cell; default: the models' own")
    parser.add_argument("--unknown_below", type=float, help="below which a cell is unknown; default: the models' own")
    parser.add_argument("--seed", type=int, default=0, help="of samples and composed patients")
    parser.add_argument("--every", type=int, default=1, help="use one image in so many, for a first look")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        tests = [test for given in options.in_domain for test in in_domain_tests(*given)]
        tests += [other_laboratory_test(*given) for given in options.other_laboratory]
        if not tests or options.every < 1:
            raise HeldOutError("give --in_domain or --other_laboratory, and --every of 1 or more.")
        settings = FigureSettings(options.seed, composition=CompositionSettings(seed=options.seed), every=options.every)
        images = source_images.read_source_images(options.data_dir)
        figures = CardFigures(images, options.out, settings, options.min_score, options.unknown_below)
        figures.write(tests)
    except UserError as error:
        parser.exit(1, f"{error}\n")
    print((options.out / "card_figures.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
