"""Unlabeled images in the order in which they should be labeled, with the reasons, and their table."""

import dataclasses
import pathlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from tfod_csf.evaluation.label_choice import image_measures, ranking
from tfod_csf.evaluation.label_choice.image_measures import NO_CELL, Description, ImageMeasures
from tfod_csf.files import csv_schemas

TABLE = "label_suggestions"
_RARE = 2.0  # weight from which a class is called rare among the labels
_NAMED_DOUBTS = 3


@dataclasses.dataclass(frozen=True)
class LabeledImages:
    """What is labeled already.

    Attributes:
      names: of the images.
      descriptions: of each.
      numbers: [K] labels of each class; None where they are not known.
    """

    names: list[str]
    descriptions: list[Description]
    numbers: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """An unlabeled image.

    Attributes:
      image, patient_id: which, and whose.
      score, uncertainty, novelty: of `ranking.Choice`.
      nearest: the labeled or earlier image that is most like it; "" where there is none.
      num_expected: cells, by the model's probabilities.
      num_doubtful: cells about which the model is in doubt.
      reason: why it has this place, in words.
    """

    image: str
    patient_id: str
    score: float
    uncertainty: float
    novelty: float
    nearest: str
    num_expected: float
    num_doubtful: int
    reason: str


def suggest(unlabeled: Sequence[ImageMeasures], labeled: LabeledImages, classes: Sequence[str]) -> list[Suggestion]:
    """All unlabeled images, the one to label first at the beginning.

    Args:
      unlabeled: in any order that is the same every time.
      labeled: where `numbers` is None, what the model finds in the unlabeled images says which classes are rare.
      classes: [K] names.
    """
    if not unlabeled:
        return []
    expected = np.array([one.expected for one in unlabeled])
    numbers = expected.sum(axis=0) if labeled.numbers is None else labeled.numbers
    weights = image_measures.class_weights(numbers)
    uncertainty = np.array([one.doubts for one in unlabeled]) @ weights
    points = ranking.places([one.description for one in unlabeled], labeled.descriptions)
    names = [*(one.image for one in unlabeled), *labeled.names]
    rare = [name for name, weight in zip(classes, weights, strict=True) if weight >= _RARE]
    suggestions = []
    for choice in ranking.ranked(uncertainty, *points):
        one = unlabeled[choice.index]
        likely = [name for name, number in zip(classes, one.expected, strict=True) if number >= 0.5]
        suggestions.append(
            Suggestion(
                image=one.image,
                patient_id=one.patient_id,
                score=choice.score,
                uncertainty=choice.uncertainty,
                novelty=choice.novelty,
                nearest="" if choice.nearest is None else names[choice.nearest],
                num_expected=float(one.expected.sum()),
                num_doubtful=one.doubtful.total(),
                reason=reason_of(
                    one.doubtful,
                    [name for name in likely if name in rare],
                    choice.nearest is not None and choice.novelty >= 1,
                    labeled,
                ),
            )
        )
    return suggestions


def reason_of(doubtful: Counter, rare: Sequence[str], is_new: bool, labeled: LabeledImages) -> str:
    """Why an image teaches something, in words.

    Args:
      doubtful: of `ImageMeasures`.
      rare: rare classes that it likely holds.
      is_new: whether it is far from all labeled and earlier images, of which there is one.
      labeled: what is labeled; without `numbers` nobody knows of which class few are.

    >>> doubtful = Counter({("monocyte", "lymphocyte"): 1, ("lymphocyte", "monocyte"): 2})
    >>> reason_of(doubtful, ["monocyte"], False, LabeledImages([], [], np.array([9, 1])))
    'in doubt: 3 lymphocyte or monocyte; likely holds monocyte, of which fewer are labeled'
    """
    pairs: Counter[tuple[str, ...]] = Counter()
    for names, number in doubtful.items():
        pairs[tuple(sorted(names, key=lambda name: (name == NO_CELL, name)))] += number
    ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    doubts = [f"{number} {' or '.join(names)}" for names, number in ordered[:_NAMED_DOUBTS]]
    num_others = sum(number for _, number in ordered[_NAMED_DOUBTS:])
    parts = []
    if doubts:
        parts.append(f"in doubt: {', '.join([*doubts, *([f'{num_others} more'] if num_others else [])])}")
    if rare:
        few = "the model finds fewer" if labeled.numbers is None else "fewer are labeled"
        parts.append(f"likely holds {' and '.join(rare)}, of which {few}")
    if is_new:
        parts.append(f"unlike {'the labeled images and ' if labeled.names else ''}those before it")
    return "; ".join(parts) or "no cell here lies close between two classes"


def write_table(suggestions: Sequence[Suggestion], prelabeled: Collection[str], output_dir: pathlib.Path) -> None:
    """Writes label_suggestions.csv.

    Args:
      suggestions: of `suggest`.
      prelabeled: images in the folder for LabelImg.
    """
    csv_schemas.load(TABLE).write_into(output_dir, _rows(suggestions, prelabeled))


def _rows(suggestions: Sequence[Suggestion], prelabeled: Collection[str]) -> Iterator[dict[str, Any]]:
    for rank, one in enumerate(suggestions, start=1):
        yield {
            "rank": rank,
            "image": one.image,
            "patient": one.patient_id,
            "score": one.score,
            "uncertainty": one.uncertainty,
            "novelty": one.novelty,
            "nearest": one.nearest,
            "expected_cells": one.num_expected,
            "doubtful_cells": one.num_doubtful,
            "reason": one.reason,
            "pre_labeled": one.image in prelabeled,
        }
