"""The tf.train.Example in a record, without TensorFlow."""

from collections.abc import Sequence

from google.protobuf.message import DecodeError

from tfod_csf.files import example_pb2
from tfod_csf.files.tfrecord import TFRecordError

_NAMES = ("image/source_id", "image/filename", "image/key/sha256")


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
            raise TFRecordError(f"{self.where}: {name} is a {found}, expected a {kind}; write the record again.")
        return getattr(feature, kind).value
