import numpy as np
import pytest

from tfod_csf.cell_classes import COUNTED, LYMPHOCYTE, MONOCYTE, NEUTROPHIL, UNKNOWN
from tfod_csf.errors import UserError
from tfod_csf.synthetic import cohorts
from tfod_csf.synthetic.cohorts import MISSED, OUTCOMES, TRUE_CLASSES, CohortSettings, Outcome


def _rows(cells, name):
    """[J] fractions of the outcomes of a true class."""
    row = cells[:, TRUE_CLASSES.index(name)].sum(axis=0)
    return row / row.sum()


def test_a_larger_cohort_begins_with_the_smaller_one_and_another_seed_gives_another():
    small = list(cohorts.simulate(CohortSettings(patients=2)))
    large = list(cohorts.simulate(CohortSettings(patients=3)))
    other = next(cohorts.simulate(CohortSettings(patients=1, seed=1)))
    assert [patient.patient_id for patient in large] == ["sim_0001", "sim_0002", "sim_0003"]
    assert all(np.array_equal(one.cells, two.cells) for one, two in zip(small, large))
    assert not np.array_equal(small[0].cells, other.cells)


def test_outcomes_have_the_made_up_detectors_rates():
    cells = np.concatenate([p.cells for p in cohorts.simulate(CohortSettings(patients=60, images_per_patient=40))])
    unknown = [OUTCOMES.index(outcome) for outcome in OUTCOMES if outcome.status == UNKNOWN]
    # 48,000 white cells: at least 8,000 of a class, a standard error of at most half a point.
    assert _rows(cells, NEUTROPHIL)[unknown].sum() == pytest.approx(0.32, abs=0.02)
    assert _rows(cells, LYMPHOCYTE)[unknown].sum() == pytest.approx(0.15, abs=0.02)
    looks_like_monocyte = [OUTCOMES.index(Outcome(MONOCYTE, status)) for status in (COUNTED, UNKNOWN)]
    assert _rows(cells, NEUTROPHIL)[looks_like_monocyte].sum() == pytest.approx(0.26, abs=0.02)
    for name in (LYMPHOCYTE, MONOCYTE, NEUTROPHIL):
        assert _rows(cells, name)[OUTCOMES.index(MISSED)] == pytest.approx(0.03, abs=0.01)


@pytest.mark.parametrize("rho", [0.0, 0.1, 0.3])
def test_correlation_within_images_is_the_wanted_one(rho):
    settings = CohortSettings(patients=1, images_per_patient=4000, composition=(1e6, 1e6, 1e6), correlation=rho, seed=3)
    counts = cohorts.simulate_patient(settings, 0).true_counts[:, :3]
    totals = counts.sum(axis=1)
    # Var(X | n) = n p (1 - p) (1 + (n - 1) rho), so that E[(X - n p)^2 - n p q] / E[n (n - 1) p q] = rho.
    p = 1 / 3
    found = ((counts - totals[:, None] * p) ** 2 - totals[:, None] * p * (1 - p)).mean()
    assert found / (totals * (totals - 1) * p * (1 - p)).mean() == pytest.approx(rho, abs=0.015)


def test_a_perfect_detector_reports_the_true_cells():
    settings = CohortSettings(patients=1, rates=cohorts.PERFECT_DETECTOR, erythrocytes_per_image=3)
    patient = cohorts.simulate_patient(settings, 0)
    assert np.array_equal(patient.counts(COUNTED), patient.true_counts)
    assert patient.counts(UNKNOWN).sum() == 0
    assert patient.true_counts[:, 3].sum() > 0


def test_false_detections_are_found_and_not_true():
    settings = CohortSettings(
        patients=1, rates=cohorts.PERFECT_DETECTOR, white_cells_per_image=0, false_per_image=2, images_per_patient=50
    )
    patient = cohorts.simulate_patient(settings, 0)
    assert patient.true_counts.sum() == 0
    assert patient.counts(UNKNOWN).sum() == pytest.approx(100, abs=40)


def test_rates_differ_between_patients_where_they_are_to():
    def neutrophil_rates(rate_correlation):
        settings = CohortSettings(
            patients=20, images_per_patient=200, composition=(1, 1, 100), rate_correlation=rate_correlation
        )
        return np.array([_rows(p.cells, NEUTROPHIL)[2] for p in cohorts.simulate(settings)])

    # Beta with mean m and correlation c between patients: variance c m (1 - m); about 4,000 cells add next to nothing.
    assert neutrophil_rates(0.0).std() < 0.02
    assert neutrophil_rates(0.05).std() == pytest.approx(np.sqrt(0.05 * 0.52 * 0.48), rel=0.5)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(UserError, match="correlation is 1; give a number from 0 to below 1"):
        CohortSettings(correlation=1.0)
    with pytest.raises(UserError, match="0 patients x 15 images"):
        CohortSettings(patients=0)
    rates = {**cohorts.MADE_UP_DETECTOR, LYMPHOCYTE: {MISSED: 0.5}}
    with pytest.raises(UserError, match=r"the rates of lymphocyte add up to 0\.5; they must"):
        CohortSettings(rates=rates)
