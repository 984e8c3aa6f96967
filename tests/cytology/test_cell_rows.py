import dataclasses

import pytest

from tests.support import examined_study
from tfod_csf.cytology import cell_rows
from tfod_csf.cytology.run_tables import TableError
from tfod_csf.files import csv_schemas

BOX = (1.25, 2.0, 11.5, 12.0)


@pytest.fixture
def study(tmp_path):
    images = {"a.jpg": [("lymphocyte", 0.95, BOX), ("monocyte", 0.6, (20.0, 5.0, 30.0, 15.0))], "b.jpg": []}
    return examined_study.write_study(tmp_path, {"=王": images, "empty": {"a.jpg": []}})


def test_cells_are_read_with_every_column_and_written_as_they_were(study, tmp_path):
    path = study.patient("=王") / "cells.csv"
    table = cell_rows.read_cells(path)
    first, second = table.cells
    assert (first.patient_id, first.cell_id, first.box, first.score) == ("=王", 1, BOX, 0.95)
    assert first.class_scores == {"lymphocyte": 0.95, "monocyte": None, "neutrophil": None, "erythrocyte": None}
    assert (first.label, second.label, first.is_decided) == ("lymphocyte", "unknown", False)
    cell_rows.write_cells(tmp_path / "again.csv", table)
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


def test_a_table_without_cells_keeps_its_classes(study, tmp_path):
    path = study.patient("empty") / "cells.csv"
    table = cell_rows.read_cells(path)
    assert (table.classes, table.cells) == (examined_study.CLASSES, ())
    cell_rows.write_cells(tmp_path / "again.csv", table)
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


def test_images_are_counted_anew_and_a_removed_cell_does_not_count(study, tmp_path):
    folder = study.patient("=王")
    table = cell_rows.read_cells(folder / "cells.csv")
    first = dataclasses.replace(table.cells[0], status="relabelled", counted_as="eosinophil")
    removed = dataclasses.replace(table.cells[1], status="deleted", counted_as="")
    rows = cell_rows.read_images(folder / "images.csv")
    cell_rows.write_images(tmp_path / "images.csv", rows, [first, removed], table.classes)
    columns = [*examined_study.CLASSES, "eosinophil", "unknown"]
    assert csv_schemas.load("images").check(tmp_path / "images.csv", columns) == 2
    a, b = (tmp_path / "images.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert a.endswith("m,1,no,,,,0,0,0,0,1,0")
    assert b.endswith("m,0,no,,,,0,0,0,0,0,0")
    assert (removed.label, first.label, removed.is_decided) == ("", "eosinophil", True)


def test_how_an_image_was_cut_is_kept(study, tmp_path):
    folder = study.patient("=王")
    rows = cell_rows.read_images(folder / "images.csv")
    rows[0].update(tile_width=200, tile_height=100, tile_overlap=30)
    cell_rows.write_images(tmp_path / "images.csv", rows, [], examined_study.CLASSES)
    again = cell_rows.read_images(tmp_path / "images.csv")
    assert [row["tile_width"] for row in again] == [200, None]
    cell_rows.write_images(tmp_path / "again.csv", again, [], examined_study.CLASSES)
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "images.csv").read_bytes()


def test_a_box_that_is_no_number_names_its_line(study):
    path = study.patient("=王") / "cells.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("1.25", "left"), encoding="utf-8")
    with pytest.raises(TableError, match="line 2: xmin is 'left'"):
        cell_rows.read_cells(path)


def test_one_model_of_several_must_be_named(study):
    assert cell_rows.run_models(study.inference_dir) == ("m",)
    assert cell_rows.one_model(("m",), None) == "m"
    assert cell_rows.one_model(("m", "n"), "n") == "n"
    with pytest.raises(TableError, match="2 models"):
        cell_rows.one_model(("m", "n"), None)
    with pytest.raises(TableError, match="--model=x"):
        cell_rows.one_model(("m", "n"), "x")


def test_names_of_classes_in_the_studys_spelling():
    assert cell_rows.names_of(["Lymphocyte ", "plasma cell"]) == ["lymphocyte", "plasma cell", "unknown"]
