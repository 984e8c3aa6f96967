"""The signed content: complete, the same when it is computed again from itself, different when anything is."""

import dataclasses
import json

import pytest

from tfod_csf.cytology import run_tables
from tfod_csf.cytology.counting.differential import DifferentialRules
from tfod_csf.cytology.counting.reference_ranges import load_reference_ranges
from tfod_csf.cytology.patient_facts import PatientFacts
from tfod_csf.cytology.signing import signed_result
from tfod_csf.cytology.signing.signed_result import Basis

THRESHOLDS = run_tables.Thresholds(0.5, 0.8)
BASIS = Basis(THRESHOLDS, False, DifferentialRules(), load_reference_ranges(), "adult")


@pytest.fixture
def folder(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [{"lymphocyte": 40, "monocyte": 20}, {"neutrophil": 20}], failed=1)
    return tmp_path / "p"


def test_content_by_hand(folder):
    content = signed_result.examine(folder, PatientFacts(3, "S 1"), BASIS).content
    assert content["counts"] == {"lymphocyte": 40, "monocyte": 20, "neutrophil": 20, "erythrocyte": 0, "unknown": 0}
    assert [content["percentages"][name]["percent"] for name in ("lymphocyte", "neutrophil")] == [50.0, 25.0]
    assert [content["percentages"][name]["mark"] for name in ("lymphocyte", "neutrophil")] == ["low", "high"]
    assert (content["images_used"], content["images_failed"], content["reviewers"]) == (2, 1, [])
    assert content["of_patient"]["sample_id"] == "S 1"


def test_basis_and_content_survive_being_stored(folder):
    content = json.loads(json.dumps(signed_result.examine(folder, PatientFacts(3), BASIS).content))
    basis = Basis.from_json(content["basis"])
    assert basis == BASIS
    assert signed_result.examine(folder, PatientFacts(**content["of_patient"]), basis).content == content


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"thresholds": run_tables.Thresholds(0.5, 0.95), "recounted": True}, "counts"),
        ({"population": "neonate", "references": load_reference_ranges(population="neonate")}, "percentages"),
        ({"rules": DifferentialRules(min_white_cells=100)}, "percentages"),
    ],
)
def test_whatever_the_numbers_rest_on_is_in_it(folder, change, name):
    before = signed_result.examine(folder, PatientFacts(), BASIS).content
    after = signed_result.examine(folder, PatientFacts(), dataclasses.replace(BASIS, **change)).content
    assert {name, "thresholds, rules or reference ranges"} <= set(signed_result.differences(before, after))
