"""Temperatures and errors worked by hand."""

import json
import math
from collections import Counter

import numpy as np
import pytest

from tests.support.examined_study import record_tables
from tests.support.saved_models import write_empty_model
from tfod_csf import run_folder
from tfod_csf.classification import Classification
from tfod_csf.commands import command_line
from tfod_csf.cytology.annotated_cells import MatchedCells
from tfod_csf.cytology.studies import calibration_tables
from tfod_csf.cytology.studies.calibration import (
    ScoredCells,
    calibrate_groups,
    coverage_accuracy,
    expected_calibration_error,
    fit_temperature,
    groups_of,
    negative_log_likelihood,
    reliability,
    scored_cells,
)
from tfod_csf.cytology.studies.calibration_tables import CalibrationError
from tfod_csf.files import csv_schemas, csv_tables
from tfod_csf.label_map import load_label_map
from tfod_csf.model_folder import fingerprint
from tfod_csf.study.labelimg import Annotation, LabeledObject, write_annotation


def overconfident(right=60, wrong=40):
    """Cells scored 0.9 of which 60 % are right: the best temperature has sigmoid(ln 9 / T) = 0.6."""
    return ScoredCells(np.tile([0.1, 0.9], (right + wrong, 1)), np.array([1] * right + [0] * wrong))


def test_temperature_worked_by_hand():
    cells = overconfident()
    temperature = fit_temperature(cells)
    assert temperature == pytest.approx(math.log(9) / math.log(1.5), rel=1e-4)  # 5.419
    assert cells.at(temperature).confidence == pytest.approx(0.6, abs=1e-4)
    assert expected_calibration_error(cells) == pytest.approx(0.3)
    assert expected_calibration_error(cells.at(temperature)) == pytest.approx(0, abs=1e-4)
    assert negative_log_likelihood(cells) == pytest.approx(-0.6 * math.log(0.9) - 0.4 * math.log(0.1))


def test_calibrated_scores_keep_their_temperature():
    rng = np.random.default_rng(0)
    scores = rng.dirichlet([0.5, 1, 1, 1], size=20000)
    truth = np.array([rng.choice(4, p=row) for row in scores])
    cells = ScoredCells(scores, truth)
    assert fit_temperature(cells) == pytest.approx(1, abs=0.03)
    sharper = ScoredCells(scores**2 / (scores**2).sum(axis=1, keepdims=True), truth)
    assert fit_temperature(sharper) == pytest.approx(2, abs=0.06)


def test_truth_outside_the_models_classes_is_left_out():
    scores = [[0.7, 0.2], [0.6, 0.3], [0.1, 0.9], [np.nan, np.nan]]
    cells = scored_cells(scores, ("a", "b"), ["a", "eosinophil", "", "a"])
    assert cells.truth.tolist() == [1, 0]
    np.testing.assert_allclose(cells.scores, [[0.1, 0.7, 0.2], [5e-5, 0.1, 0.9]], atol=1e-4)
    assert cells.is_right.tolist() == [True, False]


def test_bins_are_closed_above_and_hold_every_cell():
    scores = np.array([0.5, 0.55, 0.551, 1.0])
    cells = ScoredCells(np.stack([1 - scores, scores], axis=1), np.array([1, 1, 0, 1]))
    assert [(round(b.low, 2), round(b.high, 2), b.count) for b in reliability(cells)] == [
        (0.45, 0.5, 1),
        (0.5, 0.55, 1),
        (0.55, 0.6, 1),
        (0.95, 1.0, 1),
    ]
    assert reliability(cells)[-1].accuracy_low == pytest.approx(1 / (1 + 1.959964**2), abs=1e-6)  # Wilson, 1 of 1


def test_coverage_and_accuracy_by_hand():
    scores = np.array([0.6, 0.7, 0.8, 0.9])
    cells = ScoredCells(np.stack([1 - scores, scores], axis=1), np.array([0, 1, 1, 1]))
    points = coverage_accuracy(cells, [0.5, 0.8, 0.95])
    assert [(p.cells, p.coverage) for p in points] == [(4, 1), (2, 0.5), (0, 0)]
    assert [p.accuracy for p in points[:2]] == [0.75, 1]
    assert math.isnan(points[2].accuracy)


def test_no_cells():
    empty = scored_cells(np.empty((0, 2)), ("a", "b"), [])
    assert reliability(empty) == []
    assert math.isnan(expected_calibration_error(empty))
    assert coverage_accuracy(empty, [0.5]) == []
    with pytest.raises(ValueError, match="annotated cells"):
        fit_temperature(empty)
    nothing = MatchedCells(
        (), *(np.empty(0, object) for _ in range(2)), np.empty(0), np.empty((0, 0)), [], Counter(), 0
    )
    with pytest.raises(CalibrationError, match="score_<class>"):
        calibration_tables.write_calibration("unused", nothing, 0.8)


