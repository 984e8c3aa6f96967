"""What TFRecords hold, read without TensorFlow: for checks before training and for generating a config.

Shape shorthand in this module: M objects of an image. Boxes are [M, 4] ymin, xmin, ymax, xmax, normalized to their
image.
"""

import collections
import dataclasses
import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from tfod_csf.data.records.record_files import record_files
from tfod_csf.detections import BOX_SIDES
from tfod_csf.files import record_set
from tfod_csf.files.tf_example import Features
from tfod_csf.files.tfrecord import TFRecordError
from tfod_csf.study import image_limits
from tfod_csf.study.image_limits import ImageLimitError


@dataclasses.dataclass
class RecordStatistics:
    """Counts over TFRecord files. (The sizes of boxes are `config.box_statistics.BoxStatistics`.)

    Attributes:
      num_examples: number of records, one image each.
      num_negatives: records without an object.
      max_boxes: objects of the image that has most, those of weight 0 included.
      max_boxes_image: its name.
      objects_per_class: number of objects by class text, or by label, written "id 3", where there is no text; objects
          of weight 0, which training ignores, are not counted.
      class_ids: {class text: labels that objects with this text have}.
    """

    num_examples: int = 0
    num_negatives: int = 0
    max_boxes: int = 0
    max_boxes_image: str = ""
    objects_per_class: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    class_ids: dict[str, set[int]] = dataclasses.field(default_factory=lambda: collections.defaultdict(set))

    @property
    def num_boxes(self) -> int:
        """Objects of all images together, without those of weight 0."""
        return self.objects_per_class.total()


def record_statistics(input_paths: Sequence[str]) -> RecordStatistics:
    """Reads all records that these paths or patterns name; images are not decoded.

    Raises:
      TFRecordError: no file, no record, a damaged or missing one, one without an image or with one that must not be
          decoded, or one whose objects are not whole: a class or a side of a box missing, a side that is not a number,
          a minimum above its maximum. The message names file, record and image.
    """
    found = RecordStatistics()
    for features in _examples(input_paths):
        _add_record(found, features)
    if not found.num_examples:
        raise TFRecordError(
            f"{', '.join(input_paths)}: no record in any file; create_csf_tf_record writes one per image."
        )
    return found


def boxes_in_pixels(
    input_paths: Sequence[str],
) -> Iterator[tuple[float, float, list[tuple[float, float, float, float, str]]]]:
    """(image width, image height, [(xmin, ymin, xmax, ymax, class), ...]) of each record, in px of the original image.

    Raises:
      TFRecordError: as `record_statistics`.
    """
    for features in _examples(input_paths):
        height, width = (next(iter(features.ints(f"image/{side}")), 0) for side in ("height", "width"))
        classes = class_names(features)
        boxes = _boxes(features, len(classes))[:, [1, 0, 3, 2]] * [width, height, width, height]
        yield width, height, [(*box, class_name) for box, class_name in zip(boxes.tolist(), classes)]


def _examples(input_paths: Sequence[str]) -> Iterator[Features]:
    seen: dict[str, str] = {}
    for path in record_files(input_paths):
        digest = hashlib.sha256()
        for number, record in enumerate(record_set.read_records(path), start=1):
            digest.update(record)
            yield Features(record, f"{path}, record {number}")
        record_set.refuse_repeated(path, digest.hexdigest(), seen)


def _add_record(found: RecordStatistics, features: Features) -> None:
    if not any(features.bytes("image/encoded")):
        raise TFRecordError(f"{features.where}: image/encoded is missing; write it again with create_csf_tf_record.")
    try:
        image_limits.check_encoded(features.bytes("image/encoded")[0])
    except ImageLimitError as error:
        raise TFRecordError(f"{features.where}: the image has {error.args[0]}; {error.args[1]}") from error
    classes = class_names(features)
    _boxes(features, len(classes))
    for class_name, label in zip(classes, features.ints("image/object/class/label")):
        found.class_ids[class_name].add(label)
    weights = features.floats("image/object/weight") or [1.0] * len(classes)
    found.objects_per_class.update(name for name, weight in zip(classes, weights) if weight > 0)
    found.num_examples += 1
    found.num_negatives += not classes
    if len(classes) > found.max_boxes:
        found.max_boxes, found.max_boxes_image = len(classes), features.image_name or features.where


def class_names(features: Features) -> list[str]:
    """Class text of each object; "id 3" where there is no text."""
    texts = features.texts("image/object/class/text")
    labels = [f"id {label}" for label in features.ints("image/object/class/label")]
    if not texts:
        return labels
    return [text or label for text, label in zip(texts, labels + ["id ?"] * len(texts))]


def _boxes(features: Features, num_objects: int) -> np.ndarray:
    """Boxes [M, 4] of a record, checked."""
    sides = [features.floats(f"image/object/bbox/{side}") for side in BOX_SIDES]
    if {len(side) for side in sides} != {num_objects}:
        counts = ", ".join(f"{len(side)} {name}" for side, name in zip(sides, BOX_SIDES))
        raise TFRecordError(f"{features.where}: has {num_objects} objects but {counts}; write it again.")
    boxes = np.asarray(sides, np.float32).reshape(4, num_objects).T
    is_box = np.isfinite(boxes).all(axis=1) & (boxes[:, :2] <= boxes[:, 2:]).all(axis=1)
    for index in np.flatnonzero(~is_box)[:1]:
        ymin, xmin, ymax, xmax = boxes[index].tolist()
        raise TFRecordError(
            f"{features.where}, object {index + 1}: ymin {ymin:g}, xmin {xmin:g}, ymax {ymax:g}, xmax {xmax:g} is not "
            "a box; repair the annotation and write the record again."
        )
    return boxes
