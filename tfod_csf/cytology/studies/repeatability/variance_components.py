"""Variance components of nested repeats: between days, slides within days, repeats of a slide (CLSI EP05, EP15).

Shape shorthand in this module:
  n: results.
  J: levels, outermost first; repeats of the innermost level come after them.

The levels are nested: slide 1 of Monday and slide 1 of Tuesday are two slides. A sample's true value is not known and
does not matter: every sample is compared with its own mean.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

REPEAT = "repeat"
TOTAL = "within_laboratory"


@dataclasses.dataclass(frozen=True)
class Component:
    """Spread that one level adds.

    Attributes:
      name: a level, `repeat` (results that agree in all levels), or `within_laboratory` (all levels together).
      sd: in the unit of the results; 0 where the estimate of the variance was below 0.
      low, high: 95 % interval of the SD; NaN for the levels between, for which EP05 gives none.
      freedom: degrees of freedom (Satterthwaite's for the total).
      is_negative: whether the estimate of the variance was below 0.
    """

    name: str
    sd: float
    low: float
    high: float
    freedom: float
    is_negative: bool = False


def nested_components(
    values: Sequence[float] | np.ndarray, sample: Sequence[str], levels: Mapping[str, Sequence[str]]
) -> list[Component]:
    """Components by the analysis of variance; levels may be unbalanced.

    How it works: the sum of squares of each level about the one above it is set equal to its expectation (Henderson's
    first method; Searle, Casella and McCulloch 1992, chapter 5), and the triangular system is solved from the innermost
    level outwards. With balanced data these are EP05's formulas. A variance below 0 becomes 0, as EP05 has it. The
    interval of the repeats' SD is the chi-square one; that of the total uses Satterthwaite's degrees of freedom.

    A level with one group per group of the level above it cannot be separated from that level, and is ignored; where no
    two results agree in all levels, the innermost level takes the place of the repeats and carries its name.

    Args:
      values: [n] results.
      sample: [n] what was measured.
      levels: {name: [n] label}, outermost first.

    Returns:
      The levels that could be estimated, the repeats (or the level in their place), and the total; empty where no
      sample was measured twice.
    """
    values = np.asarray(values, float)
    names, groups = _separable_levels(sample, levels)
    if len(groups) < 2:
        return []
    squares, freedom, expected = _analysis_of_variance(values, groups)
    mean_squares, matrix = squares / freedom, expected / freedom[:, None]
    inverse = np.linalg.inv(matrix)
    variances = inverse @ mean_squares
    kept = np.maximum(variances, 0)
    found = [
        Component(name, math.sqrt(kept[j]), math.nan, math.nan, float(freedom[j]), bool(variances[j] < -1e-12))
        for j, name in enumerate(names)
    ]
    low, high = _sd_interval(found[-1].sd, found[-1].freedom)
    found[-1] = dataclasses.replace(found[-1], low=low, high=high)
    parts = inverse.sum(axis=0) * mean_squares
    total = math.sqrt(kept.sum())
    whole = (parts**2 / freedom).sum()
    total_freedom = float(parts.sum() ** 2 / whole) if whole > 0 else float(freedom.sum())
    return [*found, Component(TOTAL, total, *_sd_interval(total, total_freedom), total_freedom)]


def _separable_levels(sample: Sequence[str], levels: Mapping[str, Sequence[str]]) -> tuple[list[str], list[np.ndarray]]:
    """Names of the components and [n] numbers of the groups: of samples, of each level kept, of single results."""
    groups = [_numbered([sample])]
    names: list[str] = []
    labels: list[Sequence[str]] = [sample]
    for name, of_level in levels.items():
        labels.append(of_level)
        found = _numbered(labels)
        if found.max(initial=-1) > groups[-1].max(initial=-1):
            groups.append(found)
            names.append(name)
    single = np.arange(len(groups[0]))
    if len(groups) > 1 and groups[-1].max(initial=-1) + 1 == len(single):
        groups[-1] = single
        return names, groups
    if groups[-1].max(initial=-1) + 1 < len(single):
        return [*names, REPEAT], [*groups, single]
    return names, groups


def _numbered(labels: Sequence[Sequence[str]]) -> np.ndarray:
    """[n] the same number for results that agree in all labels."""
    seen: dict[tuple, int] = {}
    return np.array([seen.setdefault(row, len(seen)) for row in zip(*labels, strict=True)], int)


def _analysis_of_variance(
    values: np.ndarray, groups: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """([J] sums of squares, [J] degrees of freedom, [J, J] expectation of each sum in units of the variances).

    Args:
      groups: [J + 1] numbers of the groups, from samples to single results; each level splits the one before it.
    """
    sizes = [np.bincount(of) for of in groups]
    # Centered first: sums of squares of values near 99 would otherwise lose digits.
    values = values - values.mean()
    explained = np.array([(np.bincount(of, values) ** 2 / size).sum() for of, size in zip(groups, sizes, strict=True)])
    depth = len(groups) - 1
    # weight[j, k]: sum over groups of level j of the squared sizes of its groups of level k, divided by its own size.
    weight = np.full((depth + 1, depth), float(len(values)))
    for j in range(depth + 1):
        for k in range(j + 1, depth + 1):
            first = np.unique(groups[k], return_index=True)[1]
            weight[j, k - 1] = (sizes[k] ** 2 / sizes[j][groups[j][first]]).sum()
    freedom = np.diff([len(size) for size in sizes]).astype(float)
    return np.diff(explained), freedom, np.diff(weight, axis=0)


def _sd_interval(sd: float, freedom: float, alpha: float = 0.05) -> tuple[float, float]:
    """Chi-square interval of a standard deviation."""
    low, high = (math.sqrt(freedom / stats.chi2.ppf(end, freedom)) for end in (1 - alpha / 2, alpha / 2))
    return sd * low, sd * high
