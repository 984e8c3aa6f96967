"""The contradicted labels of all images, ranked, and their table."""

import dataclasses
import itertools
import pathlib
from collections import Counter, defaultdict
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


def places_to_show(problems: Sequence[LabelProblem], most: int) -> list[int]:
    """Which of them a person should look at first: places in `problems`, rising.

    Half are for each kind with each suggested class in equal parts, the rest for the strongest. Otherwise hundreds of
    overlooked erythrocytes would hide the one neutrophil that somebody labeled as a lymphocyte.

    Args:
      problems: as `ranked`.
      most: number of places.
    """
    of_group: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, problem in enumerate(problems):
        of_group[problem.suspicion.kind, problem.suspicion.suggested_class].append(place)
    share = most // (2 * max(len(of_group), 1))
    kept = {place for places in of_group.values() for place in places[:share]}
    strongest = (place for place in range(len(problems)) if place not in kept)
    return sorted([*kept, *itertools.islice(strongest, most - len(kept))])


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
