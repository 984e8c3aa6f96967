"""Numbers of pictures in which background, disks and their sizes are known."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tfod_csf.domain.cell_measures import edge_width, to_lab
from tfod_csf.domain.picture_statistics import NO_CELLS, STATISTICS, CellBoxes, measure

PAPER, PURPLE, PINK = (230, 225, 220), (90, 40, 140), (225, 170, 175)


def disks(radius: float, number: int, seed: int = 0, side: int = 480, colors=(PURPLE, PINK)) -> np.ndarray:
    """Disks thrown at random, over the rim too, in turns of these colors."""
    generator = np.random.default_rng(seed)
    pixels = np.empty((side, side, 3), np.uint8)
    pixels[:] = PAPER
    rows, columns = np.mgrid[:side, :side]
    for count in range(number):
        y, x = generator.uniform(-radius, side + radius, 2)
        pixels[(columns - x) ** 2 + (rows - y) ** 2 < radius**2] = colors[count % len(colors)]
    return pixels


def measured(pixels: np.ndarray, cells: CellBoxes = NO_CELLS, scale: float = 1.0) -> dict[str, float]:
    return dict(zip(STATISTICS, measure(pixels, cells, (scale, scale)).tolist(), strict=True))


def test_colors_of_background_nuclei_and_erythrocytes():
    found = measured(disks(20, 60))
    # Divided by the paper's color, times 255: 90 / 230 * 255 = 99.8, ...
    expected = {"background": PAPER, "nucleus": (99.8, 45.3, 162.3), "pale": (249.5, 192.7, 202.8)}
    for name, rgb in expected.items():
        lab = [found[f"{name}_{side}"] for side in ("lightness", "red", "yellow")]
        assert lab == pytest.approx(to_lab(np.array(rgb)), abs=0.3)
    assert found["clipped"] == pytest.approx(np.log2(0.001))  # no pixel is black or white


def test_without_nuclei_there_is_no_color_of_nuclei():
    found = measured(disks(20, 60, colors=(PINK,)))
    assert np.isnan(found["nucleus_red"])
    assert np.isfinite(found["pale_red"])


@pytest.mark.parametrize("number", [15, 60, 150])
def test_the_size_of_disks_does_not_depend_on_their_number(number):
    sizes = [measured(disks(24, number, seed))["stained_size"] for seed in range(4)]
    assert 2 ** np.mean(sizes) == pytest.approx(48, rel=0.12)


def test_twice_the_size_is_an_octave():
    once, twice = (
        np.mean([measured(disks(r, n, s))["stained_size"] for s in range(4)]) for r, n in ((16, 120), (32, 30))
    )
    assert twice - once == pytest.approx(1, abs=0.15)


def test_sizes_of_boxes_are_in_pixels_of_the_input_of_the_network():
    boxes = np.array([[0, 0, 32, 8], [0, 0, 16, 16], [50, 50, 50, 60], [0, 0, 64, 64], [0, 0, 4, 4], [0, 0, 64, 64]])
    names = ["Lymphocyte", "monocyte", "neutrophil", "erythrocyte", "platelet", "unknown"]
    found = measured(disks(20, 9), CellBoxes.of(boxes, names), scale=2.0)
    assert found["white_cell_size"] == 5  # 2 * 16 pixels; a box without area does not count
    assert found["erythrocyte_size"] == 7
    assert np.isnan(measured(disks(20, 9))["white_cell_size"])


def test_an_image_of_more_pixels_is_the_same_to_a_network_that_makes_it_smaller():
    picture = Image.fromarray(disks(20, 60)).filter(ImageFilter.GaussianBlur(2))
    pixels, larger = np.asarray(picture), np.asarray(picture.resize((1920, 1920), Image.Resampling.BICUBIC))
    boxes = np.array([[100.0, 100, 140, 140]])
    small = measured(pixels, CellBoxes(boxes, boxes[:0]))
    large = measured(larger, CellBoxes(4 * boxes, boxes[:0]), scale=0.25)
    assert list(large.values()) == pytest.approx(list(small.values()), abs=0.15, nan_ok=True)


def test_blur_takes_contrast_from_the_finest_octave_and_noise_adds_to_it():
    pixels = disks(20, 60)
    blurred = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(2)))
    noise = np.random.default_rng(0).normal(0, 20, pixels.shape)
    noisy = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    finest = [measured(one)["octave_1_to_2"] for one in (blurred, pixels, noisy)]
    assert finest[0] < finest[1] - 0.3 < finest[1] + 0.3 < finest[2]


def test_the_edge_width_is_that_of_the_data_page():
    boxes = np.array([[200.0, 200, 260, 260]])
    pixels = np.asarray(Image.fromarray(disks(20, 60)).filter(ImageFilter.GaussianBlur(3)))
    width = edge_width(pixels, boxes)
    assert measured(pixels, CellBoxes(boxes, boxes[:0]))["edge_width"] == pytest.approx(np.log2(width))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_image_has_a_light_and_no_stain(level):
    found = measured(np.full((72, 96, 3), level, np.uint8))
    assert np.isfinite([found["background_lightness"], found["contrast"], found["stained_share"]]).all()
    assert np.isnan([found["nucleus_lightness"], found["pale_lightness"], found["stained_size"]]).all()
    assert (found["clipped"] > 0) == (level != 128)


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 900, 3)])
def test_images_of_any_shape_can_be_measured(shape):
    assert len(measured(np.zeros(shape, np.uint8))) == len(STATISTICS)
