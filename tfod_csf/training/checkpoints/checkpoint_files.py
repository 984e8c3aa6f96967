"""Finds and reads the checkpoint that a user names by a prefix, a folder or a .tar.gz; refuses a damaged one."""

import contextlib
import os
import pathlib
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tfod_csf.errors import UserError
from tfod_csf.files import inner_paths

_ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")
# The two kinds of files of a checkpoint. The variables of a SavedModel have the same format but are not a checkpoint.
_CHECKPOINT_FILE = re.compile(r"(?P<prefix>.+)\.(index|data-\d{5}-of-\d{5})$")
_SAVED_MODEL_PREFIX = "variables"
# Of a model that pack_model wrote they are one: there is no other, and their keys are a checkpoint's.
_PACKED = f"saved_model/{_SAVED_MODEL_PREFIX}/{_SAVED_MODEL_PREFIX}"
# Checkpoints of slim's classifiers are older: one file NAME.ckpt, without .index and .data.
V1_SUFFIX = ".ckpt"
_MAX_ARCHIVE_BYTES = 16 * 2**30
# What TensorFlow's reader raises for damaged files; IndexError is its "read less bytes than requested".
_READ_ERRORS = (tf.errors.OpError, ValueError, RuntimeError, IndexError)


class CheckpointError(UserError):
    """A checkpoint that cannot be used."""


class StoredCheckpoint:
    """An open checkpoint.

    Attributes:
      prefix: path without .index.
      shapes: key to shape, for every value.
    """

    def __init__(self, prefix: str, named: str):
        self.prefix = prefix
        self._named = named
        try:
            self._reader = tf.train.load_checkpoint(prefix)
            self.shapes = dict(self._reader.get_variable_to_shape_map())
        except _READ_ERRORS as error:
            raise CheckpointError(_damaged(named, prefix, error)) from error

    def read(self, key: str) -> np.ndarray:
        """The value stored under a key of `shapes`.

        Raises:
          CheckpointError: its bytes are damaged.
        """
        try:
            return self._reader.get_tensor(key)
        except _READ_ERRORS as error:
            raise CheckpointError(_damaged(self._named, self.prefix, error)) from error


@contextlib.contextmanager
def open_checkpoint(path: str | os.PathLike) -> Iterator[StoredCheckpoint]:
    """Opens the checkpoint that `path` names; an archive is unpacked into a scratch folder while it is open.

    Args:
      path: a prefix (.../ckpt-0, also with .index), or a NAME.ckpt of the first format; or a folder that holds, itself
        or in one folder below it, a single checkpoint or a `checkpoint` file that names the newest; or a .tar.gz of
        such a folder; or a model folder that pack_model wrote.

    Raises:
      CheckpointError: there is no checkpoint or more than one, or it is damaged.
    """
    named = os.fspath(path)
    if named.endswith(_ARCHIVE_SUFFIXES):
        with tempfile.TemporaryDirectory(prefix="tfod_csf_checkpoint_") as folder:
            _unpack(named, pathlib.Path(folder))
            yield StoredCheckpoint(find_prefix(folder, named), named)
    else:
        yield StoredCheckpoint(find_prefix(named), named)


def find_prefix(path: str | os.PathLike, named: str | None = None) -> str:
    """Prefix of the checkpoint at a prefix or in a folder; messages call it `named`."""
    given, named = pathlib.Path(path), named or os.fspath(path)
    if given.is_dir():
        prefix = _newest_in(given, named)
    elif given.suffix == V1_SUFFIX and given.is_file():
        prefix = str(given)
    else:
        prefix = str(given).removesuffix(".index")
        if not os.path.isfile(prefix + ".index"):
            raise CheckpointError(
                f"{named}: there is no such checkpoint (looked for {prefix}.index); name the folder, the prefix such "
                "as .../checkpoint/ckpt-0, or the .tar.gz."
            )
    if prefix.endswith(V1_SUFFIX) and os.path.isfile(prefix):
        return prefix
    if not list(pathlib.Path(prefix).parent.glob(_glob_literal(pathlib.Path(prefix).name) + ".data-*")):
        raise CheckpointError(
            f"{named}: {prefix}.index is there, but its .data-00000-of-00001 file is not; copy or download both."
        )
    return prefix


def _newest_in(folder: pathlib.Path, named: str) -> str:
    """The newest checkpoint of the folder, else the only one below it."""
    newest = tf.train.latest_checkpoint(str(folder))
    if newest:
        return newest
    found = sorted(
        str(index).removesuffix(".index")
        for index in folder.rglob("*.index")
        if index.name != f"{_SAVED_MODEL_PREFIX}.index"
    )
    found += sorted(str(path) for path in folder.rglob(f"*{V1_SUFFIX}") if path.is_file())
    if not found and (folder / f"{_PACKED}.index").is_file():
        return str(folder / _PACKED)
    folders = {os.path.dirname(prefix) for prefix in found}
    if len(found) > 1 and len(folders) == 1:
        newest = tf.train.latest_checkpoint(folders.pop())
        if newest:
            return newest
    if len(found) != 1:
        what = "holds no checkpoint (no .index file)" if not found else f"holds {len(found)} checkpoints"
        listed = f": {', '.join(found[:5])}; name one of them" if found else "; name a folder that does, or a prefix"
        raise CheckpointError(f"{named}: {what}{listed}.")
    return found[0]


def _unpack(archive: str, folder: pathlib.Path) -> None:
    """Writes the archive's checkpoint files, and nothing else, below the folder."""
    try:
        with tarfile.open(archive) as tar:
            total = 0
            for member in tar:
                parts = pathlib.PurePosixPath(member.name).parts
                name = parts[-1] if parts else ""
                match = _CHECKPOINT_FILE.match(name)
                is_wanted = name == "checkpoint" or name.endswith(V1_SUFFIX)
                is_wanted |= match is not None and match["prefix"] != _SAVED_MODEL_PREFIX
                # Links, devices and names that lead out of the folder do not belong to a checkpoint.
                if not (is_wanted and member.isfile()) or inner_paths.leads_out(member.name):
                    continue
                total += member.size
                if total > _MAX_ARCHIVE_BYTES:
                    raise CheckpointError(f"{archive}: unpacks to more than {_MAX_ARCHIVE_BYTES // 2**30} GiB.")
                target = folder.joinpath(*parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with tar.extractfile(member) as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
    except FileNotFoundError as error:
        raise CheckpointError(f"{archive}: there is no such file.") from error
    except (tarfile.TarError, EOFError, OSError) as error:
        raise CheckpointError(
            f"{archive}: cannot be unpacked ({error}); it is damaged or incomplete, download it again."
        ) from error


def _damaged(named: str, prefix: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return (
        f"{named}: the checkpoint {os.path.basename(prefix)} cannot be read ({reason}); it is truncated or not a "
        "TensorFlow checkpoint, copy or download it again."
    )


def _glob_literal(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)
