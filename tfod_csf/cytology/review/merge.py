"""Applies a reviewer's decisions on an image to the patient's current cells.

The reviewer decided on what was shown; the cells may have changed since, because somebody else's review came first. On
a verified image every cell is decided, unchanged ones too; elsewhere only the cells that were changed are.

Two people disagree on a cell, in whichever order their reviews come, when
  * one names it otherwise than the other did, confirming included, or removes it, and the other's word holds now,
  * one moves its box, and the other moved it elsewhere or confirmed it where it was,
  * one adds a cell on an image that the other verified without it.
Only a person can settle that: the import is refused, or the cell becomes unknown (of two boxes the earlier one stays),
or the newest decision holds and the other person no longer vouches for the image, as the caller chooses. A cell that
was shown as disputed may be settled by a third person.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfod_csf import cell_classes
from tfod_csf.cytology.cell_rows import Cell
from tfod_csf.cytology.review import changes
from tfod_csf.cytology.review.changes import ADDED, DELETED, KEPT, MOVED, RELABELLED, Box, Decision
from tfod_csf.cytology.review.statements import Statement
from tfod_csf.evaluation.matching import match_one_to_one
from tfod_csf.study.labelimg import BNDBOX_SIDES

# Statuses of cells.csv that are a person's decision.
CONFIRMED, DISPUTED = cell_classes.CONFIRMED, cell_classes.DISPUTED
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


@dataclasses.dataclass(frozen=True)
class ImageHistory:
    """What people have said about an image before this review.

    Attributes:
      others: {cell id: {other person: statement}}.
      own: ids of the cells that this reviewer made a statement on.
      verified_by: other people who vouch for the image.
      shown_disputed: ids of the cells that were disputed when the reviewer was shown them.
    """

    others: Mapping[int, Mapping[str, Statement]] = dataclasses.field(default_factory=dict)
    own: frozenset[int] = frozenset()
    verified_by: tuple[str, ...] = ()
    shown_disputed: frozenset[int] = frozenset()

    def people_against(self, cell: Cell, name: str) -> list[str]:
        """Other people whose word holds for the cell now, and whom `name` contradicts ("" for no cell)."""
        words = self.others.get(cell.cell_id, {}).items()
        return [who for who, word in words if word.name in (None, cell.label) and word.contradicts(name)]

    def is_removed_by_others(self, cell: Cell) -> bool:
        """Whether the cell is counted under nothing because another person said so."""
        return not cell.counted_as and any(word.name == "" for word in self.others.get(cell.cell_id, {}).values())


@dataclasses.dataclass
class MergedImage:
    """Result of `merge_image`.

    Attributes:
      cells: all cells of the image, removed ones included, by id.
      rows: for review_changes.csv, without the columns that are the same for a whole import.
      disagreements: sentences; with `refuse` the import must stop when there are any.
      ids: cell id of each decision, in their order; new ones for added cells.
      overruled: people against whose word the newest decision holds; they no longer vouch for the image.
    """

    cells: dict[int, Cell]
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    disagreements: list[str] = dataclasses.field(default_factory=list)
    ids: list[int] = dataclasses.field(default_factory=list)
    overruled: set[str] = dataclasses.field(default_factory=set)


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


def _who(people: Iterable[str], said: str) -> str:
    return "".join(f" ({person} {said})" for person in people)


def _settle(
    merged: MergedImage, cell: Cell, name: str, status: str, rules: MergeRules, history: ImageHistory, people: list[str]
) -> Cell:
    """A cell on which other people and this review disagree; `name` is this review's ("" for no cell).

    Args:
      people: who said what the cell is now; empty when they cannot be told from the history.
    """
    before, now = cell.label or "no cell", name or "no cell"
    merged.disagreements.append(
        f"{cell.image}, cell {cell.cell_id}: {before} before, now {now}{_who(people, f'said {before}')}"
    )
    if rules.disagreements == NEWEST:
        after, note = _named(cell, name, status), "the newest decision holds"
        statements = history.others.get(cell.cell_id, {})
        overruled = dict.fromkeys([*people, *(who for who, word in statements.items() if word.contradicts(name))])
        merged.overruled |= set(overruled)
        note += "".join(f"; {who} no longer vouches for the image" for who in overruled if who in history.verified_by)
    else:
        after, note = _named(cell, cell_classes.UNKNOWN, DISPUTED), "unknown until it is settled"
    note = f"{before} before{_who(people, f'said {before}')}, {now} in this review: {note}"
    merged.rows.append(_row(DISAGREEMENT, cell, after, note=note))
    return after


def _disagrees(cell: Cell, shown_name: str, name: str, history: ImageHistory) -> bool:
    """Whether naming the cell `name`, which it is not called now, contradicts somebody's word."""
    if cell.status == DISPUTED:
        is_third_opinion = cell.cell_id in history.shown_disputed and cell.cell_id not in history.own
        words = history.others.get(cell.cell_id, {}).values()
        return not is_third_opinion and any(word.contradicts(name) for word in words)
    # The second part: somebody decided since the reviewer was shown the cell, perhaps the reviewer in another export.
    return bool(history.people_against(cell, name)) or (cell.is_decided and cell.label != shown_name)


