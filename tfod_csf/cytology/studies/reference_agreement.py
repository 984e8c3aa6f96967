"""Machine and hospital at the limits that decide: normal or not, and the bias at decision levels (CLSI H20-A2, EP09).

Shape shorthand in this module:
  P: patients.
  K: the three white-cell classes, in the order of cell_classes.WHITE_CELLS.

A difference of 5 points is nothing at 70 % lymphocytes and everything at 2 % neutrophils, so the average over all
patients says little about decisions.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfod_csf import cell_classes
from tfod_csf.cytology.counting.reference_ranges import ReferenceRange
from tfod_csf.cytology.studies import method_checks, method_comparison
from tfod_csf.cytology.studies.agreement import Differentials, line_fits
from tfod_csf.cytology.studies.cell_agreement import exact_interval

ANY_CLASS = "any"
ALL_PATIENTS = "all"
_GROUPS = {True: "pleocytosis", False: "no_pleocytosis"}
_SHARES = ("sensitivity", "specificity", "positive_predictive_value", "negative_predictive_value")


def limit_rows(
    machine: Differentials,
    hospital: Differentials,
    references: Mapping[str, ReferenceRange],
    pleocytosis: Sequence[bool | None] = (),
) -> Iterator[dict[str, Any]]:
    """Rows of agreement_limits.csv: normal and abnormal by both, per class and for any class, the hospital being right.

    Args:
      references: {white-cell class: range in percent}; a class without one is not judged. Abnormal is what gets a mark
        (`ReferenceRange.mark`), for a hospital's result as for the machine's.
      pleocytosis: [P] whether a patient has too many white cells per uL, None where not known; with and without are
        groups of their own, since the ranges of percentages are those of fluids with a normal count.
    """
    ranges = {name: references[name] for name in cell_classes.WHITE_CELLS if name in references}
    known = np.array([None] * len(machine.patient_ids) if not len(pleocytosis) else list(pleocytosis), dtype=object)
    groups = {ALL_PATIENTS: np.ones(len(known), bool)}
    groups |= {name: known == value for value, name in _GROUPS.items() if (known == value).any()}
    abnormal = {name: [_is_outside(of, name, limits) for of in (machine, hospital)] for name, limits in ranges.items()}
    if len(abnormal) > 1:
        abnormal[ANY_CLASS] = [np.any([sides[side] for sides in abnormal.values()], axis=0) for side in (0, 1)]
    for group, chosen in groups.items():
        for name, (by_machine, by_hospital) in abnormal.items():
            limits = ranges.get(name)
            ends = {"low_percent": limits.lowest_percent, "high_percent": limits.highest_percent} if limits else {}
            yield {"group": group, "class": name, **ends, **two_by_two(by_machine[chosen], by_hospital[chosen])}


def _is_outside(method: Differentials, name: str, limits: ReferenceRange) -> np.ndarray:
    percent = method.percent[:, cell_classes.WHITE_CELLS.index(name)]
    return np.array([limits.mark(value) != "" for value in percent], dtype=bool)


def two_by_two(by_machine: np.ndarray, by_hospital: np.ndarray) -> dict[str, Any]:
    """Counts of a 2 x 2 table and its shares with Clopper and Pearson's intervals, in percent.

    Args:
      by_machine, by_hospital: [P] whether each found the patient abnormal.
    """
    both = int((by_machine & by_hospital).sum())
    machine_only, hospital_only = int((by_machine & ~by_hospital).sum()), int((~by_machine & by_hospital).sum())
    neither = len(by_machine) - both - machine_only - hospital_only
    row: dict[str, Any] = {"both_abnormal": both, "machine_only": machine_only}
    row |= {"hospital_only": hospital_only, "both_normal": neither}
    trials = ((both, hospital_only), (neither, machine_only), (both, machine_only), (neither, hospital_only))
    for name, (right, wrong) in zip(_SHARES, trials, strict=True):
        if right + wrong:
            low, high = exact_interval(right, right + wrong)
            row |= {f"{name}_percent": 100 * right / (right + wrong)}
            row |= {f"{name}_ci_low_percent": 100 * low, f"{name}_ci_high_percent": 100 * high}
    return row


def decision_levels(
    references: Mapping[str, ReferenceRange], given: Mapping[str, Sequence[float]]
) -> Iterator[tuple[str, float, str]]:
    """(class, percent, where it is from): the ends of the ranges at which a mark is made, then the given levels."""
    for name in cell_classes.WHITE_CELLS:
        if name in references:
            ends = {"low": references[name].lowest_percent, "high": references[name].highest_percent}
            yield from ((name, percent, f"reference_{end}") for end, percent in ends.items() if 0 < percent < 100)
        for percent in given.get(name, ()):
            yield name, percent, "given"


def level_rows(
    machine: Differentials,
    hospital: Differentials,
    levels: Sequence[tuple[str, float, str]],
    error_ratio: float = 1.0,
) -> Iterator[dict[str, Any]]:
    """Rows of agreement_levels.csv: bias and limits of agreement where the hospital's percentage is a decision level.

    The bias is that of the weighted and of the plain Deming line, intervals by the jackknife. The limits are the
    regression limits where differences change with the mean (`method_checks`), else the constant ones.
    """
    fits = line_fits(machine, hospital, error_ratio)
    for name, percent, source in levels:
        k = cell_classes.WHITE_CELLS.index(name)
        x, y = hospital.percent[:, k], machine.percent[:, k]
        row = {"class": name, "level_percent": percent, "source": source, "patients": len(x)}
        row |= _limits_at(x, y, percent)
        is_inside = x.min() <= percent <= x.max()
        notes = [] if is_inside else [f"extrapolated: the hospital has {x.min():g} to {x.max():g} %"]
        outliers = [machine.patient_ids[place] for place in method_checks.outliers(y - x)]
        if outliers:
            notes.append(f"outliers may move the bias: {', '.join(outliers)}")
        for prefix in ("weighted_deming", "deming"):
            try:
                bias = fits[prefix](k).bias_at(percent)
            except ValueError as error:
                notes.append(str(error))
                continue
            row |= {f"{prefix}_bias": bias.value, f"{prefix}_ci_low": bias.low, f"{prefix}_ci_high": bias.high}
        yield {**row, "note": "; ".join(notes)}


def _limits_at(x: np.ndarray, y: np.ndarray, percent: float) -> dict[str, Any]:
    """Limits of agreement where the mean of both methods is `percent`; nothing with one patient."""
    try:
        found = method_checks.regression_limits(x, y)
        if found.are_needed:
            low, _, high = found.at(percent)
            return {"limit_low": low, "limit_high": high, "limits": "regression"}
    except ValueError:
        pass  # too few patients for a trend: constant limits
    if len(x) < 2:
        return {}
    constant = method_comparison.bland_altman(x, y)
    return {"limit_low": constant.lower.value, "limit_high": constant.upper.value, "limits": "constant"}
