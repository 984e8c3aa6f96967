"""What a reviewer did to the cells of one image: the returned XML compared with what was shown.

Shape shorthand in this module:
  N: cells shown.
  M: objects in the XML.

Single boxes are xmin, ymin, xmax, ymax in pixels of the original image, arrays [N, 4] ymin, xmin, ymax, xmax.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfod_csf.cytology.review.sidecar import ShownCell
from tfod_csf.evaluation.matching import match_one_to_one
from tfod_csf.study import labelimg
from tfod_csf.study.labelimg import LabeledObject

KEPT, RELABELLED, MOVED, DELETED, ADDED = "kept", "relabelled", "moved", "deleted", "added"
# When LabelImg saves, it truncates fractions and changes 0 to 1; so small a difference is not a move.
MOVED_FROM_PX = 2
Box = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class Decision:
    """One cell as it was shown and as it came back.

    Attributes:
      shown: None for a cell that the reviewer added.
      found: None for a cell that the reviewer deleted.
      iou: overlap of the two boxes; None where there is one.
    """

    shown: ShownCell | None
    found: LabeledObject | None
    iou: float | None = None

    @property
    def is_relabelled(self) -> bool:
        """Whether the name was changed."""
        return bool(self.shown and self.found and self.shown.name != self.found.name)

    @property
    def is_moved(self) -> bool:
        """Whether a side of the box was moved by more than saving moves it."""
        return bool(self.shown and self.found and not is_same_box(self.shown.box, box_of(self.found)))

    @property
    def kinds(self) -> tuple[str, ...]:
        """`kept`, or what was changed; a cell can be relabelled and moved."""
        if self.shown is None:
            return (ADDED,)
        if self.found is None:
            return (DELETED,)
        done = ((RELABELLED, self.is_relabelled), (MOVED, self.is_moved))
        return tuple(kind for kind, is_done in done if is_done) or (KEPT,)


def box_of(labeled: LabeledObject) -> Box:
    """xmin, ymin, xmax, ymax."""
    return labeled.xmin, labeled.ymin, labeled.xmax, labeled.ymax


def is_same_box(one: Box, other: Box) -> bool:
    """Whether all sides differ by less than MOVED_FROM_PX.

    >>> is_same_box((0, 5, 10, 15), (1, 5, 10, 15)), is_same_box((0, 5, 10, 15), (2, 5, 10, 15))
    (True, False)
    """
    return all(abs(a - b) < MOVED_FROM_PX for a, b in zip(one, other, strict=True))


def boxes_array(boxes: Sequence[Box]) -> np.ndarray:
    """[N, 4] ymin, xmin, ymax, xmax."""
    return np.array([[b[1], b[0], b[3], b[2]] for b in boxes], dtype=float).reshape(-1, 4)


def compare(shown: Sequence[ShownCell], objects: Sequence[LabeledObject], iou_threshold: float) -> list[Decision]:
    """Pairs the cells that were shown with the returned objects.

    How it works: first, objects that have the name and, up to the effect of saving, the box of a shown cell are that
    cell. The others are paired by overlap, best first and one to one, without regard to names, if they overlap at least
    as much as the threshold; so a box that was drawn again elsewhere is a deleted and an added cell.

    Returns:
      One decision per shown cell in their order, then one per added cell.
    """
    free = dict(enumerate(objects))
    partner: dict[int, tuple[int, float]] = {}
    for row, cell in enumerate(shown):
        same = [m for m, o in free.items() if o.name == cell.name and is_same_box(cell.box, box_of(o))]
        if same:
            partner[row] = (same[0], 1.0)
            del free[same[0]]
    rows = [row for row in range(len(shown)) if row not in partner]
    columns = list(free)
    matching = match_one_to_one(
        boxes_array([shown[row].box for row in rows]),
        labelimg.boxes_of([objects[column] for column in columns]),
        iou_threshold,
    )
    for first, second, iou in zip(matching.first, matching.second, matching.iou, strict=True):
        partner[rows[first]] = (columns[second], float(iou))
        del free[columns[second]]
    decisions = []
    for row, cell in enumerate(shown):
        column, iou = partner.get(row, (None, None))
        decisions.append(Decision(cell, None if column is None else objects[column], iou))
    return decisions + [Decision(None, found) for found in free.values()]