def _decided(
    merged: MergedImage, decision: Decision, is_verified: bool, rules: MergeRules, history: ImageHistory
) -> Cell:
    """The current cell after a decision on a shown one."""
    shown = decision.shown
    assert shown is not None, "an added cell was not shown"
    cell = merged.cells[shown.cell_id]
    name = decision.found.name if decision.found else ""
    status = RELABELLED if name else DELETED
    says_nothing_of_name = name == shown.name and not is_verified
    if says_nothing_of_name and (cell.counted_as or not decision.is_moved):
        after = cell
    elif cell.label == name:
        after = cell if cell.is_decided else _named(cell, name, CONFIRMED)
    elif _disagrees(cell, shown.name, name, history):
        return _settle(merged, cell, name, status, rules, history, history.people_against(cell, name))
    else:
        after = _named(cell, name, status)
        merged.rows.append(_row(status, cell, after, decision.iou))
        # Whose word was given up when a dispute was settled does not vouch for the image as it is now.
        words = history.others.get(cell.cell_id, {})
        merged.overruled |= {person for person, word in words.items() if word.contradicts(name)}
    if decision.found and after.counted_as and (decision.is_moved or is_verified):
        return _placed(merged, after, decision, rules, history)
    return after


def _placed(merged: MergedImage, cell: Cell, decision: Decision, rules: MergeRules, history: ImageHistory) -> Cell:
    """The cell with the box of a decision that moves it, or vouches for the place where it was shown."""
    assert decision.shown is not None, "an added cell was not shown"
    assert decision.found is not None, "a deleted cell has no place"
    box = changes.box_of(decision.found)
    if changes.is_same_box(cell.box, box):
        return cell
    statements = history.others.get(cell.cell_id, {})
    people = [person for person, word in statements.items() if word.box and changes.is_same_box(word.box, cell.box)]
    status = MOVED if cell.status in (cell_classes.COUNTED, CONFIRMED) else cell.status
    moved = dataclasses.replace(cell, box=box, status=status)
    if people or not changes.is_same_box(cell.box, decision.shown.box):
        return _settle_box(merged, cell, moved, rules, people)
    if decision.is_moved:
        merged.rows.append(_row(MOVED, cell, moved, decision.iou))
        return moved
    return cell


def _settle_box(merged: MergedImage, cell: Cell, moved: Cell, rules: MergeRules, people: list[str]) -> Cell:
    """A cell that two people agree on but for its place."""
    about = f"the box of {cell.label} is {_sides(cell.box)} before, now {_sides(moved.box)}"
    about += _who(people, "placed it before")
    merged.disagreements.append(f"{cell.image}, cell {cell.cell_id}: {about}")
    is_newest = rules.disagreements == NEWEST
    if is_newest:
        merged.overruled |= set(people)
    after = moved if is_newest else cell
    note = f"{about}: the {'newest' if is_newest else 'earlier'} box is kept"
    merged.rows.append(_row(DISAGREEMENT, cell, after, note=note))
    return after


def _sides(box: Box) -> str:
    return "-".join(f"{side:.0f}" for side in box)


def _added(
    merged: MergedImage,
    decision: Decision,
    others: dict[int, Cell],
    image: tuple[str, str],
    rules: MergeRules,
    history: ImageHistory,
) -> int:
    """Adds a cell the reviewer added, or finds it among those of others, and returns its id.

    Args:
      others: cells that the reviewer was not shown and that match no added cell of this review yet: those that other
        people added, and those that they removed; a match is taken out.
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
            people = history.people_against(cell, name)
            merged.cells[cell.cell_id] = _settle(merged, cell, name, ADDED, rules, history, people)
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
    if history.verified_by:
        absent = _named(cell, "", DELETED)
        people = list(history.verified_by)
        merged.cells[cell.cell_id] = _settle(merged, absent, name, ADDED, rules, history, people)
        return cell.cell_id
    merged.cells[cell.cell_id] = cell
    merged.rows.append(_row(ADDED, None, cell))
    return cell.cell_id


def merge_image(
    image: tuple[str, str],
    current: Iterable[Cell],
    decisions: Sequence[Decision],
    is_verified: bool,
    rules: MergeRules,
    history: ImageHistory = ImageHistory(),
) -> MergedImage:
    """The cells of an image after a review of it.

    Args:
      image: (patient_id, image).
      current: its cells now, of one model, removed ones included.
      decisions: of `changes.compare`; every shown cell is among `current`.
      is_verified: whether the reviewer vouches for every box in the image.
      history: what people have said before.
    """
    merged = MergedImage({cell.cell_id: cell for cell in current})
    shown_ids = {decision.shown.cell_id for decision in decisions if decision.shown}
    others = {
        cell_id: cell
        for cell_id, cell in merged.cells.items()
        if cell_id not in shown_ids and (cell.counted_as or history.is_removed_by_others(cell))
    }
    for decision in decisions:
        if decision.shown:
            cell = _decided(merged, decision, is_verified, rules, history)
            merged.cells[cell.cell_id] = cell
            merged.ids.append(cell.cell_id)
            continue
        merged.ids.append(_added(merged, decision, others, image, rules, history))
    if is_verified:
        for cell_id, cell in others.items():
            if cell.counted_as:  # added by somebody else, not marked by this reviewer
                people = history.people_against(cell, "")
                merged.cells[cell_id] = _settle(merged, cell, "", DELETED, rules, history, people)
    return merged


def change_counts(decisions: Iterable[Decision]) -> dict[str, int]:
    """{kept, relabelled, moved, deleted, added: cells}; a cell relabelled and moved counts for both."""
    counts = dict.fromkeys((KEPT, RELABELLED, MOVED, DELETED, ADDED), 0)
    for decision in decisions:
        for kind in decision.kinds:
            counts[kind] += 1
    return counts
