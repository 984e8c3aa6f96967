"""What an image looks like to a network, as numbers: light, stain, size of the cells, focus, structure, crowding.

Everything is measured on what the network gets, the image resized as the network resizes it: an image of 2592 x 1944
pixels and one of 640 x 480 of the same field are alike if the network sees them alike. Lengths are in pixels of the
network's input. All but three numbers need no cells, so that an image on which a model finds nothing is judged too.

Shape shorthand in this module: S statistics, in the order of `STATISTICS`; M boxes, [M, 4] ymin, xmin, ymax, xmax in
pixels of the image.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from tfod_csf.cell_classes import ERYTHROCYTE, WHITE_CELLS, canonical_name
from tfod_csf.domain.cell_measures import LUMA, edge_width, to_lab

LIGHT, STAIN, SIZE, FOCUS = "light", "stain", "size", "focus"
DETAIL, STRUCTURE, CROWDING = "detail", "structure", "crowding"
CLIPPED = "clipped"
NUM_OCTAVES = 6  # the finest are differences of neighboring pixels, the coarsest of squares of 32 pixels
_OCTAVES = tuple(f"octave_{octave}_to_{octave + 1}" for octave in range(1, NUM_OCTAVES))
_FINE = 3  # steps from octave to octave that are detail; the others are structure
# {aspect: {statistic: spread that says nothing, even where training images are more alike}}; colors in Delta E, all
# others in octaves (0.1 is 7 %).
ASPECTS: dict[str, dict[str, float]] = {
    LIGHT: {"background_lightness": 2.0, "background_red": 1.5, "background_yellow": 1.5, CLIPPED: 1.0},
    STAIN: {
        "nucleus_lightness": 2.0,
        "nucleus_red": 2.0,
        "nucleus_yellow": 2.0,
        "pale_lightness": 2.0,
        "pale_red": 1.5,
        "pale_yellow": 1.5,
    },
    SIZE: {"white_cell_size": 0.1, "erythrocyte_size": 0.1, "stained_size": 0.1},
    FOCUS: {"edge_width": 0.1},
    DETAIL: dict.fromkeys(_OCTAVES[:_FINE], 0.05),
    STRUCTURE: {**dict.fromkeys(_OCTAVES[_FINE:], 0.05), "contrast": 0.1},
    CROWDING: {"stained_share": 0.3},
}
STATISTICS = tuple(name for names in ASPECTS.values() for name in names)

_DARKEST = 16.0  # gray levels of the background
_COARSER = 4  # colors are those of a copy of the network's input so many times as small
_MIN_SIDE = 2**NUM_OCTAVES  # pixels; a smaller image is measured enlarged
_BACKGROUND_PERCENT = 80  # the lightest fifth of an image is background
_STAINED = 0.07  # optical density of green, above the background's, from which a pixel is stained
_NUCLEAR = 0.15  # optical density of red in the darkest nuclei; where it is less, there are none
_MIN_PIXELS = 12  # of the small copy; the color of fewer is not measured
_MIN_SHARE = 0.002  # of the stained pixels
_CLIPPED_LOW, _CLIPPED_HIGH = 2, 253
_EVERY = 3  # every third pixel of every third row is looked at for clipping
_LEAST_CLIPPED, _LEAST_STAINED = 0.001, 0.005  # shares that are added, because 0 has no logarithm
_ROUNDING = (1 / 255) ** 2 / 12  # variance of gray levels that were rounded
_MAX_FOCUS_BOXES = 6


class CellBoxes(NamedTuple):
    """[M, 4] boxes of an image's white cells and of its erythrocytes."""

    white: np.ndarray
    erythrocytes: np.ndarray

    @classmethod
    def of(cls, boxes: np.ndarray, names: Sequence[str]) -> "CellBoxes":
        """By the classes' names."""
        canonical = [canonical_name(name) for name in names]
        is_white = np.array([name in WHITE_CELLS for name in canonical], bool)
        is_red = np.array([name == ERYTHROCYTE for name in canonical], bool)
        boxes = np.asarray(boxes, float).reshape(-1, 4)
        return cls(boxes[is_white], boxes[is_red])


NO_CELLS = CellBoxes(np.zeros((0, 4)), np.zeros((0, 4)))


