"""What each choice behind csf_small is worth: trainings that differ in one thing or two, at about equal CPU time.

    python -m tfod_csf.benchmarks.csf_small.ablations --data_dir=DATA --work_dir=WORK [--rows=base,stain]

Every row trains on four folds of PBC, and is tested with the fifth, and with all of BCCD as the laboratory that it has
never seen. A row is a recipe in WORK/ROW; what has finished is not run again, so a stopped command resumes, and rows
can be run on several machines. WORK/ablations.csv and WORK/ablations.md show the rows that are there.
"""

import argparse
import csv
import dataclasses
import json
import math
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tfod_csf.benchmarks.csf_small import card_figures, recipe, source_images
from tfod_csf.benchmarks.csf_small.card_figures import CardFigures, FigureSettings
from tfod_csf.benchmarks.csf_small.composed_patients import CompositionSettings
from tfod_csf.benchmarks.csf_small.recipe import Recipe, Start
from tfod_csf.benchmarks.csf_small.source_images import BCCD, PBC, SourceImage
from tfod_csf.benchmarks.csf_small.training_fields import FieldSettings
from tfod_csf.config import paper_settings
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, csv_tables

FOLD = 0
_NUM_FIELDS = 7000
_BASE = FieldSettings(_NUM_FIELDS, seed=1, pasted=3, dense=0.6, sparse=0.4)
_CAMERAS = dataclasses.replace(_BASE, **{**recipe.OTHER_LABORATORIES, "changed": 1.0})
_INSTANCE_NORM = {"feature_extractor": "resnet18_instance_norm"}
_CLASSIFIER_STEPS, _SYNTHETIC_STEPS = 1200, 1000
_IN_DOMAIN, _OTHER = "In domain", "A laboratory that was not trained on"
# Columns after those of the training: (title, set, figure, reading, class).
_FIGURES = (
    ("white found", _IN_DOMAIN, "average precision", "white cell", "white cell"),
    ("lymphocyte", _IN_DOMAIN, "average precision", "unknown ignored", "lymphocyte"),
    ("monocyte", _IN_DOMAIN, "average precision", "unknown ignored", "monocyte"),
    ("neutrophil", _IN_DOMAIN, "average precision", "unknown ignored", "neutrophil"),
    ("erythrocyte", _IN_DOMAIN, "average precision", "unknown ignored", "erythrocyte"),
    ("type, unknown wrong", _IN_DOMAIN, "balanced accuracy", "unknown is wrong", ""),
    ("type, of three", _IN_DOMAIN, "balanced accuracy", "among the three classes", ""),
    ("other laboratory: white found", _OTHER, "average precision", "white cell", "white cell"),
    ("other laboratory: erythrocyte", _OTHER, "average precision", "unknown ignored", "erythrocyte"),
    ("other laboratory: type, unknown wrong", _OTHER, "balanced accuracy", "unknown is wrong", ""),
    ("other laboratory: type, of three", _OTHER, "balanced accuracy", "among the three classes", ""),
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
      difference: from the first row, in words.
      steps: chosen so that the rows take about the same CPU time.
      fields: what it learns from.
      network: flags of generate_pipeline_config besides the recipe's own.
      start: None: random weights.
      changes: of the generated pipeline.config.
    """

    difference: str
    steps: int = 3000
    fields: FieldSettings = _BASE
    network: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    start: Start | None = None
    changes: str = ""


def _classifier(work: Recipe, work_dir: pathlib.Path, images: Sequence[SourceImage]) -> str:
    """Trained here and not by a command of tfod_csf, which has no classifiers."""

    def train_classifier(folder: pathlib.Path) -> None:
        from tfod_csf.benchmarks.csf_small import cell_classifier

        cell_classifier.train(images, work_dir / "pipeline.config", _CLASSIFIER_STEPS, folder)

    work.own_step("start", "start", train_classifier)
    return _starting_at(work_dir / "start" / "ckpt-0")


def _synthetic(work: Recipe, work_dir: pathlib.Path, images: Sequence[SourceImage]) -> str:
    """The same network, trained on synthetic slides, whose classes are others: its heads are not copied."""
    slides, records, config = (work_dir / "start" / name for name in ("slides", "records", "pipeline.config"))
    drawing = ["synthesize", f"--output_dir={slides}", "--num_patients=40", "--images_per_patient=8", "--seed=7"]
    work.step("synthetic slides", [*drawing, "--width=427", "--height=320"], remove="start/slides")
    work.step("synthetic records", ["create_csf_tf_record", f"--images_dir={slides}", f"--output_dir={records}"])
    flags = [f"--{name}={value}" for name, value in recipe.network_flags(_SYNTHETIC_STEPS).items()]
    work.step(
        "synthetic config", ["generate_pipeline_config", f"--records_dir={records}", f"--output_path={config}", *flags]
    )
    model = work_dir / "start" / "model"
    work.step("start", ["model_main_tf2", f"--pipeline_config_path={config}", f"--model_dir={model}", "--seed=1"])
    return _starting_at(model)


def _starting_at(checkpoint: pathlib.Path) -> str:
    return (
        f'train_config {{ fine_tune_checkpoint: "{checkpoint}" fine_tune_checkpoint_type: "detection" '
        "fine_tune_checkpoint_version: V2 }"
    )


ROWS = {
    "base": Row("half-width ResNet-18, stride 8, Adam; fields as described in training_fields"),
    "rms_prop": Row("RMSprop instead of Adam", network={"optimizer": paper_settings.RMS_PROP}),
    "instance_norm": Row("a first half that normalizes each image by itself", network=_INSTANCE_NORM),
    "cameras": Row("strong stain jitter, densities of 0.3 to 1.3, half of the parts blurred", fields=_CAMERAS),
    "cameras_instance_norm": Row("both of these", fields=_CAMERAS, network=_INSTANCE_NORM),
    "stain": Row("mild stain jitter", fields=dataclasses.replace(_BASE, stain=0.12)),
    "blur": Row("half of the parts blurred", fields=dataclasses.replace(_BASE, blur=2.5)),
    "more_cells": Row(
        "64 proposals of an image in a step, half of them cells, instead of 32 and a quarter",
        changes=recipe.MORE_CELLS,
    ),
    "annealed": Row("learning rate to a hundredth instead of a tenth", network={"decay_factor": 0.9}),
    "as_labeled": Row(
        "parts of images with their own boxes, nothing pasted, no glass: red cells without boxes are background",
        fields=dataclasses.replace(_BASE, pasted=0, dense=0.0, sparse=0.0),
    ),
    "dense_only": Row(
        "densely labeled images only, nothing pasted",
        fields=dataclasses.replace(_BASE, pasted=0, dense=1.0, sparse=0.0),
    ),
    "one_scale": Row("every part at scale 1", fields=dataclasses.replace(_BASE, scales=(1.0, 1.0))),
    "no_mosaic": Row("no mosaics", fields=dataclasses.replace(_BASE, mosaic=0.0)),
    "from_classifier": Row(
        "starts from a classifier of cut-out white cells", steps=2000, start=Start("classifier", _classifier)
    ),
    "from_synthetic": Row(
        "starts from 1,000 steps of synthetic slides", steps=2000, start=Start("synthetic", _synthetic)
    ),
}


def train(row: Row, work_dir: pathlib.Path, images: Sequence[SourceImage]) -> None:
    """Trains one row, or what is missing of it.

    Args:
      images: all source images.
    """
    network = {**recipe.network_flags(row.steps), **row.network}
    recipe.run(work_dir, recipe.kept(images, FOLD, BCCD), row.fields, network, row.start, row.changes)


def test(work_dir: pathlib.Path, images: Sequence[SourceImage]) -> None:
    """Writes the row's card figures into `work_dir`/figures unless they are there, of these images."""
    out = work_dir / "figures"
    settings = FigureSettings(replicates=200, composition=CompositionSettings(patients=5, samples=20))
    if _has_figures(out, images, settings):
        return
    exported = str(work_dir / "exported")
    other = card_figures.other_laboratory_test(exported, BCCD)
    tests = [*card_figures.in_domain_tests(exported, PBC, str(FOLD)), other]
    CardFigures(images, out, settings).write(tests)


def _has_figures(out: pathlib.Path, images: Sequence[SourceImage], settings: FigureSettings) -> bool:
    """Whether a folder holds figures of these images and labels, so that all rows are compared on the same ones."""
    record = out / "card_figures.json"
    if not (record.is_file() and (out / "card_figures.md").is_file()):
        return False
    kept = json.loads(record.read_text(encoding="utf-8"))
    wanted = json.loads(json.dumps(dataclasses.asdict(settings)))  # as JSON gives them back: lists for tuples
    return (kept["data_fingerprint"], kept["settings"]) == (source_images.data_fingerprint(images), wanted)


def table(work_dir: pathlib.Path) -> list[dict[str, Any]]:
    """One line per row of `ROWS` that was tested.

    Columns: row, difference, steps, cpu_minutes (of start and training), and `_FIGURES`, None where there is none.
    """
    lines = []
    for name, row in ROWS.items():
        figures = work_dir / name / "figures" / "card_figures.csv"
        if not figures.is_file():
            continue
        record = json.loads((work_dir / name / recipe.TRAINING).read_text(encoding="utf-8"))
        line = {
            "row": name,
            "difference": row.difference,
            "steps": record["settings"]["network"]["num_steps"],
            "cpu_minutes": round(sum(record["cpu_seconds"].get(name, 0) for name in ("start", "training")) / 60, 1),
        }
        lines.append({**line, **_figures(figures)})
    return lines


def _figures(path: pathlib.Path) -> dict[str, float | None]:
    with path.open(encoding="utf-8", newline="") as opened:
        values = {
            (row["set"].split(":")[0], row["figure"], row["reading"], row["class"]): row["value"]
            for row in csv.DictReader(opened)
        }
    return {title: _number(values[tuple(key)]) for title, *key in _FIGURES}


def _number(text: str) -> float | None:
    return round(float(text), 3) if text and not math.isnan(float(text)) else None


def write_table(work_dir: pathlib.Path) -> pathlib.Path:
    """Writes ablations.csv and ablations.md and returns the path of the latter."""
    columns = ["row", "difference", "steps", "cpu_minutes", *(title for title, *_ in _FIGURES)]
    lines = table(work_dir)
    csv_tables.write_rows(work_dir / "ablations.csv", columns, lines)
    shown = [columns, ["---"] * len(columns), *([_shown(line[name]) for name in columns] for line in lines)]
    path = work_dir / "ablations.md"
    atomic_write.write_text(path, "".join(f"| {' | '.join(cells)} |\n" for cells in shown))
    return path


def _shown(value: Any) -> str:
    if value is None:
        return "n/a"
    return f"{value:.3f}" if isinstance(value, float) and value <= 1 else str(value)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=pathlib.Path, required=True, help="holds pbc_mgg, pbc_dense, bccd_...")
    parser.add_argument("--work_dir", type=pathlib.Path, required=True, help="folder of all rows")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"which to run (default: {','.join(ROWS)})")
    options = parser.parse_args(arguments)
    names = options.rows.split(",")
    if unknown := [name for name in names if name not in ROWS]:
        parser.error(f"--rows: {unknown[0]!r} is none of {', '.join(ROWS)}.")
    try:
        images = source_images.read_source_images(options.data_dir)
        for name in names:
            train(ROWS[name], options.work_dir / name, images)
            test(options.work_dir / name, images)
            print(write_table(options.work_dir).read_text(encoding="utf-8"), flush=True)
    except UserError as error:
        sys.exit(f"ablations: error: {error}")


if __name__ == "__main__":
    main()
