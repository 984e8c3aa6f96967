"""Color, focus and likeness of one labeled image, as numbers.

Shape shorthand in this module: H, W size of the image; M boxes, [M, 4] ymin, xmin, ymax, xmax in pixels of the image.
"""

import functools

import numpy as np
from PIL import Image
from scipy import ndimage

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_EVERY = 4  # the color of an image is that of every fourth pixel of every fourth row
_NUCLEUS_PERCENT = 25  # the darkest quarter of a white cell's box is nucleus
_MAX_BOXES = 16  # of an image are measured for its focus
_LEAST_CONTRAST = 16.0  # gray levels; in a flatter box there is no edge to measure
_SIDE = 17  # of the thumbnail; its differences are 16 x 17 across and 17 x 16 down
_LEAST_STRUCTURE = 0.75  # gray levels; a thumbnail with smaller differences is an empty field
_BLACK = 0.25  # of the light of the background; darker and at the rim of an image is what an eyepiece does not show
_FINER = 8  # the border is looked for in a thumbnail so many times as large
_LEAST_FIELD = 0.15  # of the thumbnail; where less is left beside such a border there is too little to compare
_ENOUGH_CELLS = 3  # one or two are at the same place in many fields by chance, in one of eight positions
_LEAST_SPREAD = 30.0  # differences; an image with fewer labeled cells needs as many to be compared
FINGERPRINT_LENGTH = 2 * _SIDE * (_SIDE - 1)
SAME_IMAGE = 0.9  # likeness from which two images are taken for one
# From linear sRGB to XYZ, white point D65 (IEC 61966-2-1).
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def background_color(pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Median color [3] (RGB, 0 .. 255) outside of all boxes, or of the whole image where they cover it.

    Args:
      pixels: uint8 [H, W, 3].
      boxes: [M, 4].
    """
    sample = pixels[::_EVERY, ::_EVERY]
    is_outside = np.ones(sample.shape[:2], bool)
    for ymin, xmin, ymax, xmax in np.round(boxes / _EVERY).astype(int).clip(0):
        is_outside[ymin:ymax, xmin:xmax] = False
    return np.median(sample[is_outside] if is_outside.any() else sample.reshape(-1, 3), axis=0)


def nucleus_color(pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray | None:
    """Median color [3] (RGB, 0 .. 255) of the darkest quarter of the pixels in these boxes; None where they hold none.

    Args:
      pixels: uint8 [H, W, 3].
      boxes: [M, 4], of white cells, whose darkest part is the nucleus.
    """
    inside = [crop.reshape(-1, 3) for crop in _crops(pixels, boxes)]
    if not inside:
        return None
    colors = np.concatenate(inside)
    gray = colors @ _LUMA
    return np.median(colors[gray <= np.percentile(gray, _NUCLEUS_PERCENT)], axis=0)


def edge_width(pixels: np.ndarray, boxes: np.ndarray) -> float | None:
    """How wide the sharpest edges of the labeled cells are, in pixels: the median over boxes; None without a box.

    How it works: of a box, the range of its gray levels divided by its steepest slope, each without the outermost
    percents. An edge that a Gaussian of sigma s has blurred is s * sqrt(2 pi) = 2.5 s wide by this measure. What is in
    an image does not matter, so a field with one cell and a crowded one can be compared; images of other
    magnifications cannot.

    Args:
      pixels: uint8 [H, W, 3].
      boxes: [M, 4].
    """
    widths = []
    for crop in _crops(pixels, boxes[:: max(1, -(-len(boxes) // _MAX_BOXES))]):
        gray = crop @ _LUMA
        if min(gray.shape) < 5:
            continue
        contrast = np.ptp(np.percentile(gray, (1, 99)))
        steepest = np.percentile(np.hypot(*np.gradient(gray)), 98)
        if contrast >= _LEAST_CONTRAST and steepest > 0:
            widths.append(contrast / steepest)
    return float(np.median(widths)) if widths else None


def _crops(pixels: np.ndarray, boxes: np.ndarray) -> list[np.ndarray]:
    corners = np.round(boxes).astype(int).clip(0)
    crops = [pixels[ymin:ymax, xmin:xmax] for ymin, xmin, ymax, xmax in corners]
    return [crop for crop in crops if crop.size]


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


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB 0 .. 255 [..., 3] as CIE L*a*b* (D65), in which distances (Delta E) are as people see them.

    >>> to_lab(np.array([255.0, 0.0, 0.0])).round(1).tolist()
    [53.2, 80.1, 67.2]
    """
    share = np.asarray(rgb, np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    relative = linear @ _TO_XYZ.T / _TO_XYZ.sum(axis=1)
    root = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
