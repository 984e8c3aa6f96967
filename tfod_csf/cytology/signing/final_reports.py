"""Final reports read back from their signatures, for the laboratory's system.

Nothing but a signed, final report is read: its numbers are computed again from the tables and from what the signature
says they rest on, and must be those that were signed.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from tfod_csf.cytology.counting.differential import Differential, DifferentialRules
from tfod_csf.cytology.counting.reference_ranges import ReferenceRange
from tfod_csf.cytology.counting.result_sentence import no_percentages, result_sentence
from tfod_csf.cytology.patient_facts import PatientFacts
from tfod_csf.cytology.signing import signed_result
from tfod_csf.cytology.signing.report_status import FINAL, report_status
from tfod_csf.cytology.signing.signatures import Signature, SignatureError, read_signatures
from tfod_csf.cytology.signing.signed_result import Basis


class NotFinalError(SignatureError):
    """A report that is not final; the message says what is missing."""


@dataclasses.dataclass(frozen=True)
class FinalReport:
    """A final report.

    Attributes:
      signature: over it; its content holds the numbers.
      facts: the patient's row of the patient table when it was signed.
      result: computed again.
      rules: that it was signed with.
      corrects_earlier: an earlier signature was over other numbers.
    """

    signature: Signature
    facts: PatientFacts
    result: Differential
    rules: DifferentialRules
    corrects_earlier: bool

    @property
    def patient_id(self) -> str:
        """As the run names the patient."""
        return self.result.patient_id

    @property
    def counts(self) -> Mapping[str, float]:
        """{class: cells}, unknown ones that a person left so included."""
        return self.signature.content["counts"]

    @property
    def percentages(self) -> Mapping[str, Mapping[str, Any]]:
        """{white-cell class: {percent, ci_low, ci_high, mark, mark_certain}}; empty where the page gives none."""
        return {} if self.no_percentages else self.signature.content["percentages"]

    @property
    def no_percentages(self) -> str:
        """Why there are no percentages, as a clause; "" where there are."""
        return no_percentages(self.result, self.rules)

    @property
    def reviewers(self) -> tuple[str, ...]:
        """Who reviewed the cells."""
        return tuple(self.signature.content["reviewers"])

    @property
    def checked(self) -> str:
        """What people verified, and by which rule, as a clause."""
        return self.signature.content["checked"]

    @property
    def models(self) -> tuple[str, ...]:
        """Whose cells were reviewed."""
        return tuple(self.signature.content["models"])

    def range_of(self, name: str) -> ReferenceRange | None:
        """The reference range that a class's percentage was compared with; None where it was with none."""
        share = self.result.shares.get(name)
        return share.reference if share else None

    @property
    def headline(self) -> str:
        """The result in a sentence, as on the page."""
        return result_sentence(self.result, self.rules)


def read_final_report(folder: pathlib.Path, key: bytes | None = None) -> FinalReport:
    """The final report of a patient.

    Args:
      folder: the patient's, in the output of review_import.
      key: accepts only signatures that were made with it.

    Raises:
      NotFinalError: not signed, or not final any more; one sentence.
      RevisionError, SignatureError, TableError: the history, a signature or a table is damaged.
    """
    signatures = read_signatures(folder, key)
    if not signatures:
        raise NotFinalError(f"{folder}: the report is not signed; sign it with sign_report when it is reviewed.")
    signature = signatures[-1]
    try:
        facts, basis = PatientFacts(**signature.content["of_patient"]), Basis.from_json(signature.content["basis"])
    except (KeyError, TypeError) as error:
        raise NotFinalError(f"{folder}: signed by another version ({error}); sign the report again.") from None
    found = signed_result.examine(folder, facts, basis)
    status = report_status(found.verification, signatures, found.content)
    if status.name != FINAL:
        raise NotFinalError(f"{folder}: the report is {status.name}, not final: {' '.join(status.missing)}")
    corrects = any(earlier.content != signature.content for earlier in signatures[:-1])
    return FinalReport(signature, facts, found.result, basis.rules, corrects)
