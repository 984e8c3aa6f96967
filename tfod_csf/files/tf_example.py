"""The tf.train.Example in a record, without TensorFlow."""

import builtins
from collections.abc import Sequence

import numpy as np
from google.protobuf.message import DecodeError

from tfod_csf.detections import BOX_SIDES
from tfod_csf.files import example_pb2
from tfod_csf.files.tfrecord import TFRecordError

_NAMES = ("image/source_id", "image/filename", "image/key/sha256")
_ENCODED = "image/encoded"
_KIND_WORDS = {"bytes_list": "text", "float_list": "decimal numbers", "int64_list": "whole numbers"}
# What training reads besides the image and the sides of boxes, and how TFOD's converters write it.
_KINDS = {
    **dict.fromkeys((*_NAMES, "image/object/class/text", "image/class/text"), "bytes_list"),
    **dict.fromkeys(("image/object/area", "image/object/weight", "image/class/confidence"), "float_list"),
    **dict.fromkeys(
        (
            *("image/height", "image/width", "image/class/label", "image/object/class/label"),
            *("image/object/difficult", "image/object/is_crowd", "image/object/group_of"),
            *("image/neg_category_ids", "image/not_exhaustive_category_ids"),
        ),
        "int64_list",
    ),
}
_PER_OBJECT = tuple(f"image/object/{name}" for name in ("area", "weight", "difficult", "is_crowd", "group_of"))
# TFOD's own limit for a box that pokes out of its image, as a fraction of the image; what is farther out is not one.
MAX_OUTSIDE = 0.1
# How the files begin that TensorFlow decodes; it looks at nothing else.
_DECODABLE = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM")


class BoxOutsideError(TFRecordError):
    """A box that lies outside of its image: most likely in pixels, and then all boxes of the record are."""


class Features:
    """Features of one Example, each a list of values of one kind; empty where the Example does not have it.

    Args:
      record: the data of a record.
      where: file and number of the record, for errors.

    Attributes:
      where: the same with the image's name, where it has one.

    Raises:
      TFRecordError: the record is not an Example; in the methods: the feature is of another kind.
    """

    def __init__(self, record: bytes, where: str):
        self.where = where
        try:
            example = example_pb2.Example.FromString(record)
        except DecodeError as error:
            raise TFRecordError(f"{where}: not a tf.train.Example; write it with create_csf_tf_record.") from error
        self._features = example.features.feature
        self.where = f"{where} ({self.image_name})" if self.image_name else where

    def bytes(self, name: str) -> Sequence[bytes]:
        """Values of a bytes_list."""
        return self._values(name, "bytes_list")

    def texts(self, name: str) -> list[str]:
        """Values of a bytes_list as text; what is not UTF-8 becomes U+FFFD."""
        return [value.decode("utf-8", "replace") for value in self.bytes(name)]

    def floats(self, name: str) -> Sequence[float]:
        """Values of a float_list, of 32-bit precision."""
        return self._values(name, "float_list")

    def ints(self, name: str) -> Sequence[int]:
        """Values of an int64_list."""
        return self._values(name, "int64_list")

    def encoded_image(self) -> builtins.bytes:
        """The image file of image/encoded.

        Raises:
          TFRecordError: it is missing, or is what TensorFlow does not decode, such as pixels, a path or base64.
        """
        encoded = next(iter(self.bytes(_ENCODED)), b"")
        if not encoded:
            raise TFRecordError(f"{self.where}: {_ENCODED} is missing; write it again with create_csf_tf_record.")
        if not encoded.startswith(_DECODABLE):
            raise TFRecordError(
                f"{self.where}: {_ENCODED} begins with {encoded[:12]!r}, which is not a JPEG, PNG, GIF or BMP; write "
                "the bytes of the image file there."
            )
        return encoded

    def check_kinds(self, num_objects: int) -> None:
        """Refuses values of another kind than training reads, and features that only some of the objects have.

        Raises:
          TFRecordError: naming the feature.
        """
        for name, kind in _KINDS.items():
            count = len(self._values(name, kind))
            if name in _PER_OBJECT and count not in (0, num_objects):
                raise TFRecordError(
                    f"{self.where}: {name} has {count} values for {num_objects} objects; write the record again."
                )

    def boxes(self, num_objects: int) -> np.ndarray:
        """Boxes float32 [M, 4] ymin, xmin, ymax, xmax, normalized to the image; they may poke out of it a little.

        Raises:
          TFRecordError: more or fewer sides than objects, one that is not a number, a minimum above its maximum.
          BoxOutsideError: a side farther outside of the image than `MAX_OUTSIDE`. The messages number the object.
        """
        sides = [self.floats(f"image/object/bbox/{side}") for side in BOX_SIDES]
        if {len(side) for side in sides} != {num_objects}:
            counts = ", ".join(f"{len(side)} {name}" for side, name in zip(sides, BOX_SIDES))
            raise TFRecordError(f"{self.where}: has {num_objects} objects but {counts}; write it again.")
        boxes = np.asarray(sides, np.float32).reshape(4, num_objects).T
        is_box = np.isfinite(boxes).all(axis=1) & (boxes[:, :2] <= boxes[:, 2:]).all(axis=1)
        is_near = ((boxes >= -MAX_OUTSIDE) & (boxes <= 1 + MAX_OUTSIDE)).all(axis=1)
        for index in np.flatnonzero(~(is_box & is_near))[:1]:
            box = ", ".join(f"{name} {side:g}" for name, side in zip(BOX_SIDES, boxes[index].tolist()))
            where = f"{self.where}, object {index + 1}: {box}"
            if not is_box[index]:
                raise TFRecordError(f"{where} is not a box; repair the annotation and write the record again.")
            limit = f"above {1 + MAX_OUTSIDE:g}" if boxes[index].max() > 1 + MAX_OUTSIDE else f"below {-MAX_OUTSIDE:g}"
            raise BoxOutsideError(
                f"{where}: a side is {limit}, but sides are fractions of the image's width and height; are these "
                "pixels that were to be divided by width and height? Repair what wrote the record, and write it again."
            )
        return boxes

    @property
    def image_name(self) -> str:
        """The image's source_id, else its file name, else its checksum, else ""."""
        return next((text for name in _NAMES for text in self.texts(name)[:1] if text), "")

    def _values(self, name: str, kind: str) -> Sequence:
        if name not in self._features:  # reading a missing key of a protobuf map would add it
            return ()
        feature = self._features[name]
        found = feature.WhichOneof("kind")
        if found not in (kind, None):
            held = "numbers" if kind == "bytes_list" else _KIND_WORDS[found]
            expected = "an encoded JPEG or PNG" if name == _ENCODED else _KIND_WORDS[kind]
            raise TFRecordError(
                f"{self.where}: {name} holds {held} ({found}), expected {expected} ({kind}); write the record again."
            )
        return getattr(feature, kind).value
