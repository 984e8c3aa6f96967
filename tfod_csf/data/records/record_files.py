"""TFRecord files without TensorFlow: which files a config names, their frames, and the tf.train.Example in each.

A TFRecord file is a row of frames: length (8 bytes), checksum of the length (4), data (length bytes), checksum of the
data (4). The checksums are not verified here; TensorFlow verifies them while training. What is read here is read
before TensorFlow is imported, which alone takes seconds.
"""

import glob
import os
import pathlib
import struct
from collections.abc import Iterator, Sequence

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from tfod_csf.errors import UserError

_LARGEST_RECORD_BYTES = 1 << 31


class RecordFileError(UserError):
    """TFRecord files that are missing or cannot be read."""


def record_files(input_paths: Sequence[str]) -> list[str]:
    """Files that `tf_record_input_reader.input_path` names, in sorted order and each once.

    Args:
      input_paths: paths, or patterns such as "tfrecords/train.record-?????-of-00010".

    Raises:
      RecordFileError: no path, or one that matches no file.
    """
    if not input_paths:
        raise RecordFileError(
            "tf_record_input_reader.input_path is empty; name the TFRecord files, for example "
            "tfrecords/train.record-?????-of-?????."
        )
    files: set[str] = set()
    for input_path in input_paths:
        matches = {input_path} if os.path.isfile(input_path) else set(filter(os.path.isfile, glob.glob(input_path)))
        if not matches:
            raise RecordFileError(
                f"tf_record_input_reader.input_path: {input_path!r} matches no file (looked from {os.getcwd()}); "
                "create_csf_tf_record writes TFRecords."
            )
        files |= matches
    return sorted(files)


def read_records(path: str | os.PathLike) -> Iterator[bytes]:
    """The data of each frame of a file.

    Raises:
      RecordFileError: not a TFRecord file, or one that ends within a record.
    """
    size = pathlib.Path(path).stat().st_size
    with open(path, "rb") as file:
        number = 0
        while header := file.read(12):
            number += 1
            length = struct.unpack("<Q", header[:8])[0] if len(header) == 12 else 0
            if length > _LARGEST_RECORD_BYTES:
                raise RecordFileError(
                    f"{path}, record {number}: says it is {length} bytes long, so this is not a TFRecord file or it is "
                    "damaged; write it again with create_csf_tf_record."
                )
            if len(header) < 12 or file.tell() + length + 4 > size:
                raise RecordFileError(
                    f"{path}: ends within record {number}; copy or write it again with create_csf_tf_record."
                )
            yield file.read(length)
            file.seek(4, os.SEEK_CUR)


def first_record_bytes(path: str | os.PathLike) -> int:
    """Length of the first record of a file in bytes; 0 if it has none."""
    with open(path, "rb") as file:
        header = file.read(8)
    return min(struct.unpack("<Q", header)[0], _LARGEST_RECORD_BYTES) if len(header) == 8 else 0


def parse_features(record: bytes, where: str) -> dict[str, list]:
    """Values of each feature of a serialized tf.train.Example; bytes features as bytes.

    Raises:
      RecordFileError: not an Example; `where` names the record.
    """
    try:
        example = _Example.FromString(record)
    except DecodeError as error:
        raise RecordFileError(f"{where}: is not a tf.train.Example; write it with create_csf_tf_record.") from error
    values = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        values[name] = list(getattr(feature, kind).value) if kind else []
    return values


def image_name(features: dict[str, list]) -> str:
    """Name of a record's image: its source_id, else its file name, else ""."""
    named = features.get("image/source_id") or features.get("image/filename") or [b""]
    return named[0].decode("utf-8", "replace")


def _example_class() -> type[Message]:
    """tf.train.Example's wire format (tensorflow/core/example/{example,feature}.proto), under a name of our own."""
    kinds = descriptor_pb2.FieldDescriptorProto
    package = "tfod_csf.records"
    file = descriptor_pb2.FileDescriptorProto(name="tfod_csf/records.proto", package=package, syntax="proto3")
    for name, kind in (
        ("BytesList", kinds.TYPE_BYTES),
        ("FloatList", kinds.TYPE_FLOAT),
        ("Int64List", kinds.TYPE_INT64),
    ):
        file.message_type.add(name=name).field.add(name="value", number=1, type=kind, label=kinds.LABEL_REPEATED)

    def add_message(owner, name: str, **types: str):
        message = owner.add(name=name)
        for number, (field, type_name) in enumerate(types.items(), start=1):
            message.field.add(
                name=field,
                number=number,
                type=kinds.TYPE_MESSAGE,
                label=kinds.LABEL_OPTIONAL,
                type_name=f".{package}.{type_name}",
            )
        return message

    feature = add_message(
        file.message_type, "Feature", bytes_list="BytesList", float_list="FloatList", int64_list="Int64List"
    )
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    features = add_message(file.message_type, "Features", feature="Features.FeatureEntry")
    features.field[0].label = kinds.LABEL_REPEATED
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    entry.field.add(
        name="value", number=2, type=kinds.TYPE_MESSAGE, label=kinds.LABEL_OPTIONAL, type_name=f".{package}.Feature"
    )
    add_message(file.message_type, "Example", features="Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Example"))


_Example = _example_class()
