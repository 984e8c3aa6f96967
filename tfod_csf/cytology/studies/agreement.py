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
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import special, stats
from statsmodels.stats.multitest import multipletests

from tfod_csf import cell_classes
from tfod_csf.cytology.studies import method_checks, method_comparison
from tfod_csf.cytology.studies.method_comparison import Estimate

# Tables that the exact test looks at, at most: some seconds would be too long for a patient.
_MAX_TABLES = 2_000_000
# Patients that a note names.
_MAX_NAMED = 100
# p values below this are written as this: they are not 0.
SMALLEST_P = 1e-300


@dataclasses.dataclass(frozen=True)
class Differentials:
    """Differentials of the same patients by one method.

    Attributes:
      patient_ids: [P].
      percent: [P, K].
      cells: [P] white cells that the percentages were computed from.
      effective_cells: [P] how many independent cells these are worth with probability, as the intervals of a patient
        take them; NaN where that is not known, None where it is known of nobody.
      design_effect: [P] variance of the percentages, cells of one kind lying together, divided by that of independent
        cells; NaN and None likewise.
    """

    patient_ids: tuple[str, ...]
    percent: np.ndarray
    cells: np.ndarray
    effective_cells: np.ndarray | None = None
    design_effect: np.ndarray | None = None

    @property
    def tested_cells(self) -> np.ndarray:
        """[P] effective cells, or all cells where these are not known."""
        if self.effective_cells is None:
            return self.cells
        return np.where(np.isnan(self.effective_cells), self.cells, self.effective_cells)

    @property
    def independent_cells(self) -> np.ndarray:
        """[P] cells divided by their design effect where that is known and above 1."""
        if self.design_effect is None:
            return self.cells
        return self.cells / np.maximum(np.nan_to_num(self.design_effect, nan=1.0), 1)

    def of_patients(self, rows: Sequence[int]) -> "Differentials":
        """Some patients, in the order of `rows`."""
        order = list(rows)
        known = {name: getattr(self, name) for name in ("effective_cells", "design_effect")}
        chosen = {name: None if values is None else values[order] for name, values in known.items()}
        ids = tuple(self.patient_ids[row] for row in order)
        return Differentials(ids, self.percent[order], self.cells[order], **chosen)


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


def difference_p_values(machine: Differentials, hospital: Differentials) -> np.ndarray:
    """[P] probability of two differentials that differ at least this much if both counted cells of the same fluid.

    Pearson's chi-square test of the 2 x K table of counts; where an expected count is below 5, Freeman and Halton's
    (1951) exact test. Cells are taken as independent, `effective_cells` of them where those are known. NaN where a
    count has no cell; never below `SMALLEST_P`.
    """
    p_values = np.full(len(machine.patient_ids), np.nan)
    for p in range(len(p_values)):
        counts = [_counts(method.percent[p], method.tested_cells[p]) for method in (machine, hospital)]
        if all(count.sum() > 0 for count in counts):
            p_values[p] = max(_p_value(np.array(counts)), SMALLEST_P)
    return p_values


def _counts(percent: np.ndarray, cells: float) -> np.ndarray:
    """Whole counts that add up to `cells` and come closest to printed percentages (which may add up to 99 or 101)."""
    exact = np.asarray(percent, float) / np.sum(percent) * round(cells)
    counts = np.floor(exact).astype(int)
    for k in np.argsort(counts - exact)[: round(cells) - counts.sum()]:
        counts[k] += 1
    return counts


def _p_value(table: np.ndarray) -> float:
    """p value of a [2, K] table of counts."""
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 1.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    if expected.min() < 5:
        exact = freeman_halton(table)
        if exact is not None:
            return exact
    statistic = ((table - expected) ** 2 / expected).sum()
    return float(stats.chi2.sf(statistic, table.shape[1] - 1))


