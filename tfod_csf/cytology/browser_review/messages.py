"""What the page and the server say to each other: JSON objects, checked on arrival.

The page sends a decision (`marked_images`) with the patient's folder, the version it was made on and an id of its own:

    {"request": "k-17", "patient": "p1", "seen": 0,
     "action": "name", "image": "p1__a.jpg", "cell": 3, "name": "monocyte"}
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tfod_csf import cell_classes
from tfod_csf.cytology.browser_review.desk import Desk
from tfod_csf.cytology.browser_review.marked_images import (
    DECISIONS,
    DRAW,
    MOVE,
    NAME,
    UNDO,
    MarkedImage,
    MarkedPatient,
    RefusedDecisionError,
    progress,
)
from tfod_csf.cytology.browser_review.review_times import ACTIVE, OPEN
from tfod_csf.study import folder_names

UNKNOWN_ERYTHROCYTE = "unknown, most likely erythrocyte"
_MAX_TEXT = 1000


@dataclasses.dataclass(frozen=True)
class Message:
    """What the page wants.

    Attributes:
      request: id of the request.
      patient: folder of the patient.
      entry: for the journal.
      seen: version that was on the screen.
    """

    request: str
    patient: str
    entry: Mapping[str, Any]
    seen: int


def read_message(content: Any) -> Message:
    """Checks what arrived.

    Raises:
      RefusedDecisionError: it is not of the form that the page sends.
    """
    if not isinstance(content, dict):
        raise RefusedDecisionError("The message is not an object.")
    action = _text(content, "action")
    entry: dict[str, Any] = {"action": action}
    if action in DECISIONS:
        entry["image"] = _text(content, "image")
    elif action not in (UNDO, OPEN, ACTIVE):
        raise RefusedDecisionError(f"There is no action {action!r}.")
    if action in (NAME, DRAW):
        entry["name"] = _text(content, "name", may_be_empty=True)
    if action in (NAME, MOVE):
        entry["cell"] = _whole(content.get("cell"))
    if action in (DRAW, MOVE):
        box = content.get("box")
        if not isinstance(box, list) or len(box) != 4:
            raise RefusedDecisionError("A box has four sides.")
        entry["box"] = [_whole(side) for side in box]
    return Message(_text(content, "request"), _text(content, "patient"), entry, _whole(content.get("seen", 0)))


def read_sign_off(content: Any) -> tuple[str, int]:
    """(patient, version that was on the screen) of what asks for a sign-off.

    Raises:
      RefusedDecisionError: it is not of the form that the page sends.
    """
    if not isinstance(content, dict):
        raise RefusedDecisionError("The message is not an object.")
    return _text(content, "patient"), _whole(content.get("seen"))


def _text(content: Mapping[str, Any], key: str, may_be_empty: bool = False) -> str:
    value = content.get(key)
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not (value or may_be_empty):
        raise RefusedDecisionError(f"The message has no usable {key!r}.")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 53:
        raise RefusedDecisionError(f"{value!r} is not a whole number.")
    return value


def image_state(name: str, image: MarkedImage, is_sampled: bool) -> dict[str, Any]:
    """An image for the page."""
    cells = [
        {
            "id": cell_id,
            "name": cell.name,
            "box": list(cell.box),
            "version": cell.version,
            "decided": cell.is_decided,
            "predicted": cell.shown.predicted_class if cell.shown else "",
            "score": cell.shown.score if cell.shown else None,
            "group_if_unknown": cell_classes.UNKNOWN if cell.may_be_white else UNKNOWN_ERYTHROCYTE,
        }
        for cell_id, cell in image.cells.items()
    ]
    shown = image.shown
    return {
        "name": name,
        "title": shown.image,
        "width": shown.width,
        "height": shown.height,
        "verified": image.is_verified,
        "to_verify": is_sampled,
        "version": image.version,
        "cells": cells,
    }


def group_names(names: Sequence[str]) -> list[str]:
    """The gallery's order: what a person has to decide on for the percentages first, "" (not a cell) last."""
    last = (*cell_classes.WHITE_CELLS, cell_classes.ERYTHROCYTE)
    others = [name for name in names if name not in (*last, cell_classes.UNKNOWN)]
    white = [name for name in cell_classes.WHITE_CELLS if name in names]
    red = [name for name in names if name == cell_classes.ERYTHROCYTE]
    return [cell_classes.UNKNOWN, *others, *white, UNKNOWN_ERYTHROCYTE, *red, ""]


def patient_state(desk: Desk, folder: str, patient: MarkedPatient, image: str | None = None) -> dict[str, Any]:
    """A patient for the page.

    Args:
      image: the only one of its images to give; None for all.
    """
    sidecar, signed = patient.sidecar, desk.signed_off(folder)
    images = [
        image_state(name, one, not sidecar.sampled or one.shown.image in sidecar.sampled)
        for name, one in patient.images.items()
        if image is None or name == image
    ]
    letters = {name: "#000" if cell_classes.ink_of(name) == (0, 0, 0) else "#fff" for name in sidecar.names}
    return {
        "folder": folder,
        "patient_id": sidecar.patient_id,
        "shown_revision": sidecar.revision,
        "names": list(sidecar.names),
        "groups": group_names(sidecar.names),
        "colors": {name: cell_classes.color_of(name) for name in sidecar.names},
        "letters": letters,
        "version": patient.version,
        "signed_version": signed["version"] if signed else None,
        "revision": signed["revision"] if signed else None,
        "sha256": signed["sha256"] if signed else "",
        "progress": dataclasses.asdict(progress(patient)),
        "images": images,
    }


def patients_state(desk: Desk) -> list[dict[str, Any]]:
    """The list of patients for the page; none is loaded for it."""
    rows = []
    for folder in desk.patients:
        signed, version = desk.signed_off(folder), desk.last_version(folder)
        state = "not begun" if not version else "under way"
        if signed:
            state = "signed off" if signed["version"] == version else "changed since sign-off"
        row = {"folder": folder, "patient_id": folder_names.patient_id_of(folder), "state": state}
        rows.append({**row, "decisions": desk.decisions(folder)})
    return rows
