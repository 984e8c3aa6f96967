"""Applies a reviewer's decisions on an image to the patient's current cells.

The reviewer decided on what was shown; the cells may have changed since, because somebody else's review came first. So
each decision is a step from the shown name to a new one, and it is applied when the current name is the shown one. When
the current name is the new one already, the two agree. When it is a third, they disagree, and only a person can settle
that: the import is refused, or the cell becomes unknown, or the newest decision holds, as the caller chooses.

On a verified image every cell is decided, unchanged ones too; elsewhere only the cells that were changed are.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from tfod_csf import cell_classes
from tfod_csf.cytology.cell_rows import Cell
from tfod_csf.cytology.review import changes
from tfod_csf.cytology.review.changes import ADDED, DELETED, KEPT, MOVED, RELABELLED, Decision
from tfod_csf.evaluation.matching import match_one_to_one
from tfod_csf.study.labelimg import BNDBOX_SIDES

# Statuses of cells.csv that are a person's decision.
CONFIRMED, DISPUTED = "confirmed", "disputed"
VERIFIED, DISAGREEMENT = "verified", "disagreement"
REFUSE, AS_UNKNOWN, NEWEST = "refuse", "unknown", "newest"


@dataclasses.dataclass(frozen=True)
class MergeRules:
    """How an image's decisions are applied.

    Attributes:
      model: whose list of cells added cells join.
      iou_threshold: IoU >= this makes a box that two people added one cell.
      disagreements: `refuse`, `unknown` or `newest`.
    """

    model: str
    iou_threshold: float = 0.5
    disagreements: str = REFUSE


@dataclasses.dataclass
class MergedImage:
    """Result of `merge_image`.

    Attributes:
      cells: all cells of the image, removed ones included, by id.
      rows: for review_changes.csv, without the columns that are the same for a whole import.
      disagreements: sentences; with `refuse` the import must stop when there are any.
      ids: cell id of each decision, in their order; new ones for added cells.
    """

    cells: dict[int, Cell]
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    disagreements: list[str] = dataclasses.field(default_factory=list)
    ids: list[int] = dataclasses.field(default_factory=list)


def _row(change: str, before: Cell | None, after: Cell, iou: float | None = None, note: str = "") -> dict[str, Any]:
    row: dict[str, Any] = {
        "image": after.image,
        "cell_id": after.cell_id,
        "model": after.model,
        "change": change,
        "predicted_class": after.predicted_class,
        "score": after.score,
        "class_before": before.label if before else "",
        "class_after": after.label,
        "iou": iou,
        "note": note,
    }
    if before:
        row.update({f"{side}_before": value for side, value in zip(BNDBOX_SIDES, before.box, strict=True)})
    if after.counted_as:
        row.update({f"{side}_after": value for side, value in zip(BNDBOX_SIDES, after.box, strict=True)})
    return row


def _named(cell: Cell, name: str, status: str) -> Cell:
    return dataclasses.replace(cell, counted_as=name, status=status)


def _settle(merged: MergedImage, cell: Cell, name: str, status: str, rules: MergeRules) -> Cell:
    """A cell on which the current state and this review disagree; `name` is this review's ("" for no cell)."""
    about = f"{cell.image}, cell {cell.cell_id}: {cell.label or 'no cell'} before, now {name or 'no cell'}"
    merged.disagreements.append(about)
    if rules.disagreements == NEWEST:
        after, note = _named(cell, name, status), "the newest decision holds"
    else:
        after, note = _named(cell, cell_classes.UNKNOWN, DISPUTED), "unknown until it is settled"
    note = f"{cell.label or 'no cell'} before, {name or 'no cell'} in this review: {note}"
    merged.rows.append(_row(DISAGREEMENT, cell, after, note=note))
    return after


