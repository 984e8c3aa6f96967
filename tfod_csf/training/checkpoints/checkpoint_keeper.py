"""Saves and restores a run as TFOD's `ckpt-N` in model_dir."""

import os

import tensorflow as tf

from tfod_csf.errors import UserError

MAX_TO_KEEP = 7


class NonFiniteWeightsError(UserError):
    """Weights that must not overwrite a good checkpoint."""


class CheckpointKeeper:
    """Saves and restores the state of a run under TFOD's names and keys.

    TFOD's habits: `ckpt-1` is the state at step 0, the number counts saves, not steps, and 7 checkpoints are kept.

    Args:
      checkpoint: tf.train.Checkpoint(step=..., model=..., optimizer=...).
      folder: model_dir, or a scratch folder for workers other than the chief.
      global_step: the step in `checkpoint`.
      variables: must be finite to be saved; those that are not of a floating type are.

    Attributes:
      latest: prefix of the checkpoint saved or restored last, a good one; None before.
      saved_step: its step; None before.
    """

    def __init__(
        self,
        checkpoint: tf.train.Checkpoint,
        folder: str | os.PathLike,
        global_step: tf.Variable,
        variables: list[tf.Variable],
    ):
        self._checkpoint = checkpoint
        self._folder = os.fspath(folder)
        self._manager = tf.train.CheckpointManager(checkpoint, self._folder, max_to_keep=MAX_TO_KEEP)
        self._global_step = global_step
        self._variables = [variable for variable in variables if variable.dtype.is_floating]
        self.latest: str | None = None
        self.saved_step: int | None = None

    def restore(self, path: str) -> None:
        """Restores a checkpoint, of the run's folder or, for workers whose own folder is a scratch folder, of another.

        Raises:
          UserError: the checkpoint is damaged or of another model or optimizer.
        """
        try:
            self._checkpoint.restore(path).assert_existing_objects_matched()
        except (tf.errors.OpError, AssertionError, ValueError, RuntimeError, IndexError) as error:
            raise UserError(
                f"{path}: cannot resume from this checkpoint ({str(error).strip().splitlines()[0]}); it is damaged or "
                "was trained with another model or optimizer; use an empty --model_dir to start again."
            ) from error
        self.latest, self.saved_step = path, int(self._global_step.numpy())

    def save(self) -> str | None:
        """Writes the next `ckpt-N` unless this step has been saved; returns the prefix of the step's checkpoint.

        Raises:
          NonFiniteWeightsError: a weight or a slot of the optimizer is not finite; nothing is written.
          UserError: the disk is full, or the folder cannot be written.
        """
        step = int(self._global_step.numpy())
        if self.saved_step == step:
            return self.latest
        if not bool(_all_finite(self._variables)):
            raise NonFiniteWeightsError(
                f"step {step}: the last update made the weights non-finite (the loss was still finite); nothing was "
                f"saved; the last good checkpoint is {self.latest}; lower the learning rate or set "
                "train_config.gradient_clipping_by_norm."
            )
        try:
            path = self._manager.save()
        except (tf.errors.OpError, OSError) as error:
            raise UserError(
                f"{self._folder}: the checkpoint of step {step} cannot be written "
                f"({str(error).strip().partition(chr(10))[0][:200]}); the last good checkpoint is {self.latest}; make "
                "room or give a folder that can be written, and run the same command again."
            ) from error
        self.latest, self.saved_step = path, step
        return path


@tf.function
def _all_finite(variables: list[tf.Variable]) -> tf.Tensor:
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(variable)) for variable in variables])
