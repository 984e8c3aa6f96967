import json
import pathlib
import re

import pytest

from tfod_csf.files import csv_schemas, csv_tables
from tfod_csf.inference.runs import patient_manifest
from tfod_csf.inference.runs.patient_examination import PatientOutcome
from tfod_csf.inference.runs.patient_manifest import ManifestRow
from tfod_csf.inference.runs.patient_results import PatientSummary

TABLES = {"cells.csv": "c" * 64, "images.csv": "d" * 64}


def outcome(patient_id="=王/1", reused=False, **summary):
    summary = PatientSummary(**{"images": 3, "input_hash": "e" * 64, **summary})
    return PatientOutcome(patient_id, pathlib.Path("out/patients/=王%2F1"), {}, summary, TABLES, reused)


def test_a_row_is_read_as_it_was_written(tmp_path):
    rows = [
        ManifestRow.of(outcome(), "f" * 64, "2/5"),
        ManifestRow.of(outcome("b", reused=True, failed=1), "f" * 64, "2/5"),
        ManifestRow.of(outcome("c", failed=1, detector_failures=1), "f" * 64, "2/5"),
    ]
    path = tmp_path / patient_manifest.FILE_NAME
    patient_manifest.write(path, iter(rows))
    assert list(patient_manifest.read(path)) == rows
    assert csv_schemas.load("patient_manifest").check(path) == 3
    written = csv_tables.read_rows(path)
    assert written[0] == {
        "patient_id": "=王/1",
        "folder": "=王%2F1",
        "shard": "2/5",
        "images": "3",
        "images_sha256": "e" * 64,
        "cells_csv_sha256": "c" * 64,
        "images_csv_sha256": "d" * 64,
        "settings_sha256": "f" * 64,
        "outcome": "complete",
        "done_in_earlier_run": "no",
    }
    assert [row["outcome"] for row in written] == ["complete", "incomplete", "model_failed"]
    assert [row["done_in_earlier_run"] for row in written] == ["no", "yes", "no"]


def test_a_manifest_that_leads_out_of_the_folder_is_refused(tmp_path):
    path = tmp_path / patient_manifest.FILE_NAME
    patient_manifest.write(path, [ManifestRow.of(outcome(), "f" * 64, "2/5")])
    path.write_text(path.read_text(encoding="utf-8").replace("'=王%2F1", ".."), encoding="utf-8")
    with pytest.raises(csv_tables.TableError, match=re.escape("line 2: folder is '..'; expected a plain name")):
        list(patient_manifest.read(path))


def test_the_digest_of_settings_knows_the_same_settings_in_another_order():
    settings = {"version": "1", "models": {"a": {"fingerprint": "f", "temperature": 1.0}}, "draw": True}
    # By `printf '%s' TEXT | sha256sum` of the JSON with sorted keys.
    expected = "fa586de49343f5fd1913c8493505e14ce9f80041375c548d679dfb0376a33a6b"
    turned = json.loads(json.dumps(dict(reversed(settings.items()))))
    assert patient_manifest.settings_digest(settings) == patient_manifest.settings_digest(turned) == expected
    assert patient_manifest.settings_digest({**settings, "draw": False}) != expected
