"""TFRecord files without TensorFlow: which files a path names, and the records in each.

A TFRecord file is a sequence of frames (tensorflow/core/lib/io/record_writer.h), all numbers little-endian:

    length    uint64
    checksum  uint32, masked CRC-32C of the 8 bytes of `length`
    data      `length` bytes: a serialized tf.train.Example, or a TensorBoard event
    checksum  uint32, masked CRC-32C of `data`

There is no header and no index, so only the first checksum distinguishes a TFRecord file from any other.
"""

import glob
import hashlib
import itertools
import os
import re
import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import google_crc32c

from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, given_files

_LENGTH = struct.Struct("<Q")
_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_SHARDED = re.compile(r"(.+)@(\d+)", re.DOTALL)
# First bytes of compressed files: the program, and a command that decompresses.
_COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip -c OLD > NEW"),
    b"BZh": ("bzip2", "bunzip2 -c OLD > NEW"),
    b"\xfd7zXZ\x00": ("xz", "unxz -c OLD > NEW"),
    b"PK\x03\x04": ("zip", "unzip OLD"),
    b"\x28\xb5\x2f\xfd": ("zstd", "zstd -d OLD -o NEW"),
}
_ZLIB = (
    "zlib",
    'python -c "import sys, zlib; sys.stdout.buffer.write(zlib.decompress(sys.stdin.buffer.read()))" < OLD > NEW',
)
_WRITE_AGAIN = "copy or write the file again"


class TFRecordError(UserError):
    """A TFRecord file that is missing, or a record of one that cannot be read."""


class TruncatedTFRecordError(TFRecordError):
    """A TFRecord file that ends within a record: it was not copied whole, or is still being written."""


def shard_paths(name: str, num_shards: int) -> list[str]:
    """TFOD's names of shards.

    >>> shard_paths("train.record", 2)
    ['train.record-00000-of-00002', 'train.record-00001-of-00002']
    """
    return [f"{name}-{shard:05d}-of-{num_shards:05d}" for shard in range(num_shards)]


def find_files(pattern: str | os.PathLike) -> list[str]:
    """The files that a TFRecord path names.

    Args:
      pattern: a file, a pattern such as "tfrecords/train.record-?????-of-00010", or TFOD's "tfrecords/train.record@10"
          for the ten shards of that name. A file of exactly this name comes before the other two meanings.

    Returns:
      Paths in sorted order, without folders; empty when there are none.

    Raises:
      TFRecordError: "name@N" of which some shards are missing.
    """
    text = os.fspath(pattern)
    if os.path.isfile(text):
        return [text]
    sharded = _SHARDED.fullmatch(text)
    if not sharded:
        return sorted(filter(os.path.isfile, glob.glob(text)))
    name, num_shards = sharded[1], int(sharded[2])
    shards = shard_paths(name, num_shards)
    missing = [shard for shard in shards if not os.path.isfile(shard)]
    if len(missing) == len(shards):
        return []
    if missing:
        raise TFRecordError(
            f"{text}: {len(missing)} of {num_shards} shards are missing, the first is {missing[0]}; put them there, or "
            f"read those that are there with {name}-?????-of-{num_shards:05d}."
        )
    return shards


def masked_crc32c(data: bytes) -> int:
    """The checksum of a frame: CRC-32C, rotated right by 15 bits, plus a constant, modulo 2**32.

    With the mask, the checksum of data that hold checksums is not trivial (tensorflow/core/lib/hash/crc32c.h).
    """
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_records(path: str | os.PathLike) -> Iterator[bytes]:
    """The data of each record of a file; every length and checksum is verified.

    To use what comes before a damage, catch the error: all records before it were yielded.

    Raises:
      TruncatedTFRecordError: the file ends within a record.
      TFRecordError: a record is damaged, or the file is compressed or of another kind. The message gives the number of
          the record (from 1) and the byte where it begins.
    """
    with given_files.open_file(path) as file:
        for number in itertools.count(1):
            where = f"record {number} (at byte {file.tell()})"
            header = file.read(_HEADER.size)
            if not header:
                return
            if len(header) < _HEADER.size:
                raise TruncatedTFRecordError(f"{path}: ends within {where}; {_WRITE_AGAIN}.")
            length, length_checksum = _HEADER.unpack(header)
            if length_checksum != masked_crc32c(header[:8]):
                damaged = f"the length of {where} is damaged; {_WRITE_AGAIN}"
                raise TFRecordError(f"{path}: {_other_kind(header) if number == 1 else damaged}.")
            if length + _CHECKSUM.size > _bytes_left(file):
                raise TruncatedTFRecordError(f"{path}: ends within {where}; {_WRITE_AGAIN}.")
            data = file.read(length)
            if _CHECKSUM.unpack(file.read(_CHECKSUM.size))[0] != masked_crc32c(data):
                raise TFRecordError(f"{path}: the data of {where} are damaged; {_WRITE_AGAIN}.")
            yield data


def write_records(records: Iterable[bytes], path: str | os.PathLike) -> str:
    """Writes a file with these records, whole or not at all.

    Returns:
      Hex SHA-256 over the data of the records.
    """
    digest = hashlib.sha256()
    with atomic_write.replacing(path, "wb") as file:
        for record in records:
            digest.update(record)
            length = _LENGTH.pack(len(record))
            file.write(length + _CHECKSUM.pack(masked_crc32c(length)))
            file.write(record)
            file.write(_CHECKSUM.pack(masked_crc32c(record)))
    return digest.hexdigest()


def _other_kind(header: bytes) -> str:
    """What a file most likely is that begins with these 12 bytes, of which the checksum is wrong; and what to do."""
    # RFC 1950: method 8 with a window of 32 KiB, and a check value that makes the two bytes a multiple of 31.
    is_zlib = header[0] == 0x78 and int.from_bytes(header[:2], "big") % 31 == 0
    kinds = [(magic, *kind) for magic, kind in _COMPRESSED.items() if header.startswith(magic)]
    for magic, name, command in [*kinds, *([(header[:2], *_ZLIB)] if is_zlib else [])]:
        return (
            f"begins with {magic.hex(' ')}: it is compressed with {name}, which TFOD's configs cannot read; write it "
            f"without compression, or decompress it ({command})"
        )
    if header.startswith(b"version http"):
        return "is a pointer that Git LFS left in place of the file; fetch the file (git lfs pull)"
    return f"not a TFRecord file, or its first record is damaged; {_WRITE_AGAIN}"


def _bytes_left(file: BinaryIO) -> int:
    """Bytes between the place of reading and the end of the file as it is now; it may still be growing."""
    return os.fstat(file.fileno()).st_size - file.tell()
