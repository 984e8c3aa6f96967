import numpy as np
import pytest
from scipy import optimize
from statsmodels.stats.proportion import multinomial_proportions_confint

from tfod_csf.cell_classes import STUDY_CLASSES, WHITE_CELLS
from tfod_csf.classification import NAMED, OUTCOMES, TRUE_CLASSES, ValidationPatient
from tfod_csf.cytology.counting import correction
from tfod_csf.cytology.counting.clustering import measure_clustering
from tfod_csf.cytology.counting.correction import OBSERVED, OutcomeRates, corrected_shares, most_likely_cells
from tfod_csf.synthetic import cohort_folder, cohorts
from tfod_csf.synthetic.cohorts import CohortSettings


def rates_of(rows, false_per_image=None):
    """Rates known without error: {true class: {outcome: probability}}; classes not named are found as themselves."""
    matrix = np.zeros((len(NAMED), len(OBSERVED)))
    for t, name in enumerate(NAMED):
        for outcome, rate in rows.get(name, {name: 1.0}).items():
            matrix[t, OBSERVED.index(outcome)] = rate
    none = np.zeros(len(OBSERVED)) if false_per_image is None else false_per_image
    return OutcomeRates(matrix, np.zeros(len(NAMED)), none, np.zeros((len(OBSERVED),) * 2))


def counts_of(**cells):
    """[1, J] one image."""
    return np.array([[cells.get(name, 0) for name in OBSERVED]])


CONFUSED = {
    "lymphocyte": {"lymphocyte": 0.9, "unknown: lymphocyte": 0.1},
    "monocyte": {"monocyte": 0.8, "neutrophil": 0.1, "unknown: monocyte": 0.1},
    "neutrophil": {"neutrophil": 0.6, "monocyte": 0.2, "unknown: neutrophil": 0.1},  # a tenth is missed
}


def test_expected_counts_give_the_true_cells_back():
    rates = rates_of(CONFUSED)
    true = np.array([100.0, 50, 30, 20, 0])
    np.testing.assert_allclose(most_likely_cells(true @ rates.rates, 1, rates), true, atol=1e-3)


def test_a_matrix_of_two_classes_worked_by_hand():
    # Rogan and Gladen's (1978) estimator: sensitivity 0.9, specificity 0.8, 31 of 100 positive: (0.31 - 0.2) / 0.7.
    rows = {
        "neutrophil": {"neutrophil": 0.9, "monocyte": 0.1},
        "monocyte": {"neutrophil": 0.2, "monocyte": 0.8},
    }
    found = corrected_shares(counts_of(neutrophil=31, monocyte=69), rates_of(rows))
    np.testing.assert_allclose(found.shares, [0, 0.59 / 0.7, 0.11 / 0.7], atol=2e-3)
    # Fewer positive than false ones alone: the constrained estimate is none at all, not a negative share.
    fewer = corrected_shares(counts_of(neutrophil=10, monocyte=90), rates_of(rows))
    np.testing.assert_allclose(fewer.shares, [0, 1, 0], atol=1e-3)
    assert fewer.low[2] == 0
    assert 0 < fewer.high[2] < 0.2


def test_it_is_the_most_likely_composition():
    rates = rates_of(CONFUSED, false_per_image=np.where(np.array(OBSERVED) == "unknown: lymphocyte", 2.0, 0))
    counts = np.random.default_rng(0).poisson([60, 30, 12, 9, 0, 8, 4, 9, 1, 0])

    def minus_log_likelihood(cells):
        expected = cells @ rates.rates + 3 * rates.false_per_image
        return float((expected - counts * np.log(np.maximum(expected, 1e-12))).sum())

    found = most_likely_cells(counts, 3, rates)
    other = optimize.minimize(
        minus_log_likelihood, np.full(5, 20.0), bounds=[(0, None)] * 5, options={"maxiter": 2000, "ftol": 1e-14}
    )
    np.testing.assert_allclose(found, other.x, atol=0.05)
    assert minus_log_likelihood(found) <= other.fun + 1e-6


def test_missed_cells_are_counted_in():
    # Half of the neutrophils are missed: 20 found stand for 40.
    rates = rates_of({"neutrophil": {"neutrophil": 0.5}})
    found = corrected_shares(counts_of(lymphocyte=40, monocyte=20, neutrophil=20), rates)
    np.testing.assert_allclose(found.shares, [0.4, 0.2, 0.4], atol=1e-3)


def test_false_detections_and_erythrocytes_are_taken_out():
    background = np.where(np.array(OBSERVED) == "unknown: lymphocyte", 10.0, 0)
    rates = rates_of({**CONFUSED, "erythrocyte": {"erythrocyte": 0.9, "lymphocyte": 0.1}}, background)
    counts = np.array([90.0, 50, 30, 200, 0]) @ rates.rates + background
    found = corrected_shares(np.rint(counts)[None], rates)
    np.testing.assert_allclose(found.shares, np.array([90, 50, 30]) / 170, atol=0.01)


def test_without_mistakes_it_is_goodmans_interval():
    found = corrected_shares(counts_of(lymphocyte=77, monocyte=66, neutrophil=50), rates_of({}))
    np.testing.assert_allclose(found.shares, np.array([77, 66, 50]) / 193, atol=1e-6)
    goodman = multinomial_proportions_confint([77, 66, 50], 0.05, method="goodman")
    # Half a cell of each class more in the trial compositions moves no end by more than a fifth of a point.
    np.testing.assert_allclose(np.stack([found.low, found.high], axis=1), goodman, atol=2e-3)
    assert found.design_effect is None  # one image tells nothing about clustering