def _decided(merged: MergedImage, decision: Decision, is_verified: bool, rules: MergeRules) -> Cell:
    """The current cell after a decision on a shown one."""
    shown = decision.shown
    assert shown is not None, "an added cell was not shown"
    cell = merged.cells[shown.cell_id]
    shown_name, name = shown.name, decision.found.name if decision.found else ""
    if name == shown_name and not is_verified:
        after = cell
    elif cell.label == name:
        after = cell if cell.is_decided else _named(cell, name, CONFIRMED)
    elif cell.label == shown_name:
        after = _named(cell, name, RELABELLED if name else DELETED)
        merged.rows.append(_row(RELABELLED if name else DELETED, cell, after, decision.iou))
    else:
        after = _settle(merged, cell, name, RELABELLED if name else DELETED, rules)
    if decision.found and decision.is_moved and after.counted_as:
        box = changes.box_of(decision.found)
        if not changes.is_same_box(after.box, box):
            status = MOVED if after.status in (cell_classes.COUNTED, CONFIRMED) else after.status
            moved = dataclasses.replace(after, box=box, status=status)
            merged.rows.append(_row(MOVED, after, moved, decision.iou))
            return moved
    return after


def _added(
    merged: MergedImage, decision: Decision, others: dict[int, Cell], image: tuple[str, str], rules: MergeRules
) -> int:
    """Adds a cell the reviewer added, or finds it among those of others, and returns its id.

    Args:
      others: cells that other people added and that match no added cell of this review yet; a match is removed.
    """
    found = decision.found
    assert found is not None, "a deleted cell was not added"
    box, name = changes.box_of(found), found.name
    rows = list(others)
    matching = match_one_to_one(
        changes.boxes_array([others[cell_id].box for cell_id in rows]),
        changes.boxes_array([box]),
        rules.iou_threshold,
    )
    if len(matching.first):
        cell = others.pop(rows[matching.first[0]])
        if cell.label != name:
            merged.cells[cell.cell_id] = _settle(merged, cell, name, ADDED, rules)
        return cell.cell_id
    cell = Cell(
        patient_id=image[0],
        image=image[1],
        cell_id=max(merged.cells, default=0) + 1,
        model=rules.model,
        box=box,
        predicted_class="",
        score=None,
        class_scores={},
        status=ADDED,
        counted_as=name,
    )
    merged.cells[cell.cell_id] = cell
    merged.rows.append(_row(ADDED, None, cell))
    return cell.cell_id


def merge_image(
    image: tuple[str, str],
    current: Iterable[Cell],
    decisions: Sequence[Decision],
    is_verified: bool,
    rules: MergeRules,
) -> MergedImage:
    """The cells of an image after a review of it.

    Args:
      image: (patient_id, image).
      current: its cells now, of one model, removed ones included.
      decisions: of `changes.compare`; every shown cell is among `current`.
      is_verified: whether the reviewer vouches for every box in the image.
    """
    merged = MergedImage({cell.cell_id: cell for cell in current})
    shown_ids = {decision.shown.cell_id for decision in decisions if decision.shown}
    others = {i: cell for i, cell in merged.cells.items() if i not in shown_ids and cell.counted_as}
    for decision in decisions:
        if decision.shown:
            cell = _decided(merged, decision, is_verified, rules)
            merged.cells[cell.cell_id] = cell
            merged.ids.append(cell.cell_id)
            continue
        merged.ids.append(_added(merged, decision, others, image, rules))
    if is_verified:
        for cell_id, cell in others.items():  # added by somebody else, not marked by this reviewer
            merged.cells[cell_id] = _settle(merged, cell, "", DELETED, rules)
    return merged


def change_counts(decisions: Iterable[Decision]) -> dict[str, int]:
    """{kept, relabelled, moved, deleted, added: cells}; a cell relabelled and moved counts for both."""
    counts = dict.fromkeys((KEPT, RELABELLED, MOVED, DELETED, ADDED), 0)
    for decision in decisions:
        for kind in decision.kinds:
            counts[kind] += 1
    return counts
