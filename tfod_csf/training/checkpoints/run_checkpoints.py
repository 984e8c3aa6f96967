"""The checkpoints in a run's folder by their names, without TensorFlow: which there are, and what a killed run left.

TensorFlow writes a checkpoint in this order: data and index in `ckpt-N_temp/`, then `ckpt-N.data-*` and `ckpt-N.index`,
then the file `checkpoint`, which names it. A run that is killed in between continues from the checkpoint that this file
names, and writes the same N again.
"""

import os
import pathlib
import re
import shutil
from collections.abc import Sequence

from tfod_csf.files import atomic_write
from tfod_csf.training import training_record

STATE_FILE = "checkpoint"
_LINE = re.compile(r'(?P<field>(all_)?model_checkpoint_paths?): "(?P<name>[^"]+)"')
_INDEX = re.compile(r"ckpt-(?P<number>\d+)\.index")
_TENSORFLOW_1 = re.compile(r"model\.ckpt(-\d+)?\.index")
# What TensorFlow renames when it is complete.
_UNFINISHED = re.compile(
    r"ckpt-\d+_temp|checkpoint\.tmp[0-9a-f]+|ckpt-\d+\.(index|data-\d{5}-of-\d{5})\.tempstate\d+", re.ASCII
)
_EVENT_FOLDERS = ("train", "eval", "eval_on_train_data")


def latest_checkpoint(folder: str | os.PathLike) -> str | None:
    """Prefix of the checkpoint that the folder's `checkpoint` file names, if its index file exists.

    The same answer as tf.train.latest_checkpoint.
    """
    newest = _named(folder)[:1]
    return newest[0] if newest and os.path.isfile(f"{newest[0]}.index") else None


def all_checkpoints(folder: str | os.PathLike) -> list[str]:
    """Prefixes of a run's checkpoints, newest first: those that the file `checkpoint` names, there or not.

    Where that file cannot be read, or names nothing that is there, or is missing beside a training.json: every
    `ckpt-N.index`, by N (but see `why_not_resumable`). Checkpoints in a folder that no run wrote to are not a run's.
    """
    named = _named(folder)
    if any(os.path.isfile(f"{prefix}.index") for prefix in named):
        return named
    if not any(os.path.exists(os.path.join(folder, name)) for name in (STATE_FILE, training_record.FILE_NAME)):
        return []
    return [os.path.join(folder, name) for name in _held(folder)] or named


def why_not_resumable(folder: str | os.PathLike) -> str:
    """Why nobody can tell which of a folder's checkpoints is its run's newest, and what to do; "" where one can.

    Files were copied and others left behind: the file `checkpoint` is missing, or names none that is there. A run that
    was killed during its first save has ckpt-1 and no such file yet, and one that was damaged names nothing. Or the
    checkpoints are TensorFlow 1's.
    """
    named, held = _named(folder), _held(folder)
    foreign = [name.removesuffix(".index") for name in _names(folder) if _TENSORFLOW_1.fullmatch(name)]
    if foreign and not held:
        return (
            f"the folder holds {foreign[-1]}, as TensorFlow 1 writes it, from which no run resumes; convert it into "
            "another folder (convert_checkpoint)"
        )
    if any(os.path.isfile(f"{prefix}.index") for prefix in named):
        return ""
    record = training_record.load(folder)
    if named:
        there = f"the folder holds {', '.join(held[:3])}" if held else "the folder holds no checkpoint"
        lines = f', or write the line model_checkpoint_path: "{held[0]}" into it' if held else ""
        return f"the file {STATE_FILE} names {os.path.basename(named[0])}, which is missing; {there}; restore it{lines}"
    if not held or os.path.exists(os.path.join(folder, STATE_FILE)) or (held == ["ckpt-1"] and record):
        return ""
    step = f" ({training_record.FILE_NAME}: step {record.step})" if record else ""
    return (
        f"the folder holds {', '.join(held[:3])}{step} but no file {STATE_FILE} that names it; restore it with the "
        f'line model_checkpoint_path: "{held[0]}"'
    )


def _held(folder: str | os.PathLike) -> list[str]:
    """Names of the folder's checkpoints that have an index, by number, the largest first."""
    found = [match for match in map(_INDEX.fullmatch, _names(folder)) if match]
    found.sort(key=lambda match: int(match["number"]), reverse=True)
    return [match[0].removesuffix(".index") for match in found]


def write_state(folder: str | os.PathLike, names: Sequence[str]) -> None:
    """Writes the file `checkpoint`: names of the checkpoints in the folder, the newest last."""
    lines = [f'model_checkpoint_path: "{names[-1]}"', *(f'all_model_checkpoint_paths: "{name}"' for name in names)]
    atomic_write.write_text(pathlib.Path(folder) / STATE_FILE, "\n".join(lines) + "\n")


def remove_leftovers(model_dir: str | os.PathLike) -> list[pathlib.Path]:
    """Removes what a killed training left unfinished: files that TensorFlow had not renamed yet, and empty event files.

    Only for the one process that may write into model_dir (`folder_lock.only_writer`).

    Returns:
      What was removed.
    """
    model_dir = pathlib.Path(model_dir)
    gone = [model_dir / name for name in _names(model_dir) if _UNFINISHED.fullmatch(name)]
    for folder in _EVENT_FOLDERS:
        events = (model_dir / folder).rglob("events.out.tfevents.*")
        gone += [path for path in events if path.is_file() and not path.stat().st_size]
    for path in gone:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return gone


def _names(folder: str | os.PathLike) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _named(folder: str | os.PathLike) -> list[str]:
    """Prefixes that the file `checkpoint` names, newest first; [] where it cannot be read."""
    try:
        text = pathlib.Path(folder, STATE_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    newest, others = [], []
    for match in filter(None, map(_LINE.match, text.splitlines())):
        (others if match["field"].startswith("all_") else newest).append(_place_of(match["name"], folder))
    return newest[:1] + [prefix for prefix in reversed(others) if prefix not in newest]


def _place_of(name: str, folder: str | os.PathLike) -> str:
    """The prefix that a name in the file `checkpoint` means; an absolute one of a folder that was moved is its own."""
    prefix, beside = os.path.join(folder, name), os.path.join(folder, pathlib.PureWindowsPath(name).name)
    is_there = os.path.isfile(f"{prefix}.index")
    return beside if not is_there and os.path.isfile(f"{beside}.index") else prefix