@pytest.fixture
def calibrated_run(tmp_path, write_patient, write_run):
    """A model that says 0.9 for 40 lymphocytes on each of 5 images, of which people call 24 so."""
    output = tmp_path / "run"
    scores = {"score_lymphocyte": 0.9, "score_monocyte": 0.1, "score_neutrophil": 0.0, "score_erythrocyte": 0.0}
    write_patient(output / "patients" / "p", "p", [{"lymphocyte": 40}] * 5, scores=scores)
    names = ["lymphocyte"] * 24 + ["monocyte"] * 16
    objects = [LabeledObject(name, 10 * i, 5, 10 * i + 8, 13) for i, name in enumerate(names, start=1)]
    for number in range(5):
        path = tmp_path / "xml" / "p" / f"img_{number:02d}.xml"
        write_annotation(Annotation(path, "x.jpg", 640, 480, objects), path)
    model = write_empty_model(tmp_path / "m")
    thresholds = {"min_score": 0.5, "unknown_below": 0.8, "duplicate_iou": 0.5}
    models = [{"name": "m", "fingerprint": fingerprint(model / "saved_model")}]
    write_run(output, models=models, thresholds=thresholds)
    flags = [f"--inference_dir={output}", f"--annotations_dir={tmp_path / 'xml'}", f"--output_dir={tmp_path / 'out'}"]
    return [*flags, f"--model={model}"]


