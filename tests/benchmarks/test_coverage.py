import numpy as np

from tfod_csf.benchmarks import coverage
from tfod_csf.cell_classes import COUNTED, STUDY_CLASSES, UNKNOWN
from tfod_csf.synthetic import cohort_folder, cohorts
from tfod_csf.synthetic.cohorts import CohortSettings


def test_tables_hold_the_patients_counts():
    patient = cohorts.simulate_patient(CohortSettings(erythrocytes_per_image=2), 0)
    tables = coverage.patient_tables(patient)
    counts = tables.image_counts((*STUDY_CLASSES, UNKNOWN), cohort_folder.MODEL)
    assert np.array_equal(counts[:, :4], patient.counts(COUNTED))
    assert np.array_equal(counts[:, 4], patient.counts(UNKNOWN).sum(axis=1))


def test_the_raw_interval_holds_for_independent_cells_without_mistakes():
    settings = CohortSettings(patients=100, rates=cohorts.PERFECT_DETECTOR, seed=2)
    found = coverage.measure_raw(cohorts.simulate(settings))
    assert found.patients == 100
    assert 0.93 <= found.holds < 1  # 0.95 or more is wanted; one without a miss would be too wide


def test_a_patient_without_percentages_has_no_interval():
    few = CohortSettings(patients=3, images_per_patient=5, white_cells_per_image=20, rates=cohorts.PERFECT_DETECTOR)
    none = CohortSettings(patients=2, images_per_patient=1, white_cells_per_image=1)
    found = coverage.measure_raw([*cohorts.simulate(few), *cohorts.simulate(none)])
    assert found.patients == 3


def test_the_corrected_interval_holds_for_a_detector_with_mistakes():
    settings = CohortSettings(patients=60, correlation=0.05, seed=2)
    validation = CohortSettings(patients=12, images_per_patient=8, correlation=0.05, seed=3)
    raw = coverage.measure_raw(cohorts.simulate(settings))
    corrected = coverage.measure_corrected(cohorts.simulate(settings), cohorts.simulate(validation))
    assert raw.holds < 0.7
    assert corrected.holds >= 0.88  # 0.90 is wanted of 400; 60 patients scatter by 0.03
    assert corrected.neutrophil_error < raw.neutrophil_error * 2 / 3
