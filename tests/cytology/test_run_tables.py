import dataclasses

import numpy as np
import pytest

from tfod_csf import run_folder
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.run_tables import TableError, Thresholds
from tfod_csf.files import csv_schemas


def test_reads_counts_images_and_failures(small_run):
    a, b, c = run_tables.read_patients(small_run)
    assert [patient.patient_id for patient in (a, b, c)] == ["a", "=b", "c"]
    assert a.counts_by_model() == {"m": {"lymphocyte": 45, "neutrophil": 15, "erythrocyte": 5}}
    assert a.used_images == ("img_00.jpg", "img_01.jpg", "img_02.jpg")
    assert (b.counts_by_model(), b.num_failed, len(b.used_images)) == ({"m": {}}, 1, 1)
    assert c.counts_by_model() == {"m": {"unknown": 40}}


def test_a_models_own_class_unknown_is_undecided(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [{"lymphocyte": 40, "unknown": 10}])
    patient = run_tables.read_patient(tmp_path / "p")
    assert set(patient.cells["status"]) == {"counted"}
    assert patient.counts_by_model(named=True) == {"m": {"lymphocyte": 40}}
    assert patient.undecided_by_model() == {"m": {"unknown": 10}}


def test_counts_per_image_keep_images_without_cells(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [{"lymphocyte": 3, "erythrocyte": 9}, {}, {"neutrophil": 2}], models=("m", "n"))
    patient = run_tables.read_patient(tmp_path / "p")
    counts = patient.image_counts(("lymphocyte", "monocyte", "neutrophil"), "n")
    np.testing.assert_array_equal(counts, [[3, 0, 0], [0, 0, 0], [0, 0, 2]])
    assert patient.models == ("m", "n")


def test_images_of_one_model(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [{}, {"lymphocyte": 3}], models=("m", "n"), failed=1)
    patient = run_tables.read_patient(tmp_path / "p")
    patient.images.loc[0, "status"] = "failed"
    assert patient.images_used_by("m") == ("img_01.jpg",)
    assert patient.images_used_by("n") == patient.used_images == ("img_00.jpg", "img_01.jpg")
    assert patient.images_used_by("") == ()


def test_the_model_that_is_meant(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [{"lymphocyte": 3}], models=("m", "n"))
    patient = run_tables.read_patient(tmp_path / "p")
    assert [patient.model_or_first(wanted) for wanted in (None, "m", "n")] == ["m", "m", "n"]
    for wanted in ("x", ""):
        with pytest.raises(TableError, match=f"no cells of model '{wanted}'; it has m, n: give one of these"):
            patient.model_or_first(wanted)


def test_a_patient_whom_no_model_examined_has_any_model(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [], failed=2)
    patient = run_tables.read_patient(tmp_path / "p")
    assert (patient.model_or_first(None), patient.model_or_first("x")) == ("", "x")


def test_counting_anew_leaves_a_persons_decision_alone(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [{"monocyte": 3}], score=0.6)
    path = tmp_path / "p" / "cells.csv"
    first, *rest = path.read_text(encoding="utf-8").splitlines()[1:]
    reviewed = first.replace("unknown,unknown", "reviewed,neutrophil")
    removed = rest[0].replace("unknown,unknown", "deleted,")
    header = path.read_text(encoding="utf-8").splitlines()[0]
    path.write_text("\n".join([header, reviewed, removed, rest[1]]) + "\n", encoding="utf-8")
    patient = run_tables.read_patient(tmp_path / "p")
    assert patient.counts_by_model() == {"m": {"neutrophil": 1, "unknown": 1}}
    recounted = patient.counted_with(Thresholds(0.5, 0.5))
    assert recounted.counts_by_model() == {"m": {"neutrophil": 1, "monocyte": 1}}
    higher = patient.counted_with(Thresholds(0.7, 0.8))
    assert higher.counts_by_model() == {"m": {"neutrophil": 1}}


