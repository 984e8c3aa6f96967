import dataclasses
import shutil

from tests.support.report_pages import picture_of
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.report import gallery
from tfod_csf.pages.cell_pictures import CROP_PX


def test_groups_are_in_order_and_least_certain_first(patient, sources):
    groups = gallery.cell_groups(patient, "known_truth", 0.8, 5, sources)
    names = [(group.name, group.likely) for group in groups]
    assert len(names) == len(set(names))
    unknown = [likely for name, likely in names if name == "unknown"]
    assert unknown == sorted(unknown, key=("lymphocyte", "monocyte", "neutrophil", "erythrocyte").index)
    assert names[:3] == [("unknown", likely) for likely in ("lymphocyte", "monocyte", "neutrophil")]
    assert names[-1] == ("erythrocyte", "")
    for group in groups:
        if group.likely:
            assert {cell.predicted_class for cell in group.cells} == {group.likely}
    for group in groups:
        scores = [cell.score for cell in group.cells]
        assert scores == sorted(scores)
        assert len(scores) == min(group.total, 50 if group.name == "unknown" else 5)
        assert all(picture_of(cell.picture).size == (CROP_PX, CROP_PX) for cell in group.cells)
    assert sum(group.total for group in groups) == len(patient.cells)
    first = groups[0].cells[0]
    assert first.scores[0] == (first.predicted_class, first.score)
    assert first.image == f"patient_002_{first.image_number:03d}.jpg"


def test_unsure_cells_come_first_also_when_counted_as_predicted(patient, sources):
    counted = patient.counted_with(run_tables.Thresholds(0.5, 0.8, "as_predicted"))
    unknown = gallery.cell_groups(counted, "known_truth", 0.8, 5, sources)[0]
    assert unknown.name == "unknown"
    assert unknown.cells[0].counted_as != "unknown"


def test_no_cells_no_groups(odd_run):
    empty = run_tables.read_patient(odd_run / "patients" / "chinese", details=True)
    assert gallery.cell_groups(empty, "m", 0.8, 5, gallery.SourceImages(None, empty)) == []


def test_another_picture_of_the_same_name_is_not_cropped(synthetic_run, patient, tmp_path):
    shutil.copytree(synthetic_run.parent / "slides" / "patient_002", tmp_path / "patient_002")
    shutil.copy(tmp_path / "patient_002" / "patient_002_001.jpg", tmp_path / "patient_002" / "patient_002_002.jpg")
    sources = gallery.SourceImages(tmp_path, patient)
    assert sources.picture("patient_002_001.jpg") is not None
    assert sources.picture("patient_002_002.jpg") is None
    assert sources.picture("gone.jpg") is None
    groups = gallery.cell_groups(patient, "known_truth", 0.8, 5, sources)
    for cell in (cell for group in groups for cell in group.cells):
        assert (cell.picture == "") == (cell.image == "patient_002_002.jpg")


def test_images_lie_in_the_patients_folder_or_directly_there(synthetic_run, patient):
    flat = gallery.SourceImages(synthetic_run.parent / "slides" / "patient_002", patient)
    assert flat.picture("patient_002_001.jpg").pixels.shape == (240, 320, 3)
    assert gallery.SourceImages(None, patient).picture("patient_002_001.jpg") is None


def test_a_patient_id_that_is_a_path_finds_no_picture_elsewhere(patient, synthetic_run, tmp_path):
    image = patient.used_images[0]
    (tmp_path / "elsewhere").mkdir()
    shutil.copyfile(synthetic_run.parent / "slides" / patient.patient_id / image, tmp_path / "elsewhere" / image)
    (tmp_path / "images").mkdir()
    outside = dataclasses.replace(patient, patient_id="../elsewhere")
    assert not gallery.SourceImages(tmp_path / "images", outside).has(image)
