"""One step of training: forward pass, losses, gradients, update; blocks of steps are in training_loop.py.

Shape shorthand in this module: B images of one replica, M groundtruth boxes of an image (padded), K classes without
background.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfod_csf.config.protos import train_pb2
from tfod_csf.modeling import balanced_sampler, slim_variable_names
from tfod_csf.modeling.faster_rcnn import FasterRCNN
from tfod_csf.network_input.image_normalizer import ImageNormalizer
from tfod_csf.training import optimizer as optimizers

REGULARIZATION_LOSS = "Loss/regularization_loss"
TOTAL_LOSS = "Loss/total_loss"
_LARGEST_SEED = 2**31 - 1


def groundtruth_of(labels: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The model's groundtruth from the labels of `data.inputs`.

    Args:
      labels: groundtruth_boxes [B, M, 4] (ymin, xmin, ymax, xmax), normalized to the padded image,
        groundtruth_classes [B, M, K] one-hot without background, groundtruth_weights [B, M] (0 is padding),
        num_groundtruth_boxes [B].
    """
    return {
        "boxes": labels["groundtruth_boxes"],
        "classes": labels["groundtruth_classes"],
        "weights": labels["groundtruth_weights"],
        "num_boxes": labels["num_groundtruth_boxes"],
    }


def total_loss(losses: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Sum of the named losses."""
    return tf.add_n(list(losses.values()))


def losses_of(
    model: FasterRCNN,
    predictions: Mapping[str, tf.Tensor],
    features: Mapping[str, tf.Tensor],
    labels: Mapping[str, tf.Tensor],
    add_regularization_loss: bool,
) -> dict[str, tf.Tensor]:
    """The model's named losses, and the regularization loss where the config asks for it. Scalars."""
    losses = dict(model.loss(predictions, features["true_image_shape"], groundtruth_of(labels)))
    if add_regularization_loss:
        losses[REGULARIZATION_LOSS] = tf.add_n([tf.zeros([]), *model.regularization_losses()])
    return losses


@dataclasses.dataclass(frozen=True)
class UpdateSettings:
    """Fields of train_config that say which variables a step updates, and how.

    Attributes:
      gradient_clipping_by_norm: largest global norm of the gradient of the whole batch; 0: no clipping.
      bias_grad_multiplier: factor for the gradients of biases; 0: none.
      update_trainable_variables, freeze_variables: regular expressions for variable names, see `updated_variables`.
    """

    gradient_clipping_by_norm: float = 0.0
    bias_grad_multiplier: float = 0.0
    update_trainable_variables: Sequence[str] = ()
    freeze_variables: Sequence[str] = ()

    @classmethod
    def from_config(cls, config: train_pb2.TrainConfig) -> "UpdateSettings":
        """The fields of `train_config` that have these names."""
        return cls(
            gradient_clipping_by_norm=config.gradient_clipping_by_norm,
            bias_grad_multiplier=config.bias_grad_multiplier,
            update_trainable_variables=tuple(config.update_trainable_variables),
            freeze_variables=tuple(config.freeze_variables),
        )


def updated_variables(model: FasterRCNN, update: UpdateSettings) -> list[tf.Variable]:
    """The variables that a step changes by their gradients, by their TensorFlow 1 names if the model has such."""
    return optimizers.select_trainable(
        model.trainable_variables,
        update.update_trainable_variables,
        update.freeze_variables,
        slim_variable_names.trainable_names(model),
    )


class FasterRcnnTrainer:
    """Trains one model on one dataset.

    Args:
      model: its variables exist.
      train_dataset: distributed dataset of (features, labels), see `data.inputs.train_input`.
      optimizer: tf_keras legacy optimizer.
      global_step: int64 variable, incremented by each step.
      strategy: model, optimizer and global_step were made in its scope.
      update: which variables are trained, and what is done to their gradients.
      add_regularization_loss: whether the penalty on the weights is part of the loss.
      seed: of the minibatches of anchors and proposals, together with the step.
    """

    def __init__(
        self,
        model: FasterRCNN,
        train_dataset: Any,
        optimizer: Any,
        global_step: tf.Variable,
        strategy: tf.distribute.Strategy,
        update: UpdateSettings | None = None,
        add_regularization_loss: bool = True,
        seed: int = 0,
    ):
        self.seed = seed
        self.train_dataset = train_dataset
        self.model = model
        self.optimizer = optimizer
        self.global_step = global_step
        self.strategy = strategy
        self.update = update or UpdateSettings()
        self.add_regularization_loss = add_regularization_loss
        self._iterator: Any = None
        self._traced_step = tf.function(self.train_step)

    @property
    def image_normalizer(self) -> ImageNormalizer:
        """What made the network's input of the images."""
        return self.model.feature_extractor.image_normalizer

    def steps(self, num_steps: int) -> Iterator[dict[str, Any]]:
        """Takes up to `num_steps` steps, and fewer when the dataset ends.

        The loop is Python's: beside a step of a tenth of a second and more it costs nothing, and the caller sees every
        step's loss. The dataset continues where the last call left it.

        Yields:
          The output of `train_step`, after each step.
        """
        if self._iterator is None:
            self._iterator = iter(self.train_dataset)
        for _ in range(num_steps):
            try:
                outputs = self._traced_step(self._iterator)
            except (StopIteration, tf.errors.OutOfRangeError):
                return
            yield outputs

    def train_step(self, iterator: Any) -> dict[str, Any]:
        """One step of all replicas.

        Returns:
          losses: {TFOD's name: scalar} summed over the replicas, `Loss/total_loss` among them.
          gradient_is_finite: bool scalar.
          images: preprocessed_inputs of each replica (distributed value of [B, H, W, 3]).
          true_image_shapes: distributed value of [B, 3].
          source_ids: distributed value of [B] strings.
        """
        features, labels = next(iterator)
        losses, num_bad = self.strategy.run(self.replica_step, args=(features, labels))
        total = tf.distribute.ReduceOp.SUM
        losses = {name: self.strategy.reduce(total, loss, axis=None) for name, loss in losses.items()}
        num_bad = self.strategy.reduce(total, num_bad, axis=None)
        # Only after the step: a batch that cannot be read or decoded must not count.
        with tf.control_dependencies(list(losses.values())):
            self.global_step.assign_add(1)
        return {
            "losses": losses,
            "gradient_is_finite": num_bad == 0,
            "images": features["image"],
            "true_image_shapes": features["true_image_shape"],
            "source_ids": features["source_id"],
        }

    def replica_step(
        self, features: Mapping[str, tf.Tensor], labels: Mapping[str, tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """One replica's share of a step, in replica context.

        Returns:
          Its losses (each divided by the number of replicas), and how many of its gradients are not finite, int32.
        """
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        with balanced_sampler.seeds_from(self._seed_of_step(), replica, self.strategy.num_replicas_in_sync):
            losses, gradients, variables = self.compute_gradients(features, labels)
        # A sum is finite only if all that is summed is, and takes one pass.
        bad = [~tf.math.is_finite(tf.reduce_sum(gradient)) for gradient in gradients]
        self.apply_gradients(gradients, variables)
        return losses, tf.math.count_nonzero(bad, dtype=tf.int32)

    def _seed_of_step(self) -> tf.Tensor:
        """int32 [2], of this step: a resumed run samples as an uninterrupted one."""
        step = tf.cast(self.global_step.read_value(), tf.int32)
        return tf.random.experimental.stateless_fold_in(tf.stack([self.seed % _LARGEST_SEED, step]), 0)

    def compute_gradients(
        self, features: Mapping[str, tf.Tensor], labels: Mapping[str, tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], list[tf.Tensor], list[tf.Variable]]:
        """Losses and gradients of one replica's images.

        Each loss is a mean over the replica's images; divided by the number of replicas and summed over them it is the
        mean over the global batch.

        Returns:
          losses: {name: scalar}, gradients and the variables they belong to (without those that have no gradient).
        """
        with tf.GradientTape() as tape:
            predictions = self.model.predict(
                features["image"], features["true_image_shape"], groundtruth_of(labels), training=True
            )
            losses = losses_of(self.model, predictions, features, labels, self.add_regularization_loss)
            losses = {name: loss / self.strategy.num_replicas_in_sync for name, loss in losses.items()}
            total = total_loss(losses)
        variables = updated_variables(self.model, self.update)
        pairs = zip(tape.gradient(total, variables), variables)
        pairs = [(gradient, variable) for gradient, variable in pairs if gradient is not None]
        gradients, variables = zip(*pairs)
        return {**losses, TOTAL_LOSS: total}, list(gradients), list(variables)

    def apply_gradients(self, gradients: list[tf.Tensor], variables: list[tf.Variable]) -> None:
        """Sums gradients over the replicas, clips their global norm, updates. In replica context."""
        if self.strategy.num_replicas_in_sync > 1:
            context = tf.distribute.get_replica_context()
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        gradients = optimizers.multiply_bias_gradients(gradients, variables, self.update.bias_grad_multiplier)
        gradients = optimizers.clip_gradients(gradients, self.update.gradient_clipping_by_norm)
        self.optimizer.apply_gradients(zip(gradients, variables), experimental_aggregate_gradients=False)
