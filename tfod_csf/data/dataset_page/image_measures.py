"""Likeness of two images, as a number."""

import functools

import numpy as np
from PIL import Image
from scipy import ndimage

_SIDE = 17  # of the thumbnail; its differences are 16 x 17 across and 17 x 16 down
_LEAST_STRUCTURE = 0.75  # gray levels; a thumbnail with smaller differences is an empty field
_BLACK = 0.25  # of the light of the background; darker and at the rim of an image is what an eyepiece does not show
_FINER = 8  # the border is looked for in a thumbnail so many times as large
_LEAST_FIELD = 0.15  # of the thumbnail; where less is left beside such a border there is too little to compare
_ENOUGH_CELLS = 3  # one or two are at the same place in many fields by chance, in one of eight positions
_LEAST_SPREAD = 30.0  # differences; an image with fewer labeled cells needs as many to be compared
FINGERPRINT_LENGTH = 2 * _SIDE * (_SIDE - 1)
SAME_IMAGE = 0.9  # likeness from which two images are taken for one


def turned_fingerprints(image: Image.Image, num_cells: int) -> np.ndarray:
    """float32 [8, FINGERPRINT_LENGTH] of length 1 each: where a small gray copy of the image gets lighter and darker.

    The first is of the image as it is, then it is turned by 90, 180 and 270 degrees, mirrored, and turned again. The
    product of two is their likeness, 1 for the same image. It hardly changes when an image is saved again, resized, or
    made lighter. As dHash (Krawetz 2013), with the differences themselves in place of their signs, because most of a
    field is empty and has differences of noise. What all fields of a microscope share is taken out: uneven light, as
    the nearest surface of second degree, and the black border of photographs through an eyepiece.

    Args:
      image: the image.
      num_cells: labeled in it.

    Returns:
      [0, FINGERPRINT_LENGTH] for an empty field, which is like every other, and for one with a cell or two and little
      else, which is like many, and for one that is mostly border.
    """
    gray = image.convert("L")
    small = np.asarray(gray.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float32)
    border = _black_border(gray)
    if border.mean() > 1 - _LEAST_FIELD:
        return np.zeros((0, FINGERPRINT_LENGTH), np.float32)
    small = _without_smooth_surface(small, border)
    turned = [np.rot90(flipped, times) for flipped in (small, small[:, ::-1]) for times in range(4)]
    least_spread = 0.0 if num_cells >= _ENOUGH_CELLS else _LEAST_SPREAD
    found = [_normalized(one, least_spread) for one in turned]
    return np.array([one for one in found if one is not None], np.float32).reshape(-1, FINGERPRINT_LENGTH)


def _black_border(gray: Image.Image) -> np.ndarray:
    """bool [_SIDE, _SIDE]: pixels of the thumbnail in which there is something that is black from the rim on."""
    finer = np.asarray(gray.resize((_SIDE * _FINER, _SIDE * _FINER), Image.Resampling.BOX))
    is_black = finer < _BLACK * np.percentile(finer, 95)
    is_rim = np.ones(finer.shape, bool)
    is_rim[1:-1, 1:-1] = False
    border = ndimage.binary_propagation(is_black & is_rim, mask=is_black)
    border = ndimage.binary_dilation(border, np.ones((3, 3)))  # its edge is gray
    return border.reshape(_SIDE, _FINER, _SIDE, _FINER).any(axis=(1, 3))


def _without_smooth_surface(small: np.ndarray, border: np.ndarray) -> np.ndarray:
    """The thumbnail less the surface of second degree that is nearest to it beside the border; NaN in the border."""
    smooth = _smooth_surfaces()
    if not border.any():
        return small - (smooth @ (smooth.T @ small.ravel())).reshape(small.shape)
    inside = ~border.ravel()
    weights = np.linalg.lstsq(smooth[inside], small.ravel()[inside], rcond=None)[0]
    return np.where(border, np.nan, small - (smooth @ weights).reshape(small.shape))


@functools.cache
def _smooth_surfaces() -> np.ndarray:
    """[_SIDE * _SIDE, 6] orthonormal surfaces of up to the second degree."""
    place = np.linspace(-1, 1, _SIDE)
    powers = [(i, j) for i in range(3) for j in range(3 - i)]
    return np.linalg.qr(np.stack([np.outer(place**i, place**j).ravel() for i, j in powers], axis=1))[0]


def _normalized(small: np.ndarray, least_spread: float) -> np.ndarray | None:
    across, down = np.diff(small, axis=1), np.diff(small, axis=0)
    differences = np.nan_to_num(np.concatenate([across.ravel(), down.ravel()]))  # none from or to a border
    squares = differences**2
    if np.sqrt(np.mean(squares)) < _LEAST_STRUCTURE:
        return None
    if squares.sum() ** 2 / (squares**2).sum() < least_spread:  # so many differences, if they were equal
        return None
    return differences / np.linalg.norm(differences)
