"""Color and focus of one image, by the boxes of its cells; used by the data page and the domain guard alike.

Shape shorthand in this module: H, W size of the image; M boxes, [M, 4] ymin, xmin, ymax, xmax in pixels of the image.
"""

import numpy as np

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_EVERY = 4  # the color of an image is that of every fourth pixel of every fourth row
_NUCLEUS_PERCENT = 25  # the darkest quarter of a white cell's box is nucleus
_MAX_BOXES = 16  # of an image are measured for its focus
_LEAST_CONTRAST = 16.0  # gray levels; in a flatter box there is no edge to measure
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
    gray = colors @ LUMA
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
        gray = crop @ LUMA
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
