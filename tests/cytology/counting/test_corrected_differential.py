import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from tfod_csf import run_folder
from tfod_csf.classification import ClassificationError
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.counting import corrected_differential as corrected
from tfod_csf.cytology.counting import correction
from tfod_csf.cytology.run_tables import Thresholds
from tfod_csf.synthetic import cohort_folder, cohorts
from tfod_csf.synthetic.cohorts import CohortSettings

SETTINGS = CohortSettings(patients=2, images_per_patient=8, seed=11)
VALIDATION = dataclasses.replace(SETTINGS, patients=8, seed=12)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corrected") / "run"
    cohort_folder.write_cohort(folder, cohorts.simulate(SETTINGS), validation=cohorts.simulate(VALIDATION))
    return folder


@pytest.fixture
def patient(run):
    return run_tables.read_patient(run / "patients" / "sim_0001", details=True)


@pytest.fixture(scope="module")
def corrections(run):
    return corrected.read_corrections(run)


def test_outcomes_of_each_image(patient):
    counts = corrected.outcome_counts(patient, cohort_folder.MODEL, 0.8)
    simulated = cohorts.simulate_patient(SETTINGS, 0)
    columns = [cohort_folder._column(outcome) for outcome in cohorts.OUTCOMES[:-1]]
    np.testing.assert_array_equal(counts[:, columns], simulated.cells.sum(axis=1)[:, :-1])


def test_cells_of_an_image_that_was_not_examined_are_an_error(patient, corrections):
    fewer = dataclasses.replace(patient, images=patient.images.iloc[1:])
    with pytest.raises(run_tables.TableError, match=r"cells of 'sim_0001_001\.jpg', an image that simulated_detector"):
        corrected.corrected_differential(fewer, corrections, True)


def test_percentages_are_those_of_the_matrix(patient, corrections):
    found = corrected.corrected_differential(patient, corrections, True)
    counts = corrected.outcome_counts(patient, cohort_folder.MODEL, 0.8)
    expected = correction.corrected_shares(counts, corrections.rates[cohort_folder.MODEL])
    shares = [found.shares[name] for name in ("lymphocyte", "monocyte", "neutrophil")]
    np.testing.assert_allclose([share.percent for share in shares], 100 * expected.shares)
    np.testing.assert_allclose([share.ci_low for share in shares], 100 * expected.low)
    assert (found.why_not, found.unlike) == ("", ())
    assert "of 8 patients that the model never trained on (simulated, " in found.source


def test_both_readings_of_unknown_cells_give_the_same(patient, corrections):
    as_predicted = patient.counted_with(Thresholds(0.5, 0.8, "as_predicted"))
    one, two = (corrected.corrected_differential(p, corrections, True) for p in (patient, as_predicted))
    assert one == two


def test_two_models_are_corrected_each_and_averaged(patient, corrections):
    name, matrix = cohort_folder.MODEL, corrections.matrices[cohort_folder.MODEL]
    cells, images = (table.assign(model="other") for table in (patient.cells, patient.images))
    half = cells.groupby("image").head(4)
    both = dataclasses.replace(
        patient,
        cells=pd.concat([patient.cells, half], ignore_index=True),
        images=pd.concat([patient.images, images], ignore_index=True),
    )
    of_both = corrected.Corrections.of({name: matrix, "other": dataclasses.replace(matrix, model="other")})
    alone = corrected.corrected_differential(patient, of_both, True)
    other = corrected.corrected_differential(dataclasses.replace(patient, cells=half, images=images), of_both, True)
    mean = corrected.corrected_differential(both, of_both, True)
    for field in ("percent", "ci_low", "ci_high"):
        one, two, average = (getattr(d.shares["neutrophil"], field) for d in (alone, other, mean))
        assert average == pytest.approx((one + two) / 2)
    assert corrected.corrected_differential(both, corrections, True).why_not == "model other has no confusion matrix"


