"""A patient's reviewed folder becomes a new revision of the patient's cells.

The folder is refused, and nothing of it is applied, when
  * the machine has examined the patient again since the export (its cells are not those the reviewer saw),
  * the state it was exported from is not in this history,
  * another person has imported the same export (it is a copy; every reviewer needs an export of his own),
  * it has class names that are not known, or
  * it disagrees with an earlier review and the caller wants to know.

A folder can be edited further and imported again by the same reviewer: then changes are counted from the state at that
reviewer's last import of it.
"""

import dataclasses
import datetime
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfod_csf import provenance
from tfod_csf.cytology import cell_rows
from tfod_csf.cytology.cell_rows import Cell, CellTable
from tfod_csf.cytology.review import base_state, changes, merge, returned_folder, revisions, statements
from tfod_csf.cytology.review.base_state import BaseState
from tfod_csf.cytology.review.merge import VERIFIED, MergeRules
from tfod_csf.cytology.review.returned_folder import ReviewedImage
from tfod_csf.cytology.review.revisions import Revision
from tfod_csf.cytology.review.sidecar import (
    FILE_NAME,
    IMPORTED,
    DisagreementError,
    ReviewError,
    ShownCell,
    ShownImage,
    Sidecar,
    read_sidecar,
    write_sidecar,
)
from tfod_csf.files import csv_schemas
from tfod_csf.files.checksums import file_sha256
from tfod_csf.problems import ProblemLog
from tfod_csf.wording import plural

CHANGES = "changes.csv"
# Clocks of two computers may differ so much.
_CLOCKS_DIFFER = datetime.timedelta(minutes=10)
WriteFiles = Callable[[pathlib.Path], None]  # writes files into the folder it is given


@dataclasses.dataclass(frozen=True)
class ImportSettings:
    """What a person enters for an import.

    Attributes:
      reviewer: who.
      comment: free text for the record.
      class_map: of `label_map.parse_class_map`.
      extra_names: accepted beside the names of the export.
      iou_threshold: boxes that overlap at least this much are one cell.
      disagreements: `refuse`, `unknown` or `newest` (see `merge`).
      key: signs the revisions; None for no signature.
    """

    reviewer: str
    comment: str = ""
    class_map: Mapping[str, str] = dataclasses.field(default_factory=dict)
    extra_names: Sequence[str] = ()
    iou_threshold: float = 0.5
    disagreements: str = merge.REFUSE
    key: bytes | None = None


@dataclasses.dataclass(frozen=True)
class PatientImport:
    """What an import did to a patient.

    Attributes:
      revision: the new one; None when there was nothing new.
      changes: {kept, relabelled, ...: number}, of the saved images.
    """

    patient_id: str
    revision: Revision | None
    changes: Mapping[str, int]
    disagreements: int = 0


def _came_back(
    shown: ShownImage,
    one: ReviewedImage,
    merged: merge.MergedImage,
    decisions: Sequence[changes.Decision],
) -> ShownImage:
    """The image as the reviewer left it, with the ids its cells have now."""
    cells = []
    for cell_id, decision in zip(merged.ids, decisions, strict=True):
        found = decision.found
        if found is None:
            continue
        xmin, ymin, xmax, ymax = map(round, changes.box_of(found))
        current = merged.cells[cell_id]
        cells.append(
            ShownCell(
                cell_id, found.name, found.difficult, (xmin, ymin, xmax, ymax), current.score, current.predicted_class
            )
        )
    return dataclasses.replace(shown, xml_sha256=one.xml_sha256, verified=one.verified, cells=tuple(cells))


@dataclasses.dataclass
class _Merged:
    """All images of a patient after a review."""

    cells: list[Cell] = dataclasses.field(default_factory=list)
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    disagreements: list[str] = dataclasses.field(default_factory=list)
    decisions: list[changes.Decision] = dataclasses.field(default_factory=list)
    imported: dict[str, ShownImage] = dataclasses.field(default_factory=dict)
    verified: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    num_newly_verified: int = 0


