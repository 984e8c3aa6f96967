"""Cells that only denser labels have, and rows that suggest them."""

import pytest

from tfod_csf.benchmarks.label_quality import denser_labels
from tfod_csf.study.labelimg import LabeledObject


def cell(name: str, xmin: float) -> LabeledObject:
    return LabeledObject(name, xmin, 0, xmin + 10, 10)


def row(kind: str, name: str, xmin: float) -> dict:
    return {"kind": kind, "suggested_class": name, "suggested_ymin": 0.0, "suggested_xmin": xmin,
            "suggested_ymax": 10.0, "suggested_xmax": xmin + 10}  # fmt: skip


def test_missing_are_those_that_no_sparse_box_overlaps_by_half():
    # Moved by 3 of 10 px: overlap 7 / 13; by 4: 6 / 14.
    sparse = [cell("erythrocyte", 0), cell("neutrophil", 50)]
    dense = [cell("erythrocyte", 3), cell("erythrocyte", 46), cell("monocyte", 51), cell("erythrocyte", 90)]
    assert denser_labels.missing_cells(sparse, dense) == [dense[1], dense[3]]
    assert denser_labels.missing_cells([], dense) == dense
    assert denser_labels.missing_cells(sparse, []) == []


@pytest.mark.parametrize(
    ("kind", "name", "xmin", "is_found"),
    [
        ("overlooked", "erythrocyte", 3.0, True),
        ("overlooked", "erythrocyte", 4.0, False),
        ("overlooked", "monocyte", 0.0, False),
        ("swapped", "erythrocyte", 0.0, False),
    ],
)
def test_a_suggestion_is_confirmed_by_a_missing_cell_of_its_class(kind, name, xmin, is_found):
    missing = [cell("erythrocyte", 0)]
    assert (denser_labels.take_cell(row(kind, name, xmin), missing) is not None) == is_found
    assert len(missing) == 1 - is_found


def test_a_missing_cell_confirms_one_suggestion():
    missing = [cell("erythrocyte", 0), cell("erythrocyte", 8)]
    first = denser_labels.take_cell(row("overlooked", "erythrocyte", 1.0), missing)
    assert first == cell("erythrocyte", 0)
    assert denser_labels.take_cell(row("overlooked", "erythrocyte", 1.0), missing) is None
    assert [one.xmin for one in missing] == [8]
