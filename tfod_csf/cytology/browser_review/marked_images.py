"""What a reviewer has made of the cells of one patient: the entries of the journal, applied one after another.

Entries of one patient (`number` counts all entries of the journal, from 1):

    {"number": 7, "action": "name", "image": "p__a.jpg", "cell": 3, "name": "monocyte"}      also confirms a name
    {"number": 8, "action": "name", "image": "p__a.jpg", "cell": 4, "name": ""}              not a cell
    {"number": 9, "action": "draw", "image": "p__a.jpg", "name": "unknown", "box": [1, 2, 30, 31]}     becomes cell -9
    {"number": 10, "action": "move", "image": "p__a.jpg", "cell": 3, "box": [5, 6, 40, 41]}
    {"number": 11, "action": "verify", "image": "p__a.jpg"}                                  or "unverify"
    {"number": 12, "action": "undo", "undoes": 9}

Images have the names they have in the exported folder. Boxes are xmin, ymin, xmax, ymax in pixels of the image.
"""

import dataclasses
from collections.abc import Iterable

from tfod_csf import cell_classes
from tfod_csf.cytology.browser_review.journal import Entry
from tfod_csf.cytology.review.sidecar import ShownCell, ShownImage, Sidecar

NAME, DRAW, MOVE, VERIFY, UNVERIFY, UNDO = "name", "draw", "move", "verify", "unverify", "undo"
DECISIONS = (NAME, DRAW, MOVE, VERIFY, UNVERIFY)
_MIN_SIDE = 2


class RefusedDecisionError(Exception):
    """A decision that cannot be taken; says why."""


@dataclasses.dataclass
class MarkedCell:
    """A cell as the reviewer sees it now.

    Attributes:
      name: its class, or `unknown`; "" when the reviewer said that it is not a cell.
      box: xmin, ymin, xmax, ymax in whole pixels.
      shown: as it was exported; None for a cell that the reviewer drew.
      version: number of the last entry about it; 0 while the reviewer has said nothing.
      is_decided: whether the reviewer said what it is; to move its box does not.
    """

    name: str
    box: tuple[int, int, int, int]
    shown: ShownCell | None
    version: int = 0
    is_decided: bool = False

    @property
    def may_be_white(self) -> bool:
        """Whether the cell, if unknown, may be a white cell."""
        predicted = self.shown.predicted_class if self.shown else ""
        return cell_classes.canonical_name(predicted) != cell_classes.ERYTHROCYTE


@dataclasses.dataclass
class MarkedImage:
    """An image as the reviewer sees it now.

    Attributes:
      cells: {cell id of the export, or minus the number of the entry that drew it: cell}.
      is_verified: whether the reviewer vouches for every box in it.
      version: number of the last entry about it, undone ones too; 0 while there is none.
    """

    shown: ShownImage
    cells: dict[int, MarkedCell]
    is_verified: bool = False
    version: int = 0

    def apply(self, entry: Entry) -> None:
        """Applies a decision; one about a drawn cell that was undone meanwhile has nothing to apply to."""
        number, action = entry["number"], entry["action"]
        if action == DRAW:
            self.cells[-number] = MarkedCell(entry["name"], tuple(entry["box"]), None, number, is_decided=True)
        elif action == NAME and entry["cell"] in self.cells:
            cell = self.cells[entry["cell"]]
            cell.name, cell.version, cell.is_decided = entry["name"], number, True
        elif action == MOVE and entry["cell"] in self.cells:
            cell = self.cells[entry["cell"]]
            cell.box, cell.version = tuple(entry["box"]), number
        elif action in (VERIFY, UNVERIFY):
            self.is_verified = action == VERIFY
        self.version = number