def _merge(state: BaseState, reviewed: Mapping[str, ReviewedImage], settings: ImportSettings) -> _Merged:
    rules = MergeRules(state.sidecar.model, settings.iou_threshold, settings.disagreements)
    current = state.table.by_image()
    result = _Merged(imported=dict(state.sidecar.images), verified=dict(state.verified))
    for name, shown in state.sidecar.images.items():
        one = reviewed.get(shown.image)
        if one is None:
            continue
        decisions = changes.compare(shown.cells, one.objects, settings.iou_threshold)
        of_image = current.get(shown.image, [])
        merged = merge.merge_image(
            (state.sidecar.patient_id, shown.image),
            of_image,
            decisions,
            one.verified,
            rules,
            state.history_of(shown.image),
        )
        result.rows += merged.rows
        people = tuple(person for person in state.verified.get(shown.image, ()) if person not in merged.overruled)
        result.verified[shown.image] = people
        if one.verified and state.reviewer not in people:
            note = f"{sum(cell.counted_as != '' for cell in merged.cells.values())} cells count as decided"
            result.rows.append({"image": shown.image, "change": VERIFIED, "note": note})
            result.num_newly_verified += 1
            result.verified[shown.image] = (*people, state.reviewer)
        elif shown.verified and not one.verified:  # the reviewer removed the green mark
            result.verified[shown.image] = tuple(person for person in people if person != state.reviewer)
        current[shown.image] = list(merged.cells.values())
        result.disagreements += merged.disagreements
        result.decisions += decisions
        result.imported[name] = _came_back(shown, one, merged, decisions)
    result.cells = [cell for cells in current.values() for cell in cells]
    result.verified = {image: people for image, people in result.verified.items() if people}
    return result


def _says_something_new(state: BaseState, merged: _Merged) -> bool:
    """Whether an import changes a cell, or is another statement of the reviewer, if only by agreeing to a colleague."""
    if merged.cells != list(state.table.cells) or merged.verified != state.verified:
        return True
    for name, before in state.sidecar.images.items():
        after = merged.imported[name]
        if after.verified != before.verified or len(after.cells) != len(before.cells):
            return True
        cells = {cell.cell_id: cell for cell in after.cells}
        if not all(statements.is_same_statement(cell, cells.get(cell.cell_id)) for cell in before.cells):
            return True
    return False


def _write_review(
    machine: pathlib.Path,
    sidecar: Sidecar,
    table: CellTable,
    merged: _Merged,
    same: Mapping[str, Any],
    write_differential: WriteFiles,
) -> WriteFiles:
    def write(folder: pathlib.Path) -> None:
        cells = tuple(merged.cells)
        cell_rows.write_cells(folder / "cells.csv", CellTable(table.classes, cells))
        # Only the reviewed model's rows: a person's word is not averaged with other models'.
        rows = [row for row in cell_rows.read_images(machine / "images.csv") if row["model"] in ("", sidecar.model)]
        cell_rows.write_images(folder / "images.csv", rows, cells, table.classes)
        imported = dataclasses.replace(sidecar, images=merged.imported)
        write_sidecar(folder / IMPORTED, imported)
        csv_schemas.load("review_changes").write(folder / CHANGES, ({**same, **row} for row in merged.rows))
        write_differential(folder)

    return write


