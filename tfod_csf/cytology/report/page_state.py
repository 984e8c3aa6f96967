"""What a patient's page was made from, kept in the page, so that one of an earlier state is found and removed.

The state is a checksum of the patient's tables, the newest review, the signatures, and of how the numbers are counted;
that of the page of all patients of the last alone.
Whoever changes a table removes the page first (`run_folder.remove_pages`); what is found here are pages made with other
flags, and those of a command that was killed between the two.
"""

import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

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
    content = {
        "files": [file_sha256(path) if path.is_file() else "" for path in sources],
        "of_patient": dataclasses.asdict(of_patient),
        **_counting(facts),
    }
    return _digest(content)


def state_of_all(patient_facts: Mapping[str, PatientFacts], facts: RunFacts) -> str:
    """The state of the page of all patients, without that of their tables: whoever changes a table removes the page.

    Args:
      patient_facts: {patient_id: row of the patient table}.
      facts: how the numbers are counted.
    """
    return _digest(
        {"of_patients": {name: dataclasses.asdict(one) for name, one in patient_facts.items()}, **_counting(facts)}
    )


def _counting(facts: RunFacts) -> dict[str, Any]:
    matrices = facts.corrections.matrices if facts.corrections else {}
    return {
        "basis": facts.basis.to_json(),
        "corrections": {name: [matrix.temperature, matrix.counts.tolist()] for name, matrix in matrices.items()},
    }


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def state_in(page: pathlib.Path) -> str:
    """The state that a page was made from; "" where it names none, or there is no page."""
    try:
        with page.open("rb") as file:
            found = _STATE.search(file.read(_HEAD_BYTES))
    except FileNotFoundError:
        return ""
    return found[1].decode() if found else ""


def remove_outdated(
    output_dir: pathlib.Path,
    facts: RunFacts,
    patient_facts: Mapping[str, PatientFacts],
    inference_dir: pathlib.Path | None = None,
) -> list[pathlib.Path]:
    """Removes the pages of patients that were made from another state, and then that of all patients too.

    Args:
      output_dir: with the pages.
      facts: how the numbers are counted now.
      patient_facts: {patient_id: row of the patient table}.
      inference_dir: with the tables; None where they are in `output_dir`.

    Returns:
      The pages that were removed, below `output_dir`; without those in `run_folder.COHORT_PAGES_DIR`.
    """
    page, tables = run_folder.PAGES[0], (inference_dir or output_dir) / run_folder.PATIENTS_DIR
    of_all = output_dir / page
    paths = sorted((output_dir / run_folder.PATIENTS_DIR).glob(f"*/{page}"))
    ours = [path for path in (*paths, of_all) if path.is_file() and run_folder.is_our_page(path)]
    for path in ours:
        if path == of_all:
            if state_in(path) != state_of_all(patient_facts, facts):
                run_folder.remove_cohort_pages(output_dir)
            continue
        of_patient = patient_facts.get(folder_names.patient_id_of(path.parent.name), PatientFacts())
        if state_in(path) != state_of(tables / path.parent.name, of_patient, facts):
            run_folder.remove_pages(path.parent)
    return [path.relative_to(output_dir) for path in ours if not path.exists()]
