"""Files appear whole or not at all: they are written next to their final place, then renamed."""

import contextlib
import json
import os
import pathlib
import uuid
from collections.abc import Iterator
from typing import IO, Any


@contextlib.contextmanager
def replacing_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a path in the folder of `path` for a writer that opens its own file; at the end it replaces `path`."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name[:80]}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield beside
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def replacing(path: str | os.PathLike, mode: str = "w", **open_arguments: Any) -> Iterator[IO]:
    """Opens a file that replaces `path` when the block ends and is removed when the block raises.

    Args:
      path: final path; missing parent folders are created.
      mode: "w" (text, UTF-8 unless `encoding` is given) or "wb".
      **open_arguments: passed to `open`, for example `newline=""`.
    """
    with replacing_path(path) as beside:
        if "b" not in mode:
            open_arguments.setdefault("encoding", "utf-8")
        with open(beside, mode, **open_arguments) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes UTF-8 text with "\\n" line ends."""
    with replacing(path, newline="\n") as file:
        file.write(text)


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes indented UTF-8 JSON that keeps the order of keys; NaN is refused because JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