def import_patient(
    review_dir: pathlib.Path,
    machine: pathlib.Path,
    patient_folder: pathlib.Path,
    settings: ImportSettings,
    write_differential: WriteFiles,
    problems: ProblemLog,
) -> PatientImport:
    """Imports a reviewed folder.

    Args:
      review_dir: the patient's folder of the export.
      machine: the patient's folder in the run; only read.
      patient_folder: where the patient's history is or will be.
      write_differential: writes differential.csv into a folder with cells.csv and images.csv.

    Raises:
      ReviewError: the folder cannot be imported; says why (`DisagreementError`: it contradicts an earlier review).
      revisions.RevisionError: the history is broken.
    """
    chain = revisions.read_revisions(patient_folder, settings.key)
    sidecar = read_sidecar(review_dir / FILE_NAME)
    state = base_state.find_base_state(sidecar, machine, chain, review_dir, settings.reviewer)
    settings = dataclasses.replace(settings, reviewer=state.reviewer)
    came_back = returned_folder.read_folder(review_dir, state.sidecar, problems, sidecar)
    names = [*sidecar.names, *settings.extra_names]
    reviewed = returned_folder.with_known_names(came_back, names, settings.class_map)
    merged = _merge(state, reviewed, settings)
    if merged.disagreements and settings.disagreements == merge.REFUSE:
        for about in merged.disagreements:
            problems.noted(review_dir, about, "Decide with the other reviewer.", about.partition(":")[0])
        cells = plural(len(merged.disagreements), "cell was", "cells were")
        raise DisagreementError(
            f"{review_dir}: {cells} decided differently in an earlier review ({merged.disagreements[0]}); all are in "
            "problems.csv. Settle this with the other reviewer and change one of the two in LabelImg, or give "
            "--disagreements=unknown (they count as unknown) or newest (this review holds)."
        )
    counted = {**merge.change_counts(merged.decisions), VERIFIED: merged.num_newly_verified}
    if not _says_something_new(state, merged):
        return PatientImport(sidecar.patient_id, None, counted)
    when, newest = provenance.now(), chain[-1] if chain else None
    if newest:
        _check_clock(when, newest)
    if state.new_machine:
        newest = _append_machine(machine, patient_folder, newest, sidecar, when, write_differential, settings.key)
    number = newest.number + 1 if newest else 0
    fields = {
        **_record(sidecar, settings, merged, when),
        "changes": counted,
        "images_saved": sorted(reviewed),
        "inputs": _inputs(review_dir, machine, reviewed),
    }
    same = {"patient_id": sidecar.patient_id, "revision": number, "reviewer": settings.reviewer, "when": when}
    writer = _write_review(machine, sidecar, state.table, merged, same, write_differential)
    revision = revisions.append_revision(patient_folder, revisions.REVIEW, fields, writer, newest, settings.key)
    revisions.make_current(patient_folder, revision)
    return PatientImport(sidecar.patient_id, revision, counted, len(merged.disagreements))


def _check_clock(when: str, newest: Revision) -> None:
    """Refuses a time well before that of the newest revision: the record would say that this review came first.

    Raises:
      ReviewError: with both times.
    """
    behind = datetime.datetime.fromisoformat(newest.when) - datetime.datetime.fromisoformat(when)
    if behind > _CLOCKS_DIFFER:
        raise ReviewError(
            f"{newest.folder}: was written at {newest.when}, but the clock of this computer says {when}; set the clock "
            "and import again."
        )


def _append_machine(
    machine: pathlib.Path,
    patient_folder: pathlib.Path,
    newest: Revision | None,
    sidecar: Sidecar,
    when: str,
    write_differential: WriteFiles,
    key: bytes | None,
) -> Revision:
    """Adds the machine's version to the chain: copies of its tables, under the checksum the export names."""

    def write(folder: pathlib.Path) -> None:
        for name in ("cells.csv", "images.csv"):
            revisions.copy_file(machine / name, folder / name)
        write_differential(folder)

    models = sorted({row["model"] for row in cell_rows.read_images(machine / "images.csv")} - {""})
    fields = {"patient_id": sidecar.patient_id, "when": when, "models": models}
    fields["machine_sha256"] = sidecar.machine_sha256
    return revisions.append_revision(patient_folder, revisions.MACHINE, fields, write, newest, key)


def _record(sidecar: Sidecar, settings: ImportSettings, merged: _Merged, when: str) -> dict[str, Any]:
    """Who, when, how, and which images people vouch for."""
    return {
        "patient_id": sidecar.patient_id,
        "reviewer": settings.reviewer,
        "when": when,
        "comment": settings.comment,
        "model": sidecar.model,
        "export_id": sidecar.export_id,
        "exported": sidecar.exported,
        "settings": {
            "iou_threshold": settings.iou_threshold,
            "class_map": dict(settings.class_map),
            "extra_classes": list(settings.extra_names),
        },
        "disagreements": {"cells": len(merged.disagreements), "settled_as": settings.disagreements},
        "images_verified": {image: list(people) for image, people in sorted(merged.verified.items())},
        "images_sampled": list(sidecar.sampled),
    }


def _inputs(review_dir: pathlib.Path, machine: pathlib.Path, reviewed: Mapping[str, ReviewedImage]) -> dict[str, str]:
    """{file: checksum} of everything that went in."""
    inputs = {f"run/{name}": file_sha256(machine / name) for name in ("cells.csv", "images.csv")}
    inputs[FILE_NAME] = file_sha256(review_dir / FILE_NAME)
    for one in reviewed.values():
        inputs[one.path.name] = one.shown.picture_sha256
        inputs[one.path.with_suffix(".xml").name] = one.xml_sha256
    return dict(sorted(inputs.items()))
