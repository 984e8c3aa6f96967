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
      trainable_variables: must be finite to be saved.

    Attributes:
      saved_step: step of the checkpoint saved or restored last; None before.
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
        """Restores the newest checkpoint; returns its prefix, None when there is none.

        Args:
          from_path: the checkpoint to restore instead, for workers whose own folder is a scratch folder.

        Raises:
          UserError: the checkpoint is damaged or of another model or optimizer.
        """
        path = from_path or self.latest
        if path is None:
            return None
        try:
            self._checkpoint.restore(path).assert_existing_objects_matched()
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            raise UserError(
                f"{path}: cannot resume from this checkpoint ({str(error).strip().splitlines()[0]}); it is damaged or "
                "was trained with another model or optimizer; use an empty --model_dir to start again."
            ) from error
        self.saved_step = int(self._global_step.numpy())
        return path

    def save(self) -> str:
        """Writes the next `ckpt-N` unless this step has been saved; returns the prefix of the step's checkpoint.

        Raises:
          NonFiniteWeightsError: a weight is not finite; nothing is written.
        """
        step = int(self._global_step.numpy())
        if self.saved_step == step:
            return self.latest
        if not bool(_all_finite(self._trainable_variables)):
            raise NonFiniteWeightsError(
                f"step {step}: the last update made the weights non-finite (the loss was still finite); nothing was "
                f"saved; the last good checkpoint is {self.latest}; lower the learning rate or set "
                "train_config.gradient_clipping_by_norm."
            )
        path = self._manager.save()
        self.saved_step = step
        return path


@tf.function
def _all_finite(variables: list[tf.Variable]) -> tf.Tensor:
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(variable)) for variable in variables])
