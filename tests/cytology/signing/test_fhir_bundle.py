"""The bundle against the specification's code lists, written down here by hand, and against `fhir.resources`."""

import dataclasses

import pytest

from tfod_csf.cytology.counting.differential import DifferentialRules, differential
from tfod_csf.cytology.counting.reference_ranges import load_reference_ranges
from tfod_csf.cytology.patient_facts import PatientFacts
from tfod_csf.cytology.signing import fhir_bundle
from tfod_csf.cytology.signing.fhir_bundle import FhirError
from tfod_csf.cytology.signing.final_reports import FinalReport
from tfod_csf.cytology.signing.signatures import Signature

# https://hl7.org/fhir/R4: of diagnostic-report-status and observation-status the states with results; bundle-type.
REPORT_STATUS = {"registered", "partial", "preliminary", "final", "amended", "corrected", "appended"}
OBSERVATION_STATUS = {"registered", "preliminary", "final", "amended", "corrected"}
BUNDLE_TYPES = {"document", "message", "transaction", "batch", "history", "searchset", "collection"}


@pytest.fixture
def report():
    counts = {"lymphocyte": 60, "monocyte": 30, "neutrophil": 10, "erythrocyte": 5}
    result = differential("王 <1>", {"m": counts}, images_used=3, references=load_reference_ranges(), cells_per_ul=3)
    content = {
        "counts": dict(result.counts),
        "percentages": {
            name: {
                "percent": share.percent,
                "ci_low": share.ci_low,
                "ci_high": share.ci_high,
                "mark": share.mark,
                "mark_certain": share.mark_certain,
            }
            for name, share in result.shares.items()
        },
        "reviewers": ["Li"],
        "checked": "all 3 images verified",
        "models": ["m"],
    }
    signature = Signature(1, "Dr Wu", "2022-01-24T15:00:00+08:00", "No blasts.", content, "ab" * 32)
    return FinalReport(signature, PatientFacts(3, "S 1", "2022-01-24"), result, DifferentialRules(), False)


def test_percentages_that_are_not_to_be_relied_on_are_absent(report):
    # 20 unknown of 120 white cells.
    counts = {"lymphocyte": 60, "monocyte": 30, "neutrophil": 10, "unknown": 20}
    beyond = dataclasses.replace(report, result=differential("p", {"m": counts}, images_used=3))
    percents = resources(beyond, "Observation")[:3]
    assert not any("valueQuantity" in one or "interpretation" in one for one in percents)
    reason = "16.7 % of the white cells are unknown: percentages not to be relied on"
    assert [one["dataAbsentReason"]["text"] for one in percents] == [reason] * 3
    (diagnostic,) = resources(beyond, "DiagnosticReport")
    assert "17 % of the white cells are unknown, so no percentages are given. No blasts." in diagnostic["conclusion"]


def resources(report, kind):
    entries = fhir_bundle.bundle(report)["entry"]
    return [entry["resource"] for entry in entries if entry["resource"]["resourceType"] == kind]


def test_percentages_have_loincs_codes_and_ucums_units(report):
    found = {one["code"]["coding"][0]["code"]: one for one in resources(report, "Observation")[:3]}
    assert list(found) == ["26479-6", "26486-1", "26512-4"]
    assert {one["code"]["coding"][0]["system"] for one in found.values()} == {"http://loinc.org"}
    quantities = [one["valueQuantity"] for one in found.values()]
    assert [quantity["value"] for quantity in quantities] == pytest.approx([60, 30, 10])
    assert {(quantity["system"], quantity["code"]) for quantity in quantities} == {("http://unitsofmeasure.org", "%")}
    neutrophils = found["26512-4"]
    assert [(list(one), one["high"]["value"]) for one in neutrophils["referenceRange"]] == [(["high"], 2)]
    assert [one["interpretation"][0]["coding"][0]["code"] for one in found.values()] == ["L", "N", "H"]
    # Goodman's interval for 10 of 100 at A = 5.731.
    assert neutrophils["note"][0]["text"].startswith("95 % interval for the choice of cells: 4.9 to 19.")
    # Of three images whose cells may lie together no mark is certain.
    assert neutrophils["note"][0]["text"].endswith("%; the mark against the reference range is not certain")
    assert "mark" not in found["26486-1"]["note"][0]["text"]


