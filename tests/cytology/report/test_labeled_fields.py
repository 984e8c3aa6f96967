import hashlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.support.report_pages import picture_of
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.report import gallery, labeled_fields
from tfod_csf.files import csv_schemas


def test_fields_with_unknown_cells_come_first(patient, sources):
    fields, total = labeled_fields.field_pictures(patient, "known_truth", 4, sources, 0.8)
    assert (len(fields), total) == (4, 6)
    unknown = [dict(field.counts).get("unknown", 0) for field in fields]
    assert unknown == sorted(unknown, reverse=True)
    assert unknown[0] > 0
    assert picture_of(fields[0].picture).width == 320
    assert labeled_fields.letters_of(fields) == {}
    assert labeled_fields.field_pictures(patient, "known_truth", 0, sources, 0.8) == ([], 6)


def test_boxes_are_drawn_anew_when_cells_are_counted_otherwise(patient, sources):
    recounted = patient.counted_with(run_tables.Thresholds(0.5, 0.97, "as_predicted"))
    fields, total = labeled_fields.field_pictures(recounted, "known_truth", 2, sources, 0.97, recounted=True)
    assert (len(fields), total) == (2, 6)
    assert all(field.has_letters for field in fields)
    assert labeled_fields.letters_of(fields)["unknown"] == "?"
    original = sources.picture(fields[0].image).pixels.astype(int)
    drawn = np.asarray(picture_of(fields[0].picture)).astype(int)
    changed = (np.abs(drawn - original).max(axis=2) > 60).mean()
    assert 0.01 < changed < 0.5


def test_boxes_are_drawn_anew_where_a_person_decided(patient, sources):
    image = patient.used_images[0]
    cells = patient.cells.copy()
    cells.loc[cells.index[cells["image"] == image][0], "status"] = "relabelled"
    reviewed = run_tables.PatientTables(patient.patient_id, patient.folder, cells, patient.images)
    fields, _ = labeled_fields.field_pictures(reviewed, "known_truth", 6, sources, 0.8)
    assert {field.image for field in fields if field.has_letters} == {image}


def _remove_cells(folder, is_removed):
    """Marks cells of the table as a review does that deletes them."""
    schema = csv_schemas.load("cells")
    rows = list(schema.read(folder / "cells.csv"))
    for row in filter(is_removed, rows):
        row.update(status="deleted", counted_as="")
    schema.write(folder / "cells.csv", rows, schema.classes_in(folder / "cells.csv"), with_rare=True)


