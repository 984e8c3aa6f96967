"""SHA-256 checksums of files, read block by block: images, records and models of any size."""

import hashlib
import os

from tfod_csf.files import given_files

_BLOCK_BYTES = 1 << 18


def add_file(digest: "hashlib._Hash", path: str | os.PathLike, max_bytes: int | None = None) -> None:
    """Feeds a file's bytes to a digest of several things.

    Args:
      max_bytes: a larger file is refused before it is read.

    Raises:
      OSError: the file cannot be read, or is too large.
    """
    with given_files.open_file(path, max_bytes) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)


def file_sha256(path: str | os.PathLike, max_bytes: int | None = None) -> str:
    """Checksum of a file's bytes, 64 lower-case hexadecimal digits.

    Args:
      max_bytes: a larger file is refused before it is read.

    Raises:
      OSError: the file cannot be read, or is too large.
    """
    digest = hashlib.sha256()
    add_file(digest, path, max_bytes)
    return digest.hexdigest()
