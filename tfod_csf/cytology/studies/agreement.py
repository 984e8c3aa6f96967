"""Machine compared with the hospital, patient by patient: the paper's Table 2 and the statistics that experts expect.

Shape shorthand in this module:
  P: patients.
  K: the three white-cell classes, in the order of cell_classes.WHITE_CELLS.

The paper's "accuracy of 95 %" is 100 minus the mean absolute difference of percentages over patients and classes. It
is not the share of cells with the right class, and it grows when patients have few classes; so it is reported together
with the differences, limits of agreement, regression lines, concordance, and a test per patient of whether the two
differentials differ by more than the counting of so many cells explains.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.multitest import multipletests

from tfod_csf import cell_classes
from tfod_csf.cytology.studies import method_comparison
from tfod_csf.cytology.studies.method_comparison import Estimate

_TABLES = 10_000


@dataclasses.dataclass(frozen=True)
class Differentials:
    """Differentials of the same patients by one method.

    Attributes:
      patient_ids: [P].
      percent: [P, K].
      cells: [P] white cells that the percentages were computed from.
    """

    patient_ids: tuple[str, ...]
    percent: np.ndarray
    cells: np.ndarray


def absolute_differences(machine: np.ndarray, hospital: np.ndarray) -> np.ndarray:
    """[P, K] absolute differences of percentages, in points."""
    return np.abs(np.asarray(machine, float) - np.asarray(hospital, float))


def paper_accuracy(machine: np.ndarray, hospital: np.ndarray) -> float:
    """The paper's accuracy: 100 minus the mean absolute difference over patients and classes.

    >>> hospital = [[5, 3, 92], [1, 7, 91], [18, 23, 59], [87, 6, 7]]  # the paper's Table 2
    >>> machine = [[7, 18, 75], [4, 7, 90], [27, 20, 53], [89, 8, 3]]
    >>> round(paper_accuracy(machine, hospital), 1)
    94.7
    """
    return float(100 - absolute_differences(machine, hospital).mean())


def difference_p_values(machine: Differentials, hospital: Differentials, seed: int = 0) -> np.ndarray:
    """[P] probability of two differentials that differ at least this much if both counted cells of the same fluid.

    Pearson's chi-square test of the 2 x K table of counts; where an expected count is below 5 its p value comes from
    10,000 random tables with the same margins (the count itself among them). NaN where a count has no cell.
    """
    rng = np.random.default_rng(seed)
    p_values = np.full(len(machine.patient_ids), np.nan)
    for p in range(len(p_values)):
        counts = [_counts(method.percent[p], method.cells[p]) for method in (machine, hospital) if method.cells[p] > 0]
        if len(counts) == 2:
            p_values[p] = _p_value(np.array(counts), rng)
    return p_values


def _counts(percent: np.ndarray, cells: float) -> np.ndarray:
    """Whole counts that add up to `cells` and come closest to printed percentages (which may add up to 99 or 101)."""
    exact = np.asarray(percent, float) / np.sum(percent) * round(cells)
    counts = np.floor(exact).astype(int)
    for k in np.argsort(counts - exact)[: round(cells) - counts.sum()]:
        counts[k] += 1
    return counts


def _p_value(table: np.ndarray, rng: np.random.Generator) -> float:
    """p value of a [2, K] table of counts."""
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 1.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    statistic = ((table - expected) ** 2 / expected).sum()
    if expected.min() >= 5:
        return float(stats.chi2.sf(statistic, table.shape[1] - 1))
    random = stats.random_table(table.sum(axis=1), table.sum(axis=0), seed=rng).rvs(_TABLES, method="patefield")
    as_far = (((random - expected) ** 2 / expected).sum(axis=(1, 2)) >= statistic - 1e-9).sum()
    return float((1 + as_far) / (_TABLES + 1))


def holm(p_values: np.ndarray) -> np.ndarray:
    """p values corrected for looking at many patients (Holm); NaN stays NaN."""
    adjusted = np.full(len(p_values), np.nan)
    known = ~np.isnan(p_values)
    if known.any():
        adjusted[known] = multipletests(p_values[known], method="holm")[1]
    return adjusted


def class_measures(machine: Differentials, hospital: Differentials, error_ratio: float = 1.0) -> list[dict]:
    """Rows of agreement.csv: every measure per class, then the measures over all classes.

    A measure that needs more patients than there are is a row without values and with a note.
    """
    rows = []
    count = len(machine.patient_ids)
    differences = absolute_differences(machine.percent, hospital.percent)
    for k, name in enumerate(cell_classes.WHITE_CELLS):
        x, y = hospital.percent[:, k], machine.percent[:, k]
        rows.append(measure_row(name, "mean_absolute_difference", "points", count, differences[:, k].mean()))
        rows += _bland_altman_rows(name, x, y)
        rows += _line_rows(name, "passing_bablok", method_comparison.passing_bablok, x, y)
        rows += _line_rows(name, "deming", lambda x, y: method_comparison.deming(x, y, error_ratio), x, y)
        rows.append(measure_row(name, "lin_concordance", "", count, method_comparison.concordance(x, y)))
    rows.append(measure_row("all", "mean_absolute_difference", "points", count, differences.mean()))
    rows.append(measure_row("all", "paper_accuracy", "%", count, paper_accuracy(machine.percent, hospital.percent)))
    return rows


def measure_row(
    name: str, measure: str, unit: str, patients: int, value: float | Estimate | None, note: str = ""
) -> dict[str, Any]:
    """A row of agreement.csv."""
    numbers = method_comparison.number_columns(value)
    return {"class": name, "measure": measure, **numbers, "unit": unit, "patients": patients, "note": note}


def _bland_altman_rows(name: str, x: np.ndarray, y: np.ndarray) -> list[dict]:
    if len(x) < 2:
        return [measure_row(name, "bias", "points", len(x), None, "needs two patients")]
    found = method_comparison.bland_altman(x, y)
    values: dict[str, float | Estimate] = {"bias": found.bias, "sd_of_differences": found.sd}
    values |= {"limit_of_agreement_low": found.lower, "limit_of_agreement_high": found.upper}
    return [measure_row(name, measure, "points", len(x), value) for measure, value in values.items()]


def _line_rows(
    name: str,
    method: str,
    fit: Callable[[np.ndarray, np.ndarray], method_comparison.Line],
    x: np.ndarray,
    y: np.ndarray,
) -> list[dict]:
    try:
        line = fit(x, y)
    except ValueError as error:
        return [measure_row(name, f"{method}_{part}", unit, len(x), None, str(error)) for part, unit in _LINE_PARTS]
    few = "fewer than the 40 patients EP09 asks for" if len(x) < 40 else ""
    return [measure_row(name, f"{method}_{part}", unit, len(x), getattr(line, part), few) for part, unit in _LINE_PARTS]


_LINE_PARTS = (("slope", ""), ("intercept", "points"))


def kappa_of_pairs(pairs: Mapping[tuple[str, str], int]) -> Estimate:
    """Cohen's kappa of matched cells with its 95 % interval.

    Args:
      pairs: {(class by the one, class by the other): cells}.

    Returns:
      NaN where there are no pairs or everything is one class (agreement by chance is then complete).
    """
    names = sorted({name for pair in pairs for name in pair})
    table = np.array([[pairs.get((a, b), 0) for b in names] for a in names], float)
    if len(names) < 2 or table.sum() == 0:
        return Estimate(np.nan, np.nan, np.nan)
    result = cohens_kappa(table)
    return Estimate(float(result.kappa), float(result.kappa_low), float(result.kappa_upp))


def common_patients(
    machine: Differentials, hospital: Differentials
) -> tuple[Differentials, Differentials, list[str], list[str]]:
    """Both methods restricted to the patients they share, in the machine's order.

    Returns:
      (machine, hospital, ids only the machine has, ids only the hospital has).
    """
    rows = {name: row for row, name in enumerate(hospital.patient_ids)}
    shared = [name for name in machine.patient_ids if name in rows]
    kept = set(shared)

    def only(method: Differentials, order: Sequence[int]) -> Differentials:
        order = list(order)
        ids = tuple(method.patient_ids[row] for row in order)
        return Differentials(ids, method.percent[order], method.cells[order])

    return (
        only(machine, [row for row, name in enumerate(machine.patient_ids) if name in kept]),
        only(hospital, [rows[name] for name in shared]),
        [name for name in machine.patient_ids if name not in kept],
        [name for name in hospital.patient_ids if name not in kept],
    )
