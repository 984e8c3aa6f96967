"""Reference ranges from an editable CSV table, and the high and low marks they give.

The table that comes with the package is `reference_ranges.csv` beside this module; a laboratory copies it, puts in its
own ranges and names the copy with --reference_ranges. Columns: population, quantity (a white-cell class or
`white_cells_per_ul`), low, high, unit, source. Both ends belong to the range.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from tfod_csf import cell_classes
from tfod_csf.errors import UserError
from tfod_csf.files import csv_schemas

WHITE_CELLS_PER_UL = "white_cells_per_ul"
DEFAULT_TABLE = pathlib.Path(__file__).with_name("reference_ranges.csv")


class ReferenceRangeError(UserError):
    """The table of reference ranges cannot be used."""


@dataclasses.dataclass(frozen=True)
class ReferenceRange:
    """low <= normal value <= high, in the quantity's unit (percent of white cells or cells per uL)."""

    low: float
    high: float
    source: str = ""

    def mark(self, value: float) -> str:
        """ "high", "low" or "" for a value inside the range."""
        return "high" if value > self.high else "low" if value < self.low else ""

    def is_certain(self, ci_low: float, ci_high: float) -> bool:
        """Whether an interval lies wholly outside the range."""
        return ci_low > self.high or ci_high < self.low


def load_reference_ranges(
    path: str | os.PathLike = DEFAULT_TABLE, population: str = "adult"
) -> dict[str, ReferenceRange]:
    """Reads the ranges of one population.

    Returns:
      {quantity: range}; a quantity without a row has no range and gets no mark.

    Raises:
      ReferenceRangeError: unknown population or quantity, a repeated row, or ends that are not 0 <= low <= high.
    """
    rows = list(csv_schemas.load("input_reference_ranges").read(path))
    populations = sorted({row["population"] for row in rows})
    if population not in populations:
        raise ReferenceRangeError(
            f"{path}: no reference ranges for population {population!r}; the table has {', '.join(populations)}."
        )
    ranges: dict[str, ReferenceRange] = {}
    for row in rows:
        if row["population"] != population:
            continue
        where = f"{path}, line {row.line}"
        quantity = cell_classes.canonical_name(row["quantity"])
        if quantity not in (*cell_classes.WHITE_CELLS, WHITE_CELLS_PER_UL) or quantity in ranges:
            what = "repeated" if quantity in ranges else "not known"
            known = ", ".join((*cell_classes.WHITE_CELLS, WHITE_CELLS_PER_UL))
            raise ReferenceRangeError(f"{where}: quantity {quantity!r} is {what}; use each of {known} once.")
        ranges[quantity] = ReferenceRange(*_ends(where, row, quantity), source=row["source"])
    return ranges


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
