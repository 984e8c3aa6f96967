"""What is in the two pictures of an evaluation, on counts worked by hand."""

import numpy as np
from PIL import Image

from tfod_csf.evaluation import confusion, plots
from tfod_csf.evaluation.pascal_evaluator import PrecisionRecall


def curve(scores, hits, precision, recall, num_groundtruth):
    arrays = (np.array(values, float) for values in (precision, recall))
    return PrecisionRecall(np.array(scores, float), np.array(hits, bool), *arrays, num_groundtruth)


def test_precision_recall_curves(saved_figures, tmp_path):
    # Hit, miss, hit of 2 cells: average precision 1/2 * 1 + 1/2 * 2/3 = 5/6. From 0.5 on two detections are kept, so
    # the dot is at recall 1/2, precision 1/2.
    curves = {
        "monocyte": curve([0.9, 0.8, 0.3], [1, 0, 1], [1, 1 / 2, 2 / 3], [1 / 2, 1 / 2, 1], 2),
        "lymphocyte": curve([0.4], [1], [1], [1], 1),  # nothing reaches 0.5: no dot
        "neutrophil": curve([0.9], [0], [0], [np.nan], 0),
        "erythrocyte": curve([], [], [], [], 3),
    }
    plots.plot_precision_recall(curves, 0.5, tmp_path / "pr.png", "a title")
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
