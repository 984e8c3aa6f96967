"""What the page says of blood in the fluid and of the reference ranges."""

from tfod_csf.cytology.counting.cases import CaseRules
from tfod_csf.cytology.counting.differential import differential
from tfod_csf.cytology.counting.reference_ranges import load_reference_ranges
from tfod_csf.cytology.patient_facts import PatientFacts
from tfod_csf.cytology.report import clinical_remarks


def result(counts, cells_per_ul=None, references=None):
    references = load_reference_ranges() if references is None else references
    return differential("p", {"m": counts}, images_used=3, cells_per_ul=cells_per_ul, references=references)


def blood(counts, facts=None):
    return clinical_remarks.blood_remark(result(counts), facts or PatientFacts(), CaseRules())


def test_no_remark_on_the_usual_erythrocytes():
    assert blood({"lymphocyte": 100, "erythrocyte": 99}) == ""
    assert blood({"lymphocyte": 2, "erythrocyte": 29}) == ""  # fewer than 30 prove nothing
    assert blood({}) == ""


def test_a_bloody_tap_is_said_with_its_numbers():
    text = blood({"lymphocyte": 100, "erythrocyte": 180})
    assert text.startswith(
        "Blood in the fluid: 180 erythrocytes to 100 white cells on the images. Neutrophils and lymph"
    )
    assert text.endswith("blood_white_cells_per_ul, blood_erythrocytes_per_ul of the patient table (--patient_table).")
    only_one = blood({"lymphocyte": 100, "erythrocyte": 180}, PatientFacts(60, "", "", "", 9_000, 7_000, None))
    assert only_one.endswith(
        "To correct the white-cell count, fill in blood_erythrocytes_per_ul of the patient table (--patient_table)."
    )
    assert blood({"lymphocyte": 100}, PatientFacts(csf_erythrocytes_per_ul=999)) == ""
    assert "1,000 erythrocytes per µL" in blood({"lymphocyte": 100}, PatientFacts(csf_erythrocytes_per_ul=1000))


def test_the_corrected_count_by_hand():
    # 100,000 x 4,500 / 4,600,000 = 97.8 white cells; 180 - 97.8 = 82.2.
    text = blood({"lymphocyte": 100, "erythrocyte": 180}, PatientFacts(180, "", "", "", 100_000, 4_500, 4_600_000))
    assert "By the blood counts it brought 97.8 white cells per µL; of the 180 counted, 82.2 remain." in text


def test_what_the_white_count_is_against_its_range():
    assert clinical_remarks.white_count(result({})) == ("not given", "")
    assert clinical_remarks.white_count(result({}, 5)) == ("5", "within 0 – 5")
    assert clinical_remarks.white_count(result({}, 5.5)) == ("5.5", "above 0 – 5 (pleocytosis)")
    assert clinical_remarks.white_count(result({}, 5.5, {})) == ("5.5", "")


def test_on_what_the_marks_depend():
    counts = {"lymphocyte": 50, "neutrophil": 50}
    assert clinical_remarks.range_note(result(counts, 60)).startswith("No percentage is marked: ")
    assert clinical_remarks.range_note(result(counts)).startswith(
        "The marks hold only if the white-cell count is normal"
    )
    assert clinical_remarks.range_note(result(counts, 4)).endswith("as here.")
    assert clinical_remarks.range_note(result({"lymphocyte": 3})) == ""  # no percentages
    assert clinical_remarks.range_note(result(counts, references={})) == ""
