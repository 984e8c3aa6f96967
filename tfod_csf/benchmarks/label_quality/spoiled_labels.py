"""How many labels that were spoiled on purpose find_label_problems names first.

    python -m tfod_csf.benchmarks.label_quality.spoiled_labels MODEL FOLDER [SEED]

MODEL is an exported model of synthetic slides, for example demo/study/exported_models/csf. Makes others in FOLDER,
spoils each label with a probability of 5 % (removed, renamed, moved or doubled), runs the command, and prints how many
of its first 100 suggestions are spoiled labels.
"""

import dataclasses
import pathlib
import subprocess
import sys

import numpy as np

from tfod_csf import cell_classes, np_box_ops
from tfod_csf.files import csv_schemas
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg
from tfod_csf.study.labelimg import LabeledObject
from tfod_csf.synthetic import slides

SHARE = 0.05
REMOVED, RENAMED, MOVED, DOUBLED = "overlooked", "swapped", "badly placed", "doubled"
_FIRST = 100


@dataclasses.dataclass(frozen=True)
class Spoiled:
    """One spoiled label: image, how (as find_label_problems calls it), its box before and after."""

    image: str
    kind: str
    before: tuple[float, ...]
    after: tuple[float, ...]


def spoil(images_dir: pathlib.Path, share: float, seed: int) -> list[Spoiled]:
    """Spoils this share of the labels with a class below a folder, in their XML files."""
    generator = np.random.default_rng(seed)
    spoiled = []
    for path in sorted(images_dir.rglob("*.xml")):
        annotation = labelimg.read_annotation(path, ProblemLog(quiet=True))
        if annotation is None:
            continue
        image = path.with_suffix(".jpg").relative_to(images_dir).as_posix()
        objects = []
        for labeled in annotation.objects:
            if labeled.name in cell_classes.STUDY_CLASSES and generator.random() < share:
                kind = str(generator.choice([REMOVED, RENAMED, MOVED, DOUBLED]))
                changed = _changed(labeled, kind, generator)
                objects += changed
                spoiled.append(Spoiled(image, kind, _box(labeled), _box(changed[-1] if changed else labeled)))
            else:
                objects.append(labeled)
        labelimg.write_annotation(dataclasses.replace(annotation, objects=objects), path)
    return spoiled


def _changed(labeled: LabeledObject, kind: str, generator: np.random.Generator) -> list[LabeledObject]:
    """What takes the place of a label."""
    width, height = labeled.xmax - labeled.xmin, labeled.ymax - labeled.ymin
    if kind == REMOVED:
        return []
    if kind == RENAMED:
        others = [name for name in cell_classes.STUDY_CLASSES if name != labeled.name]
        return [dataclasses.replace(labeled, name=str(generator.choice(others)))]
    # Moved by about half of its size, or a second box a tenth beside the first.
    far = generator.uniform(0.4, 0.6, 2) if kind == MOVED else generator.uniform(0.05, 0.15, 2)
    x, y = far * generator.choice([-1, 1], 2) * [width, height]
    moved = dataclasses.replace(
        labeled, xmin=labeled.xmin + x, xmax=labeled.xmax + x, ymin=labeled.ymin + y, ymax=labeled.ymax + y
    )
    return [moved] if kind == MOVED else [labeled, moved]


def _box(labeled: LabeledObject) -> tuple[float, ...]:
    return labeled.ymin, labeled.xmin, labeled.ymax, labeled.xmax


def is_spoiled(row: dict, spoiled: list[Spoiled]) -> Spoiled | None:
    """The spoiled label that a row of label_problems.csv is about."""
    boxes = [[row[f"{part}_{side}"] for side in ("ymin", "xmin", "ymax", "xmax")] for part in ("label", "suggested")]
    boxes = np.array([box for box in boxes if box[0] is not None], float)
    for one in spoiled:
        if one.image == row["image"] and np_box_ops.iou(boxes, np.array([one.before, one.after])).max() >= 0.5:
            return one
    return None


def main() -> None:
    """Makes slides, spoils, runs and counts."""
    model, folder, seed = sys.argv[1], pathlib.Path(sys.argv[2]), int([*sys.argv, "77"][3])
    slides.synthesize(folder / "slides", 24, 8, seed, slides.FieldSettings(400, 300), None)
    spoiled = spoil(folder / "slides", SHARE, seed)
    command = [sys.executable, "-m", "tfod_csf", "find_label_problems", f"--model={model}"]
    subprocess.run([*command, f"--images_dir={folder / 'slides'}", f"--output_dir={folder / 'found'}"], check=True)
    rows = list(csv_schemas.load("label_problems").read(folder / "found" / "label_problems.csv"))
    first = [(row, is_spoiled(row, spoiled)) for row in rows[:_FIRST]]
    hits = sum(one is not None for _, one in first)
    kinds = sum(one is not None and one.kind == row["kind"] for row, one in first)
    print(f"{len(spoiled)} labels spoiled; of the first {len(first)} of {len(rows)} suggestions {hits} are of them, "
          f"{kinds} as what they are.")  # fmt: skip
    for kind in (REMOVED, RENAMED, MOVED, DOUBLED):
        among = sum(one.kind == kind for one in spoiled)
        ranks = [rank for rank, row in enumerate(rows, 1) if (one := is_spoiled(row, spoiled)) and one.kind == kind]
        print(f"  {kind}: {among} spoiled, {len(ranks)} suggested, {sum(r <= _FIRST for r in ranks)} among the first")


if __name__ == "__main__":
    main()
