"""The state that an import starts from: what the reviewer was shown, or left at his last import of the same export.

An export belongs to the reviewer who imports it first. A copy of it that another person imports is refused: what that
person was shown cannot be told from it, and XML nobody saved in the copy would take the first person's decisions back.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from tfod_csf.cytology import cell_rows
from tfod_csf.cytology.cell_rows import CellTable
from tfod_csf.cytology.review import merge, revisions, statements
from tfod_csf.cytology.review.merge import ImageHistory
from tfod_csf.cytology.review.revisions import Revision
from tfod_csf.cytology.review.sidecar import IMPORTED, ReviewError, Sidecar, read_sidecar
from tfod_csf.cytology.review.statements import PersonsWord, Statement


@dataclasses.dataclass(frozen=True)
class BaseState:
    """Where an import starts.

    Attributes:
      sidecar: what changes are counted from.
      table: the current cells of the reviewed model.
      verified: {image: people who vouch for it}.
      new_machine: whether the machine's version must be added to the chain first.
      reviewer: as the history spells the name.
      said: `statements.read_statements` of the history.
      shown_disputed: {image: ids of the cells that were disputed when they were exported}.
    """

    sidecar: Sidecar
    table: CellTable
    verified: Mapping[str, tuple[str, ...]]
    new_machine: bool
    reviewer: str
    said: Mapping[str, PersonsWord] = dataclasses.field(default_factory=dict)
    shown_disputed: Mapping[str, frozenset[int]] = dataclasses.field(default_factory=dict)

    def history_of(self, image: str) -> ImageHistory:
        """What people have said about an image, as `merge.merge_image` takes it."""
        key = revisions.reviewer_key(self.reviewer)
        others: dict[int, dict[str, Statement]] = {}
        own: set[int] = set()
        for who, person in self.said.items():
            words = person.statements.get(image, {})
            if who == key:
                own.update(words)
                continue
            for cell_id, word in words.items():
                others.setdefault(cell_id, {})[person.reviewer] = word
        people = self.verified.get(image, ())
        verified_by = tuple(person for person in people if revisions.reviewer_key(person) != key)
        return ImageHistory(others, frozenset(own), verified_by, self.shown_disputed.get(image, frozenset()))


def _check_fits(sidecar: Sidecar, machine: pathlib.Path, chain: Sequence[Revision], folder: pathlib.Path) -> None:
    if not (machine / "images.csv").is_file():
        raise ReviewError(f"{folder}: no patient {sidecar.patient_id!r} in the run ({machine}); give its run.")
    if revisions.tables_sha256(machine) != sidecar.machine_sha256:
        raise ReviewError(
            f"{folder}: exported {sidecar.exported}, but the machine has examined patient {sidecar.patient_id!r} again "
            "since; its cells are not those the reviewer saw. Run review_export again and review again."
        )
    if sidecar.revision and (
        sidecar.revision >= len(chain) or chain[sidecar.revision].sha256 != sidecar.revision_sha256
    ):
        raise ReviewError(
            f"{folder}: exported from revision {sidecar.revision} of another history; give the --output_dir that "
            "revision is in."
        )


def _own_imports(sidecar: Sidecar, reviews: Sequence[Revision], reviewer: str, folder: pathlib.Path) -> list[Revision]:
    """Earlier imports of the same export, all by the same reviewer.

    Raises:
      ReviewError: another person imported the export first.
    """
    imports = [review for review in reviews if review.record["export_id"] == sidecar.export_id]
    key = revisions.reviewer_key(reviewer)
    if imports and revisions.reviewer_key(imports[0].reviewer) != key:
        first = imports[0]
        raise ReviewError(
            f"{folder}: {first.reviewer} has imported this export of patient {sidecar.patient_id!r} (revision "
            f"{first.number}), so it, or a copy of it, cannot be imported for {reviewer}; run review_export again for "
            f"{reviewer} and review that folder (if you are {first.reviewer}, give --reviewer={first.reviewer!r})."
        )
    return [review for review in imports if revisions.reviewer_key(review.reviewer) == key]


def _disputed(shown: Revision) -> dict[str, frozenset[int]]:
    disputed: dict[str, set[int]] = {}
    for cell in cell_rows.read_cells(shown.folder / "cells.csv").cells:
        if cell.status == merge.DISPUTED:
            disputed.setdefault(cell.image, set()).add(cell.cell_id)
    return {image: frozenset(ids) for image, ids in disputed.items()}


def find_base_state(
    sidecar: Sidecar, machine: pathlib.Path, chain: tuple[Revision, ...], folder: pathlib.Path, reviewer: str
) -> BaseState:
    """Checks that a reviewer's folder fits the run and the history, and finds the state it starts from.

    Args:
      sidecar: of the reviewer's folder.
      machine: the patient's folder in the run.
      chain: the patient's history; empty before the first review.
      folder: the reviewer's folder, for messages.
      reviewer: who imports it.

    Raises:
      ReviewError: another run, another history, another person's export, or another model than the patient's earlier
        reviews.
    """
    _check_fits(sidecar, machine, chain, folder)
    known = {revisions.reviewer_key(name): name for name in revisions.reviewers_of(chain) if name}
    reviewer = known.get(revisions.reviewer_key(reviewer), reviewer)
    base = revisions.machine_revision(chain).number if chain else 0
    is_new = not chain or chain[base].record["machine_sha256"] != sidecar.machine_sha256
    if sidecar.revision and (is_new or sidecar.revision < base):
        raise ReviewError(
            f"{folder}: exported from revision {sidecar.revision}, but the machine has examined patient "
            f"{sidecar.patient_id!r} again since. Run review_export again and review again."
        )
    if is_new:
        table = cell_rows.read_cells(machine / "cells.csv")
        return BaseState(sidecar, table.of_model(sidecar.model), {}, new_machine=True, reviewer=reviewer)
    reviews = revisions.reviews_since_machine(chain)
    models = {review.record["model"] for review in reviews} - {sidecar.model}
    if models:
        raise ReviewError(
            f"{folder}: shows the cells of model {sidecar.model!r}, but the patient's review resumes from those of "
            f"{models.pop()!r}; export those, or use another --output_dir."
        )
    own = _own_imports(sidecar, reviews, reviewer, folder)
    latest = read_sidecar(own[-1].folder / IMPORTED) if own else sidecar
    table = cell_rows.read_cells(chain[-1].folder / "cells.csv")
    verified = {
        image: tuple(dict.fromkeys(known.get(revisions.reviewer_key(name), name) for name in people))
        for image, people in chain[-1].record.get("images_verified", {}).items()
    }
    return BaseState(
        latest,
        table.of_model(sidecar.model),
        verified,
        new_machine=False,
        reviewer=reviewer,
        said=statements.read_statements(chain),
        shown_disputed=_disputed(chain[sidecar.revision or base]),
    )
