import dataclasses
import hashlib

import numpy as np
import pytest

from tfod_csf.errors import UserError
from tfod_csf.files import csv_tables
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg
from tfod_csf.synthetic import slides

SMALL = slides.FieldSettings(160, 120, rare_fraction=0.1)


def _digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.*"))
    }


def test_patients_are_of_the_five_kinds_in_turn():
    patients = slides.plan_patients(10, seed=3)
    assert [patient.case.name for patient in patients[:5]] == [case.name for case in slides.CASES]
    assert patients[7].case is slides.CASES[2]
    for patient in patients:
        assert sum(patient.shares) == pytest.approx(1)
    assert patients[1].shares != patients[6].shares


def test_truth_is_what_the_xml_says_and_files_do_not_depend_on_processes(tmp_path):
    rows = slides.synthesize(tmp_path / "a", 5, 2, seed=1, settings=SMALL, num_processes=1)
    slides.synthesize(tmp_path / "b", 5, 2, seed=1, settings=SMALL, num_processes=2)
    assert _digests(tmp_path / "a") == _digests(tmp_path / "b")
    problems = ProblemLog()
    for row in csv_tables.read_rows(tmp_path / "a" / "truth.csv"):
        annotations = [
            labelimg.read_annotation(path, problems) for path in (tmp_path / "a" / row["patient_id"]).glob("*.xml")
        ]
        assert len(annotations) == int(row["images"]) == 2
        for name in slides.CLASSES:
            assert sum(item.name == name for one in annotations for item in one.objects) == int(row[name])
    assert not problems.problems
    assert sum(row["erythrocyte"] for row in rows) > 0


def test_patients_with_few_white_cells_get_more_fields(tmp_path):
    patient = dataclasses.replace(slides.plan_patients(1, seed=0)[0], white_cells_per_field=2.5)
    # A field of 640 x 480 px, whatever its pixels; then one of half the height.
    assert slides.num_fields(patient, SMALL, 3) == 3
    assert slides.num_fields(patient, SMALL, 3, white_cells=100) == 40
    assert slides.num_fields(patient, SMALL, 41, white_cells=100) == 41
    assert slides.num_fields(patient, slides.FieldSettings(160, 60), 1, white_cells=100) == 80
    slides.synthesize(tmp_path / "few", 2, 1, seed=1, settings=SMALL, num_processes=1)
    rows = slides.synthesize(tmp_path / "more", 2, 1, 1, SMALL, 1, white_cells_per_patient=15)
    # Means of 1.5 to 4 white cells in a field of the first kind, 12 to 22 of the second.
    assert 4 <= rows[0]["images"] <= 10
    assert rows[1]["images"] in (1, 2)
    for row in rows:
        assert len(list((tmp_path / "more" / row["patient_id"]).glob("*.jpg"))) == row["images"]
        annotations = [
            labelimg.read_annotation(path, ProblemLog())
            for path in (tmp_path / "more" / row["patient_id"]).glob("*.xml")
        ]
        assert sum(len(one.objects) for one in annotations) == sum(row[name] for name in slides.CLASSES)
    own, more = _digests(tmp_path / "few" / "patient_001"), _digests(tmp_path / "more" / "patient_001")
    assert own.items() <= more.items()  # the first fields are the same


def test_boxes_lie_in_the_image_around_a_cell():
    patient = slides.plan_patients(5, seed=2)[4]
    pixels, objects = slides.render_field(patient, 0, slides.FieldSettings(320, 240))
    assert pixels.shape == (240, 320, 3)
    assert pixels.dtype == np.uint8
    assert len(objects) >= 5
    border = np.median(pixels.reshape(-1, 3), axis=0)
    for item in objects:
        assert 0 <= item.xmin < item.xmax <= 320
        assert 0 <= item.ymin < item.ymax <= 240
        middle = pixels[int((item.ymin + item.ymax) / 2), int((item.xmin + item.xmax) / 2)]
        assert np.abs(middle - border).max() > 8


def test_an_empty_field_has_no_objects():
    patient = dataclasses.replace(
        slides.plan_patients(1, seed=0)[0], white_cells_per_field=0.0, erythrocytes_per_field=0.0
    )
    pixels, objects = slides.render_field(patient, 0, SMALL)
    assert objects == []
    assert pixels.std() > 0


@pytest.mark.parametrize(
    ("patients", "images", "settings", "words"),
    [(0, 1, SMALL, "at least 1"), (1, 0, SMALL, "at least 1"), (1, 1, slides.FieldSettings(32, 240), "64 px")],
)
def test_impossible_numbers_are_refused(tmp_path, patients, images, settings, words):
    with pytest.raises(UserError, match=words):
        slides.synthesize(tmp_path / "x", patients, images, settings=settings)


def test_a_folder_of_slides_is_not_mixed_with_another(tmp_path):
    slides.synthesize(tmp_path, 1, 1, settings=SMALL, num_processes=1)
    with pytest.raises(UserError, match="already holds synthetic slides"):
        slides.synthesize(tmp_path, 1, 1, settings=SMALL, num_processes=1)
