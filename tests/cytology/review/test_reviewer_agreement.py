import math
from collections import Counter

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from tests.support import examined_study
from tests.support.review_desk import Desk, edit, nothing, rename
from tfod_csf.commands import command_line
from tfod_csf.cytology.review.reviewer_agreement import (
    NOT_MARKED,
    cell_pairs,
    differences,
    kappa,
    mean_difference,
    only_white,
    reference,
)
from tfod_csf.cytology.review.sidecar import ShownCell
from tfod_csf.files import csv_schemas, csv_tables
from tfod_csf.study.labelimg import LabeledObject

# 20 + 15 of 50 agree; by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5: kappa (0.7 - 0.5) / (1 - 0.5) = 0.4.
TABLE = {("a", "a"): 20, ("a", "b"): 5, ("b", "a"): 10, ("b", "b"): 15}


def _cell(name, xmin=0, cell_id=1):
    return ShownCell(cell_id, name, 0, (xmin, 0, xmin + 10, 10), 0.9, name)


def test_cells_are_matched_by_overlap_whatever_they_are_called():
    first = [_cell("lymphocyte"), _cell("monocyte", 20), _cell("unknown", 40)]
    second = [_cell("neutrophil", 2), _cell("monocyte", 20), _cell("erythrocyte", 90)]
    assert cell_pairs(first, second) == {
        ("lymphocyte", "neutrophil"): 1,
        ("monocyte", "monocyte"): 1,
        ("unknown", NOT_MARKED): 1,
        (NOT_MARKED, "erythrocyte"): 1,
    }
    # 2 of 10 pixels apart: IoU 80 / 120.
    assert cell_pairs(first, second, 0.7)["lymphocyte", NOT_MARKED] == 1
    assert cell_pairs([], []) == {}
    assert only_white(cell_pairs(first, second)).total() == 2


def test_kappa_by_hand_and_its_interval_for_single_cells():
    assert kappa([Counter(TABLE)]).value == pytest.approx(0.4)
    assert math.isnan(kappa([Counter(TABLE)]).low)
    # One cell per unit: the bootstrap must come near to the interval for independent cells.
    singles = [Counter({names: 1}) for names, count in TABLE.items() for _ in range(count)]
    found, expected = kappa(singles), cohens_kappa(np.array([[20, 5], [10, 15]]))
    assert found.value == pytest.approx(0.4)
    assert (found.low, found.high) == pytest.approx((expected.kappa_low, expected.kappa_upp), abs=0.03)