def test_counted_again_a_cell_is_one_by_its_score_before_the_temperature(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [{"monocyte": 3}])
    path = tmp_path / "p" / "cells.csv"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    score, raw = header.split(",").index("score"), header.split(",").index("raw_score")
    cells = [row.split(",") for row in rows]
    for cell, pair in zip(cells, [("0.4470", "0.5200"), ("0.6500", "0.9000"), ("0.9000", "")], strict=True):
        cell[score], cell[raw] = pair
    path.write_text("\n".join([header, *map(",".join, cells)]) + "\n", encoding="utf-8")
    patient = run_tables.read_patient(tmp_path / "p")
    assert patient.counted_with(Thresholds(0.5, 0.8)).counts_by_model() == {"m": {"unknown": 2, "monocyte": 1}}
    assert patient.counted_with(Thresholds(0.6, 0.8)).counts_by_model() == {"m": {"unknown": 1, "monocyte": 1}}
    # A table of version 0.2.0 has one score.
    kept = [column for column in range(len(cells[0])) if column != raw]
    lines = [",".join(line[column] for column in kept) for line in [header.split(","), *cells]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    old = run_tables.read_patient(tmp_path / "p")
    assert old.counted_with(Thresholds(0.5, 0.8)).counts_by_model() == {"m": {"unknown": 1, "monocyte": 1}}


def test_kinds_of_columns_with_and_without_rows(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [{"monocyte": 1}, {}], failed=1)
    path = tmp_path / "p" / "images.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",no,", ",yes,", 1), encoding="utf-8")
    patient = run_tables.read_patient(tmp_path / "p", details=True)
    assert patient.images["limit_reached"].tolist() == [True, False, None]
    assert patient.num_limited == 1
    np.testing.assert_array_equal(patient.images["seconds"], [0.5, 0.5, np.nan])
    write_patient(tmp_path / "none", "none", [{}])
    none = run_tables.read_patient(tmp_path / "none", details=True)
    assert (len(none.cells), none.scored_classes) == (0, patient.scored_classes)
    for name in ("cell_id", "score", "xmin", f"score_{patient.scored_classes[0]}"):
        assert (none.cells[name].dtype, patient.cells[name].dtype) == (float, float)


def test_patients_called_na_keep_their_name(tmp_path, write_patient):
    write_patient(tmp_path / "p", "NA", [{"monocyte": 1}])
    assert run_tables.read_patient(tmp_path / "p").patient_id == "NA"


def test_thresholds_of_the_run_and_given_ones(tmp_path, write_run):
    write_run(tmp_path)
    assert run_tables.new_thresholds(tmp_path) == (Thresholds(0.5, 0.8, "apart"), False)
    assert run_tables.new_thresholds(tmp_path, unknown_below=0.9) == (Thresholds(0.5, 0.9, "apart"), True)
    with pytest.raises(TableError, match=r"--min_score=0\.3 is below the 0\.5 batch_infer ran with"):
        run_tables.new_thresholds(tmp_path, min_score=0.3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient_id,image\n", "column 'model' is missing"),
        ("", "the file is empty; expected the columns patient_id, "),
        ("patient_id,image,model,predicted_class,score,status,counted_as\na,i,m,x,high,counted,x\n", "score is 'high'"),
        ("patient_id,image,model,predicted_class,score,status,counted_as\nb,i,m,x,1,counted,x\n", "several patients"),
    ],
)
def test_wrong_tables_are_one_sentence(tmp_path, text, message, write_patient):
    write_patient(tmp_path / "p", "a", [{}])
    (tmp_path / "p" / "cells.csv").write_text(text, encoding="utf-8")
    with pytest.raises(TableError, match=message):
        run_tables.read_patient(tmp_path / "p")


def test_wrong_folders_are_one_sentence(tmp_path):
    with pytest.raises(TableError, match="no folder patients/"):
        run_tables.patient_folders(tmp_path)
    (tmp_path / "patients").mkdir()
    with pytest.raises(run_folder.RunError, match=r"run.json: no such file"):
        run_tables.patient_folders(tmp_path)
    run_folder.finish(tmp_path, {})
    with pytest.raises(TableError, match="no patient here"):
        run_tables.patient_folders(tmp_path)


def test_ids_of_a_run_without_reading_its_cells(tmp_path, write_patient):
    write_patient(tmp_path / "patients" / "a", "=a", [{"lymphocyte": 1}])
    write_patient(tmp_path / "patients" / "b", "王", [], failed=2)
    folders = {"=a": tmp_path / "patients" / "a", "王": tmp_path / "patients" / "b"}
    assert run_tables.folders_by_patient(tmp_path) == folders


