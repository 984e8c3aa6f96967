"""The study's five kinds of patient, assigned by a stated rule.

The paper names them (page on Figure 2): (1) low WBC count, W = 0-4 cells per uL, (2) high neutrophil count, (3) high
RBC count, (4) medium WBC count, W = 5-50, (5) high WBC count, W >= 50. It gives no number for "high neutrophil" and
"high RBC", no order of precedence, and lets (4) and (5) share W = 50. This module fills the gaps with numbers that are
flags, in this order; the first rule that applies decides:

  1. W < 5                                                        low_white_cells
  2. erythrocytes >= 100 per 100 white cells (and at least 30)    high_erythrocytes
  3. neutrophils >= 50 % of white cells                           high_neutrophils
  4. 5 <= W < 50                                                  medium_white_cells
  5. W >= 50                                                      high_white_cells

Erythrocytes come before neutrophils because the paper calls Patient 2 of its Table 2 (91 % neutrophils) its example of
a high RBC count. Without W, rules 2 and 3 can still decide, and the reason says that W was not known.
"""

import dataclasses

LOW_WHITE_CELLS = "low_white_cells"
HIGH_ERYTHROCYTES = "high_erythrocytes"
HIGH_NEUTROPHILS = "high_neutrophils"
MEDIUM_WHITE_CELLS = "medium_white_cells"
HIGH_WHITE_CELLS = "high_white_cells"
# In tables and plots: patients to whom no rule applies.
NO_CASE = "none"
# In the paper's numbering 1 .. 5.
CASES = (LOW_WHITE_CELLS, HIGH_NEUTROPHILS, HIGH_ERYTHROCYTES, MEDIUM_WHITE_CELLS, HIGH_WHITE_CELLS)


@dataclasses.dataclass(frozen=True)
class CaseRules:
    """Numbers of the rules.

    Attributes:
      low_below_per_ul: W below this is case 1 (cells per uL).
      high_from_per_ul: W from here on is case 5 (cells per uL).
      erythrocytes_per_100: erythrocytes per 100 white cells from which on a patient is case 3.
      min_erythrocytes: erythrocytes that must have been seen for case 3; a handful proves nothing.
      neutrophil_percent: share of white cells from which on a patient is case 2.
    """

    low_below_per_ul: float = 5
    high_from_per_ul: float = 50
    erythrocytes_per_100: float = 100
    min_erythrocytes: int = 30
    neutrophil_percent: float = 50


def assign_case(
    white_cells: float,
    erythrocytes: float,
    neutrophil_percent: float | None,
    cells_per_ul: float | None,
    rules: CaseRules = CaseRules(),
) -> tuple[str | None, str]:
    """The case of a patient and the sentence that gives the reason.

    Args:
      white_cells: white cells counted on the images.
      erythrocytes: erythrocytes counted on the images.
      neutrophil_percent: None where there are too few white cells for percentages.
      cells_per_ul: W from the patient table, None where not known.
      rules: the numbers.

    >>> assign_case(200, 10, 12.0, 3)
    ('low_white_cells', 'W = 3 per uL is below 5')
    """
    if cells_per_ul is not None and cells_per_ul < rules.low_below_per_ul:
        return LOW_WHITE_CELLS, f"W = {cells_per_ul:g} per uL is below {rules.low_below_per_ul:g}"
    without_w = "; W (white cells per uL) is not known" if cells_per_ul is None else ""
    if erythrocytes >= max(rules.min_erythrocytes, rules.erythrocytes_per_100 * white_cells / 100):
        return HIGH_ERYTHROCYTES, (
            f"{erythrocytes:g} erythrocytes to {white_cells:g} white cells are at least "
            f"{rules.erythrocytes_per_100:g} per 100{without_w}"
        )
    if neutrophil_percent is not None and neutrophil_percent >= rules.neutrophil_percent:
        return HIGH_NEUTROPHILS, (
            f"{neutrophil_percent:.1f} % neutrophils are at least {rules.neutrophil_percent:g} %{without_w}"
        )
    if cells_per_ul is None:
        return None, "W (white cells per uL) is not known and no other rule applies"
    if cells_per_ul < rules.high_from_per_ul:
        ends = f"{rules.low_below_per_ul:g} to under {rules.high_from_per_ul:g}"
        return MEDIUM_WHITE_CELLS, f"W = {cells_per_ul:g} per uL is {ends}"
    return HIGH_WHITE_CELLS, f"W = {cells_per_ul:g} per uL is at least {rules.high_from_per_ul:g}"
