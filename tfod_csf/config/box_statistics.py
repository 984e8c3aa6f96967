"""What a config needs to know about the records: how crowded an image gets, and how large the cells are."""

import collections
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tfod_csf.files import csv_schemas


@dataclass(frozen=True)
class BoxStatistics:
    """Counts and sizes over all images of a set of records.

    Attributes:
      images: images that hold at least one box.
      boxes: boxes in all images.
      max_boxes_per_image: boxes in the most crowded image.
      box_sizes: [boxes] of (side, image width, image height, class): side = sqrt(box width * box height), all in
        pixels of the original image; sorted by side.
    """

    images: int
    boxes: int
    max_boxes_per_image: int
    box_sizes: tuple[tuple[float, float, float, str], ...]


Box = tuple[float, float, float, float, str]


def from_boxes(images: Iterable[tuple[float, float, Sequence[Box]]]) -> BoxStatistics:
    """Statistics of (image width, image height, [(xmin, ymin, xmax, ymax, class), ...]) per image, in pixels."""
    counts, sizes = [], []
    for width, height, boxes in images:
        if boxes:
            counts.append(len(boxes))
        for xmin, ymin, xmax, ymax, class_name in boxes:
            area = max(xmax - xmin, 0.0) * max(ymax - ymin, 0.0)
            if area > 0:
                sizes.append((area**0.5, width, height, class_name))
    return BoxStatistics(len(counts), sum(counts), max(counts, default=0), tuple(sorted(sizes)))


def from_annotations_csv(path: str | os.PathLike) -> BoxStatistics:
    """Statistics of the annotations.csv that create_csf_tf_record (or generate_tfrecord -c) writes.

    Raises:
      TableError: naming file, line, column and value when a number cannot be read.
    """
    images = collections.defaultdict(list)
    for row in csv_schemas.load("annotations").read(path):
        box = (row["xmin"], row["ymin"], row["xmax"], row["ymax"], row["class"])
        images[row["filename"], row["width"], row["height"]].append(box)
    return from_boxes((width, height, boxes) for (_, width, height), boxes in images.items())
