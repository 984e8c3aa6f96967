"""A final report as an HL7 FHIR R4 Bundle: DiagnosticReport, Observations, Specimen, Patient.

https://hl7.org/fhir/R4/diagnosticreport.html. Every observation has a code of our own (`CODE_SYSTEM`) and, where one
certainly means this quantity in cerebrospinal fluid, LOINC's. Units are UCUM's. The numbers are those that were
signed: nothing is computed here but a person's words from them.

The white-cell and erythrocyte counts per uL of the patient table came from the laboratory and are not sent back to it.
`fhir.resources` checks structure, kinds and required elements against R4B (4.3.0), the release nearest to R4 that it
still has: of what is used here, R4B only allows more kinds of subjects (https://hl7.org/fhir/R4B/diff.html). Codes it
does not check; those here are few, fixed, and compared with the specification's in the tests.
"""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tfod_csf import __version__, cell_classes
from tfod_csf.cytology.counting import cohort
from tfod_csf.cytology.counting.reference_ranges import ReferenceRange
from tfod_csf.cytology.patient_facts import EXPECTED_TIME, full_time
from tfod_csf.cytology.signing.final_reports import FinalReport
from tfod_csf.errors import UserError

CODE_SYSTEM = "urn:x-tfod-csf:observations"
_SIGNATURE_SYSTEM = f"{CODE_SYSTEM}:signature"
LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
# Cells of a class per 100 leukocytes in cerebrospinal fluid.
LOINC_CODES = {
    cell_classes.LYMPHOCYTE: ("26479-6", "Lymphocytes/100 leukocytes in Cerebral spinal fluid"),
    cell_classes.MONOCYTE: ("26486-1", "Monocytes/100 leukocytes in Cerebral spinal fluid"),
    cell_classes.NEUTROPHIL: ("26512-4", "Neutrophils/100 leukocytes in Cerebral spinal fluid"),
}
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_INTERPRETATIONS = {"high": ("H", "High"), "low": ("L", "Low")}
_NAMESPACE = uuid.UUID("5b0d7c0e-6f1e-4f5c-9a53-2f6d3e1b7c11")


class FhirError(UserError):
    """A bundle cannot be made or checked."""


