"""The loss of a run, one row per block of steps, in `<model_dir>/loss_history.csv`.

TensorBoard gets TFOD's values: the losses of a block's last step. Loss saturation is decided from block means, which
are less noisy and must survive a restart; they are kept here, where a spreadsheet can plot them too.
"""

import math
import os
import pathlib

from tfod_csf.files import csv_schemas
from tfod_csf.files.csv_tables import TableError

FILE_NAME = "loss_history.csv"


class LossHistory:
    """Block means of the total loss, kept on disk.

    Args:
      folder: the run's model_dir; None writes no file (workers other than the chief).
      last_step: rows after this step are dropped, because a restarted run takes these steps again.
    """

    def __init__(self, folder: str | os.PathLike | None, last_step: int):
        self._path = None if folder is None else pathlib.Path(folder) / FILE_NAME
        self._schema = csv_schemas.load("loss_history")
        self._rows: list[dict[str, float]] = []
        if self._path is not None and self._path.is_file():
            try:
                self._rows = [row for row in self._schema.read(self._path) if row["step"] <= last_step]
            except TableError as error:
                raise TableError(f"{error} Restore the file, or delete it.") from error

    @property
    def steps(self) -> list[int]:
        """[N] last step of each block, rising."""
        return [row["step"] for row in self._rows]

    @property
    def losses(self) -> list[float]:
        """[N] mean total loss of each block."""
        return [row["mean_total_loss"] for row in self._rows]

    def add(self, step: int, mean_total_loss: float, learning_rate: float, steps_per_second: float) -> None:
        """Adds one block and writes the table.

        Raises:
          ValueError: the loss is not finite.
        """
        if not math.isfinite(mean_total_loss):
            raise ValueError(f"mean total loss of the block that ends at step {step} is {mean_total_loss}")
        self._rows.append(
            {
                "step": step,
                "mean_total_loss": mean_total_loss,
                "learning_rate": learning_rate,
                "steps_per_second": steps_per_second,
            }
        )
        if self._path is not None:
            self._schema.write(self._path, self._rows)
