"""SHA-256 checksums of files, read block by block: images, records and models of any size."""

import hashlib
import os

from tfod_csf.files import given_files

_BLOCK_BYTES = 1 << 18


def add_file(digest: "hashlib._Hash", path: str | os.PathLike) -> None:
    """Feeds a file's bytes to a digest of several things.

    Raises:
      OSError: the file cannot be read.
    """
    with given_files.open_file(path) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)


def file_sha256(path: str | os.PathLike) -> str:
    """Checksum of a file's bytes, 64 lower-case hexadecimal digits.

    Raises:
      OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    add_file(digest, path)
    return digest.hexdigest()