class MarkedPatient:
    """A patient's images with everything the reviewer has said.

    Attributes:
      sidecar: what was exported.
      images: {name in the exported folder: image}.
      version: number of the patient's last decision or undo; 0 while there is none.
    """

    def __init__(self, sidecar: Sidecar, entries: Iterable[Entry] = ()):
        self.sidecar = sidecar
        self.images: dict[str, MarkedImage] = {}
        self.version = 0
        self._decisions: dict[int, Entry] = {}
        self._touched: dict[str, int] = {}
        for name in sidecar.images:
            self._rebuild(name)
        for entry in entries:
            self.apply(entry)

    def apply(self, entry: Entry) -> None:
        """Takes a decision or an undo of the journal."""
        number = entry["number"]
        if entry["action"] == UNDO:
            undone = self._decisions.pop(entry["undoes"])
            self._touched[undone["image"]] = number
            self._rebuild(undone["image"])
        else:
            self._decisions[number] = entry
            self._touched[entry["image"]] = number
            self.images[entry["image"]].apply(entry)
        self.version = number

    def _rebuild(self, name: str) -> None:
        """The image as it was shown, with the decisions that are not undone."""
        shown = self.sidecar.images[name]
        cells = {cell.cell_id: MarkedCell(cell.name, cell.box, cell) for cell in shown.cells}
        image = self.images[name] = MarkedImage(shown, cells)
        for entry in self._decisions.values():
            if entry["image"] == name:
                image.apply(entry)
        image.version = self._touched.get(name, 0)

    @property
    def last_decision(self) -> Entry | None:
        """What an undo takes back."""
        return self._decisions[max(self._decisions)] if self._decisions else None

    def check(self, entry: Entry, seen: int) -> None:
        """Whether a decision can be taken.

        Args:
          entry: without its number.
          seen: version of the cell (`name`, `move`), of the image (`verify`, `unverify`) or of the patient (`undo`)
            that was on the screen; a newer one was made in another window, and nobody decides over what he has not
            seen.

        Raises:
          RefusedDecisionError: it cannot.
        """
        action = entry["action"]
        if action == UNDO:
            if self.last_decision is None:
                raise RefusedDecisionError("There is nothing to undo.")
            check_seen(self.version, seen)
            return
        image = self.images.get(entry["image"])
        if image is None:
            raise RefusedDecisionError("There is no such image.")
        if action in (NAME, MOVE):
            cell = image.cells.get(entry["cell"])
            if cell is None:
                raise RefusedDecisionError("The cell is no longer there: it was undone in another window.")
            if action == NAME:
                self._check_name(entry["name"], may_be_none=True)
            else:
                _check_box(entry["box"], image.shown)
            check_seen(cell.version, seen)
        elif action == DRAW:
            self._check_name(entry["name"], may_be_none=False)
            _check_box(entry["box"], image.shown)
        else:
            check_seen(image.version, seen)

    def _check_name(self, name: str, may_be_none: bool) -> None:
        if name not in self.sidecar.names and not (may_be_none and not name):
            raise RefusedDecisionError(f"{name!r} is not a class of this review.")


def check_seen(version: int, seen: int) -> None:
    """Nobody decides over what he has not seen.

    Args:
      version: as it is now.
      seen: as it was on the screen.

    Raises:
      RefusedDecisionError: they differ.
    """
    if version != seen:
        raise RefusedDecisionError("This was changed in another window meanwhile; look at it again.")


def _check_box(box: tuple[int, int, int, int], image: ShownImage) -> None:
    xmin, ymin, xmax, ymax = box
    if not (0 <= xmin <= xmax - _MIN_SIDE and xmax <= image.width):
        raise RefusedDecisionError("The box is too narrow or not in the image.")
    if not (0 <= ymin <= ymax - _MIN_SIDE and ymax <= image.height):
        raise RefusedDecisionError("The box is too low or not in the image.")


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a reviewer is with a patient.

    Attributes:
      cells: that were exported or drawn.
      decided: of these, the ones the reviewer decided on, one by one or by verifying their image.
      unknown_left: cells that are unknown, may be white and are not decided.
      images: that have to be verified: the sample where there is one, else all.
      verified: of these.
    """

    cells: int
    decided: int
    unknown_left: int
    images: int
    verified: int


def progress(patient: MarkedPatient) -> Progress:
    """Counts a patient's cells and images."""
    cells = decided = unknown_left = images = verified = 0
    sampled = patient.sidecar.sampled
    for image in patient.images.values():
        if not sampled or image.shown.image in sampled:
            images += 1
            verified += image.is_verified
        for cell in image.cells.values():
            cells += 1
            is_decided = cell.is_decided or image.is_verified
            decided += is_decided
            unknown_left += cell.name == cell_classes.UNKNOWN and cell.may_be_white and not is_decided
    return Progress(cells, decided, unknown_left, images, verified)