def freeman_halton(table: np.ndarray) -> float | None:
    """Exact p value of a 2 x K table, K up to 3: Fisher's test for more than two classes.

    The sum of the probabilities of all tables with the same margins that are at most as probable as this one; all of
    them are looked at, so that the p value has no lower bound as that of random tables has.

    Returns:
      None where there are more than two million tables, that is, cells in their thousands.

    >>> round(freeman_halton(np.array([[3, 0, 0], [0, 3, 0]])), 6)  # 2 of 20
    0.1
    """
    table = table[:, np.argsort(table.sum(axis=0), kind="stable")]
    table = np.pad(table, ((0, 0), (3 - table.shape[1], 0)))
    small, middle, large = (int(total) for total in table.sum(axis=0))
    if (small + 1) * (middle + 1) > _MAX_TABLES:
        return None
    first = np.arange(small + 1)[:, None]
    second = np.arange(middle + 1)[None, :]
    third = int(table[0].sum()) - first - second
    possible = (third >= 0) & (third <= large)
    logarithms = (
        _log_choose(small, first) + _log_choose(middle, second) + _log_choose(large, np.where(possible, third, 0))
    )
    logarithms -= _log_choose(small + middle + large, int(table[0].sum()))
    seen = logarithms[table[0, 0], table[0, 1]]
    # Equally probable tables differ in their last digits.
    as_rare = possible & (logarithms <= seen + 1e-7)
    return float(min(1.0, np.exp(logarithms[as_rare]).sum()))


def _log_choose(total: int, chosen: np.ndarray | int) -> np.ndarray:
    return special.gammaln(total + 1) - special.gammaln(np.add(chosen, 1)) - special.gammaln(total - chosen + 1.0)


def holm(p_values: np.ndarray) -> np.ndarray:
    """p values corrected for looking at many patients (Holm); NaN stays NaN."""
    adjusted = np.full(len(p_values), np.nan)
    known = ~np.isnan(p_values)
    if known.any():
        adjusted[known] = multipletests(p_values[known], method="holm")[1]
    return adjusted


def counting_variance(machine: Differentials, hospital: Differentials, is_clustered: bool = False) -> np.ndarray:
    """[P, K] variance of the difference of two percentages that counting alone gives, in squared points.

    p (1 - p) (1 / n + 1 / m) with p the share among the n + m cells of both, times (n + m) / (n + m - 1), which makes
    it unbiased if both counted independent cells of the same fluid.

    Args:
      is_clustered: n and m are `independent_cells`, all cells otherwise.
    """
    n, m = (of.independent_cells[:, None] if is_clustered else of.cells[:, None] for of in (machine, hospital))
    share = (n * machine.percent + m * hospital.percent) / (n + m) / 100
    return 1e4 * share * (1 - share) * (1 / n + 1 / m) * (n + m) / np.maximum(n + m - 1, 1)


def counting_variances(machine: Differentials, hospital: Differentials) -> tuple[np.ndarray, np.ndarray]:
    """([P, K] of the machine, [P, K] of the hospital) error variances p (1 - p) / n as `weighted_deming` takes them.

    In squared points; p is the share among the cells of both with half a cell added to the class and to the rest, so
    that a class that nobody found has a variance too.
    """
    n, m = machine.independent_cells[:, None], hospital.independent_cells[:, None]
    share = ((n * machine.percent + m * hospital.percent) / 100 + 0.5) / (n + m + 1)
    return 1e4 * share * (1 - share) / n, 1e4 * share * (1 - share) / m


def class_measures(machine: Differentials, hospital: Differentials, error_ratio: float = 1.0) -> list[dict]:
    """Rows of agreement.csv: every measure per class, then the measures over all classes.

    A measure that needs more patients than there are is a row without values and with a note.
    """
    rows = []
    count = len(machine.patient_ids)
    differences = absolute_differences(machine.percent, hospital.percent)
    by_counting = counting_variance(machine, hospital)
    clustered = None if machine.design_effect is None else counting_variance(machine, hospital, is_clustered=True)
    fits = line_fits(machine, hospital, error_ratio)
    for k, name in enumerate(cell_classes.WHITE_CELLS):
        x, y = hospital.percent[:, k], machine.percent[:, k]
        rows.append(measure_row(name, "mean_absolute_difference", "points", count, differences[:, k].mean()))
        rows += _bland_altman_rows(name, x, y)
        rows += _counting_rows(name, y - x, by_counting[:, k], None if clustered is None else clustered[:, k])
        rows += _trend_rows(name, x, y)
        for method, fit in fits.items():
            rows += _line_rows(name, method, functools.partial(fit, k), count)
        rows += _check_rows(name, machine.patient_ids, x, y)
        few = "the interval is too narrow: it holds in 85 to 94 % with fewer than 20 patients" if count < 20 else ""
        rows.append(measure_row(name, "lin_concordance", "", count, method_comparison.concordance(x, y), few))
    rows.append(measure_row("all", "mean_absolute_difference", "points", count, differences.mean()))
    rows.append(measure_row("all", "paper_accuracy", "%", count, paper_accuracy(machine.percent, hospital.percent)))
    return rows


