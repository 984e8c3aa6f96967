"""The loss of a run, one row per block of steps, in `<model_dir>/loss_history.csv`.

TensorBoard gets TFOD's values: the losses of a block's last step. Whether the loss has saturated is asked of block
means, which are less noisy and must survive a restart; they are kept here, where a spreadsheet can draw them too.
"""

import math
import os
import pathlib

from tfod_csf import csv_tables

FILE_NAME = "loss_history.csv"
COLUMNS = ("step", "mean_total_loss", "learning_rate", "steps_per_second")


class LossHistory:
    """Block means of the total loss, kept on disk.

    Args:
      folder: the run's model_dir; None keeps nothing on disk (workers other than the chief).
      last_step: rows after this step are dropped: they belong to steps that a restart takes again.
    """

    def __init__(self, folder: str | os.PathLike | None, last_step: int):
        self._path = None if folder is None else pathlib.Path(folder) / FILE_NAME
        self._rows: list[dict] = []
        if self._path is not None and self._path.is_file():
            rows = csv_tables.read_rows(self._path, COLUMNS)
            self._rows = [row for row in rows if int(row["step"]) <= last_step]

    @property
    def steps(self) -> list[int]:
        """[N] last step of each block, rising."""
        return [int(row["step"]) for row in self._rows]

    @property
    def losses(self) -> list[float]:
        """[N] mean total loss of each block."""
        return [float(row["mean_total_loss"]) for row in self._rows]

    def add(self, step: int, mean_total_loss: float, learning_rate: float, steps_per_second: float) -> None:
        """Adds one block and writes the table."""
        if not math.isfinite(mean_total_loss):
            raise ValueError(f"mean total loss of the block that ends at step {step} is {mean_total_loss}")
        values = (step, f"{mean_total_loss:.7g}", f"{learning_rate:.7g}", f"{steps_per_second:.4g}")
        self._rows.append(dict(zip(COLUMNS, values)))
        if self._path is not None:
            csv_tables.write_rows(self._path, COLUMNS, self._rows)
