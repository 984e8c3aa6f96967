import base64
import dataclasses
import shutil

import numpy as np
from PIL import Image

from tests.support.report_pages import picture_of
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.report import gallery
from tfod_csf.study.pictures import PixelPicture


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
        assert all(picture_of(cell.picture).size == (gallery.CROP_PX, gallery.CROP_PX) for cell in group.cells)
    assert sum(group.total for group in groups) == len(patient.cells)
    first = groups[0].cells[0]
    assert first.scores[0] == (first.predicted_class, first.score)
    assert first.image == f"patient_002_{first.image_number:03d}.jpg"


def test_unsure_cells_come_first_also_when_counted_as_predicted(patient, sources):
    counted = patient.counted_with(run_tables.Thresholds(0.5, 0.8, "as_predicted"))
    unknown = gallery.cell_groups(counted, "known_truth", 0.8, 5, sources)[0]
    assert unknown.name == "unknown"
    assert unknown.cells[0].counted_as != "unknown"


def test_a_crop_shows_the_cell_in_its_middle():
    pixels = np.zeros([100, 200, 3], np.uint8)
    pixels[40:50, 90:100] = 255
    crop = np.asarray(gallery.crop(PixelPicture(pixels), np.array([40.0, 90, 50, 100]), side=20))
    middle, border = crop[40:72, 40:72].mean(), crop[:20].mean()
    assert middle > 250
    assert border < 5


def test_a_cell_at_the_edge_stays_in_the_middle_and_a_large_one_is_not_cut():
    pixels = np.full([100, 200, 3], 10, np.uint8)
    edge = np.asarray(gallery.crop(PixelPicture(pixels), np.array([0.0, 0, 10, 10]), side=20))
    assert edge[:20, :20].min() > 200  # outside: light gray
    assert edge[58:80, 58:80].max() < 30
    large = np.asarray(gallery.crop(PixelPicture(pixels), np.array([0.0, 0, 100, 100]), side=20))
    assert large[20:90, 20:90].max() < 30


def test_angles_mark_the_box_and_leave_it_uncovered():
    pixels = np.full([100, 200, 3], 128, np.uint8)
    crop = np.asarray(gallery.crop(PixelPicture(pixels), np.array([40.0, 90, 60, 110]), side=40)).astype(int)
    # The box takes half of the crop, 28 to 84, and the angles stand two pixels outside.
    assert abs(crop[30:82, 30:82] - 128).max() <= 12  # JPEG is not involved here, resampling is
    assert abs(crop[26, 26:36] - 128).max() > 50
    assert abs(crop[26, 50:60] - 128).max() <= 12


def test_a_box_far_outside_the_image_needs_no_more_memory():
    pixels = np.zeros([10, 10, 3], np.uint8)
    assert gallery.crop(PixelPicture(pixels), np.array([-1e9, 0, 1e9, 5]), side=4).size == (
        gallery.CROP_PX,
        gallery.CROP_PX,
    )


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


def test_a_picture_in_a_page_holds_no_metadata():
    picture = Image.new("RGB", (8, 8))
    exif = Image.Exif()
    exif[0x010E] = "Wang Fang"
    picture.info.update(comment=b"Wang Fang", icc_profile=b"Wang Fang", exif=exif.tobytes(), xmp=b"Wang Fang")
    shown = base64.b64decode(gallery.data_address(picture, 80).partition(",")[2])
    assert b"Wang" not in shown
