"""Reference ranges from an editable CSV table, and the high and low marks they give.

The table that comes with the package is `reference_ranges.csv` beside this module; a laboratory copies it, puts in its
own ranges and names the copy with --reference_ranges. Columns: population, quantity (a white-cell class or
`white_cells_per_ul`), low, high, unit, source. Both ends belong to the range. Capitals and blanks do not make another
population.

A percentage is marked only where a mark means something:

* Not at an end within 10 points of 0 or 100 %. In a fluid with few white cells it is usual to find lymphocytes alone:
  100 % lymphocytes are not "high" against 63 to 99 %, nor 0 % monocytes "low" against 3 to 37 %. No percentage is
  farther beyond such an end than the 10 points that the paper calls clinically acceptable.
* Not with more white cells per uL than their own range allows (pleocytosis): the ranges are those of fluids with a
  normal count (`differential.differential`).
"""

import dataclasses
import math
import os
import pathlib
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from tfod_csf import cell_classes
from tfod_csf.errors import UserError
from tfod_csf.files import csv_schemas

_OPEN_END_POINTS = 10.0
WHITE_CELLS_PER_UL = "white_cells_per_ul"
_PERCENT = re.compile(r"%|per ?cent|\bpct\b|prozent|por ?ciento|pour ?cent|procent")
# A volume that is not a microliter: "/l" and "per ml", but not "10^6/l", which is the same number per uL.
_OTHER_VOLUME = re.compile(r"(?<!10\^6)(?<!10\*6)(?<!10e6)(?<!106)(?<!mpt)(/|per)(l|dl|cl|ml|nl|lit(?:er|re))\b")
DEFAULT_TABLE = pathlib.Path(__file__).with_name("reference_ranges.csv")


class ReferenceRangeError(UserError):
    """The table of reference ranges cannot be used."""


@dataclasses.dataclass(frozen=True)
class ReferenceRange:
    """low <= normal value <= high, in the quantity's unit (percent of white cells or cells per uL)."""

    low: float
    high: float
    source: str = ""

    @property
    def lowest_percent(self) -> float:
        """Percentage below which "low" is marked; 0, so that nothing is, where the low end is within 10 points."""
        return 0.0 if self.low <= _OPEN_END_POINTS else self.low

    @property
    def highest_percent(self) -> float:
        """Percentage above which "high" is marked; 100 where the high end is within 10 points."""
        return 100.0 if self.high >= 100 - _OPEN_END_POINTS else self.high

    @property
    def percent_text(self) -> str:
        """The percentages that are not marked.

        >>> [ReferenceRange(*ends).percent_text for ends in ((63, 99), (3, 37), (40, 80), (5, 95))]
        ['≥ 63', '≤ 37', '40 – 80', 'any']
        """
        low, high = self.lowest_percent > 0, self.highest_percent < 100
        if low and high:
            return f"{self.low:g} – {self.high:g}"
        return f"≥ {self.low:g}" if low else f"≤ {self.high:g}" if high else "any"

    def mark(self, percent: float) -> str:
        """ "high", "low" or "" for a percentage that needs no mark."""
        return "high" if percent > self.highest_percent else "low" if percent < self.lowest_percent else ""

    def is_certain(self, ci_low: float, ci_high: float) -> bool:
        """Whether an interval lies wholly where a mark is made."""
        return ci_low > self.highest_percent or ci_high < self.lowest_percent


def load_reference_ranges(
    path: str | os.PathLike = DEFAULT_TABLE, population: str = "adult"
) -> dict[str, ReferenceRange]:
    """Reads the ranges of one population.

    Returns:
      {quantity: range}; a quantity without a row has no range and gets no mark.

    Raises:
      ReferenceRangeError: unknown population or quantity, a repeated row, ends that are not 0 <= low <= high, or a
        unit that is neither percent nor, for white_cells_per_ul, cells per uL.
    """
    rows = list(csv_schemas.load("input_reference_ranges").read(path))
    populations = {_folded(row["population"]): row["population"] for row in reversed(rows)}
    if _folded(population) not in populations:
        raise ReferenceRangeError(
            f"{path}: no reference ranges for population {population!r}; the table has "
            f"{', '.join(sorted(populations.values()))}."
        )
    ranges: dict[str, ReferenceRange] = {}
    for row in rows:
        if _folded(row["population"]) != _folded(population):
            continue
        where = f"{path}, line {row.line}"
        quantity = _quantity(row["quantity"])
        if quantity not in (*cell_classes.WHITE_CELLS, WHITE_CELLS_PER_UL) or quantity in ranges:
            what = "repeated" if quantity in ranges else "not known"
            known = ", ".join((*cell_classes.WHITE_CELLS, WHITE_CELLS_PER_UL))
            raise ReferenceRangeError(f"{where}: quantity {quantity!r} is {what}; use each of {known} once.")
        ranges[quantity] = ReferenceRange(*_ends(where, row, quantity), source=row["source"])
        _check_unit(where, row.get("unit", ""), quantity)
    highest = [found.high for quantity, found in ranges.items() if quantity in cell_classes.WHITE_CELLS]
    if len(highest) > 1 and max(highest) <= 1:
        raise ReferenceRangeError(
            f"{path}: no range of population {population!r} goes beyond {max(highest):g}, so these are fractions; give "
            "percent, not fractions, as the hospital's table is."
        )
    return ranges


def _folded(text: str) -> str:
    """A name as it is compared."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _quantity(text: str) -> str:
    folded = _folded(text)
    return WHITE_CELLS_PER_UL if folded.replace(" ", "_") == WHITE_CELLS_PER_UL else cell_classes.canonical_name(folded)


def _check_unit(where: str, unit: str, quantity: str) -> None:
    """Refuses a unit that is not the quantity's; none at all is the quantity's."""
    plain = _folded(unit).replace("\u03bc", "u")  # both signs of micro are a Greek mu in NFKC
    if not plain:
        return
    if quantity == WHITE_CELLS_PER_UL:
        if _OTHER_VOLUME.search(plain.replace(" ", "")) or "%" in plain or "fraction" in plain:
            raise ReferenceRangeError(f"{where}: the unit of {quantity} is {unit!r}; give the range in cells per uL.")
    elif not _PERCENT.search(plain):
        raise ReferenceRangeError(
            f"{where}: the unit of {quantity} is {unit!r}; give percent, not fractions, as the hospital's table is."
        )


def _ends(where: str, row: Mapping[str, Any], quantity: str) -> tuple[float, float]:
    low, high = row["low"], row["high"]
    largest = math.inf if quantity == WHITE_CELLS_PER_UL else 100
    if low is None or high is None or not low <= high <= largest:
        ends = ["nothing" if end is None else f"{end:g}" for end in (low, high)]
        raise ReferenceRangeError(
            f"{where}: {quantity} ranges from {' to '.join(ends)}; expected numbers with "
            f"0 <= low <= high{'' if math.isinf(largest) else ' <= 100'}."
        )
    return low, high
