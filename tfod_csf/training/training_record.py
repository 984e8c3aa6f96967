"""`<model_dir>/training.json`: run state needed by a restart or a separate evaluation process.

The checkpoint itself holds TFOD's keys and nothing else, so that TFOD can read it; choices that change what its
numbers mean are stored beside it.
"""

import dataclasses
import os
import pathlib

from tfod_csf import __version__
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, given_files

FILE_NAME = "training.json"
RUNNING = "running"
FINISHED = "finished"
SATURATED = "saturated"
STOPPED = "stopped"
FAILED = "failed"
ENDED_WELL = (FINISHED, SATURATED)


@dataclasses.dataclass
class TrainingRecord:
    """State of the training run in a model_dir.

    Attributes:
      status: "running" (or killed while running), "finished" (all steps done), "saturated" (ended early because the
        loss had saturated), "stopped" (Ctrl-C or SIGTERM), "failed" (loss not finite, or another error).
      step: step of the last log line.
      num_steps: the step that the run was to reach.
      rms_prop_rule: "tf1", "tf2", or "" when the optimizer is not RMSProp.
      seed: of initial weights, order, augmentation and sampling; a resumed run continues with it.
      evaluated_step: step of the last evaluation; None: no evaluation yet.
      first_loss: total loss of step 1; None before it.
      reason: why the run ended, one sentence; "" while it runs.
      classes: of `checkpoints.trained_classes.by_id`; {} of a run without a label map, or of an earlier version.
      version: version of this package.
    """

    status: str = RUNNING
    step: int = 0
    num_steps: int = 0
    rms_prop_rule: str = ""
    seed: int | None = None
    evaluated_step: int | None = None
    first_loss: float | None = None
    reason: str = ""
    classes: dict[str, str] = dataclasses.field(default_factory=dict)
    version: str = __version__

    def save(self, model_dir: str | os.PathLike) -> None:
        """Writes training.json."""
        atomic_write.write_json(pathlib.Path(model_dir) / FILE_NAME, dataclasses.asdict(self))


def load(model_dir: str | os.PathLike) -> TrainingRecord | None:
    """Reads training.json; None when there is none (no run yet, or a run of TFOD itself).

    Raises:
      UserError: the file is not what `TrainingRecord.save` writes.
    """
    path = pathlib.Path(model_dir) / FILE_NAME
    if not path.is_file():
        return None
    names = {field.name for field in dataclasses.fields(TrainingRecord)}
    try:
        values = given_files.read_json(path)
        record = TrainingRecord(**{name: value for name, value in values.items() if name in names})
        if not isinstance(record.classes, dict):
            raise TypeError(f"classes is {record.classes!r}")
        return record
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a record of a training run ({error}); restore or delete it.") from error