def test_boxes_are_drawn_anew_where_a_person_removed_cells_only(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [{"lymphocyte": 2}, {"lymphocyte": 1}])
    (tmp_path / "p" / "pictures" / "m").mkdir(parents=True)
    (tmp_path / "images" / "p").mkdir(parents=True)
    schema = csv_schemas.load("images")
    images = list(schema.read(tmp_path / "p" / "images.csv"))
    for row in images:
        Image.new("RGB", (640, 480), "red").save(tmp_path / "p" / "pictures" / "m" / row["image"])
        path = tmp_path / "images" / "p" / row["image"]
        Image.new("RGB", (640, 480), "white").save(path)
        row["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    classes = schema.classes_in(tmp_path / "p" / "images.csv")
    schema.write(tmp_path / "p" / "images.csv", images, classes, with_rare=True)
    _remove_cells(tmp_path / "p", lambda row: row["image"] == "img_01.jpg")
    patient = run_tables.read_patient(tmp_path / "p", details=True)
    fields, _ = labeled_fields.field_pictures(patient, "m", 2, gallery.SourceImages(tmp_path / "images", patient), 0.8)
    assert {field.image: field.has_letters for field in fields} == {"img_00.jpg": False, "img_01.jpg": True}
    # Nothing is left on it, so the picture is the image itself.
    assert np.asarray(picture_of(fields[1].picture)).min() > 250


def test_neither_pictures_nor_images(patient, odd_run, tmp_path):
    nowhere = gallery.SourceImages(tmp_path, patient)
    assert labeled_fields.field_pictures(patient, "known_truth", 6, nowhere, 0.8, recounted=True) == ([], 0)
    empty = run_tables.read_patient(odd_run / "patients" / "chinese", details=True)
    assert labeled_fields.field_pictures(empty, "m", 5, gallery.SourceImages(None, empty), 0.8) == ([], 0)


def test_large_fields_are_made_smaller_and_damaged_ones_named(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [{"lymphocyte": 1}])
    (tmp_path / "p" / "pictures" / "m").mkdir(parents=True)
    Image.new("RGB", (2600, 1300)).save(tmp_path / "p" / "pictures" / "m" / "img_00.jpg")
    patient = run_tables.read_patient(tmp_path / "p", details=True)
    nowhere = gallery.SourceImages(None, patient)
    fields, _ = labeled_fields.field_pictures(patient, "m", 1, nowhere, 0.8)
    assert picture_of(fields[0].picture).size == (1000, 500)
    (tmp_path / "p" / "pictures" / "m" / "img_00.jpg").write_bytes(b"nothing")
    with pytest.raises(run_tables.TableError, match="cannot be read"):
        labeled_fields.field_pictures(patient, "m", 1, nowhere, 0.8)


def test_box_of_a_person_may_be_anything():
    picture = Image.new("RGB", (50, 50), "white")
    for box in ([10.0, 10, 5, 5], [-5.0, -5, 500, 500], [3.0, 3, 3, 3]):
        labeled_fields.draw_box(ImageDraw.Draw(picture), np.array(box), "unknown")
    assert np.asarray(picture).min() < 255


def _cut_image(folder, images_dir):
    """Patient "p" with one image of 640 x 480 pixels in four tiles, cores ending at x = 173, 319 and 466."""
    pixels = np.full((480, 640, 3), 230, np.uint8)
    pixels[:, 320:] = 90
    (images_dir / "p").mkdir(parents=True)
    Image.fromarray(pixels).save(images_dir / "p" / "img_00.jpg", format="PNG")
    schema = csv_schemas.load("images")
    (row,) = schema.read(folder / "images.csv")
    row["sha256"] = hashlib.sha256((images_dir / "p" / "img_00.jpg").read_bytes()).hexdigest()
    row.update(tile_width=200, tile_height=480, tile_overlap=40)
    schema.write(folder / "images.csv", [row], schema.classes_in(folder / "images.csv"), with_rare=True)


def test_each_tile_of_a_cut_image_is_a_field(tmp_path, write_patient):
    # Cell n has its middle at x = 10 n + 4: 16 lymphocytes in the first tile's core, 4 and 11 neutrophils in the next.
    write_patient(tmp_path / "p", "p", [{"lymphocyte": 20, "neutrophil": 11}])
    _cut_image(tmp_path / "p", tmp_path / "images")
    patient = run_tables.read_patient(tmp_path / "p", details=True)
    sources = gallery.SourceImages(tmp_path / "images", patient)
    fields, total = labeled_fields.field_pictures(patient, "m", 3, sources, 0.8)
    assert total == 4
    assert [(field.image, field.counts) for field in fields] == [
        ("img_00.jpg, row 1, column 1", (("lymphocyte", 16),)),
        ("img_00.jpg, row 1, column 2", (("lymphocyte", 4), ("neutrophil", 11))),
        ("img_00.jpg, row 1, column 3", ()),
    ]
    assert picture_of(fields[0].picture).size == (200, 480)
    third = np.asarray(picture_of(fields[2].picture))  # from x = 293 on
    assert third[300, 10].mean() > 200 > 120 > third[300, 60].mean()
    # The labeled picture of a tile is used where batch_infer wrote one.
    path = tmp_path / "p" / "pictures" / "img_00.jpg.tiles" / "row_01_column_01.jpg"
    path.parent.mkdir(parents=True)
    Image.new("RGB", (200, 480), "red").save(path)
    fields, _ = labeled_fields.field_pictures(patient, "m", 3, sources, 0.8)
    assert [field.has_letters for field in fields] == [False, True, True]
    # A person removes the first tile's last cell: only its picture is outdated.
    _remove_cells(tmp_path / "p", lambda row: (float(row["xmin"]) + float(row["xmax"])) / 2 == 154)
    patient = run_tables.read_patient(tmp_path / "p", details=True)
    fields, _ = labeled_fields.field_pictures(patient, "m", 3, sources, 0.8)
    assert fields[0].counts == (("lymphocyte", 15),)
    assert [field.has_letters for field in fields] == [True, True, True]


def test_crops_of_a_cut_image_have_the_scale_of_its_tiles(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [{"lymphocyte": 20}])
    _cut_image(tmp_path / "p", tmp_path / "images")
    patient = run_tables.read_patient(tmp_path / "p", details=True)
    sources = gallery.SourceImages(tmp_path / "images", patient)
    (group,) = gallery.cell_groups(patient, "m", 0.8, 20, sources)
    assert all(cell.picture for cell in group.cells)
    # Cells of 8 pixels, crops of 1.35 times that: the cell fills most of its crop, and two neighbors are not in it.
    assert gallery._scale(patient, gallery.cells_of(patient, "m", 0.8)) == pytest.approx(1.35 * 8 / 200)
