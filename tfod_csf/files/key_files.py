"""Secret keys in files of their own: 32 random bytes, readable by their owner only, never overwritten.

Whoever has the key can make pseudonyms and signatures with it; keep it on another disk than the data it protects.
"""

import contextlib
import hashlib
import hmac
import logging
import os
import pathlib
import secrets
from collections.abc import Iterator

from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, given_files

_BYTES = 32
_HEADER = "tfod_csf-key-1"
_MAX_FILE_BYTES = 10_000  # one line of 80; more is another file
_log = logging.getLogger("tfod_csf")


class KeyFileError(UserError):
    """A key file that cannot be created or used."""


def create_key(path: str | os.PathLike) -> bytes:
    """Creates a key file with permissions 0600 and returns the key.

    Raises:
      KeyFileError: the file exists or cannot be written; a key that was overwritten could not be restored.
    """
    path = pathlib.Path(path)
    key = secrets.token_bytes(_BYTES)
    try:
        with owner_only():
            atomic_write.create_text(path, f"{_HEADER} {key.hex()}\n")
    except FileExistsError:
        raise KeyFileError(f"{path}: the key file exists and is never overwritten.") from None
    except OSError as error:
        raise KeyFileError(f"{path}: the key file cannot be written ({error.strerror}).") from None
    return key


@contextlib.contextmanager
def owner_only() -> Iterator[None]:
    """Files created inside are readable and writable by their owner only, from the first moment."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def read_key(path: str | os.PathLike) -> bytes:
    """The key in a file that `create_key` wrote; warns when anyone but the owner can read it.

    Raises:
      KeyFileError: no such file, or it holds no key.
    """
    path = pathlib.Path(path)
    try:
        words = given_files.read_text(path, _MAX_FILE_BYTES, "ascii").split()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path}: the key file cannot be read ({getattr(error, 'strerror', error)}).") from None
    if len(words) != 2 or words[0] != _HEADER or len(words[1]) != 2 * _BYTES or set(words[1]) - set("0123456789abcdef"):
        raise KeyFileError(f"{path}: not a key file of this program (expected one line: {_HEADER} and 64 hex digits).")
    if os.name == "posix" and mode & 0o077:
        _log.warning("%s: not only the owner can read the key; run: chmod 600 '%s'", path, path)
    return bytes.fromhex(words[1])


def key_id(key: bytes) -> str:
    """A name for a key that does not reveal it; the same key always has the same name."""
    return hmac.digest(key, b"key id", hashlib.sha256).hex()[:16]


def keyed_digest(key: bytes, purpose: str, text: str) -> bytes:
    """HMAC-SHA256 of a text for one purpose; digests for different purposes are unrelated."""
    return hmac.digest(key, f"{purpose}\0{text}".encode(), hashlib.sha256)
