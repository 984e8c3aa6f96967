"""Measures of pictures whose colors and edges are known."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tests.support.drawn_records import field, jpeg
from tfod_csf.data.dataset_page import image_measures
from tfod_csf.data.dataset_page.image_measures import SAME_IMAGE


def likeness(first: Image.Image, second: Image.Image, cells: int = 0) -> float:
    prints = image_measures.turned_fingerprints(first, cells)
    assert prints.shape == (8, image_measures.FINGERPRINT_LENGTH)
    return float((prints @ image_measures.turned_fingerprints(second, cells)[0]).max())


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: Image.open(io.BytesIO(jpeg(picture, 40))),
        lambda picture: picture.resize((123, 92)),
        lambda picture: ImageEnhance.Brightness(picture).enhance(0.8),
        lambda picture: picture.convert("L").convert("RGB"),
        lambda picture: picture.rotate(90, expand=True),
        lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda picture: picture.transpose(Image.Transpose.TRANSVERSE),
    ],
    ids=["saved again", "smaller", "darker", "gray", "turned", "mirrored", "turned and mirrored"],
)
def test_a_changed_copy_is_alike_and_another_field_is_not(change):
    pictures = [field(seed)[0] for seed in range(12)]
    assert likeness(pictures[0], change(pictures[0])) >= SAME_IMAGE
    assert max(likeness(pictures[0], change(other)) for other in pictures[1:]) < SAME_IMAGE - 0.1


def test_an_empty_field_has_no_fingerprint():
    noise = np.random.default_rng(0).integers(215, 225, (120, 160, 3), dtype=np.uint8)
    assert len(image_measures.turned_fingerprints(Image.fromarray(noise), 0)) == 0
    y, x = np.mgrid[-1:1:120j, -1:1:160j]
    shade = 20 * (x**2 + y**2) + 10 * x  # up to 50 gray levels darker: uneven light, as in every field
    dark = np.clip(noise - shade[..., np.newaxis], 0, 255).astype(np.uint8)
    assert len(image_measures.turned_fingerprints(Image.fromarray(dark), 0)) == 0


def through_eyepiece(picture: Image.Image, radius: float = 58, center: tuple[float, float] = (60, 80)) -> Image.Image:
    """Black outside of a circle; center y, x."""
    y, x = np.mgrid[: picture.height, : picture.width]
    light = np.clip(radius - np.hypot(y - center[0], x - center[1]), 0, 1)  # an edge of one pixel
    return Image.fromarray((np.asarray(picture) * light[..., np.newaxis]).astype(np.uint8))


@pytest.mark.parametrize(("radius", "center"), [(58, (60, 80)), (95, (60, 80)), (70, (50, 100))])
def test_a_black_border_makes_no_other_fields_alike(radius, center):
    paper = field(0, cells=0)[0]  # pale cells: the border is most of what there is
    pictures = [through_eyepiece(Image.blend(field(seed)[0], paper, 0.5), radius, center) for seed in range(12)]
    assert max(likeness(pictures[0], other, 5) for other in pictures[1:]) < SAME_IMAGE - 0.1
    copies = [
        pictures[0].resize((123, 92)),
        pictures[0].rotate(90, expand=True),
        ImageEnhance.Brightness(pictures[0]).enhance(0.8),
        Image.open(io.BytesIO(jpeg(pictures[0], 40))),
    ]
    assert min(likeness(pictures[0], copy, 5) for copy in copies) >= SAME_IMAGE


def test_nothing_is_compared_in_empty_fields_with_a_border_and_where_nearly_all_is_border():
    empty = field(0, cells=0)[0]
    assert len(image_measures.turned_fingerprints(through_eyepiece(empty), 5)) == 0
    assert len(image_measures.turned_fingerprints(through_eyepiece(field(0)[0], 30), 5)) == 0
    assert len(image_measures.turned_fingerprints(Image.new("RGB", (160, 120)), 5)) == 0


@pytest.mark.parametrize(("cells", "rows"), [(1, 0), (2, 0), (3, 8)])
def test_a_field_of_a_cell_or_two_has_none(cells, rows):
    assert {len(image_measures.turned_fingerprints(field(seed, cells=cells)[0], cells)) for seed in range(7)} == {rows}
    # Cells that nobody labeled, as erythrocytes often are, are structure too.
    assert len(image_measures.turned_fingerprints(field(0, cells=9)[0], cells)) == 8
