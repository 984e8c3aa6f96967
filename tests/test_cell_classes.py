import pytest

from tfod_csf import cell_classes


@pytest.mark.parametrize(
    ("predicted", "score", "count_unknown", "expected"),
    [
        ("lymphocyte", 0.8, "apart", "lymphocyte"),
        ("lymphocyte", 0.7999, "apart", "unknown"),
        ("lymphocyte", 0.5, "as_predicted", "lymphocyte"),
        ("unknown", 0.99, "apart", "unknown"),
        ("unknown", 0.99, "as_predicted", "unknown"),
        (" NEUTROPHIL", 0.9, "apart", "neutrophil"),
        ("eosinophil", 0.9, "apart", "eosinophil"),
    ],
)
def test_class_a_cell_is_counted_under(predicted, score, count_unknown, expected):
    assert cell_classes.counted_as(predicted, score, 0.8, count_unknown) == expected


def test_groups_and_colours():
    assert [cell_classes.group_of(name) for name in ("monocyte", "erythrocyte", "unknown", "eosinophil")] == [
        "white_cells",
        "apart",
        "apart",
        "apart",
    ]
    names = (*cell_classes.STUDY_CLASSES, cell_classes.UNKNOWN)
    assert len({cell_classes.colour_of(name) for name in names}) == 5
    assert cell_classes.colour_of("eosinophil") not in {cell_classes.colour_of(name) for name in names}