def measure(pixels: np.ndarray, cells: CellBoxes, input_scale: tuple[float, float]) -> np.ndarray:
    """float [S] of an image; NaN where it has nothing to measure a statistic on.

    Args:
      pixels: uint8 [H, W, 3] RGB.
      cells: boxes that people have drawn, or what a model found.
      input_scale: (along x, along y) pixels of the network's input per pixel of the image.
    """
    image = Image.fromarray(pixels)
    width, height = (max(_MIN_SIDE, round(side * scale)) for side, scale in zip(image.size, input_scale, strict=True))
    small = image.resize((width // _COARSER, height // _COARSER), Image.Resampling.BOX)
    colors = np.asarray(small, np.float32).reshape(-1, 3)
    background = _background(colors)
    # Where no light comes from behind there is no stain to see.
    relative = colors / background if background @ LUMA >= _DARKEST else np.ones_like(colors)
    stained = (_density(relative)[:, 1] > _STAINED).reshape(small.height, small.width)
    gray = np.asarray(image.convert("L").resize((width, height), Image.Resampling.BILINEAR), np.float32)
    scale = (input_scale[0] * input_scale[1]) ** 0.5
    return np.concatenate(
        [
            to_lab(background),
            [_clipped(pixels)],
            *_stain(relative),
            [_size(cells.white, scale), _size(cells.erythrocytes, scale), _stained_size(stained)],
            [_focus(pixels, cells.white, scale)],
            _structure(gray / max(float(background @ LUMA), 1.0)),
            [float(np.log2(stained.mean() + _LEAST_STAINED))],
        ]
    )


def _background(colors: np.ndarray) -> np.ndarray:
    """[3] median color of the lightest pixels, at least 1 each."""
    gray = colors @ LUMA
    return np.maximum(np.median(colors[gray >= np.percentile(gray, _BACKGROUND_PERCENT)], axis=0), 1.0)


def _clipped(pixels: np.ndarray) -> float:
    """Octaves of the share of pixels of which a color has no detail left, because it is too dark or too light."""
    sample = pixels[::_EVERY, ::_EVERY]
    share = np.mean((sample <= _CLIPPED_LOW) | (sample >= _CLIPPED_HIGH))
    return float(np.log2(share + _LEAST_CLIPPED))


def _stain(relative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([3] color of the nuclei, [3] of other stained pixels), L*a*b* as if the background were white.

    Nuclei take most of the red light (they are blue or purple), erythrocytes and plasma hardly any.

    Args:
      relative: [pixels, 3] colors divided by the background's.
    """
    density = _density(relative)
    stained = density[:, 1] > _STAINED
    red = density[:, 0]
    darkest = np.percentile(red, 99.5)
    is_nucleus = stained & (red > darkest / 2) & (darkest >= _NUCLEAR)
    is_pale = stained & ((red < darkest / 3) | (darkest < _NUCLEAR))
    least = max(_MIN_PIXELS, _MIN_SHARE * stained.sum())
    nucleus, pale = (
        to_lab(np.median(relative[part], axis=0).clip(0, 1) * 255) if part.sum() >= least else np.full(3, np.nan)
        for part in (is_nucleus, is_pale)
    )
    return nucleus, pale


def _density(relative: np.ndarray) -> np.ndarray:
    """Optical densities [pixels, 3] of colors divided by the background's."""
    return -np.log10(np.clip(relative, 1 / 255, 1))


def _stained_size(stained: np.ndarray) -> float:
    """Octaves of the diameter of disks that, thrown at random, would give as much stained area and boundary.

    Of such disks of radius r, which may overlap (a Boolean model), a share p is covered and the boundary is
    -2 ln(1 - p) (1 - p) / r long per area (Chiu et al., Stochastic Geometry and its Applications, 2013, chapter 3).
    The boundary is pi / 2 times the number of changes along lines (Crofton).

    Args:
      stained: bool [h, w] of the small copy.
    """
    share = float(stained.mean())
    changes = [float(np.mean(along[1:] != along[:-1])) for along in (stained, stained.T)]
    if not _LEAST_STAINED < share < 1 - _LEAST_STAINED or not all(changes):
        return np.nan
    radius = -2 * np.log(1 - share) * (1 - share) / (np.pi / 2 * np.mean(changes))
    return float(np.log2(2 * radius * _COARSER))


def _size(boxes: np.ndarray, scale: float) -> float:
    """Octaves of the median side of some cells, as if their boxes were squares."""
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    areas = areas[areas > 0]
    return float(np.log2(np.median(areas) ** 0.5 * scale)) if len(areas) else np.nan


def _focus(pixels: np.ndarray, boxes: np.ndarray, scale: float) -> float:
    """Octaves of the width of the cells' edges."""
    width = edge_width(pixels, boxes[:: max(1, -(-len(boxes) // _MAX_FOCUS_BOXES))])
    return np.nan if width is None else float(np.log2(width * scale))


def _structure(gray: np.ndarray) -> np.ndarray:
    """[NUM_OCTAVES]: how much more contrast each octave of lengths has than the next coarser one, and the contrast.

    Contrasts are the root mean squares of Haar's wavelets, as octaves. A larger magnification moves contrast to coarser
    octaves; blur takes it from the finest; noise and sharpening add to these.

    Args:
      gray: [H, W], the background is about 1.
    """
    energies = []
    for _ in range(NUM_OCTAVES):
        gray = gray[: len(gray) // 2 * 2, : gray.shape[1] // 2 * 2]
        left, right = gray[:, 0::2], gray[:, 1::2]
        across, along = left - right, left + right
        means, down = along[0::2] + along[1::2], along[0::2] - along[1::2]
        flat, diagonal = across[0::2] + across[1::2], across[0::2] - across[1::2]
        energies.append(sum(float(np.vdot(part, part)) for part in (down, flat, diagonal)) / (16 * means.size))
        gray = means / 4
    octaves = np.log2(np.array(energies) + _ROUNDING) / 2
    return np.concatenate([octaves[:-1] - octaves[1:], [np.log2(sum(energies) + _ROUNDING) / 2]])