def test_cells_that_lie_together_make_the_interval_wider():
    spread = np.tile(counts_of(lymphocyte=10, monocyte=6, neutrophil=4), (12, 1))
    spread[::2, :3] += [1, -1, 0]
    spread[1::2, :3] -= [1, -1, 0]
    together = np.concatenate([counts_of(lymphocyte=20)] * 6 + [counts_of(monocyte=12, neutrophil=8)] * 6)
    one, two = (corrected_shares(counts, rates_of(CONFUSED)) for counts in (spread, together))
    np.testing.assert_allclose(one.shares, two.shares, atol=1e-3)
    assert one.design_effect < 1 < two.design_effect
    assert ((two.high - two.low) > 1.5 * (one.high - one.low)).all()


def test_the_design_effect_is_that_of_the_raw_percentages_without_mistakes():
    counts = np.random.default_rng(1).multinomial(20, [0.5, 0.3, 0.2], 10)
    counts[:5, 0] += 15
    image_counts = np.zeros((10, len(OBSERVED)), int)
    image_counts[:, :3] = counts
    found = corrected_shares(image_counts, rates_of({}))
    assert found.design_effect == pytest.approx(measure_clustering(counts).design_effect, rel=0.01)


def test_no_white_cells_have_no_shares():
    assert corrected_shares(counts_of(), rates_of(CONFUSED)) is None
    assert corrected_shares(counts_of(erythrocyte=200), rates_of(CONFUSED)) is None
    assert corrected_shares(np.zeros((0, len(OBSERVED))), rates_of(CONFUSED)) is None


def test_one_cell_has_an_interval_of_nearly_everything():
    found = corrected_shares(counts_of(monocyte=1), rates_of(CONFUSED))
    assert (found.high - found.low).min() > 0.7


def classification_of(rows_of_patients, images=1):
    """Patients as {true class: {outcome: cells}}."""
    patients = []
    for rows in rows_of_patients:
        counts = np.zeros((len(TRUE_CLASSES), len(OUTCOMES)), int)
        for name, outcomes in rows.items():
            for outcome, cells in outcomes.items():
                counts[TRUE_CLASSES.index(name), OUTCOMES.index(outcome)] = cells
        patients.append(ValidationPatient(images, counts, {}))
    return cohort_folder.classification_of([]).__class__(
        **{**cohort_folder.classification_of([]).__dict__, "patients": tuple(patients)}
    )


def test_rates_of_validation_patients():
    patients = [{"neutrophil": {"neutrophil": 60, "monocyte": 30, "missed": 9}, "no_cell": {"lymphocyte": 4}}] * 2
    found = correction.outcome_rates(classification_of(patients, images=2))
    row = found.rates[NAMED.index("neutrophil")]
    # 198 cells and one of the prior, a quarter of which is a counted neutrophil and 1/22 any outcome.
    assert row[OBSERVED.index("neutrophil")] == pytest.approx((120 + 0.25 + 0.5 / 11) / 199)
    assert row[OBSERVED.index("monocyte")] == pytest.approx((60 + 0.5 / 11) / 199)
    assert row.sum() == pytest.approx(1 - (18 + 0.5 / 11) / 199)
    assert found.false_per_image[OBSERVED.index("lymphocyte")] == 2
    # A class of which the validation has no cell is taken to be found as itself, and hardly known.
    assert found.rates[NAMED.index("erythrocyte")].argmax() == OBSERVED.index("erythrocyte")
    assert found.variance_factors[NAMED.index("erythrocyte")] == 2


def test_validation_patients_that_differ_make_rates_less_certain():
    same = [{"neutrophil": {"neutrophil": 50, "monocyte": 50}}] * 4
    different = [{"neutrophil": {"neutrophil": n, "monocyte": 100 - n}} for n in (80, 20, 80, 20)]
    row = NAMED.index("neutrophil")
    alike, unlike = (
        correction.outcome_rates(classification_of(rows)).variance_factors[row] for rows in (same, different)
    )
    assert alike == pytest.approx(1 / 401)
    # Between patients the rate is 0.5 +- 0.3, a variance of about 0.12 with n - 1; 0.25 times the factor.
    assert unlike == pytest.approx(0.12 / 0.25 * 1.25, rel=0.1)


def test_few_validation_cells_make_a_wide_interval():
    counts = counts_of(lymphocyte=1200, monocyte=700, neutrophil=300, **{"unknown: neutrophil": 120})
    widths = []
    for patients in (3, 100):
        validation = cohorts.simulate(CohortSettings(patients=patients, images_per_patient=3, white_cells_per_image=12))
        rates = correction.outcome_rates(cohort_folder.classification_of(validation))
        found = corrected_shares(counts, rates)
        widths.append((found.high - found.low)[WHITE_CELLS.index("neutrophil")])
    assert widths[0] > 1.2 * widths[1]


def test_rates_come_near_the_detectors_own():
    settings = CohortSettings(patients=25, erythrocytes_per_image=10, false_per_image=1, seed=4)
    rates = correction.outcome_rates(cohort_folder.classification_of(cohorts.simulate(settings)))
    for name in STUDY_CLASSES:
        for outcome, rate in settings.rates[name].items():
            if outcome != cohorts.MISSED:
                column = outcome.predicted if outcome.status == "counted" else f"unknown: {outcome.predicted}"
                assert rates.rates[NAMED.index(name), OBSERVED.index(column)] == pytest.approx(rate, abs=0.03)
    assert rates.false_per_image.sum() == pytest.approx(1, abs=0.1)