def line_fits(
    machine: Differentials, hospital: Differentials, error_ratio: float = 1.0
) -> dict[str, Callable[[int], method_comparison.Line]]:
    """{method: fit} of the lines; fits take the place k of a class and raise ValueError without a line."""
    of_machine, of_hospital = counting_variances(machine, hospital)
    x, y = hospital.percent.T, machine.percent.T
    return {
        "passing_bablok": lambda k: method_comparison.passing_bablok(x[k], y[k]),
        "deming": lambda k: method_comparison.deming(x[k], y[k], error_ratio),
        "weighted_deming": lambda k: method_comparison.weighted_deming(x[k], y[k], of_hospital[:, k], of_machine[:, k]),
    }


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


def _counting_rows(name: str, difference: np.ndarray, variance: np.ndarray, clustered: np.ndarray | None) -> list[dict]:
    """The standard deviation that counting alone explains, and what is left of the observed one."""
    count = len(difference)
    rows = [measure_row(name, "sd_counting_only", "points", count, np.sqrt(variance.mean()))]
    if clustered is not None:
        note = "the machine's cells divided by their design effect"
        rows.append(measure_row(name, "sd_counting_clustered", "points", count, np.sqrt(clustered.mean()), note))
        variance = clustered
    if count < 2:
        return [*rows, measure_row(name, "sd_beyond_counting", "points", count, None, "needs two patients")]
    beyond = float(difference.var(ddof=1) - variance.mean())
    note = "" if beyond > 0 else "counting alone explains the observed spread"
    return [*rows, measure_row(name, "sd_beyond_counting", "points", count, np.sqrt(max(beyond, 0)), note)]


def _trend_rows(name: str, x: np.ndarray, y: np.ndarray) -> list[dict]:
    """Whether differences, or their spread, change with the mean of both methods."""
    measures = {"difference_slope": "points per point", "spread_slope": "points per point"}
    try:
        found = method_checks.regression_limits(x, y)
    except ValueError as error:
        return [measure_row(name, measure, unit, len(x), None, str(error)) for measure, unit in measures.items()]
    rows = []
    for (measure, unit), trend in zip(measures.items(), (found.difference, found.spread), strict=True):
        verdict = "changes with the mean: see agreement_levels.csv" if trend.is_real else "no change with the mean seen"
        note = f"p = {trend.p_value:.2g}: {verdict}"
        rows.append(measure_row(name, measure, unit, len(x), trend.slope, note))
    return rows


def _check_rows(name: str, patient_ids: Sequence[str], x: np.ndarray, y: np.ndarray) -> list[dict]:
    """Linearity along the Passing-Bablok line, and patients whose difference lies too far away."""
    try:
        statistic, p_value = method_checks.linearity_cusum(x, y, method_comparison.passing_bablok(x, y))
        bent = "the relation is not a straight line" if p_value < method_checks.SIGNIFICANT else "no bend seen"
        note = "no patients on both sides of the line" if np.isnan(p_value) else f"p = {p_value:.2g}: {bent}"
    except ValueError as error:
        statistic, note = np.nan, str(error)
    rows = [measure_row(name, "linearity_cusum", "", len(x), statistic, note)]
    found = [patient_ids[place] for place in method_checks.outliers(y - x)]
    few = f"needs {method_checks.MIN_PATIENTS} patients" if len(x) < method_checks.MIN_PATIENTS else ""
    more = f" and {len(found) - _MAX_NAMED} others" if len(found) > _MAX_NAMED else ""
    note = f"look for the cause: {', '.join(found[:_MAX_NAMED])}{more}" if found else few
    return [*rows, measure_row(name, "outliers", "patients", len(x), None if few else float(len(found)), note)]


def _line_rows(name: str, method: str, fit: Callable[[], method_comparison.Line], count: int) -> list[dict]:
    try:
        line = fit()
    except ValueError as error:
        return [measure_row(name, f"{method}_{part}", unit, count, None, str(error)) for part, unit in _LINE_PARTS]
    few = "fewer than the 40 patients EP09 asks for" if count < 40 else ""
    note = "; ".join(filter(None, [line.note, few]))
    return [measure_row(name, f"{method}_{part}", unit, count, getattr(line, part), note) for part, unit in _LINE_PARTS]


_LINE_PARTS = (("slope", ""), ("intercept", "points"))


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

    return (
        machine.of_patients([row for row, name in enumerate(machine.patient_ids) if name in kept]),
        hospital.of_patients([rows[name] for name in shared]),
        [name for name in machine.patient_ids if name not in kept],
        [name for name in hospital.patient_ids if name not in kept],
    )
