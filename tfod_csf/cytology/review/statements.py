"""What each person has said about each cell, read from the history.

A statement is a decision on a cell that a person made himself, whatever has become of the cell since: on an image that
the person verified every cell is one, also those left unchanged and those that were removed; elsewhere only the cells
that the person changed are. A later import of the same person replaces his statements on the images he saved again.

    said = read_statements(chain)
    said["dr li"].statements["a.jpg"][3].name       # "monocyte"; "" for no cell
"""

import dataclasses
from collections.abc import Mapping, Sequence

from tfod_csf.cytology import cell_rows
from tfod_csf.cytology.review import changes, revisions
from tfod_csf.cytology.review.changes import Box
from tfod_csf.cytology.review.export import shown_cell
from tfod_csf.cytology.review.revisions import Revision
from tfod_csf.cytology.review.sidecar import IMPORTED, ShownCell, ShownImage, read_sidecar


@dataclasses.dataclass(frozen=True)
class Statement:
    """What a person said about a cell.

    Attributes:
      name: a class or `unknown`; "" for no cell; None for a cell whose box alone was moved, which says that it is one.
      box: xmin, ymin, xmax, ymax in pixels; None where the person said nothing about the place.
    """

    name: str | None
    box: Box | None = None

    def contradicts(self, name: str) -> bool:
        """Whether the person who said this cannot agree to the name ("" for no cell)."""
        return not name if self.name is None else self.name != name


@dataclasses.dataclass
class PersonsWord:
    """All that one person has said about a patient.

    Attributes:
      reviewer: as the person's name was first written.
      statements: {image: {cell id: statement}}.
      verified: {image: its cells as the person left them} of the images the person vouched for.
      exported_from: {image: revision that the person was shown} of these images; 0 for the machine's version.
      first_revision: number of the person's first review.
    """

    reviewer: str
    first_revision: int
    statements: dict[str, dict[int, Statement]] = dataclasses.field(default_factory=dict)
    verified: dict[str, tuple[ShownCell, ...]] = dataclasses.field(default_factory=dict)
    exported_from: dict[str, int] = dataclasses.field(default_factory=dict)


def shown_cells(chain: Sequence[Revision], revision: int, model: str) -> dict[str, dict[int, ShownCell]]:
    """{image: {cell id: cell}} as an export of a revision shows it; revision 0 is the newest machine's version."""
    source = chain[revision] if revision else revisions.machine_revision(tuple(chain))
    images: dict[str, dict[int, ShownCell]] = {}
    for cell in cell_rows.read_cells(source.folder / "cells.csv").of_model(model).cells:
        if cell.counted_as:
            images.setdefault(cell.image, {})[cell.cell_id] = shown_cell(cell)
    return images


def is_same_statement(one: ShownCell | None, other: ShownCell | None) -> bool:
    """Whether a cell was left as it was: name and, up to the effect of saving, box."""
    if one is None or other is None:
        return one is other
    return one.name == other.name and changes.is_same_box(one.box, other.box)


def _by_id(image: ShownImage) -> dict[int, ShownCell]:
    return {cell.cell_id: cell for cell in image.cells}


def read_statements(chain: Sequence[Revision]) -> dict[str, PersonsWord]:
    """{`revisions.reviewer_key`: what the person has said} since the newest machine's version.

    Args:
      chain: of `revisions.read_revisions`.

    Raises:
      ReviewError: the imported state in a revision cannot be read.
    """
    said: dict[str, PersonsWord] = {}
    # Per person and export: the cells as of its last import, and per image those the person has changed in it.
    last: dict[tuple[str, str], dict[str, dict[int, ShownCell]]] = {}
    changed: dict[tuple[str, str, str], set[int]] = {}
    for review in revisions.reviews_since_machine(tuple(chain)):
        imported = read_sidecar(review.folder / IMPORTED)
        key = revisions.reviewer_key(review.reviewer)
        export = (key, imported.export_id)
        person = said.setdefault(key, PersonsWord(review.reviewer, review.number))
        shown = shown_cells(chain, imported.revision, imported.model)
        before = last.get(export, shown)
        by_image = {image.image: image for image in imported.images.values()}
        for name in review.record["images_saved"]:
            image, now = by_image[name], _by_id(by_image[name])
            first = before.get(name, {})
            mine = changed.setdefault((*export, name), set())
            mine |= {i for i in {*now, *first} if not is_same_statement(now.get(i), first.get(i))}
            _say(person, image, shown.get(name, {}), mine)
            person.exported_from[name] = imported.revision
        last[export] = {name: _by_id(image) for name, image in by_image.items()}
    return said


def _say(person: PersonsWord, image: ShownImage, shown: Mapping[int, ShownCell], changed: set[int]) -> None:
    """Replaces a person's statements on an image by those of its newest import.

    Args:
      changed: cells of the image that the person has changed in this export.
    """
    now = _by_id(image)
    was_verified = person.verified.pop(image.image, None) is not None
    if image.verified:
        person.verified[image.image] = image.cells
    if image.verified or was_verified:
        person.statements.pop(image.image, None)
    for cell_id in changed | {*now, *shown} if image.verified else changed:
        cell, earlier = now.get(cell_id), shown.get(cell_id)
        word = Statement("")
        if cell is not None:
            is_moved = earlier is None or not changes.is_same_box(cell.box, earlier.box)
            is_moved_alone = not image.verified and earlier is not None and is_moved and cell.name == earlier.name
            box = cell.box if image.verified or is_moved else None
            word = Statement(None if is_moved_alone else cell.name, box)
        person.statements.setdefault(image.image, {})[cell_id] = word
