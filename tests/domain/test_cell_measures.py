"""Measures of pictures whose colors and edges are known."""

import math

import numpy as np
import pytest

from tests.support.drawn_records import NUCLEUS, PAPER, field
from tfod_csf.domain import cell_measures


def disk(sigma: float, size: int = 100, radius: float = 30) -> np.ndarray:
    """A dark disk whose edge is the step that a Gaussian of sigma has blurred; gray levels 40 and 200."""
    rows, columns = np.mgrid[:size, :size] - size / 2
    depth = radius - np.hypot(rows, columns)
    share = np.vectorize(math.erf)(depth / (sigma * 2**0.5)) / 2 + 0.5
    return np.repeat((200 - 160 * share).round().astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("sigma", [2.0, 3.0, 5.0])
def test_width_of_an_edge_that_a_gaussian_has_blurred(sigma):
    # The slope of a blurred step is greatest in its middle: contrast / (sigma * sqrt(2 pi)).
    width = cell_measures.edge_width(disk(sigma), np.array([[12, 12, 88, 88]]))
    assert width == pytest.approx(sigma * (2 * np.pi) ** 0.5, rel=0.06)


def test_the_median_box_counts_and_empty_ones_do_not():
    pixels = np.concatenate([disk(2), disk(2), disk(5), np.full((100, 100, 3), 200, np.uint8)])
    boxes = np.array([[12 + top, 12, 88 + top, 88] for top in (0, 100, 200, 300)])
    assert cell_measures.edge_width(pixels, boxes) == pytest.approx(cell_measures.edge_width(pixels, boxes[:1]))
    assert cell_measures.edge_width(pixels, boxes[3:]) is None
    assert cell_measures.edge_width(pixels, boxes[:0]) is None


def test_colors_of_background_and_nuclei():
    picture, boxes = field(1)
    pixels, corners = np.asarray(picture), np.array(boxes)[:, [1, 0, 3, 2]]
    assert cell_measures.background_color(pixels, corners).tolist() == list(PAPER)
    assert cell_measures.nucleus_color(pixels, corners).tolist() == list(NUCLEUS)
    assert cell_measures.nucleus_color(pixels, corners[:0]) is None
    everywhere = np.array([[0, 0, 120, 160]])
    assert cell_measures.background_color(pixels, everywhere).tolist() == list(PAPER)  # most of it is paper


@pytest.mark.parametrize(
    ("rgb", "lab"),
    # From Lindbloom's calculator (sRGB, D65).
    [((255, 0, 0), (53.24, 80.09, 67.20)), ((0, 0, 255), (32.30, 79.19, -107.86)), ((119, 119, 119), (50.03, 0, 0))],
)
def test_lab(rgb, lab):
    assert cell_measures.to_lab(np.array(rgb)) == pytest.approx(np.array(lab), abs=0.05)
