"""The state that an import starts from: what the reviewer was shown, or left at the last import of the same folder."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from tfod_csf.cytology import cell_rows
from tfod_csf.cytology.cell_rows import CellTable
from tfod_csf.cytology.review import revisions
from tfod_csf.cytology.review.revisions import Revision
from tfod_csf.cytology.review.sidecar import IMPORTED, ReviewError, Sidecar, read_sidecar


@dataclasses.dataclass(frozen=True)
class BaseState:
    """Where an import starts.

    Attributes:
      sidecar: what changes are counted from.
      table: the current cells of the reviewed model.
      verified: {image: people who vouch for it}.
      new_machine: whether the machine's version must be added to the chain first.
    """

    sidecar: Sidecar
    table: CellTable
    verified: Mapping[str, tuple[str, ...]]
    new_machine: bool


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


def find_base_state(
    sidecar: Sidecar, machine: pathlib.Path, chain: tuple[Revision, ...], folder: pathlib.Path
) -> BaseState:
    """Checks that a reviewer's folder fits the run and the history, and finds the state it starts from.

    Args:
      sidecar: of the reviewer's folder.
      machine: the patient's folder in the run.
      chain: the patient's history; empty before the first review.
      folder: the reviewer's folder, for messages.

    Raises:
      ReviewError: another run, another history, or another model than the patient's earlier reviews.
    """
    _check_fits(sidecar, machine, chain, folder)
    base = revisions.machine_revision(chain).number if chain else 0
    if not chain or chain[base].record["machine_sha256"] != sidecar.machine_sha256:
        table = cell_rows.read_cells(machine / "cells.csv")
        return BaseState(sidecar, table.of_model(sidecar.model), {}, new_machine=True)
    reviews = chain[base + 1 :]
    models = {review.record["model"] for review in reviews} - {sidecar.model}
    if models:
        raise ReviewError(
            f"{folder}: shows the cells of model {sidecar.model!r}, but the patient's review resumes from those of "
            f"{models.pop()!r}; export those, or use another --output_dir."
        )
    own = [review for review in reviews if review.record["export_id"] == sidecar.export_id]
    latest = read_sidecar(own[-1].folder / IMPORTED) if own else sidecar
    table = cell_rows.read_cells(chain[-1].folder / "cells.csv")
    verified = {image: tuple(people) for image, people in chain[-1].record.get("images_verified", {}).items()}
    return BaseState(latest, table.of_model(sidecar.model), verified, new_machine=False)
