"""The newest checkpoint of a run that is whole: every value can be read, fits its checksum, and is finite."""

import logging
import os

import numpy as np

from tfod_csf.training.checkpoints import run_checkpoints
from tfod_csf.training.checkpoints.checkpoint_files import CheckpointError, StoredCheckpoint

_log = logging.getLogger("tfod_csf")


def newest_sound(folder: str | os.PathLike) -> str | None:
    """Prefix of the newest checkpoint that can be used; None where there is none at all.

    Newer ones that are damaged are named in the log. Their steps are taken again.

    Raises:
      CheckpointError: there are checkpoints, and none can be used.
    """
    problems = []
    for prefix in run_checkpoints.all_checkpoints(folder):
        problem = why_unsound(prefix)
        if not problem:
            if problems:
                _log.warning("%s; the checkpoint before is used: %s.", "; ".join(problems), prefix)
            return prefix
        problems.append(problem)
    if problems:
        raise CheckpointError(
            f"{folder}: none of its checkpoints can be used ({'; '.join(problems)}); restore them from a backup, or "
            "use an empty --model_dir to start again."
        )
    return None


def why_unsound(prefix: str) -> str:
    """What is wrong with a checkpoint, in words; "" when it is whole."""
    name = os.path.basename(prefix)
    if not os.path.isfile(f"{prefix}.index"):
        return f"{name} is damaged (there is no {name}.index)"
    try:
        stored = StoredCheckpoint(prefix, name)
        for key in stored.shapes:
            value = np.asarray(stored.read(key))
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                return f"{name} holds values that are not finite ({key})"
    except CheckpointError as error:
        return f"{name} is damaged ({str(error).splitlines()[0].partition('(')[2].partition(')')[0]})"
    return ""
