import numpy as np
import pytest

from tfod_csf.cytology import annotated_cells, run_tables
from tfod_csf.cytology.annotated_cells import (
    AnnotationsError,
    ImageCells,
    MatchedCells,
    check_class_map,
    match_patient,
)
from tfod_csf.files import csv_tables
from tfod_csf.label_map import parse_class_map
from tfod_csf.problems import ProblemLog
from tfod_csf.study.labelimg import Annotation, LabeledObject, write_annotation


def test_reads_folders_maps_names_and_keeps_images_without_cells(tmp_path):
    objects = [
        LabeledObject(name, 10.0 * i, 5, 10.0 * i + 8, 13)
        for i, name in enumerate((" Lymphocyte", "platelet", "rbc"), start=1)
    ]
    write_annotation(Annotation(tmp_path, "a.jpg", 640, 480, objects), tmp_path / "p1" / "a.xml")
    write_annotation(Annotation(tmp_path, "b.jpg", 640, 480, []), tmp_path / "p1" / "day2" / "b.xml")
    (tmp_path / "p1" / "broken.xml").write_text("<annotation>", encoding="utf-8")
    problems = ProblemLog()
    found = annotated_cells.read_annotations(tmp_path, problems, parse_class_map(["platelet=", "rbc=erythrocyte"]))
    assert list(found) == ["p1/a", "p1/day2/b"]
    assert found["p1/a"].names == ("lymphocyte", "erythrocyte")
    np.testing.assert_array_equal(found["p1/a"].boxes, [[5, 10, 13, 18], [5, 30, 13, 38]])
    assert problems.count("skipped") == 1
    assert annotated_cells.cells_of_image(found, "p1", "day2/b.png").names == ()
    assert annotated_cells.cells_of_image(found, "p2", "a.jpg") is None


def test_two_spellings_of_one_name_are_one_image_and_a_row(tmp_path):
    for name, count in (("M\u00fcller.xml", 2), ("Mu\u0308ller.xml", 1)):
        objects = [LabeledObject("lymphocyte", 10.0 * i, 5, 10.0 * i + 8, 13) for i in range(1, count + 1)]
        write_annotation(Annotation(tmp_path, "a.jpg", 640, 480, objects), tmp_path / name)
    problems = ProblemLog()
    found = annotated_cells.read_annotations(tmp_path, problems)
    assert list(found) == ["M\u00fcller"]
    assert len(found["M\u00fcller"].names) == 1  # the separate accent comes first, u before \u00fc
    assert [problem.action for problem in problems.problems] == ["skipped"]


def test_folders_without_annotations_are_one_sentence(tmp_path):
    with pytest.raises(AnnotationsError, match="no LabelImg XML that can be read"):
        annotated_cells.read_annotations(tmp_path, ProblemLog())
    with pytest.raises(AnnotationsError, match="no such folder"):
        annotated_cells.read_annotations(tmp_path / "none", ProblemLog())


def test_cells_are_matched_once_and_images_without_annotation_left_out(tmp_path, write_patient):
    # Machine boxes of write_patient: cell i at x 10 i .. 10 i + 8, y 5 .. 13.
    write_patient(tmp_path / "p", "p", [{"lymphocyte": 2, "monocyte": 1}, {"neutrophil": 3}])
    patient = run_tables.read_patient(tmp_path / "p", details=True)
    boxes = np.array([[5, 10, 13, 18], [6, 30, 14, 38], [50, 50, 60, 60]], float)
    annotations = {"p/img_00": ImageCells(("lymphocyte", "neutrophil", "monocyte"), boxes)}
    matched = match_patient(patient, annotations, "m")
    assert matched.predicted.tolist() == ["lymphocyte", "lymphocyte", "monocyte"]
    # Cell 1 lies exactly on the lymphocyte; cell 3 overlaps the neutrophil with IoU 7 / 9; cell 2 has no partner.
    assert matched.annotated.tolist() == ["lymphocyte", "", "neutrophil"]
    assert dict(matched.missed) == {"monocyte": 1}
    assert matched.num_images == 1
    assert matched.patient_ids.tolist() == ["p"] * 3
    assert matched.images.tolist() == ["img_00.jpg"] * 3
    assert matched.missed_by_patient == {"p": {"monocyte": 1}}


def test_an_image_on_which_this_model_failed_has_no_missed_cells(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [{"lymphocyte": 1}, {"lymphocyte": 1}], models=("m", "n"))
    path = tmp_path / "p" / "images.csv"
    rows = csv_tables.read_rows(path)
    rows[1]["status"], rows[1]["cells"] = "failed", ""  # model m on img_01; model n examined it
    csv_tables.write_rows(path, list(rows[0]), rows)
    path = tmp_path / "p" / "cells.csv"
    cells = csv_tables.read_rows(path)
    kept = [row for row in cells if (row["model"], row["image"]) != ("m", "img_01.jpg")]
    csv_tables.write_rows(path, list(cells[0]), kept)
    patient = run_tables.read_patient(tmp_path / "p", details=True)
    annotations = {f"p/img_0{n}": ImageCells(("lymphocyte",), np.array([[5, 10, 13, 18.0]])) for n in (0, 1)}
    of_m, of_n = (match_patient(patient, annotations, model) for model in ("m", "n"))
    assert (of_m.num_images, dict(of_m.missed), of_m.annotated.tolist()) == (1, {}, ["lymphocyte"])
    assert (of_n.num_images, dict(of_n.missed), of_n.annotated.tolist()) == (2, {}, ["lymphocyte"] * 2)


def test_a_class_map_renames_to_classes_alone(tmp_path):
    path = tmp_path / "p" / "a.xml"
    write_annotation(Annotation(path, "a.png", 20, 20, [LabeledObject("blast", 1, 1, 9, 9)]), path)
    for new in ("lymphocyte", "Monocyte", "unknown", "", "eosinophil", "blast"):
        check_class_map({"mono": new}, [tmp_path], ["eosinophil"])
    for new, hint in {"monocte": "did you mean 'monocyte'", "xyz": "known: blast, eosinophil, erythrocyte"}.items():
        with pytest.raises(AnnotationsError, match=rf"^--class_map: 'mono' is renamed to '{new}'.*{hint}"):
            check_class_map({"lympho": "lymphocyte", "mono": new}, [tmp_path], ["eosinophil"])
    check_class_map({}, [tmp_path / "none"])


def test_no_cells_and_no_annotations(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [{}])
    patient = run_tables.read_patient(tmp_path / "p", details=True)
    empty = match_patient(patient, {}, "m")
    assert (len(empty.predicted), empty.num_images) == (0, 0)
    only_truth = match_patient(patient, {"p/img_00": ImageCells(("monocyte",), np.array([[0, 0, 9, 9.0]]))}, "m")
    together = MatchedCells.joined([empty, only_truth])
    assert (len(together.predicted), dict(together.missed), together.num_images) == (0, {"monocyte": 1}, 1)
    assert together.missed_by_patient == {"p": {"monocyte": 1}}
    assert len(MatchedCells.joined([]).predicted) == 0