def test_undecided_cells_are_those_that_nobody_decided_on(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [{"monocyte": 4, "erythrocyte": 1}], score=0.6)
    path = tmp_path / "p" / "cells.csv"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    rows[0] = rows[0].replace("unknown,unknown", "confirmed,monocyte")
    rows[1] = rows[1].replace("unknown,unknown", "disputed,unknown")
    rows[2] = rows[2].replace("unknown,unknown", "deleted,")
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    patient = run_tables.read_patient(tmp_path / "p")
    assert patient.counts_by_model(named=True) == {"m": {"monocyte": 1}}
    # A disputed and an unknown monocyte, and an unknown erythrocyte; counted as predicted they stay undecided.
    assert patient.undecided_by_model() == {"m": {"monocyte": 2, "erythrocyte": 1}}
    recounted = patient.counted_with(Thresholds(0.5, 0.8, "as_predicted"))
    assert recounted.counts_by_model()["m"]["monocyte"] == 2
    assert recounted.undecided_by_model() == patient.undecided_by_model()
    # Below the new threshold nothing but the dispute is undecided.
    assert patient.counted_with(Thresholds(0.5, 0.5)).undecided_by_model() == {"m": {"monocyte": 1}}


def test_cells_that_a_person_left_unknown_are_not_named(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [{"monocyte": 3, "erythrocyte": 2}], score=0.6)
    path = tmp_path / "p" / "cells.csv"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    for row, status in enumerate(("confirmed", "relabelled", "confirmed", "confirmed", "relabelled")):
        name = "monocyte" if row == 2 else "unknown"
        rows[row] = rows[row].replace("unknown,unknown", f"{status},{name}")
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    patient = run_tables.read_patient(tmp_path / "p")
    assert patient.undecided_by_model() == {"m": {}}
    assert patient.counts_by_model(named=True) == {"m": {"monocyte": 1}}
    # An unknown erythrocyte that was left as it was is a likely one; one that a person called unknown is not.
    assert patient.left_unknown_by_model() == {"m": {"unknown": 3, "erythrocyte": 1}}


def test_means_over_models_and_one_model_alone(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [{"lymphocyte": 3}, {"neutrophil": 2}], models=("m", "n"))
    patient = run_tables.read_patient(tmp_path / "p")
    first = patient.cells.index[patient.cells["model"] == "n"][0]
    patient = dataclasses.replace(patient, cells=patient.cells.drop(index=first))
    np.testing.assert_array_equal(patient.mean_unit_counts(("lymphocyte", "neutrophil")), [[2.5, 0], [0, 2]])
    assert patient.of_model("n").counts_by_model() == {"n": {"lymphocyte": 2, "neutrophil": 2}}
    assert patient.of_model("n").used_images == patient.used_images


def test_without_models_there_are_no_image_counts(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [], failed=2)
    assert run_tables.read_patient(tmp_path / "p").mean_unit_counts(("lymphocyte",)).shape == (0, 1)


def _cut(folder, **tiles):
    """Writes images.csv again as that of a run with --tile_size; the first image was cut."""
    schema = csv_schemas.load("images")
    rows = list(schema.read(folder / "images.csv"))
    rows[0].update(tiles)
    schema.write(folder / "images.csv", rows, schema.classes_in(folder / "images.csv"), with_rare=True)


def test_the_tiles_of_a_cut_image_are_sampling_units_of_their_own(tmp_path, write_patient):
    images = [{"lymphocyte": 20, "neutrophil": 28}, {"monocyte": 3}]
    write_patient(tmp_path / "p", "p", images)
    classes = ("lymphocyte", "monocyte", "neutrophil")
    whole = run_tables.read_patient(tmp_path / "p")
    assert whole.grids == {}
    np.testing.assert_array_equal(whole.unit_counts(classes, "m"), [[20, 0, 28], [0, 3, 0]])
    # 640 pixels in four tiles of 200; the cores end at 173, 319 and 466. Cell n has its middle at 10 n + 4.
    _cut(tmp_path / "p", tile_width=200, tile_height=480, tile_overlap=40)
    for details in (False, True):
        patient = run_tables.read_patient(tmp_path / "p", details)
        expected = [[16, 0, 0], [4, 0, 11], [0, 0, 15], [0, 0, 2], [0, 3, 0]]
        np.testing.assert_array_equal(patient.unit_counts(classes, "m"), expected)
        np.testing.assert_array_equal(patient.mean_unit_counts(classes), expected)
        np.testing.assert_array_equal(patient.image_counts(classes, "m"), [[20, 0, 28], [0, 3, 0]])
        assert patient.used_images == whole.used_images


def test_tiles_that_make_no_sense_are_an_error(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [{"lymphocyte": 3}])
    _cut(tmp_path / "p", tile_width=200, tile_height=480, tile_overlap=150)
    with pytest.raises(TableError, match=r"the tiles of img_00\.jpg make no sense"):
        run_tables.read_patient(tmp_path / "p").unit_counts(("lymphocyte",), "m")
