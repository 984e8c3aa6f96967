"""Signing the reports of patients: only what is reviewed can be signed."""

import os
from collections.abc import Mapping, Sequence

from tfod_csf import run_folder
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.patient_facts import PatientFacts
from tfod_csf.cytology.signing import signed_result
from tfod_csf.cytology.signing.report_status import FINAL, PRELIMINARY, report_status
from tfod_csf.cytology.signing.signatures import Signature, SignatureError, append_signature, read_signatures
from tfod_csf.cytology.signing.signed_result import Basis


def sign_reports(
    reviewed_dir: str | os.PathLike,
    patients: Sequence[str],
    signed_by: str,
    comment: str,
    basis: Basis,
    patient_facts: Mapping[str, PatientFacts],
    key: bytes | None = None,
) -> dict[str, Signature]:
    """Signs the reports of these patients: all of them, or none when one cannot be signed.

    A report that the person has signed already, with the same comment and over the same numbers, keeps its signature,
    so that a command that was stopped can be run again. Pages of the patients are removed: they show another status.

    Args:
      reviewed_dir: output of review_import.
      patients: ids.
      signed_by: name of the person who looked at the slides.
      comment: the person's own finding, for example on cells the model does not know; may be empty.
      basis: how the numbers are made.
      patient_facts: {patient_id: row of the table of patients}.
      key: signs the records too (`key_files`).

    Returns:
      {patient_id: signature}.

    Raises:
      TableError: no such patient in the folder.
      RevisionError, SignatureError: a history is broken, or something is left to check; names the patient and what.
    """
    folders = run_tables.folders_by_patient(reviewed_dir)
    contents, kept = {}, {}
    for patient in patients:
        if patient not in folders:
            raise run_tables.TableError(f"{reviewed_dir}: no patient {patient!r} in it; see differentials.csv.")
        found = signed_result.examine(folders[patient], patient_facts.get(patient, PatientFacts()), basis)
        signatures = read_signatures(folders[patient], key)
        status = report_status(found.verification, signatures, found.content)
        if status.name == PRELIMINARY:
            raise SignatureError(
                f"{folders[patient]}: patient {patient!r} cannot be signed: {status.missing[0]} Nothing was signed."
            )
        if status.name == FINAL and (signatures[-1].signed_by, signatures[-1].comment) == (signed_by, comment):
            kept[patient] = signatures[-1]
        contents[patient] = found.content
    for patient in contents:
        run_folder.remove_pages(folders[patient])
    return {
        patient: kept.get(patient) or append_signature(folders[patient], signed_by, comment, content, key)
        for patient, content in contents.items()
    }
