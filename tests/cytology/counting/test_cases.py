import pytest

from tfod_csf.cytology.counting import cases


@pytest.mark.parametrize(
    ("white", "erythrocytes", "neutrophil", "w", "case", "number"),
    [
        (100, 0, 1.0, 0, "low_white_cells", 1),
        (100, 5000, 90.0, 4.9, "low_white_cells", 1),  # the paper gives W = 0-4 first, whatever the cells are
        (100, 0, 50.0, 30, "high_neutrophils", 2),
        (200, 200, 91.0, 30, "high_erythrocytes", 3),  # as the paper's Patient 2
        (0, 30, None, None, "high_erythrocytes", 3),
        (10, 29, None, 10, "medium_white_cells", 4),  # 29 erythrocytes are too few to call
        (200, 199, 49.9, 5, "medium_white_cells", 4),
        (200, 0, 49.9, 49.9, "medium_white_cells", 4),
        (200, 0, 49.9, 50, "high_white_cells", 5),  # the paper lets 50 belong to both; here it is high
        (200, 0, 49.9, None, None, None),
        (0, 0, None, None, None, None),
    ],
)
def test_first_rule_that_applies_decides(white, erythrocytes, neutrophil, w, case, number):
    found, reason = cases.assign_case(white, erythrocytes, neutrophil, w)
    assert found == case
    assert number == (cases.CASES.index(found) + 1 if found else None)  # the paper's numbering
    assert reason


def test_reason_says_when_w_is_missing():
    assert cases.assign_case(100, 0, 80.0, None) == (
        "high_neutrophils",
        "80.0 % neutrophils are at least 50 %; W (white cells per uL) is not known",
    )


def test_numbers_of_the_rules_can_be_changed():
    assert cases.assign_case(100, 0, 30.0, 100, cases.CaseRules(neutrophil_percent=25))[0] == "high_neutrophils"
