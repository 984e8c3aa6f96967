"""Tables worked by hand, statsmodels' kappa, and a bootstrap written a second time with loops."""

from collections import Counter

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from tfod_csf.cytology.annotated_cells import MatchedCells
from tfod_csf.cytology.studies.cell_agreement import (
    bootstrap,
    class_accuracy,
    exact_interval,
    kappa,
    kappas,
    patient_tables,
    proportion,
)


def matched_cells(cells, missed=None):
    """Matched cells from (patient, annotated, predicted, counted as) and {patient: {class: missed}}."""
    columns = [np.array(column, object) for column in zip(*cells, strict=True)] if cells else [np.empty(0, object)] * 4
    patients = {**{name: Counter() for name in columns[0]}, **{k: Counter(v) for k, v in (missed or {}).items()}}
    return MatchedCells(
        scored_classes=(),
        predicted=columns[2],
        counted_as=columns[3],
        score=np.ones(len(cells)),
        class_scores=np.empty((len(cells), 0)),
        annotated=columns[1],
        missed=sum(patients.values(), Counter()),
        num_images=len(patients),
        patient_ids=columns[0],
        images=np.array(["i"] * len(cells), object),
        missed_by_patient=patients,
    )


def test_kappa_by_hand_and_against_statsmodels():
    # 20 + 15 of 50 agree: po = 0.7; margins 25 / 25 and 30 / 20: pe = 0.5 * 0.6 + 0.5 * 0.4 = 0.5; kappa = 0.4.
    assert kappa(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)
    assert np.isnan(kappa(np.zeros((2, 2))))
    assert np.isnan(kappa(np.array([[3, 0], [0, 0]])))
    tables = np.random.default_rng(0).integers(1, 30, (5, 4, 4))
    expected = [cohens_kappa(table).kappa for table in tables]
    np.testing.assert_allclose(kappa(tables), expected)


def test_bootstrap_against_loops():
    rng = np.random.default_rng(3)
    tables = rng.integers(0, 20, (12, 3, 3)) + 15 * np.eye(3, dtype=int)
    found = bootstrap(tables, kappa, replicates=4000)
    again = []
    for _ in range(4000):
        again.append(cohens_kappa(sum(tables[rng.integers(12)] for _ in range(12))).kappa)
    assert found.value == pytest.approx(cohens_kappa(tables.sum(axis=0)).kappa)
    # 12 patients: t = 2.2010 with 11 degrees of freedom, times sqrt(12 / 11) is 2.2989: 1.0755 % on either side.
    # 4000 samples: the standard error of that quantile is about 6 % of a standard deviation, of both 8 %.
    ends = tuple(np.quantile(again, [0.010755, 1 - 0.010755]))
    assert (found.low, found.high) == pytest.approx(ends, abs=0.3 * np.std(again))


def test_intervals_of_few_patients_hold():
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(600):
        share, cells = rng.beta(0.8 * 9, 0.2 * 9, 10), rng.poisson(40, 10) + 1
        found = proportion(rng.binomial(cells, share), cells).value
        held += found.low <= 0.8 <= found.high
    assert held / 600 > 0.92


def test_the_interval_of_kappa_samples_patients_and_ends_at_one():
    # 12 + 7 cells agree and 1 does not; Fleiss, Cohen and Everitt's interval over cells would end at 1.096.
    tables = np.zeros((6, 2, 2), int)
    tables[:, 0, 0], tables[:, 1, 1], tables[0, 0, 1] = 2, [2, 1, 1, 1, 1, 1], 1
    found = bootstrap(tables, kappa)
    assert found.value == pytest.approx(cohens_kappa(np.array([[12, 1], [0, 7]])).kappa)
    assert found.low < found.value < found.high <= 1
    assert np.isnan(bootstrap(tables[:4], kappa).low)
    assert np.isnan(bootstrap(tables[:1], kappa).low)
    # Patients without any cell do not count as patients to sample from.
    assert np.isnan(bootstrap(np.concatenate([tables[:4], np.zeros((9, 2, 2), int)]), kappa).low)


