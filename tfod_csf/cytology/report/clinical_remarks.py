"""Sentences on what blood in the fluid and the white-cell count mean for the percentages of a patient.

Everything is plain text; the templates escape it.
"""

from tfod_csf import cell_classes
from tfod_csf.cytology.counting.cases import CaseRules
from tfod_csf.cytology.counting.differential import Differential
from tfod_csf.cytology.counting.reference_ranges import WHITE_CELLS_PER_UL
from tfod_csf.cytology.patient_facts import PatientFacts
from tfod_csf.wording import number, plural

# From so many erythrocytes per uL on, studies of bloody punctures call one traumatic.
_BLOODY_PER_UL = 1000
# Columns of the patient table that the correction of the white-cell count needs.
_COUNTS = ("cells_per_ul", "csf_erythrocytes_per_ul", "blood_white_cells_per_ul", "blood_erythrocytes_per_ul")


def blood_remark(result: Differential, of_patient: PatientFacts, rules: CaseRules) -> str:
    """What to know where erythrocytes are many; "" where they are not.

    Many: as in the paper's case of a high erythrocyte count (`cases.py`), or 1,000 per uL in the table of patients.
    """
    seen, in_table = result.counts[cell_classes.ERYTHROCYTE], of_patient.csf_erythrocytes_per_ul
    are_many = seen >= max(rules.min_erythrocytes, rules.erythrocytes_per_100 * result.white_cells / 100)
    if not are_many and (in_table or 0) < _BLOODY_PER_UL:
        return ""
    found = f"{plural(seen, 'erythrocyte')} to {plural(result.white_cells, 'white cell')} on the images"
    if in_table is not None:
        found += f", {in_table:,.0f} erythrocytes per µL"
    return f"Blood in the fluid: {found}. Neutrophils and lymphocytes may be the blood's. {_corrected(of_patient)}"


def _corrected(of_patient: PatientFacts) -> str:
    """What the formula says of the white count, or what it would need."""
    counted, left = of_patient.cells_per_ul, of_patient.corrected_cells_per_ul
    from_blood = of_patient.white_cells_from_blood_per_ul
    if counted is None or from_blood is None or left is None:
        lacking = [name for name in _COUNTS if getattr(of_patient, name) is None]
        return f"To correct the white-cell count, fill in {', '.join(lacking)} of the patient table (--patient_table)."
    return (
        f"By the blood counts it brought {number(from_blood)} white cells per µL; of the {number(counted)} counted, "
        f"{number(left)} remain. This correction often takes away too many, so it excludes nothing."
    )


def white_count(result: Differential) -> tuple[str, str]:
    """White cells per uL as a fact of the page: (value, what it is against its range)."""
    if result.cells_per_ul is None:
        return "not given", ""
    limit = result.references.get(WHITE_CELLS_PER_UL)
    if limit is None:
        return number(result.cells_per_ul), ""
    side = "above" if result.pleocytosis else "within"
    return number(result.cells_per_ul), f"{side} {limit.low:g} – {limit.high:g}" + (
        " (pleocytosis)" if result.pleocytosis else ""
    )


def range_note(result: Differential) -> str:
    """Why percentages are not marked against the reference ranges, or on what their marks depend; "" without ranges."""
    if not result.shares or not any(name in result.references for name in cell_classes.WHITE_CELLS):
        return ""
    if result.pleocytosis:
        return (
            f"No percentage is marked: the reference ranges are those of fluids with a normal white-cell count, and "
            f"{number(result.cells_per_ul or 0)} per µL is above it."
        )
    if result.pleocytosis is None:
        return (
            "The marks hold only if the white-cell count is normal; it is not known (--patient_table). The reference "
            "ranges are those of such fluids."
        )
    return "The reference ranges are those of fluids with a normal white-cell count, as here."
