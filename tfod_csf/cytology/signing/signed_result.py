"""What a person signs: the numbers of a patient's report, on what they rest, and the checksums of the tables.

    found = examine(patient_folder, of_patient, basis)
    found.content      # a mapping that a signature stores, and that is compared before the signature is shown

The content holds all that the numbers depend on, so that they can be computed again from the patient's tables and the
content alone, without the flags of a command. A signature counts only while that gives the same content.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from tfod_csf.cytology import run_tables
from tfod_csf.cytology.counting import cohort
from tfod_csf.cytology.counting.cases import CaseRules
from tfod_csf.cytology.counting.differential import Differential, DifferentialRules
from tfod_csf.cytology.counting.reference_ranges import ReferenceRange
from tfod_csf.cytology.patient_facts import PatientFacts
from tfod_csf.cytology.review import verification
from tfod_csf.cytology.review.verification import Verification
from tfod_csf.files.checksums import file_sha256

_DECIMALS = 2
_TABLES = ("cells.csv", "images.csv")
# Parts of the content whose names a reader of the page cannot know.
_IN_WORDS = {
    "of_patient": "the row of the patient table",
    "basis": "thresholds, rules or reference ranges",
    "tables": "cells.csv or images.csv",
    "checked": "what is verified",
}


@dataclasses.dataclass(frozen=True)
class Basis:
    """How the numbers of a report are made; the same for all patients of a run.

    Attributes:
      thresholds: those the cells are counted with; `recounted` when they are not the run's.
      rules: numbers of the rules.
      references, population: reference ranges, and whose they are.
    """

    thresholds: run_tables.Thresholds
    recounted: bool
    rules: DifferentialRules
    references: Mapping[str, ReferenceRange]
    population: str

    def to_json(self) -> dict[str, Any]:
        """As it is stored; `from_json` reads it."""
        return {
            "thresholds": dataclasses.asdict(self.thresholds),
            "recounted": self.recounted,
            "rules": dataclasses.asdict(self.rules),
            "references": {name: dataclasses.asdict(found) for name, found in self.references.items()},
            "population": self.population,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Basis":
        """The inverse of `to_json`.

        Raises:
          KeyError, TypeError: stored by another version, with other fields.
        """
        rules = dict(stored["rules"])
        return cls(
            thresholds=run_tables.Thresholds(**stored["thresholds"]),
            recounted=stored["recounted"],
            rules=DifferentialRules(**{**rules, "cases": CaseRules(**rules["cases"])}),
            references={name: ReferenceRange(**found) for name, found in stored["references"].items()},
            population=stored["population"],
        )

    def of_tables(self, patient: run_tables.PatientTables) -> run_tables.PatientTables:
        """A patient's tables, counted as the report counts them."""
        return patient.counted_with(self.thresholds) if self.recounted else patient

    def differential(self, patient: run_tables.PatientTables, of_patient: PatientFacts) -> Differential:
        """Of tables that `of_tables` gave."""
        return cohort.patient_differential(patient, of_patient.cells_per_ul, self.references, self.rules)


@dataclasses.dataclass(frozen=True)
class ExaminedResult:
    """A patient's result, what people have checked of it, and the content a signature would hold."""

    result: Differential
    verification: Verification
    content: Mapping[str, Any]


def examine(folder: pathlib.Path, of_patient: PatientFacts, basis: Basis) -> ExaminedResult:
    """Computes a patient's result from the tables.

    Raises:
      TableError: a table cannot be read.
      RevisionError: the history of reviews is broken, or the tables are not those of the newest revision.
    """
    patient = basis.of_tables(run_tables.read_patient(folder))
    result = basis.differential(patient, of_patient)
    checked = verification.read_verification(folder, basis.thresholds if basis.recounted else None)
    return ExaminedResult(result, checked, content_of(result, folder, of_patient, basis, checked))


def content_of(
    result: Differential, folder: pathlib.Path, of_patient: PatientFacts, basis: Basis, checked: Verification
) -> dict[str, Any]:
    """What a signature over a result holds: JSON values only, percentages and counts with two decimals."""
    content = {
        "patient_id": result.patient_id,
        "of_patient": dataclasses.asdict(of_patient),
        "models": list(result.models),
        "images_used": result.images_used,
        "images_failed": result.images_failed,
        "unknown_white_percent": round(result.unknown.white_percent or 0, _DECIMALS),
        "counts": {name: round(count, _DECIMALS) for name, count in result.counts.items()},
        "percentages": {
            name: {
                "percent": round(share.percent, _DECIMALS),
                "ci_low": round(share.ci_low, _DECIMALS),
                "ci_high": round(share.ci_high, _DECIMALS),
                "mark": share.mark,
                "mark_certain": share.mark_certain,
            }
            for name, share in result.shares.items()
        },
        "reviewers": list(checked.reviewers),
        "checked": checked.rule,
        "tables": {name: file_sha256(folder / name) for name in _TABLES},
        "basis": basis.to_json(),
    }
    return json.loads(json.dumps(content))  # as it is read back: lists for tuples


def differences(signed: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of a signed content is another now, in words.

    >>> differences({"counts": 1, "of_patient": 2}, {"counts": 3, "of_patient": 4})
    ['counts', 'the row of the patient table']
    """
    changed = [name for name in {**signed, **now} if signed.get(name) != now.get(name)]
    return [_IN_WORDS.get(name, name.replace("_", " ")) for name in changed]
