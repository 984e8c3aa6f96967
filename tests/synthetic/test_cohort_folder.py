import json

import numpy as np
import pytest

from tfod_csf.cell_classes import COUNTED, STUDY_CLASSES, UNKNOWN
from tfod_csf.commands import command_line
from tfod_csf.cytology import annotated_cells, run_tables
from tfod_csf.errors import UserError
from tfod_csf.files import csv_schemas
from tfod_csf.problems import ProblemLog
from tfod_csf.synthetic import cohort_folder, cohorts
from tfod_csf.synthetic.cohorts import CohortSettings

SETTINGS = CohortSettings(patients=2, images_per_patient=4, erythrocytes_per_image=2, false_per_image=1, seed=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("cohort")
    cohort_folder.write_cohort(root / "run", cohorts.simulate(SETTINGS), root / "xml")
    return root


def test_tables_fit_their_schemas(folder):
    for patient in ("sim_0001", "sim_0002"):
        tables = folder / "run" / "patients" / patient
        assert csv_schemas.load("cells").check(tables / "cells.csv", STUDY_CLASSES) > 50
        assert csv_schemas.load("images").check(tables / "images.csv", (*STUDY_CLASSES, UNKNOWN)) == 4
    assert csv_schemas.load("truth").check(folder / "run" / "truth.csv") == 2


def test_tables_hold_the_simulated_counts(folder):
    for patient, read in zip(cohorts.simulate(SETTINGS), run_tables.read_patients(folder / "run"), strict=True):
        counts = read.image_counts((*STUDY_CLASSES, UNKNOWN), cohort_folder.MODEL)
        assert np.array_equal(counts[:, :4], patient.counts(COUNTED))
        assert np.array_equal(counts[:, 4], patient.counts(UNKNOWN).sum(axis=1))
    # Counting again with the run's own thresholds changes nothing: no rounded score lies on the other side.
    thresholds, changed = run_tables.new_thresholds(folder / "run")
    assert not changed
    assert read.counted_with(thresholds).counts_by_model() == read.counts_by_model()


def test_annotations_match_the_cells_they_belong_to(folder):
    annotations = annotated_cells.read_annotations(folder / "xml", ProblemLog())
    simulated = list(cohorts.simulate(SETTINGS))
    for patient, folder_path in zip(simulated, run_tables.patient_folders(folder / "run"), strict=True):
        matched = annotated_cells.match_patient(
            run_tables.read_patient(folder_path, details=True), annotations, cohort_folder.MODEL
        )
        by_class = patient.cells.sum(axis=0)
        assert dict(matched.missed) == {n: by_class[t, -1] for t, n in enumerate(STUDY_CLASSES) if by_class[t, -1]}
        for t, name in enumerate(STUDY_CLASSES):
            assert (matched.annotated == name).sum() == by_class[t, :-1].sum()
        assert (matched.annotated == "").sum() == by_class[-1].sum()


def test_no_second_run_in_a_folder_and_no_overfull_image(folder, tmp_path):
    with pytest.raises(UserError, match="already holds a run"):
        cohort_folder.write_cohort(folder / "run", [])
    crowded = CohortSettings(patients=1, images_per_patient=1, white_cells_per_image=2000)
    with pytest.raises(UserError, match="do not fit; an image has room for 520"):
        cohort_folder.write_cohort(tmp_path, cohorts.simulate(crowded))


def test_the_command_writes_a_run_that_differential_reads(tmp_path, capsys):
    run = tmp_path / "run"
    arguments = ["--num_patients=2", "--images_per_patient=6", "--perfect", f"--output_dir={run}"]
    assert command_line.main(["simulate_cohort", *arguments]) == 0
    assert "2 patients, 12 images; truly " in capsys.readouterr().out
    assert json.loads((run / "run.json").read_text())["settings"]["perfect"] is True
    assert command_line.main(["differential", f"--inference_dir={run}", f"--output_dir={run}"]) == 0
    truth = {row["patient_id"]: row for row in csv_schemas.load("truth").read(run / "truth.csv")}
    for row in csv_schemas.load("differentials").read(run / "differentials.csv"):
        assert [row[name] for name in STUDY_CLASSES] == [truth[row["patient_id"]][name] for name in STUDY_CLASSES]
