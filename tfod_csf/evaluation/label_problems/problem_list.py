"""The contradicted labels of all images, ranked, and their table."""

import dataclasses
import pathlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from tfod_csf.evaluation.label_problems.suspicion import Suspicion
from tfod_csf.files import csv_schemas
from tfod_csf.study.labelimg import BNDBOX_SIDES

TABLE = "label_problems"


@dataclasses.dataclass(frozen=True)
class LabelProblem:
    """A contradicted label: image (path below the images folder), its patient, and what contradicts it."""

    image: str
    patient_id: str
    suspicion: Suspicion


def ranked(problems: Sequence[LabelProblem]) -> list[LabelProblem]:
    """The strongest first; equal ones in the order of their images and boxes."""
    return sorted(problems, key=lambda p: (-round(p.suspicion.score, 4), p.image, p.suspicion.suggested_box))


def counts_of(problems: Sequence[LabelProblem]) -> Counter:
    """Number of each kind."""
    return Counter(problem.suspicion.kind for problem in problems)


def write_table(problems: Sequence[LabelProblem], reviewed: Collection[str], output_dir: pathlib.Path) -> None:
    """Writes label_problems.csv.

    Args:
      problems: as `ranked`.
      reviewed: images in the review folder.
    """
    csv_schemas.load(TABLE).write_into(output_dir, _rows(problems, reviewed))


def _rows(problems: Sequence[LabelProblem], reviewed: Collection[str]) -> Iterator[dict[str, Any]]:
    for rank, problem in enumerate(problems, start=1):
        one = problem.suspicion
        yield {
            "rank": rank,
            "image": problem.image,
            "patient": problem.patient_id,
            "kind": one.kind,
            "score": one.score,
            "label_class": one.label_class,
            "suggested_class": one.suggested_class,
            **_sides("label", one.label_box),
            **_sides("suggested", one.suggested_box),
            "iou": one.iou,
            "in_review": problem.image in reviewed,
        }


def _sides(prefix: str, box: tuple[float, ...] | None) -> dict[str, float | None]:
    ymin, xmin, ymax, xmax = box or (None,) * 4
    return {f"{prefix}_{name}": side for name, side in zip(BNDBOX_SIDES, (xmin, ymin, xmax, ymax), strict=True)}
