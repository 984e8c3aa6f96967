"""What a patient's page was made from, kept in the page, so that one of an earlier state is found and removed.

The state is a checksum of the patient's tables, the newest review, the signatures, and of how the numbers are counted.
Whoever changes a table removes the page first (`run_folder.remove_pages`); what is found here are pages made with other
flags, and those of a command that was killed between the two.
"""

import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Mapping

from tfod_csf import run_folder
from tfod_csf.cytology.patient_facts import PatientFacts
from tfod_csf.cytology.report.page_template import RunFacts
from tfod_csf.cytology.review.revisions import RECORD, REVISIONS_DIR
from tfod_csf.cytology.signing.signatures import SIGNATURES_DIR
from tfod_csf.files.checksums import file_sha256
from tfod_csf.study import folder_names

_STATE = re.compile(rb'<meta name="made-from" content="([0-9a-f]{64})">')
_HEAD_BYTES = 4096  # the line is one of the first ten


def state_of(folder: pathlib.Path, of_patient: PatientFacts, facts: RunFacts) -> str:
    """The state of a patient.

    Args:
      folder: the patient's, with cells.csv and images.csv.
      of_patient: the patient's row of the patient table.
      facts: how the numbers are counted.
    """
    sources = [folder / "cells.csv", folder / "images.csv"]
    sources += sorted(folder.glob(f"{REVISIONS_DIR}/[0-9]*/{RECORD}"))
    sources += sorted(folder.glob(f"{SIGNATURES_DIR}/[0-9]*.json"))
    matrices = facts.corrections.matrices if facts.corrections else {}
    content = {
        "files": [file_sha256(path) if path.is_file() else "" for path in sources],
        "of_patient": dataclasses.asdict(of_patient),
        "basis": facts.basis.to_json(),
        "corrections": {name: [matrix.temperature, matrix.counts.tolist()] for name, matrix in matrices.items()},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def state_in(page: pathlib.Path) -> str:
    """The state that a page was made from; "" where it names none, or there is no page."""
    try:
        with page.open("rb") as file:
            found = _STATE.search(file.read(_HEAD_BYTES))
    except FileNotFoundError:
        return ""
    return found[1].decode() if found else ""


def remove_outdated(output_dir: pathlib.Path, facts: RunFacts, patient_facts: Mapping[str, PatientFacts]) -> None:
    """Removes the pages of patients that were made from another state, and then that of all patients too."""
    page = run_folder.PAGES[0]
    for path in sorted((output_dir / run_folder.PATIENTS_DIR).glob(f"*/{page}")):
        of_patient = patient_facts.get(folder_names.patient_id_of(path.parent.name), PatientFacts())
        if state_in(path) != state_of(path.parent, of_patient, facts):
            run_folder.remove_pages(path.parent)