def test_cells_of_one_image_are_not_independent():
    """The same 50 cells, the agreeing and the disagreeing ones each on images of their own: a wider interval."""
    mixed = [Counter({names: count // 5 for names, count in TABLE.items()})] * 5
    apart = [Counter({names: count // 5}) for names, count in TABLE.items() for _ in range(5)]
    assert kappa(mixed).low == kappa(mixed).high == pytest.approx(0.4)
    assert kappa(apart).high - kappa(apart).low > 0.5


def test_no_kappa_without_cells_or_with_one_name():
    assert math.isnan(kappa([]).value)
    assert math.isnan(kappa([Counter()]).value)
    assert math.isnan(kappa([Counter({("a", "a"): 9})] * 6).value)


def test_differences_by_hand():
    # 3/1/0 of 4 against 2/1/1 of 4 white cells; on 5 equal images sampling changes nothing.
    white = np.array([[[3.0, 1, 0]] * 5, [[2.0, 1, 1]] * 5])
    found = differences(white)
    assert [one.value for one in found] == pytest.approx([-25, 0, 25])
    assert [(one.low, one.high) for one in found] == [(-25, -25), (0, 0), (25, 25)]
    assert math.isnan(differences(white[:, :4])[0].low), "no interval with four images"
    assert math.isnan(differences(np.zeros((2, 6, 3)))[0].value)


def test_mean_difference_by_hand():
    # Mean 2, SD 2, t(2 df) 4.303: 2 -+ 4.303 * 2 / sqrt(3).
    found = mean_difference([0, 2, 4, math.nan])
    assert (found.value, found.low, found.high) == pytest.approx((2, -2.968, 6.968), abs=1e-3)
    assert math.isnan(mean_difference([0, 2]).low)
    assert math.isnan(mean_difference([]).value)


def _images(counts):
    """{image: cells} from {image: (lymphocytes, monocytes, neutrophils)}."""
    names = ("lymphocyte", "monocyte", "neutrophil")
    return {image: [_cell(n) for n, k in zip(names, of, strict=True) for _ in range(k)] for image, of in counts.items()}


def test_the_reference_of_two_observers_of_the_same_cells():
    found = reference(_images({"a": (150, 50, 0)}), _images({"a": (140, 60, 0), "empty": (0, 0, 0)}))
    assert found.percents == pytest.approx([72.5, 27.5, 0])
    assert (found.cells, found.note) == (200, ""), "400 were counted, but they are 200 cells"
    # 0 of 200: upper exact limit 1 - 0.025 ** (1 / 200).
    assert found.limits[2] == pytest.approx([0, 100 * (1 - 0.025 ** (1 / 200))])


def test_the_reference_of_two_observers_of_different_images():
    found = reference(_images({"a": (200, 0, 0)}), _images({"b": (100, 100, 0)}))
    assert (found.cells, found.note) == (400, "")
    assert found.percents == pytest.approx([75, 25, 0])


def test_cells_of_one_kind_that_lie_together_widen_the_limits_of_a_reference():
    together = {str(i): (40, 0, 0) if i % 2 else (0, 40, 0) for i in range(10)}
    apart = {str(i): (20, 20, 0) for i in range(10)}
    one, other = (reference(_images(counts), _images(counts)) for counts in (together, apart))
    assert one.cells == other.cells == 400
    # 10 images of one kind each are worth at most 10 cells; evenly mixed ones never more than they hold.
    assert one.effective_cells < 10
    assert other.effective_cells == 400
    # 200 of 400, exact: 45.0 to 55.0 %.
    assert other.limits[0] == pytest.approx([45.0, 55.0], abs=0.05)
    assert one.limits[0][0] < 20


def test_too_few_cells_for_a_reference():
    found = reference(_images({"a": (199, 0, 0)}), _images({"a": (201, 0, 0)}))
    assert found.note == "not 2 x 200 cells: 199 and 201 white cells were counted"
    empty = reference({}, _images({"a": (0, 0, 0)}))
    assert empty.cells == 0
    assert np.isnan(empty.percents).all()
    assert np.isnan(empty.limits).all()


# The command.

CELLS = [
    ("lymphocyte", 0.95, (1.0, 2.0, 11.0, 12.0)),
    ("monocyte", 0.9, (20.0, 5.0, 30.0, 15.0)),
    ("neutrophil", 0.6, (40.0, 5.0, 50.0, 15.0)),
]
IMAGES = [f"{number}.jpg" for number in range(6)]


@pytest.fixture
def desk(tmp_path):
    patients = {"p": dict.fromkeys(IMAGES, CELLS), "q": {"a.jpg": CELLS}, "r": {"a.jpg": CELLS}}
    return Desk(examined_study.write_study(tmp_path, patients), tmp_path)


def _compare(desk):
    arguments = [f"--inference_dir={desk.output}", f"--output_dir={desk.root / 'agreement'}"]
    return command_line.main(["review_agreement", *arguments])


def _verify(review, patient, image, change=nothing):
    edit(review / patient / f"{patient}__{image}.xml", change, verified=True)


def test_two_people_are_compared_by_what_each_of_them_said(desk, capsys):
    first, second = desk.export("first"), desk.export("second")

    def miss_one_add_one(annotation):
        del annotation.objects[0]
        annotation.objects.append(LabeledObject("lymphocyte", 5, 30, 15, 40))

    for number in range(6):
        _verify(first, "p", number, rename(2, "neutrophil"))
        _verify(second, "p", number, rename(2, "monocyte") if number else miss_one_add_one)
    _verify(first, "q", "a")
    _verify(second, "q", "a")
    _verify(first, "r", "a")
    assert desk.take(first, reviewer="Wu") == 0
    assert desk.take(second, "--disagreements=newest", reviewer="li") == 0
    assert _compare(desk) == 0
    said = capsys.readouterr().out
    assert "li and Wu: 2 patients, 7 images, 22 cells; kappa" in said
    table = desk.root / "agreement" / "review_agreement.csv"
    assert csv_schemas.load("review_agreement").check(table) == 3
    patient, other, everyone = csv_tables.read_rows(table)
    assert (patient["first_reviewer"], patient["second_reviewer"], patient["independent"]) == ("li", "Wu", "yes")
    # On the first image one is missed by each; the third cell is unknown to li there and a monocyte on five others.
    assert (patient["images"], patient["cells"], patient["cells_by_both"], patient["cells_same_class"]) == (
        ("6", "19", "17", "11")
    )
    # li: 6 lymphocytes, 11 monocytes; Wu: 6 lymphocytes, 6 monocytes, 6 neutrophils.
    assert (patient["white_cells_first"], patient["white_cells_second"]) == ("17", "18")
    assert patient["monocyte_percent_first"] == "64.71"
    assert (patient["neutrophil_percent_second"], patient["neutrophil_difference"]) == ("33.33", "33.33")
    assert (patient["neutrophil_difference_ci_low"], patient["neutrophil_difference_ci_high"]) == ("33.33", "33.33")
    assert patient["reference_cells"] == "17.5"
    assert patient["note"] == "not 2 x 200 cells: 17 and 18 white cells were counted"
    # Observed 11 / 19; by chance, of lymphocyte, monocyte, neutrophil, unknown, not marked:
    # li 6, 11, 0, 1, 1 and Wu 6, 6, 6, 0, 1: (36 + 66 + 1) / 361.
    assert float(patient["kappa"]) == pytest.approx((11 / 19 - 103 / 361) / (1 - 103 / 361), abs=1e-4)
    assert patient["kappa_ci_low"] != ""
    assert (other["patient_id"], other["kappa"], other["kappa_ci_low"]) == ("q", "1.0000", "")
    assert (everyone["patient_id"], everyone["patients"], everyone["cells"]) == ("", "2", "22")
    # Mean of 33.33 points and 0, and no interval with two patients.
    assert (everyone["neutrophil_difference"], everyone["neutrophil_difference_ci_low"]) == ("16.67", "")
    cells = desk.root / "agreement" / "review_agreement_cells.csv"
    assert csv_schemas.load("review_agreement_cells").check(cells) > 0
    counts = {(row["first_class"], row["second_class"]): row["cells"] for row in csv_tables.read_rows(cells)}
    assert counts == {
        ("lymphocyte", "lymphocyte"): "6",
        ("lymphocyte", NOT_MARKED): "1",
        ("monocyte", "monocyte"): "7",
        ("monocyte", "neutrophil"): "5",
        (NOT_MARKED, "lymphocyte"): "1",
        ("unknown", "neutrophil"): "1",
        ("unknown", "unknown"): "1",
    }


def test_a_second_look_is_not_independent(desk, capsys):
    first = desk.export("first")
    _verify(first, "q", "a")
    assert desk.take(first, reviewer="A") == 0
    look = desk.export("look", "--patient=q", source=desk.output)
    _verify(look, "q", "a")
    assert desk.take(look, reviewer="B") == 0
    assert _compare(desk) == 0
    assert "one of them had seen the other's decisions" in capsys.readouterr().out
    assert {row["independent"] for row in csv_tables.read_rows(desk.root / "agreement" / "review_agreement.csv")} == {
        "no"
    }


def test_nobody_to_compare(desk, capsys):
    first = desk.export("first")
    _verify(first, "q", "a")
    assert desk.take(first, reviewer="A") == 0
    assert _compare(desk) == 1
    assert "no image was verified by two reviewers" in capsys.readouterr().err


def test_a_broken_history_is_skipped_with_a_row(desk):
    first, second = desk.export("first"), desk.export("second")
    for review, reviewer in ((first, "A"), (second, "B")):
        _verify(review, "q", "a")
        _verify(review, "r", "a")
        assert desk.take(review, reviewer=reviewer) == 0
    (desk.output / "patients" / "r" / "revisions" / "0001" / "cells.csv").unlink()
    assert _compare(desk) == 0
    rows = csv_tables.read_rows(desk.root / "agreement" / "review_agreement.csv")
    assert [row["patient_id"] for row in rows] == ["q", ""]
    (problem,) = csv_tables.read_rows(desk.root / "agreement" / "problems.csv")
    assert problem["action"] == "skipped"
    assert "missing or changed" in problem["reason"]
