import logging

import pytest

from tfod_csf.files import csv_schemas
from tfod_csf.study.record_patients import RecordPatients


def beside(folder, patients):
    rows = [{"image": image, "patient": patient, "side": "train", "sha256": "0"} for image, patient in patients.items()]
    csv_schemas.load("split").write(folder / "split.csv", rows)
    return RecordPatients.beside(folder / "train.record-00000-of-00001")


def test_the_table_beside_the_records_counts_and_not_the_folder(tmp_path):
    patients = beside(tmp_path, {"day_1/a.jpg": "P7", "day_1/b.jpg": "P8", "c.jpg": "P8"})
    names = ("day_1/a.jpg", "day_1/b.jpg", "c.jpg", "day_1/other.jpg")
    assert [patients.patient_of(name) for name in names] == ["P7", "P8", "P8", "day_1"]


def test_one_folder_without_subfolders_is_nobody(tmp_path):
    patients = beside(tmp_path, {"a.jpg": "images", "b.jpg": "images"})
    assert patients.patient_of("a.jpg") == ""
    # One patient in a folder of the patient's name is that patient.
    assert beside(tmp_path, {"day_1/a.jpg": "P7", "day_2/a.jpg": "P7"}).patient_of("day_2/a.jpg") == "P7"


@pytest.mark.parametrize(
    ("text", "warns"), [(None, False), ("image,patient,side,sha256\n", False), ("id,set\n1,train\n", True)]
)
def test_without_the_table_the_first_folder_counts(tmp_path, text, warns, caplog):
    if text is not None:
        (tmp_path / "split.csv").write_text(text)
    with caplog.at_level(logging.WARNING, "tfod_csf"):
        patients = RecordPatients.beside(tmp_path / "train.record")
    assert [patients.patient_of(name) for name in ("p1/day/a.jpg", "a.jpg")] == ["p1", ""]
    assert ("patients are taken from the first folder" in caplog.text) == warns