def test_not_for_cells_that_a_person_decided_on(run, corrections, tmp_path):
    folder = tmp_path / "p"
    folder.mkdir()
    for name in ("cells.csv", "images.csv"):
        text = (run / "patients" / "sim_0001" / name).read_text(encoding="utf-8")
        # A removed cell is not counted any more and still makes the counts a person's.
        (folder / name).write_text(text.replace("counted,lymphocyte", "deleted,", 1), encoding="utf-8")
    reviewed = run_tables.read_patient(folder, details=True)
    found = corrected.corrected_differential(reviewed, corrections, True)
    assert found.shares == {}
    assert found.why_not.startswith("a person has decided on cells")


def test_not_without_raw_percentages(patient, corrections):
    assert (
        corrected.corrected_differential(patient, corrections, False).why_not
        == "no percentages that could be corrected"
    )


def test_not_for_pictures_that_were_cut_into_tiles(patient, corrections):
    # One picture of eight was cut: its cells would be taken as those of one field.
    cut = np.where(patient.images["image"] == patient.images["image"].iloc[0], 640.0, np.nan)
    images = patient.images.assign(tile_width=cut, tile_height=cut, tile_overlap=cut / 10)
    found = corrected.corrected_differential(dataclasses.replace(patient, images=images), corrections, True)
    assert found.shares == {}
    assert found.why_not == "a picture was cut into tiles; the matrix describes images that are examined whole"
    none_cut = patient.images.assign(tile_width=np.nan, tile_height=np.nan, tile_overlap=np.nan)
    whole = corrected.corrected_differential(dataclasses.replace(patient, images=none_cut), corrections, True)
    assert whole.shares == corrected.corrected_differential(patient, corrections, True).shares != {}


def test_a_matrix_that_contradicts_the_counting_is_not_used(run, patient):
    other = corrected.read_corrections(run, Thresholds(0.5, 0.7))
    found = corrected.corrected_differential(patient, other, True)
    assert found.shares == {}
    assert found.why_not == (
        "the confusion matrix of simulated_detector does not apply: it was made with unknown_below 0.8, not 0.7"
    )
    assert corrected.read_corrections(run, Thresholds(0.5, 0.8, "as_predicted")).why_not == ""


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [("fingerprint", "other", "other weights"), ("temperature", 1.5, "temperature 1, not 1.5")],
)
def test_a_matrix_of_another_model_is_not_used(run, field, value, expected):
    record = run_folder.read_run(run)
    record["models"][0][field] = value
    matrices = corrected.read_corrections(run).matrices
    assert expected in corrected.corrections_of_run(record, matrices).why_not


def test_a_run_without_a_matrix_and_one_whose_matrix_is_gone(run, tmp_path):
    record = run_folder.read_run(run)
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(ClassificationError, match="cannot be read"):
        corrected.read_corrections(tmp_path)
    del record["models"][0]["classification"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert corrected.read_corrections(tmp_path) is None


def test_pictures_from_another_camera_are_flagged(patient, corrections):
    larger = patient.images.assign(width=4 * patient.images["width"], height=4 * patient.images["height"])
    found = corrected.corrected_differential(dataclasses.replace(patient, images=larger), corrections, True)
    assert found.shares  # given, with the remark
    assert "image width (pixels) 5120, in the validation 1280" in found.unlike
    assert "box size (% of the image's) 0.9021, in the validation 3.608" in found.unlike
    assert found.remark.startswith("pictures unlike the validation's (image width")


def test_a_detector_that_has_become_unsure_is_flagged(patient, corrections):
    unsure = patient.cells.assign(score=np.where(patient.cells["score"] < 0.95, 0.6, patient.cells["score"]))
    found = corrected.corrected_differential(dataclasses.replace(patient, cells=unsure), corrections, True)
    assert any(words.startswith("unknown cells among those most likely lymphocyte") for words in found.unlike)


def test_patients_like_the_validations_are_hardly_ever_flagged(corrections):
    settings = dataclasses.replace(SETTINGS, patients=40, seed=13, correlation=0.05)
    matrix = corrections.matrices[cohort_folder.MODEL]
    others = cohort_folder.classification_of(cohorts.simulate(settings)).patients
    flagged = sum(bool(corrected.unlike_pictures(patient.pictures, matrix.patients)) for patient in others)
    assert flagged <= 2