def test_counts_have_codes_of_our_own_only(report):
    counts = resources(report, "Observation")[3:]
    assert [one["code"]["coding"][0]["code"] for one in counts] == [
        "lymphocyte-cells",
        "monocyte-cells",
        "neutrophil-cells",
        "erythrocyte-cells",
        "unknown-cells",
    ]
    assert {coding["system"] for one in counts for coding in one["code"]["coding"]} == {fhir_bundle.CODE_SYSTEM}
    assert [one["valueQuantity"]["value"] for one in counts] == [60, 30, 10, 5, 0]


def test_codes_are_the_specifications(report):
    bundle = fhir_bundle.bundle(report)
    assert bundle["type"] in BUNDLE_TYPES
    assert {one["status"] for one in resources(report, "DiagnosticReport")} <= REPORT_STATUS
    assert {one["status"] for one in resources(report, "Observation")} <= OBSERVATION_STATUS
    (specimen,) = resources(report, "Specimen")
    assert specimen["type"]["coding"][0] == {
        "system": "http://terminology.hl7.org/CodeSystem/v2-0487",
        "code": "CSF",
        "display": "Cerebral spinal fluid",
    }
    assert specimen["collection"] == {"collectedDateTime": "2022-01-24"}


def test_every_reference_is_to_a_resource_of_the_bundle(report):
    bundle = fhir_bundle.bundle(report)
    addresses = [entry["fullUrl"] for entry in bundle["entry"]]
    assert len(addresses) == len(set(addresses)) == 3 + 3 + 5

    def references(value):
        if isinstance(value, dict):
            yield from [value["reference"]] if "reference" in value else []
            value = list(value.values())
        for one in value if isinstance(value, list) else []:
            yield from references(one)

    assert set(references(bundle)) <= set(addresses)
    (report_resource,) = resources(report, "DiagnosticReport")
    assert [one["reference"] for one in report_resource["result"]] == addresses[3:]


def test_the_library_accepts_it_and_refuses_a_wrong_one(report):
    pytest.importorskip("fhir.resources")
    bundle = fhir_bundle.bundle(report)
    fhir_bundle.check(bundle, "王伟")
    del bundle["entry"][0]["resource"]["code"]
    with pytest.raises(FhirError, match="the bundle of patient '王伟' is not valid FHIR R4"):
        fhir_bundle.check(bundle, "王伟")


@pytest.mark.parametrize(
    ("collected_at", "expected"),
    [
        ("", None),
        ("2022-01-24", "2022-01-24"),
        ("2022-01-24T13:05+08:00", "2022-01-24T13:05:00+08:00"),
        ("2022-01-24T13:05:06+08:00", "2022-01-24T13:05:06+08:00"),
        ("2022-01-24T13:05Z", "2022-01-24T13:05:00Z"),
        ("2022-01-24T13:05+0800", "2022-01-24T13:05:00+08:00"),  # what date +%z writes
        ("2022-01-24T13:05-05", "2022-01-24T13:05:00-05:00"),
        ("2022-01-24T13:05:06.5+00:00", "2022-01-24T13:05:06.5+00:00"),
        ("2022-01-24T1305+0800", "2022-01-24T13:05:00+08:00"),
        ("2022-01-24T13+08:00", "2022-01-24T13:00:00+08:00"),
    ],
)
def test_times_have_seconds_as_fhir_wants(report, collected_at, expected):
    changed = dataclasses.replace(report, facts=PatientFacts(3, "", collected_at))
    (found,) = resources(changed, "DiagnosticReport")
    assert found.get("effectiveDateTime") == expected


def test_a_time_that_was_signed_and_is_none_is_refused_with_the_patient(report):
    # Earlier versions took what Python reads: weeks, and zones with seconds.
    changed = dataclasses.replace(report, facts=PatientFacts(3, "", "2022-W04-1"))
    with pytest.raises(FhirError, match=r"patient '王 <1>': collected_at .* is '2022-W04-1', .* sign the report again"):
        fhir_bundle.bundle(changed)
