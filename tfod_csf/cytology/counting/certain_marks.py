"""When a mark against a reference range may be called certain, however often one looks.

A laboratory that adds images until a mark is certain looks many times, and each look at a 95 % interval is another
chance to be wrong: with truly 2 % neutrophils, a look every 5 cells to 400 and "certain" where the interval lies
outside 0 to 2 %, 8.8 % of such patients are called high at some time, against 1.5 % with one look. (Looking at the
width of the interval, as `enough_cells` does, is harmless: the width says nothing about the side.)

A mark is therefore certain only if a confidence sequence lies outside the range too: an interval that holds at all
numbers of cells at once with the wanted probability (Robbins 1970). For x of n cells and a uniform mixture it excludes
a share p while

    (n + 1) C(n, x) p^x (1 - p)^(n - x) <= alpha,

which by Ville's inequality happens at any time with probability alpha at most if p is the true share. No number of
cells has to be planned.
"""

import math

from scipy import special

from tfod_csf.cytology.counting.reference_ranges import ReferenceRange


def is_certain(
    mark: str,
    reference: ReferenceRange,
    interval: tuple[float, float],
    worst_percent: float,
    cells: float,
    alpha: float,
) -> bool:
    """Whether interval, worst case of the unknown cells and confidence sequence all lie where the mark is made.

    Args:
      mark: "high" or "low".
      reference: the range.
      interval: ends of the percentage's interval.
      worst_percent: the percentage in the worst case of the unknown cells: lowest for "high", highest for "low".
      cells: effective white cells.
      alpha: probability with which a mark is ever wrongly certain.
    """
    limit = reference.highest_percent if mark == "high" else reference.lowest_percent
    if reference.mark(worst_percent) != mark or not reference.is_certain(*interval):
        return False
    return is_excluded(limit / 100, worst_percent / 100 * cells, cells, alpha)


def is_excluded(share: float, cells: float, all_cells: float, alpha: float) -> bool:
    """Whether the confidence sequence excludes a share.

    Args:
      share: fraction in question.
      cells, all_cells: x and n; need not be whole (effective cells).
      alpha: probability with which a true share is ever excluded.

    >>> is_excluded(0.02, 6, 100, 0.05), is_excluded(0.02, 12, 100, 0.05)
    (False, True)
    """
    likelihood = special.xlogy(cells, share) + special.xlog1py(all_cells - cells, -share)
    mixture = special.betaln(cells + 1, all_cells - cells + 1)
    return bool(likelihood - mixture <= math.log(alpha))
