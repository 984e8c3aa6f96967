import json

import numpy as np
import pytest

from tests.support.examined_study import record_tables
from tests.support.saved_models import write_empty_model
from tfod_csf import classification
from tfod_csf.commands import command_line
from tfod_csf.cytology import annotated_cells, validation_counts
from tfod_csf.cytology.run_tables import TableError
from tfod_csf.evaluation.classification_counts import ClassificationCounter
from tfod_csf.files import csv_schemas
from tfod_csf.model_folder import fingerprint
from tfod_csf.problems import ProblemLog
from tfod_csf.synthetic import cohort_folder, cohorts
from tfod_csf.synthetic.cohorts import CohortSettings

SETTINGS = CohortSettings(patients=4, images_per_patient=6, erythrocytes_per_image=2, false_per_image=0.5, seed=21)


@pytest.fixture
def folder(tmp_path):
    cohort_folder.write_cohort(tmp_path / "run", cohorts.simulate(SETTINGS), tmp_path / "xml")
    return tmp_path


def counted(folder, temperature=1.0):
    annotations = annotated_cells.read_annotations(folder / "xml", ProblemLog())
    counter = ClassificationCounter(0.8)
    return validation_counts.count_validation(
        folder / "run", annotations, cohort_folder.MODEL, counter, temperature=temperature
    )


def test_tables_and_xml_give_the_simulated_matrix(folder):
    expected = cohort_folder.classification_of(cohorts.simulate(SETTINGS))
    found = counted(folder)
    assert [patient.images for patient in found] == [6] * 4
    for one, two in zip(found, expected.patients, strict=True):
        np.testing.assert_array_equal(one.counts, two.counts)


def test_a_temperature_makes_cells_unknown_and_none_missed(folder):
    before, after = (sum(patient.counts for patient in counted(folder, t)) for t in (1.0, 2.0))
    unknown = [column for column, name in enumerate(classification.OUTCOMES) if name.startswith("unknown")]
    assert after[:, unknown].sum() > before[:, unknown].sum()
    np.testing.assert_array_equal(after[:, -1], before[:, -1])
    assert after.sum() == before.sum()


def test_reviewed_cells_are_not_the_models(folder):
    path = folder / "run" / "patients" / "sim_0001" / "cells.csv"
    path.write_text(path.read_text().replace(",counted,", ",confirmed,", 1))
    record_tables(folder / "run")
    with pytest.raises(TableError, match="a person has decided on cells"):
        counted(folder)


def test_pictures_that_were_cut_into_tiles_are_no_fields(folder):
    path = folder / "run" / "patients" / "sim_0001" / "images.csv"
    schema = csv_schemas.load("images")
    rows = list(schema.read(path))
    rows[0].update(tile_width=640, tile_height=640, tile_overlap=64)
    schema.write(path, rows, schema.classes_in(path), with_rare=True)
    record_tables(folder / "run")
    with pytest.raises(TableError, match=r"sim_0001: sim_0001_001\.jpg was cut into tiles, .* without --tile_size"):
        counted(folder)


def test_calibrate_stores_the_matrix_at_the_temperature_it_stores(folder, capsys):
    model = write_empty_model(folder / cohort_folder.MODEL)
    flags = [f"--inference_dir={folder / 'run'}", f"--annotations_dir={folder / 'xml'}", f"--output_dir={folder / 'o'}"]
    assert command_line.main(["calibrate", *flags, "--store"]) == 1
    assert "--store needs --model" in capsys.readouterr().err
    assert command_line.main(["calibrate", *flags, f"--model={model}", "--store"]) == 1
    assert "the run was made with other weights" in capsys.readouterr().err
    record = json.loads((folder / "run" / "run.json").read_text())
    record["models"][0]["fingerprint"] = fingerprint(model / "saved_model")
    (folder / "run" / "run.json").write_text(json.dumps(record))
    assert command_line.main(["calibrate", *flags, f"--model={model}", "--store"]) == 0, capsys.readouterr().err
    assert "of 4 patients stored in" in capsys.readouterr().out
    stored = classification.read(model / "classification.json")
    info = json.loads((model / "model.json").read_text())
    assert stored.temperature == pytest.approx(info.get("calibration", {}).get("temperature", 1.0), abs=1e-5)
    found = counted(folder, stored.temperature)
    np.testing.assert_array_equal(stored.counts, [patient.counts for patient in found])
