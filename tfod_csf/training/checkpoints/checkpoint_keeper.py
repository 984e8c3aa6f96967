"""Checkpoints of a run: TFOD's `ckpt-N` in model_dir, the best one by mAP apart in `model_dir/best`."""

import json
import math
import os
import pathlib
import shutil
from collections.abc import Mapping

import tensorflow as tf

from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write

MAX_TO_KEEP = 7
BEST_FOLDER = "best"
BEST_FILE = "best.json"
# The first that an evaluation reports decides which checkpoint is best.
BEST_METRICS = (
    "PascalBoxes_Precision/mAP@0.5IOU",
    "DetectionBoxes_Precision/mAP@.50IOU",
    "WeightedPascalBoxes_Precision/mAP@0.5IOU",
)


class NotFiniteWeightsError(UserError):
    """Weights that must not overwrite a good checkpoint."""


class CheckpointKeeper:
    """Saves and restores the state of a run under TFOD's names and keys.

    TFOD's habits: `ckpt-1` is the state at step 0, the number counts saves, not steps, and 7 checkpoints are kept.

    Args:
      checkpoint: tf.train.Checkpoint(step=..., model=..., optimizer=...).
      folder: model_dir, or a scratch folder for workers other than the chief.
      global_step: the variable in `checkpoint`.
      trainable_variables: looked at before saving.
    """

    def __init__(
        self,
        checkpoint: tf.train.Checkpoint,
        folder: str | os.PathLike,
        global_step: tf.Variable,
        trainable_variables: list[tf.Variable],
    ):
        self._checkpoint = checkpoint
        self._manager = tf.train.CheckpointManager(checkpoint, os.fspath(folder), max_to_keep=MAX_TO_KEEP)
        self._global_step = global_step
        self._trainable_variables = trainable_variables
        self.saved_step: int | None = None

    @property
    def latest(self) -> str | None:
        """Prefix of the newest checkpoint in the folder."""
        return self._manager.latest_checkpoint

    def restore_latest(self, from_path: str | None = None) -> str | None:
        """Goes on from the newest checkpoint; returns its prefix, None when there is none.

        Args:
          from_path: the checkpoint to restore, for workers whose own folder is a scratch folder.
        """
        path = from_path or self.latest
        if path is None:
            return None
        try:
            self._checkpoint.restore(path).assert_existing_objects_matched()
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            raise UserError(
                f"{path}: cannot go on from this checkpoint ({str(error).strip().splitlines()[0]}); it is damaged or "
                "was trained with another model or optimizer; use an empty --model_dir to start anew."
            ) from error
        self.saved_step = int(self._global_step.numpy())
        return path

    def save(self) -> str:
        """Writes the next `ckpt-N`, unless this step is saved already; returns its prefix.

        Raises:
          NotFiniteWeightsError: a weight is not finite; the checkpoints on disk stay as they are.
        """
        step = int(self._global_step.numpy())
        if self.saved_step == step:
            return self.latest
        if not bool(_all_finite(self._trainable_variables)):
            raise NotFiniteWeightsError(
                f"step {step}: the weights are not finite any more, so they are not saved (the loss was; the last "
                f"gradient was not); the last good checkpoint is {self.latest}; lower the learning rate or set "
                "train_config.gradient_clipping_by_norm."
            )
        path = self._manager.save()
        self.saved_step = step
        return path


@tf.function
def _all_finite(variables: list[tf.Variable]) -> tf.Tensor:
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(variable)) for variable in variables])


def best_metric(metrics: Mapping[str, float]) -> tuple[str, float] | None:
    """Name and value of the metric that decides; None when none was computed or it has no ground truth."""
    for name in BEST_METRICS:
        value = metrics.get(name, math.nan)
        if not math.isnan(value) and value >= 0:
            return name, value
    return None


def best_text(metrics: Mapping[str, float]) -> str:
    """The deciding metric for the eye, for example "PascalBoxes_Precision/mAP@0.5IOU 0.8123"."""
    found = best_metric(metrics)
    return f"{found[0]} {found[1]:.4f}" if found else "no metric"


def read_best(model_dir: str | os.PathLike) -> dict | None:
    """Contents of best.json; None when there is none."""
    path = pathlib.Path(model_dir) / BEST_FOLDER / BEST_FILE
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}); delete the folder {path.parent} to choose anew.") from error


def is_better(metrics: Mapping[str, float], model_dir: str | os.PathLike) -> bool:
    """True when these metrics beat those of best.json (strictly: of equals the earlier stays)."""
    found = best_metric(metrics)
    if found is None:
        return False
    best = read_best(model_dir)
    return best is None or best.get("metric") != found[0] or found[1] > best["value"]


def keep_best(checkpoint_path: str, step: int, metrics: Mapping[str, float], model_dir: str | os.PathLike) -> None:
    """Puts a checkpoint into `<model_dir>/best` with best.json, in the place of the one there.

    The files are linked where the file system can (they take no space twice), else copied. The new files are complete
    before anything points at them, and the old ones go last.
    """
    folder = pathlib.Path(model_dir) / BEST_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    source = pathlib.Path(checkpoint_path)
    new = []
    for path in sorted(source.parent.glob(f"{source.name}.*")):
        target = folder / path.name
        target.unlink(missing_ok=True)
        try:
            os.link(path, target)
        except OSError:
            shutil.copy2(path, target)
        new.append(target)
    if not new:
        raise FileNotFoundError(f"{checkpoint_path}.index")
    state = f'model_checkpoint_path: "{source.name}"\nall_model_checkpoint_paths: "{source.name}"\n'
    atomic_write.write_text(folder / "checkpoint", state)
    name, value = best_metric(metrics)
    atomic_write.write_json(
        folder / BEST_FILE,
        {
            "metric": name,
            "value": value,
            "step": step,
            "checkpoint": source.name,
            "metrics": {key: None if math.isnan(number) else number for key, number in metrics.items()},
        },
    )
    for path in folder.glob("ckpt-*"):
        if path not in new:
            path.unlink()
