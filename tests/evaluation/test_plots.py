"""What is in the two pictures of an evaluation, on counts worked by hand."""

import warnings

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from tfod_csf import cell_classes
from tfod_csf.evaluation import confusion, plots
from tfod_csf.evaluation.pascal_evaluator import OperatingPoint, PrecisionRecall
from tfod_csf.graphics import figures

NAMES = ("lymphocyte", "Monocyte", "浆细胞", "eosinophil", "blast")


def curve(scores, hits, precision, recall, num_groundtruth):
    arrays = (np.array(values, float) for values in (precision, recall))
    return PrecisionRecall(np.array(scores, float), np.array(hits, bool), *arrays, num_groundtruth)


def test_precision_recall_curves(saved_figures, tmp_path):
    # Hit, miss, hit of 2 cells: average precision 1/2 * 1 + 1/2 * 2/3 = 5/6. From 0.5 on two detections are kept, so
    # the dot is at recall 1/2, precision 1/2.
    points = {
        "monocyte": OperatingPoint(0.5, 1, 1, 1),
        "lymphocyte": OperatingPoint(0.5, 0, 0, 1),
        "neutrophil": OperatingPoint(0.5, 0, 1, 0),
        "erythrocyte": OperatingPoint(0.5, 0, 0, 3),
    }
    curves = {
        "monocyte": curve([0.9, 0.8, 0.3], [1, 0, 1], [1, 1 / 2, 2 / 3], [1 / 2, 1 / 2, 1], 2),
        "lymphocyte": curve([0.4], [1], [1], [1], 1),  # nothing reaches 0.5: no dot
        "neutrophil": curve([0.9], [0], [0], [np.nan], 0),
        "erythrocyte": curve([], [], [], [], 3),
    }
    plots.plot_precision_recall(curves, points, tmp_path / "pr.png", "a title")
    (axes,) = saved_figures[0].axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [
        "monocyte: AP 0.833",
        "lymphocyte: AP 1.000",
        "neutrophil: AP n/a (no ground truth)",
        "erythrocyte: AP 0.000",
    ]
    drawn = [line.get_xydata().tolist() for line in axes.lines]
    assert drawn[0] == [[0, 1], [1 / 2, 1], [1 / 2, 1 / 2], [1, 2 / 3]]
    assert drawn[1:] == [[[1 / 2, 1 / 2]], [[0, 1], [1, 1]], [], []]
    assert axes.get_title() + axes.get_title("left") == "a title"
    with Image.open(tmp_path / "pr.png") as picture:
        assert picture.format == "PNG"


def test_confusion_matrix(saved_figures, tmp_path):
    matrix = confusion.ConfusionMatrix([{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], min_score=0.25)
    matrix.counts[:] = [[3, 1, 0], [0, 0, 0], [2, 0, 0]]
    plots.plot_confusion_matrix(matrix, tmp_path / "confusion.png")
    (axes,) = saved_figures[0].axes
    # The last corner, neither there nor found, has no number.
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["3", "1", "0", "0", "0", "0", "2", "0"]
    # The shade is the share of the row; a row without cells has none.
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25, 0], [0, 0, 0], [1, 0, 0]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "missed"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "spurious"]
    assert "score >= 0.25" in axes.get_xlabel()


def curves_of(names):
    # Hit, miss, hit of 2 cells, as above.
    return dict.fromkeys(names, curve([0.9, 0.8, 0.3], [1, 0, 1], [1, 1 / 2, 2 / 3], [1 / 2, 1 / 2, 1], 2))


def test_each_class_has_its_color_and_other_classes_differ_in_their_lines(saved_figures, tmp_path):
    plots.plot_precision_recall(
        curves_of(NAMES), dict.fromkeys(NAMES, OperatingPoint(0.5, 1, 1, 1)), tmp_path / "p.png"
    )
    lines = [line for line in saved_figures[0].axes[0].lines if line.get_marker() != "o"]
    assert [to_hex(line.get_color()).upper() for line in lines] == [cell_classes.color_of(name) for name in NAMES]
    assert len({(line.get_color(), str(line._unscaled_dash_pattern)) for line in lines}) == len(NAMES)


def test_chinese_class_names_are_written(saved_figures, tmp_path):
    matrix = confusion.ConfusionMatrix([{"id": number, "name": name} for number, name in enumerate(NAMES, start=1)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of every letter that no font has
        plots.plot_precision_recall(
            curves_of(NAMES), dict.fromkeys(NAMES, OperatingPoint(0.5, 1, 1, 1)), tmp_path / "p.png", "模型"
        )
        plots.plot_confusion_matrix(matrix, tmp_path / "c.png", "模型")
    curves, grid = (figure.axes[0] for figure in saved_figures)
    expected = "浆细胞" if figures._cjk_family() else "\\u6d46\\u7ec6\\u80de"
    assert curves.get_legend().get_texts()[2].get_text() == f"{expected}: AP 0.833"
    assert [label.get_text() for label in grid.get_yticklabels()][2] == expected
    if not figures._cjk_family():
        pytest.skip("names are written as codes: no font with Chinese letters is installed (fonts.CJK_FONT_FILES)")