def bundle(report: FinalReport) -> dict[str, Any]:
    """The bundle of a final report, as JSON values; the same report gives the same bundle.

    Its type is `collection`. The report's status is `final`, and `corrected` where an earlier signature was over other
    numbers.

    Raises:
      FhirError: the signed time of the puncture is none that FHIR has.
    """
    identity = _Identity(report)
    observations = list(_observations(report, identity))
    resources = [
        _diagnostic_report(report, identity, observations),
        {"resourceType": "Patient", "id": identity.of("patient"), "identifier": [{"value": report.patient_id}]},
        _specimen(report, identity),
        *observations,
    ]
    return {
        "resourceType": "Bundle",
        "id": identity.of("bundle"),
        "type": "collection",
        "timestamp": report.signature.signed_at,
        "entry": [{"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource} for resource in resources],
    }


def is_own(data: bytes) -> bool:
    """Whether the bytes are a bundle that `bundle` made."""
    try:
        entries = json.loads(data)["entry"]
        reports = [one["resource"] for one in entries if one["resource"]["resourceType"] == "DiagnosticReport"]
        return [one["identifier"][0]["system"] for one in reports] == [_SIGNATURE_SYSTEM]
    except (ValueError, KeyError, IndexError, TypeError):
        return False


def check(content: Mapping[str, Any], patient_id: str) -> None:
    """Checks a bundle with `fhir.resources`.

    Args:
      content: of `bundle`.
      patient_id: whose it is, for the error.

    Raises:
      FhirError: the library is not installed, or the bundle is not valid.
    """
    try:
        from fhir.resources.R4B.bundle import Bundle
    except ImportError:
        raise FhirError(
            "--format=fhir needs the package fhir.resources, which checks the bundles; pip install 'tfod_csf[fhir]'."
        ) from None
    try:
        Bundle.model_validate(dict(content))
    except ValueError as error:
        raise FhirError(f"the bundle of patient {patient_id!r} is not valid FHIR R4: {error}") from None


class _Identity:
    """Ids of a report's resources: different for each signature, the same whenever it is exported."""

    def __init__(self, report: FinalReport):
        self._sha256 = report.signature.sha256

    def of(self, name: str) -> str:
        """The id of a resource."""
        return str(uuid.uuid5(_NAMESPACE, f"{self._sha256}/{name}"))

    def reference(self, name: str) -> dict[str, str]:
        """A reference to a resource of the bundle."""
        return {"reference": f"urn:uuid:{self.of(name)}"}


def _code(code: str, text: str, coding: Sequence[tuple[str, str, str]] = ()) -> dict[str, Any]:
    """A CodeableConcept with our own code last."""
    codes = [*coding, (CODE_SYSTEM, code, text)]
    return {"coding": [{"system": s, "code": c, "display": d} for s, c, d in codes], "text": text}


def _category() -> list[dict[str, Any]]:
    return [{"coding": [{"system": f"{_TERMINOLOGY}/v2-0074", "code": "HM", "display": "Hematology"}]}]


def _diagnostic_report(
    report: FinalReport, identity: _Identity, observations: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    signature = report.signature
    identifiers = [{"system": _SIGNATURE_SYSTEM, "value": signature.sha256}]
    return {
        "resourceType": "DiagnosticReport",
        "id": identity.of("report"),
        "identifier": identifiers,
        "status": "corrected" if report.corrects_earlier else "final",
        "category": _category(),
        "code": _code("csf-cell-differential", "Cell differential of cerebrospinal fluid by image analysis"),
        "subject": identity.reference("patient"),
        **_collected("effectiveDateTime", report),
        "issued": signature.signed_at,
        "performer": [{"display": signature.signed_by}],
        "resultsInterpreter": [{"display": signature.signed_by}],
        "specimen": [identity.reference("specimen")],
        "result": [{"reference": f"urn:uuid:{one['id']}", "display": one["code"]["text"]} for one in observations],
        "conclusion": " ".join(filter(None, (report.headline.replace("\u00a0", " "), signature.comment))),
    }


def _specimen(report: FinalReport, identity: _Identity) -> dict[str, Any]:
    sample, collection = report.facts.sample_id, _collected("collectedDateTime", report)
    return {
        "resourceType": "Specimen",
        "id": identity.of("specimen"),
        **({"identifier": [{"value": sample}], "accessionIdentifier": {"value": sample}} if sample else {}),
        "type": {
            "coding": [{"system": f"{_TERMINOLOGY}/v2-0487", "code": "CSF", "display": "Cerebral spinal fluid"}],
            "text": "Cerebrospinal fluid",
        },
        "subject": identity.reference("patient"),
        **({"collection": collection} if collection else {}),
    }


def _collected(name: str, report: FinalReport) -> dict[str, str]:
    """The time of the puncture under a name; FHIR wants seconds where there is a time."""
    given = report.facts.collected_at
    if not given:
        return {}
    time = full_time(given)
    if time is None:
        raise FhirError(
            f"patient {report.patient_id!r}: collected_at of the signed report is {given!r}, expected {EXPECTED_TIME}; "
            "correct the patient table and sign the report again."
        )
    return {name: time}


def _observations(report: FinalReport, identity: _Identity) -> Iterator[dict[str, Any]]:
    """Percentages of the white-cell classes, then cells counted of every class."""
    for name in cell_classes.WHITE_CELLS:
        code, display = LOINC_CODES[name]
        text = f"{name.capitalize()}s per 100 white cells, cerebrospinal fluid"
        observation = _observation(report, identity, _code(f"{name}-percent", text, [(LOINC, code, display)]), name)
        share = report.percentages.get(name)
        if share is None:
            observation["dataAbsentReason"] = {"text": _why_absent(report)}
        else:
            observation["valueQuantity"] = _quantity(share["percent"], "%", "%")
            ends = f"{share['ci_low']:.1f} to {share['ci_high']:.1f} %"
            doubt = "; the mark against the reference range is not certain" if share["mark_certain"] is False else ""
            observation["note"] = [{"text": f"95 % interval for the choice of cells: {ends}{doubt}"}]
            observation |= _against_range(share["mark"], report.range_of(name))
        yield observation
    for name, count in report.counts.items():
        text = f"{name.capitalize()} cells counted on the images, cerebrospinal fluid"
        observation = _observation(report, identity, _code(f"{name.replace(' ', '-')}-cells", text), f"{name}/cells")
        observation["valueQuantity"] = _quantity(count, "cells", "{cells}")
        yield observation


def _why_absent(report: FinalReport) -> str:
    if not report.result.shares:
        return "too few white cells for percentages"
    return cohort.unreliable_words(report.result.unknown.white_percent or 0)


def _observation(report: FinalReport, identity: _Identity, code: dict[str, Any], name: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": identity.of(name),
        "status": "corrected" if report.corrects_earlier else "final",
        "category": [{"coding": [{"system": f"{_TERMINOLOGY}/observation-category", "code": "laboratory"}]}],
        "code": code,
        "subject": identity.reference("patient"),
        **_collected("effectiveDateTime", report),
        "issued": report.signature.signed_at,
        "performer": [{"display": report.signature.signed_by}],
        "method": {"text": _method(report)},
        "specimen": identity.reference("specimen"),
        "device": {"display": f"tfod_csf {__version__} (research software), {', '.join(report.models)}"},
    }


def _method(report: FinalReport) -> str:
    return f"Object detection on slide photographs, reviewed by {', '.join(report.reviewers)}: {report.checked}"


def _quantity(value: float, unit: str, code: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": UCUM, "code": code}


def _against_range(mark: str, found: ReferenceRange | None) -> dict[str, Any]:
    """Reference range and interpretation; ends that mark nothing are skipped, as on the page."""
    if found is None:
        return {}
    ends: dict[str, Any] = {}
    if found.lowest_percent > 0:
        ends["low"] = _quantity(found.lowest_percent, "%", "%")
    if found.highest_percent < 100:
        ends["high"] = _quantity(found.highest_percent, "%", "%")
    code, display = _INTERPRETATIONS.get(mark, ("N", "Normal"))
    coding = {"system": f"{_TERMINOLOGY}/v3-ObservationInterpretation", "code": code, "display": display}
    return ({"referenceRange": [ends]} if ends else {}) | {"interpretation": [{"coding": [coding]}]}
