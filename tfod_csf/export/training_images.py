"""How large a model's training images are, and the largest cell annotated in them, for model.json.

Whoever cuts large pictures into tiles needs both (`inference.tiles.tile_choice`): a tile must be as large as the
training images, and tiles must overlap by the largest cell.
"""

import collections
import itertools
from collections.abc import Sequence
from typing import Any

from tfod_csf.files import record_set
from tfod_csf.files.tf_example import Features
from tfod_csf.files.tfrecord import TFRecordError

_MAX_RECORDS = 500  # of each file


def describe(paths: Sequence[str]) -> dict[str, Any] | None:
    """The most common size of the images of some record files.

    Args:
      paths: record files; the first 500 records of each are looked at.

    Returns:
      {"width", "height": pixels of most images, "images": number of these, "of": images looked at, "largest_box":
      longer side of the largest annotated cell of these, in pixels}; None where no record says how large its image is.
    """
    sizes: collections.Counter[tuple[int, int]] = collections.Counter()
    largest: collections.Counter[tuple[int, int]] = collections.Counter()
    for path in paths:
        try:
            for number, record in enumerate(itertools.islice(record_set.read_records(path), _MAX_RECORDS), start=1):
                features = Features(record, f"{path}: example {number}")
                width, height = (features.ints(f"image/{side}") for side in ("width", "height"))
                if len(width) != 1 or len(height) != 1 or min(width[0], height[0]) < 1:
                    continue
                size = int(width[0]), int(height[0])
                sizes[size] += 1
                largest[size] = max(largest[size], _largest_box(features, *size))
        except (TFRecordError, OSError):
            continue  # training has read it; that it cannot be read now is not for the exporter to judge
    if not sizes:
        return None
    (width_px, height_px), images = sizes.most_common(1)[0]
    return {
        "width": width_px,
        "height": height_px,
        "images": images,
        "of": sizes.total(),
        "largest_box": largest[width_px, height_px],
    }


def _largest_box(features: Features, width: int, height: int) -> int:
    """Longer side of the largest box, in whole pixels; 0 without boxes."""
    sides = [features.floats(f"image/object/bbox/{side}") for side in ("xmin", "xmax", "ymin", "ymax")]
    boxes = zip(*sides, strict=False)
    return max((round(max((x1 - x0) * width, (y1 - y0) * height)) for x0, x1, y0, y1 in boxes), default=0)
