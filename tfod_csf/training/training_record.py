"""`<model_dir>/training.json`: what a restart and an evaluating second process must know about a run.

The checkpoint itself holds TFOD's keys and nothing else, so that TFOD can read it; choices that change what its
numbers mean lie beside it.
"""

import dataclasses
import json
import os
import pathlib

from tfod_csf import __version__
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write

FILE_NAME = "training.json"
RUNNING = "running"
FINISHED = "finished"
SATURATED = "saturated"
STOPPED = "stopped"
FAILED = "failed"
ENDED_WELL = (FINISHED, SATURATED)


class RunRecordError(UserError):
    """training.json cannot be read, or contradicts the command."""


@dataclasses.dataclass
class RunRecord:
    """State of the training run in a model_dir.

    Attributes:
      status: "running" (or killed while running), "finished" (all steps done), "saturated" (ended early because the
        loss had), "stopped" (Ctrl-C or SIGTERM), "failed" (loss not finite).
      step: step of the last report.
      num_steps: steps asked for.
      rms_prop_rule: "tf1", "tf2", or "" when the optimizer is not RMSProp.
      seed: the seed, or None.
      reason: why the run ended, one sentence; "" while it runs.
      version: version of this package.
    """

    status: str = RUNNING
    step: int = 0
    num_steps: int = 0
    rms_prop_rule: str = ""
    seed: int | None = None
    reason: str = ""
    version: str = __version__

    def save(self, model_dir: str | os.PathLike) -> None:
        """Writes training.json."""
        atomic_write.write_json(pathlib.Path(model_dir) / FILE_NAME, dataclasses.asdict(self))


def load(model_dir: str | os.PathLike) -> RunRecord | None:
    """Reads training.json; None when there is none (no run yet, or a run of TFOD itself).

    Raises:
      RunRecordError: the file is not what `RunRecord.save` writes.
    """
    path = pathlib.Path(model_dir) / FILE_NAME
    if not path.is_file():
        return None
    names = {field.name for field in dataclasses.fields(RunRecord)}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return RunRecord(**{name: value for name, value in values.items() if name in names})
    except (ValueError, TypeError, AttributeError) as error:
        raise RunRecordError(f"{path}: not a record of a training run ({error}); restore or delete it.") from error
