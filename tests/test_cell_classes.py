import numpy as np
import pytest
from PIL import Image, ImageDraw

from tfod_csf import cell_classes
from tfod_csf.cytology.report import labeled_fields
from tfod_csf.detections import Detections
from tfod_csf.inference import cell_selection, drawing
from tfod_csf.label_map import label_map_from_names
from tfod_csf.pages import svg
from tfod_csf.training.evaluation import side_by_side


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


def test_groups():
    assert [cell_classes.group_of(name) for name in ("monocyte", "erythrocyte", "unknown", "eosinophil")] == [
        "white_cells",
        "apart",
        "apart",
        "apart",
    ]


def test_every_class_has_a_color_of_okabe_and_itos_palette():
    # Okabe and Ito (2008): blue, bluish green, reddish purple, vermilion, orange; unknown is the paper's orange.
    names = (*cell_classes.STUDY_CLASSES, cell_classes.UNKNOWN)
    assert [cell_classes.rgb_of(name) for name in names] == [
        (0, 114, 178),
        (0, 158, 115),
        (204, 121, 167),
        (213, 94, 0),
        (230, 159, 0),
    ]
    assert cell_classes.rgb_of(" NEUTROPHIL") == (204, 121, 167)
    for other in ("eosinophil", "浆细胞", ""):
        assert cell_classes.color_of(other) not in {cell_classes.color_of(name) for name in names}
        assert cell_classes.color_of(other) == cell_classes.color_of(other.upper())


def _contrast(first: tuple[int, int, int], second: tuple[int, int, int]) -> float:
    """Contrast ratio of WCAG 2.1: 1 .. 21."""

    def luminance(rgb):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in rgb)]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear))

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", [*cell_classes.STUDY_CLASSES, cell_classes.UNKNOWN, *"abc"])
def test_letters_on_a_classs_color_can_be_read(name):
    assert _contrast(cell_classes.rgb_of(name), cell_classes.ink_of(name)) > 3  # WCAG's least for large letters


@pytest.mark.parametrize(("score", "percent"), [(0.7999, 79), (0.8, 80), (0.29, 29), (0.0, 0), (1.0, 100)])
def test_percentages_are_rounded_down(score, percent):
    assert cell_classes.whole_percent(score) == percent
    assert cell_classes.whole_percent(np.float32(score)) == percent


@pytest.mark.parametrize("name", [*cell_classes.STUDY_CLASSES, cell_classes.UNKNOWN])
def test_a_class_has_one_color_in_pictures_report_and_training(name):
    expected = cell_classes.rgb_of(name)
    assert f'"#{bytes(expected).hex().upper()}"' in svg.marker(name)
    gray = np.full([400, 400, 3], 128, np.uint8)
    sides = np.array([200.0, 100, 300, 220])
    # A cell of batch_infer's pictures: left side of the box in the middle.
    found = Detections("a.jpg", 400, 400, [sides], [1], [0.9])
    cells = cell_selection.select_cells(found, label_map_from_names([name]), cell_selection.ScoreThresholds())
    assert np.asarray(drawing.draw_cells(gray, cells, 0.8))[250, 100].tolist() == [*expected]
    # A field of the report that is drawn again.
    field = Image.fromarray(gray)
    labeled_fields.draw_box(ImageDraw.Draw(field), sides, name)
    assert np.asarray(field)[250, 100].tolist() == [*expected]
    # TensorBoard's picture of an evaluated image, detections on the left.
    boxes = {"boxes": sides[np.newaxis] / 400, "classes": np.array([1]), "scores": np.array([0.9])}
    both = side_by_side.draw_side_by_side(gray, boxes, boxes, {1: name}, side_by_side.DrawingSettings())
    assert both[250, 100].tolist() == both[250, 500].tolist() == [*expected]