def test_cells_of_a_patient_that_are_alike_widen_the_interval():
    # 10 patients of 100 cells; in five of them everything is right, in the others 60 of 100.
    parts = np.array([100] * 5 + [60] * 5)
    clustered = proportion(parts, np.full(10, 100)).value
    even = proportion(np.full(10, 80), np.full(10, 100)).value
    assert clustered.value == even.value == 0.8
    assert clustered.high - clustered.low > 0.2
    assert even.high == even.low == 0.8
    low, high = exact_interval(800, 1000)
    assert high - low < 0.06


def test_proportions_at_the_ends_and_of_nothing():
    nobody = proportion(np.zeros(6, int), np.zeros(6, int))
    assert (np.isnan(nobody.value.value), nobody.note) == (True, "no such cell")
    all_right = proportion(np.full(6, 5), np.full(6, 5))
    # Clopper and Pearson for 30 of 30: 0.025 ** (1 / 30) = 0.8843.
    assert (all_right.value.value, all_right.value.high) == (1, 1)
    assert all_right.value.low == pytest.approx(0.8843, abs=1e-4)
    assert "as independent" in all_right.note
    few = proportion(np.full(4, 3), np.full(4, 5))
    assert (np.isnan(few.value.low), few.value.value) == (True, 0.6)
    assert "fewer than 5 patients" in few.note


CELLS = [
    *[("a", "lymphocyte", "lymphocyte", "lymphocyte")] * 6,
    *[("a", "lymphocyte", "monocyte", "monocyte")] * 2,
    *[("b", "lymphocyte", "monocyte", "unknown")] * 1,
    *[("b", "neutrophil", "neutrophil", "neutrophil")] * 4,
    *[("b", "neutrophil", "lymphocyte", "lymphocyte")] * 3,
    *[("b", "", "lymphocyte", "lymphocyte")] * 1,
    *[("b", "erythrocyte", "erythrocyte", "erythrocyte")] * 50,
]


def test_outcomes_of_a_class_by_hand():
    tables = patient_tables(matched := matched_cells(CELLS, {"b": {"lymphocyte": 1}, "c": {}}), matched.counted_as)
    assert tables.patient_ids == ("a", "b", "c")
    found = {name: (part.value.value, part.cells) for name, part in class_accuracy(tables, "lymphocyte").items()}
    # 10 annotated lymphocytes: 6 right, 2 monocytes, 1 unknown, 1 missed; 57 other cells, 3 called lymphocyte.
    assert found == {
        "sensitivity": (0.6, 10),
        "other_class": (0.2, 10),
        "unknown": (0.1, 10),
        "missed": (0.1, 10),
        "specificity": (pytest.approx(54 / 57), 57),
        "positive_predictive_value": (0.6, 10),
        "negative_predictive_value": (pytest.approx(54 / 58), 58),
    }


def test_kappa_over_white_cells_is_not_flattered_by_erythrocytes():
    found = {measure: (value.value, note) for measure, value, note in kappas(matched_cells(CELLS))}
    every = np.array([[6, 3, 0, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 50]])
    white = every[:3, :3]
    assert found["kappa"][0] == pytest.approx(cohens_kappa(every).kappa)
    assert found["kappa_white_cells"][0] == pytest.approx(cohens_kappa(white).kappa)
    assert found["kappa_white_cells"][0] < 0.5 < found["kappa"][0]
    white[0, 1] = 2
    assert found["kappa_white_cells_without_unknown"][0] == pytest.approx(cohens_kappa(white).kappa)
    assert "fewer than 5 patients" in found["kappa"][1]


def test_no_cells_at_all():
    nothing = matched_cells([], {"a": {}})
    assert all(np.isnan(value.value) for _, value, _ in kappas(nothing))
    tables = patient_tables(nothing, nothing.counted_as)
    assert {part.cells for part in class_accuracy(tables, "monocyte").values()} == {0}