def test_command_stores_the_temperature(calibrated_run, tmp_path, capsys):
    assert command_line.main(["calibrate", *calibrated_run]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "200 cells, 60.0 % right" in said
    assert "With the temperature, at unknown below 0.8, 200 become unknown (120 of them rightly named)" in said
    assert [line.split()[:4] for line in said.splitlines() if "lymphocyte" in line] == [
        ["lymphocyte", "200", "60.0", "%"]
    ]
    info = json.loads((tmp_path / "m" / "model.json").read_text(encoding="utf-8"))
    # Two classes of 0.9 and 0.1 (the others are next to nothing): ln 9 / ln 1.5 = 5.42 as above, less a little because
    # the nearly empty classes rise too.
    assert 2 < info["calibration"]["temperature"] < 5.42
    assert info["calibration"]["cells"] == 200
    assert info["thresholds"] == {"min_score": 0.5}
    for name in ("calibration_bins", "calibration_thresholds", "calibration_classes", "calibration_changes"):
        assert csv_schemas.load(name).check(tmp_path / "out" / f"{name}.csv") > 0
    assert (tmp_path / "out" / "calibration.png").stat().st_size > 10_000


def test_scores_of_sigmoids_are_refused(calibrated_run, tmp_path, write_patient, capsys):
    scores = {"score_lymphocyte": 0.9, "score_monocyte": 0.4, "score_neutrophil": 0.3, "score_erythrocyte": 0.1}
    write_patient(tmp_path / "run" / "patients" / "p", "p", [{"lymphocyte": 40}] * 5, scores=scores)
    assert command_line.main(["calibrate", *calibrated_run[:3]]) == 1
    assert "of 200 cells add up to more than 1 (up to 1.70)" in capsys.readouterr().err
    assert not (tmp_path / "out" / "calibration_bins.csv").exists()


@pytest.mark.parametrize(("converter", "status"), [("SIGMOID", 1), ("SOFTMAX", 0)])
def test_a_model_of_sigmoids_is_refused_where_its_config_says_so(calibrated_run, tmp_path, capsys, converter, status):
    processing = f"second_stage_post_processing {{ score_converter: {converter} }}"
    text = f"model {{ faster_rcnn {{ {processing} }} }}"
    (tmp_path / "m" / "pipeline.config").write_text(text, encoding="utf-8")
    assert command_line.main(["calibrate", *calibrated_run]) == status
    assert ("score_converter is SIGMOID; a temperature is for" in capsys.readouterr().err) == bool(status)
    info = json.loads((tmp_path / "m" / "model.json").read_text(encoding="utf-8"))
    assert ("calibration" in info) != bool(status)


def test_thresholds_chosen_at_another_temperature_are_named(calibrated_run, tmp_path, capsys):
    path = tmp_path / "m" / "model.json"
    path.write_text('{"thresholds_chosen": {"criterion": "f1", "temperature": 1.0}}', encoding="utf-8")
    assert command_line.main(["calibrate", *calibrated_run]) == 0
    assert "unknown_below in " in (said := capsys.readouterr().out)
    assert "was chosen on scores of the earlier temperature" in said
    info = json.loads(path.read_text(encoding="utf-8"))
    info["thresholds_chosen"]["temperature"] = info["calibration"]["temperature"]
    path.write_text(json.dumps(info), encoding="utf-8")
    assert command_line.main(["calibrate", *calibrated_run]) == 0
    assert "earlier temperature" not in capsys.readouterr().out


def test_a_run_made_at_a_temperature_multiplies(calibrated_run, tmp_path, capsys):
    assert command_line.main(["calibrate", *calibrated_run]) == 0
    first = json.loads((tmp_path / "m" / "model.json").read_text(encoding="utf-8"))["calibration"]["temperature"]
    run = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    run["models"][0]["temperature"] = 1.5
    (tmp_path / "run" / "run.json").write_text(json.dumps(run), encoding="utf-8")
    assert command_line.main(["calibrate", *calibrated_run]) == 0
    again = json.loads((tmp_path / "m" / "model.json").read_text(encoding="utf-8"))["calibration"]["temperature"]
    assert again == pytest.approx(1.5 * first, rel=1e-4)


def test_a_temperature_that_does_not_help_is_not_stored(calibrated_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(calibration_tables, "fit_temperature", lambda cells: 0.5)
    assert command_line.main(["calibrate", *calibrated_run]) == 0
    assert "not stored" in capsys.readouterr().out
    assert "calibration" not in json.loads((tmp_path / "m" / "model.json").read_text(encoding="utf-8"))


def test_too_few_cells_and_another_model_are_one_sentence(calibrated_run, tmp_path, capsys):
    assert command_line.main(["calibrate", *calibrated_run, "--min_cells=500"]) == 1
    assert "200 machine cells on annotated images are too few (at least 500)" in capsys.readouterr().err
    write_empty_model(tmp_path / "other")
    assert command_line.main(["calibrate", *calibrated_run[:3], f"--model={tmp_path / 'other'}"]) == 1
    assert "the run was made with m, not with other" in capsys.readouterr().err
    run_folder.finish(tmp_path / "run", {"thresholds": {"min_score": 0.5, "unknown_below": 0.8}})
    assert command_line.main(["calibrate", *calibrated_run[:3], f"--model={tmp_path / 'other'}"]) == 1
    assert "other: the run was made with other weights than those of this folder" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--store"]])
def test_a_model_of_the_same_name_with_other_weights_is_refused_before_anything_is_written(
    calibrated_run, tmp_path, capsys, more
):
    before = (tmp_path / "m" / "model.json").read_bytes()
    (tmp_path / "m" / "saved_model" / "variables").write_bytes(b"of another training")
    assert command_line.main(["calibrate", *calibrated_run, *more]) == 1
    assert "m: the run was made with other weights than those of this folder" in capsys.readouterr().err
    assert (tmp_path / "m" / "model.json").read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_a_run_of_the_same_network_with_other_classes_is_refused(calibrated_run, tmp_path, capsys):
    run = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    classes = load_label_map(tmp_path / "m" / "label_map.pbtxt").names
    run["models"][0]["classes"] = [classes[1], classes[0], *classes[2:]]
    (tmp_path / "run" / "run.json").write_text(json.dumps(run), encoding="utf-8")
    assert command_line.main(["calibrate", *calibrated_run]) == 1
    assert f"the run was made with the classes {classes[1]}, {classes[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("status", ["removed", "added"])
def test_cells_that_people_decided_on_are_refused_before_anything_is_written(calibrated_run, tmp_path, capsys, status):
    path = tmp_path / "run" / "patients" / "p" / "cells.csv"
    rows = csv_tables.read_rows(path)
    if status == "removed":
        rows[0] |= {"status": "removed", "counted_as": ""}
    else:
        rows[0] |= {"status": "added", "predicted_class": "", "score": ""}
    csv_tables.write_rows(path, list(rows[0]), rows)
    record_tables(tmp_path / "run")
    for flags in (calibrated_run, calibrated_run[:3]):
        assert command_line.main(["calibrate", *flags]) == 1
        assert f"{path.parent}: a person has decided on cells; give the output folder of batch_infer" in (
            capsys.readouterr().err
        )
        assert not (tmp_path / "out").exists()
    assert "calibration" not in json.loads((tmp_path / "m" / "model.json").read_text(encoding="utf-8"))


def test_no_temperature_is_stored_where_the_matrix_is_refused(calibrated_run, tmp_path, capsys):
    before = (tmp_path / "m" / "model.json").read_bytes()
    assert command_line.main(["calibrate", *calibrated_run, "--store"]) == 1
    # 120 lymphocytes, 80 monocytes and no neutrophil of one patient.
    assert "are too few for a confusion matrix" in capsys.readouterr().err
    assert (tmp_path / "m" / "model.json").read_bytes() == before
    assert not (tmp_path / "m" / "classification.json").exists()


def test_no_matrix_is_stored_beside_another_temperature(calibrated_run, tmp_path, monkeypatch, capsys):
    # The model was calibrated after the run was made, and the run by itself gives no better temperature.
    (tmp_path / "m" / "model.json").write_text('{"calibration": {"temperature": 1.5}}', encoding="utf-8")
    monkeypatch.setattr(calibration_tables, "fit_temperature", lambda cells: 0.5)
    monkeypatch.setattr(Classification, "check_enough", lambda matrix: None)
    assert command_line.main(["calibrate", *calibrated_run, "--store"]) == 1
    assert "m: its model.json has the temperature 1.5, the run was made at 1; run batch_infer again" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "m" / "classification.json").exists()


CLASSES = ("lymphocyte", "neutrophil", "erythrocyte")


def three_classes():
    """Six cells: predicted 3 lymphocytes (2 right), 1 neutrophil (right), 2 erythrocytes (1 right)."""
    predicted, truth, scores = [1, 1, 1, 2, 3, 3], [1, 1, 2, 2, 3, 0], [0.9, 0.7, 0.85, 0.95, 0.99, 0.6]
    table = np.zeros((6, 4))
    for row, (column, score) in enumerate(zip(predicted, scores, strict=True)):
        table[row, column], table[row, 0] = score, 1 - score
    return ScoredCells(table, np.array(truth))


def test_groups_by_predicted_class():
    groups = groups_of(three_classes(), CLASSES)
    assert {name: rows.sum() for name, rows in groups.items()} == {
        "all": 6,
        "white_cells": 4,
        "lymphocyte": 3,
        "neutrophil": 1,
        "erythrocyte": 2,
    }


def test_sensitivity_and_predictive_value_by_hand():
    cells = three_classes()
    found = {row.group: row for row in calibrate_groups(cells, cells.at(3.0), CLASSES, {"neutrophil": 2}, 0.8)}
    lymphocyte, neutrophil = found["lymphocyte"], found["neutrophil"]
    # Of the lymphocytes 0.9 and 0.85 are counted, the first of them right; two cells are annotated so.
    assert (lymphocyte.cells, lymphocyte.counted_before, lymphocyte.annotated) == (3, 2, 2)
    assert (lymphocyte.predictive_value_before, lymphocyte.sensitivity_before) == (0.5, 0.5)
    assert lymphocyte.accuracy == pytest.approx(2 / 3)
    # Of neutrophils one is counted; one was called lymphocyte, two were missed.
    assert (neutrophil.annotated, neutrophil.sensitivity_before) == (4, 0.25)
    assert found["white_cells"].annotated == 6
    assert found["white_cells"].sensitivity_before == pytest.approx(2 / 6)
    assert found["all"].sensitivity_before == pytest.approx(3 / 7)
    assert found["lymphocyte"].counted_after == 0  # 0.9 at T = 3 is far below 0.8
    assert math.isnan(found["lymphocyte"].predictive_value_after)
    assert found["lymphocyte"].sensitivity_after == 0


def test_groups_without_cells():
    none = scored_cells(np.empty((0, 3)), CLASSES, [])
    for row in calibrate_groups(none, none, CLASSES, {}, 0.8):
        assert (row.cells, row.annotated) == (0, 0)
        assert all(math.isnan(value) for value in (row.accuracy, row.predictive_value_before, row.sensitivity_before))


def test_cells_whose_status_changes_by_hand():
    # sqrt(0.85) : sqrt(0.15) = 0.704 : 0.296; sqrt(0.99) : sqrt(0.01) = 0.909 : 0.091; 0.6 is unknown before and after.
    matched = MatchedCells(
        scored_classes=("Lymphocyte", "monocyte"),
        predicted=np.array(["lymphocyte", "monocyte", "lymphocyte"], object),
        counted_as=np.array(["lymphocyte", "monocyte", "unknown"], object),
        score=np.array([0.85, 0.99, 0.6]),
        class_scores=np.array([[0.85, 0.0], [0.0, 0.99], [0.6, 0.4]]),
        annotated=np.array(["monocyte", "monocyte", ""], object),
        missed=Counter(),
        num_images=1,
        patient_ids=np.array(["p"] * 3, object),
        images=np.array(["a.jpg"] * 3, object),
        cell_ids=np.array([1, 2, 3], object),
    )
    (row,) = calibration_tables.changed_cells(matched, 2.0, 0.8)
    # The class without a score has the least that cells.csv can show, 0.00005, and takes 0.5 points.
    assert row.pop("score_after") == pytest.approx(0.704, abs=0.006)
    assert row == {
        "patient_id": "p",
        "image": "a.jpg",
        "cell_id": 1,
        "predicted_class": "lymphocyte",
        "score_before": 0.85,
        "status_before": "counted",
        "status_after": "unknown",
        "annotated_class": "monocyte",
    }
    assert list(calibration_tables.changed_cells(matched, 1.0, 0.8)) == []
