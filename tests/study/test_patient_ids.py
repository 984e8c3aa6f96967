import pytest

from tfod_csf.study import patient_ids

COMPOSED, SEPARATE = "M\u00fcller", "Mu\u0308ller"


def test_letter_by_letter_comes_first():
    assert patient_ids.match([COMPOSED], [COMPOSED, SEPARATE]).run_ids == {COMPOSED: COMPOSED}
    # Two patients of the run that the id may mean: neither is taken.
    assert patient_ids.match(["a  b"], ["a b", " a b"]).only_given == ["a  b"]


def test_accents_and_blanks_do_not_make_another_patient():
    matched = patient_ids.match(["b", f"{COMPOSED}\u00a0", "A"], ["a", "b", SEPARATE])
    assert matched.run_ids == {"b": "b", f"{COMPOSED}\u00a0": SEPARATE}
    assert (matched.only_given, matched.only_known) == (["A"], ["a"])
    assert matched.hint == "; 'A' may be 'a': write them the same way"


def test_one_patient_twice_is_refused():
    with pytest.raises(patient_ids.PatientIdError, match=r"is there twice, as 'M.xfcller' and as 'Mu.u0308ller'"):
        patient_ids.match([COMPOSED, SEPARATE], [COMPOSED])


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("A17", "a17", True),
        ("007", "7", True),
        ("patient_001", "patient_1", True),
        ("7.0", "7", True),
        ("P 7", "P-7", True),
        ("P_7", "P7", True),
        ("1-01", "1 1", True),
        ("1-1", "11", False),
        ("P1-2", "P12", False),
        ("P1", "P10", False),
        ("100", "1", False),
        ("1E+05", "100000", False),
        ("1.5", "1.50", False),
    ],
)
def test_spellings_that_may_be_one(one, other, alike):
    assert (patient_ids.alike_key(one) == patient_ids.alike_key(other)) == alike
