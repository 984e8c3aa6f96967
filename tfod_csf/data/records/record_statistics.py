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
      image_digests: of each different image's encoded bytes (`image_digest`).
      record_digests: of each record's image and objects.
      num_other_sizes: records whose image/width and image/height are not their image's.
      first_other_size: file, record and the two sizes of the first of them.
      num_flat_boxes: objects whose box has no width or no height.
      first_flat_box: file, record and number of the first of them.
    """

    num_examples: int = 0
    num_negatives: int = 0
    max_boxes: int = 0
    max_boxes_image: str = ""
    objects_per_class: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    class_ids: dict[str, set[int]] = dataclasses.field(default_factory=lambda: collections.defaultdict(set))
    image_digests: set[bytes] = dataclasses.field(default_factory=set)
    record_digests: list[bytes] = dataclasses.field(default_factory=list)
    num_other_sizes: int = 0
    first_other_size: str = ""
    num_flat_boxes: int = 0
    first_flat_box: str = ""

    @property
    def num_boxes(self) -> int:
        """Objects of all images together, without those of weight 0."""
        return self.objects_per_class.total()


def record_statistics(input_paths: Sequence[str]) -> RecordStatistics:
    """Reads all records that these paths or patterns name; images are not decoded.

    Raises:
      TFRecordError: no file, no record, a damaged or missing one, one without an image or with one that TensorFlow
          does not decode or must not, a feature of another kind than training reads, or objects that are not whole:
          a class or a side of a box missing, or a box that `Features.boxes` refuses. The message names file, record
          and image.
    """
    found = RecordStatistics()
    for features in _examples(input_paths):
        _add_record(found, features)
    if not found.num_examples:
        raise TFRecordError(
            f"{', '.join(input_paths)}: no record in any file; create_csf_tf_record writes one per image."
        )
    return found


def image_digests(input_paths: Sequence[str]) -> set[bytes]:
    """`RecordStatistics.image_digests` alone.

    Raises:
      TFRecordError: no file, or a damaged record.
    """
    return {image_digest(encoded) for features in _examples(input_paths) for encoded in features.bytes("image/encoded")}


def boxes_in_pixels(
    input_paths: Sequence[str],
) -> Iterator[tuple[float, float, list[tuple[float, float, float, float, str]]]]:
    """(image width, image height, [(xmin, ymin, xmax, ymax, class), ...]) of each record, in px of the original image.

    Raises:
      TFRecordError: as `record_statistics`.
    """
    for features in _examples(input_paths):
        width, height = _image_size(features) or _stated_size(features)
        classes = class_names(features)
        boxes = features.boxes(len(classes))[:, [1, 0, 3, 2]] * [width, height, width, height]
        yield width, height, [(*box, class_name) for box, class_name in zip(boxes.tolist(), classes)]


def _examples(input_paths: Sequence[str]) -> Iterator[Features]:
    for where, record in record_set.numbered_records(record_files(input_paths)):
        yield Features(record, where)


def _add_record(found: RecordStatistics, features: Features) -> None:
    encoded = features.encoded_image()
    size = _image_size(features)
    classes = class_names(features)
    features.check_kinds(len(classes))
    boxes = features.boxes(len(classes))
    flat = np.flatnonzero((boxes[:, :2] == boxes[:, 2:]).any(axis=1))
    found.num_flat_boxes += len(flat)
    if len(flat) and not found.first_flat_box:
        found.first_flat_box = f"{features.where}, object {flat[0] + 1}"
    stated = _stated_size(features)
    if size is not None and all(stated) and stated != size:
        found.num_other_sizes += 1
        found.first_other_size = found.first_other_size or (
            f"{features.where} says {stated[0]} x {stated[1]}, its image is {size[0]} x {size[1]}"
        )
    found.image_digests.add(image_digest(encoded))
    for class_name, label in zip(classes, features.ints("image/object/class/label")):
        found.class_ids[class_name].add(label)
    weights = features.floats("image/object/weight") or [1.0] * len(classes)
    objects = repr([(*box, name, weight) for box, name, weight in zip(boxes.tolist(), classes, weights)])
    found.record_digests.append(image_digest(image_digest(encoded) + objects.encode()))
    found.objects_per_class.update(name for name, weight in zip(classes, weights) if weight > 0)
    found.num_examples += 1
    found.num_negatives += not classes
    if len(classes) > found.max_boxes:
        found.max_boxes, found.max_boxes_image = len(classes), features.image_name or features.where


def image_digest(encoded: bytes) -> bytes:
    """16 bytes that are equal for equal bytes of two images only."""
    return hashlib.blake2b(encoded, digest_size=16).digest()


def _image_size(features: Features) -> tuple[int, int] | None:
    """Width and height in the header of the encoded image; None where it cannot be read."""
    encoded = features.bytes("image/encoded")
    try:
        return image_limits.check_encoded(encoded[0]) if encoded else None
    except ImageLimitError as error:
        raise TFRecordError(f"{features.where}: the image has {error.args[0]}; {error.args[1]}") from error


def _stated_size(features: Features) -> tuple[int, int]:
    """Width and height as the record says; 0 where it does not."""
    width, height = (next(iter(features.ints(f"image/{side}")), 0) for side in ("width", "height"))
    return width, height


def class_names(features: Features) -> list[str]:
    """Class text of each object; "id 3" where there is no text."""
    texts = features.texts("image/object/class/text")
    labels = [f"id {label}" for label in features.ints("image/object/class/label")]
    if not texts:
        return labels
    return [text or label for text, label in zip(texts, labels + ["id ?"] * len(texts))]
