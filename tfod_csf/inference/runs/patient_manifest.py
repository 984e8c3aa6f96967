"""patient_manifest.csv: what became of every patient of one part of a run that was divided, with checksums.

Several processes or machines that examine patients for one output folder share nothing while they work. Each part
writes its own table when its patients are done; with the parts' tables and the patients' stamps, the tables of the
whole run are made without reading an image again. A table is written once and whole: what makes an interrupted part
resumable is the stamp in each patient's folder.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tfod_csf.files import csv_schemas
from tfod_csf.inference.runs.patient_examination import PatientOutcome
from tfod_csf.run_folder import TABLES

FILE_NAME = "patient_manifest.csv"
COMPLETE = "complete"
INCOMPLETE = "incomplete"
MODEL_FAILED = "model_failed"

_COLUMNS_OF_TABLES = {name: f"{name.replace('.', '_')}_sha256" for name in TABLES}


@dataclasses.dataclass(frozen=True)
class ManifestRow:
    """One patient; see schemas/patient_manifest.csv.

    Attributes:
      patient_id: the patient.
      folder: name of the folder below patients/.
      shard: the part of the run, "i/n".
      images: images found.
      images_sha256: `PatientSummary.input_hash`.
      tables: {table: sha256}.
      settings_sha256: of `settings_digest`.
      outcome: COMPLETE, INCOMPLETE or MODEL_FAILED.
      done_in_earlier_run: the patient was done when this part began.
    """

    patient_id: str
    folder: str
    shard: str
    images: int
    images_sha256: str
    tables: Mapping[str, str]
    settings_sha256: str
    outcome: str
    done_in_earlier_run: bool = False

    @classmethod
    def of(cls, outcome: PatientOutcome, settings_sha256: str, shard: str) -> "ManifestRow":
        """The row of a patient who was examined, or was done already."""
        summary = outcome.summary
        verdict = MODEL_FAILED if summary.detector_failures else INCOMPLETE if summary.failed else COMPLETE
        return cls(
            patient_id=outcome.patient_id,
            folder=outcome.folder.name,
            shard=shard,
            images=summary.images,
            images_sha256=summary.input_hash,
            tables=dict(outcome.tables),
            settings_sha256=settings_sha256,
            outcome=verdict,
            done_in_earlier_run=outcome.reused,
        )


def settings_digest(settings: Mapping[str, Any]) -> str:
    """sha256 of `Examination.settings`, on which patients' files depend besides the images; equal on every machine."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def write(path: str | os.PathLike, rows: Iterable[ManifestRow]) -> None:
    """Writes the rows of one part; the file appears whole or not at all."""
    csv_schemas.load("patient_manifest").write(path, map(_cells, rows))


def read(path: str | os.PathLike) -> Iterator[ManifestRow]:
    """Streams the rows.

    Raises:
      TableError: the file cannot be read, or a cell is not what the schema says.
    """
    for row in csv_schemas.load("patient_manifest").read(path):
        tables = {table: row.pop(column) for table, column in _COLUMNS_OF_TABLES.items()}
        yield ManifestRow(**row, tables=tables)


def _cells(row: ManifestRow) -> dict[str, Any]:
    cells = {field.name: getattr(row, field.name) for field in dataclasses.fields(row) if field.name != "tables"}
    return cells | {column: row.tables[table] for table, column in _COLUMNS_OF_TABLES.items()}
