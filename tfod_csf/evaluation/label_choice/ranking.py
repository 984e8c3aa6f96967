"""The order in which images should be labeled: uncertain ones, each unlike those before it.

One after the other, the image with the largest product of uncertainty and distance to the nearest image that is labeled
or was ranked before. The distance is that of greedy k-center (Sener, Savarese: Active Learning for Convolutional Neural
Networks: A Core-Set Approach, ICLR 2018); uncertainty first and diversity among the uncertain is how Yang, Huang and
Crowley choose (Plug and Play Active Learning for Object Detection, CVPR 2024), in two steps.

Shape shorthand in this module: N unlabeled images, L labeled ones, D numbers that describe one.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfod_csf.evaluation.label_choice.image_measures import Description

# An image in which the model doubts nothing can be chosen for its looks: it may hold cells that the model does not see.
_LEAST_UNCERTAINTY = 0.05


@dataclasses.dataclass(frozen=True)
class Choice:
    """An image in its place of the order.

    Attributes:
      index: of the unlabeled images.
      score: what it was chosen by, 0 .. 1.
      uncertainty: 0 .. 1, 1 for the image with the largest.
      novelty: distance to the nearest labeled or earlier image, 0 for the same and 1 for as far as two images are on
        average, or farther; 1 for the first image where nothing is labeled.
      nearest: that image, a number below N of an unlabeled one or N + its number of a labeled one; None for the first
        image where nothing is labeled.
    """

    index: int
    score: float
    uncertainty: float
    novelty: float
    nearest: int | None


def places(unlabeled: Sequence[Description], labeled: Sequence[Description]) -> tuple[np.ndarray, np.ndarray]:
    """([N, D], [L, D]): points whose distance is how unlike two images are; the mean square among all images is 1.

    Cells and colors weigh the same. The labeled images count for the mean too: the unlabeled ones alone have none where
    there is but one, or all look the same, however unlike the labeled ones.
    """
    first, second = [], []
    for part in ("cells", "colors"):
        ours, others = (np.array([getattr(one, part) for one in some], float) for some in (unlabeled, labeled))
        others = others.reshape(len(labeled), ours.shape[1])
        # The mean square distance of two is twice the variance; two parts share the 1.
        spread = np.sqrt(4 * np.concatenate([ours, others]).var(axis=0).sum())
        first.append(ours / spread if spread > 0 else 0 * ours)
        second.append(others / spread if spread > 0 else 0 * others)
    return np.concatenate(first, axis=1), np.concatenate(second, axis=1)


def ranked(uncertainty: np.ndarray, unlabeled: np.ndarray, labeled: np.ndarray, num_spread: int = 2000) -> list[Choice]:
    """All unlabeled images, the one to label first at the beginning; of equal ones the earlier.

    Args:
      uncertainty: [N], not negative.
      unlabeled: [N, D] of `places`.
      labeled: [L, D].
      num_spread: only so many are chosen one after the other, which takes N steps each; the rest is in the order of the
        products that they then have.
    """
    number = len(uncertainty)
    relative = uncertainty / max(float(uncertainty.max(initial=0.0)), 1e-12)
    weight = _LEAST_UNCERTAINTY + (1 - _LEAST_UNCERTAINTY) * relative
    distance, nearest = np.full(number, np.inf), np.full(number, -1)
    for place, point in enumerate(labeled, start=number):
        _approach(distance, nearest, unlabeled, point, place)

    def choice(index: int) -> Choice:
        novelty = min(float(distance[index]), 1.0)
        near = None if nearest[index] < 0 else int(nearest[index])
        return Choice(index, float(weight[index]) * novelty, float(relative[index]), novelty, near)

    choices, is_left = [], np.ones(number, bool)
    for _ in range(min(number, num_spread)):
        index = int(np.where(is_left, _products(weight, distance), -1.0).argmax())
        choices.append(choice(index))
        is_left[index] = False
        _approach(distance, nearest, unlabeled, unlabeled[index], index)
    order = np.argsort(-_products(weight, distance), kind="stable")
    return [*choices, *(choice(index) for index in order[is_left[order]].tolist())]


def _products(weight: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """[N] what decides; equal images have no distance, and among them uncertainty decides."""
    return weight * (np.minimum(distance, 1.0) + 1e-9)


def _approach(distance: np.ndarray, nearest: np.ndarray, points: np.ndarray, to: np.ndarray, place: int) -> None:
    """Lowers the distances [N] to the nearest image where that is the one at `to`, in place."""
    new = np.sqrt(((points - to) ** 2).sum(axis=1))
    closer = new < distance
    distance[closer], nearest[closer] = new[closer], place
