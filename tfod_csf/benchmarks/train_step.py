"""Time that one training step takes for an image: forward pass, losses, gradients and update, from random weights.

Batches are ready in memory; `input_pipeline` measures making them, which happens at the same time in a training run.
"""

import itertools

from tfod_csf import legacy_keras  # noqa: F401  isort: skip

import tensorflow as tf

from tfod_csf.benchmarks import flops, forward_pass, stopwatch
from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.data import inputs
from tfod_csf.modeling import model_builder
from tfod_csf.training import optimizer as optimizers
from tfod_csf.training.trainer import TOTAL_LOSS, FasterRcnnTrainer, UpdateSettings

WARM_UP_CALLS = 2
_NUM_BATCHES = 4  # steps take turns with them


def measure(config: pipeline_pb2.TrainEvalPipelineConfig, num_repeats: int) -> dict[str, float]:
    """Trains on the config's records, with its batch size and optimizer.

    Args:
      config: complete; its image_resizer gives all images one size.
      num_repeats: see `stopwatch`.

    Returns:
      The keys of `forward_pass.row_of`, and height_px and width_px of the network's input.
    """
    train_config = config.train_config
    batches = list(
        itertools.islice(inputs.train_input(train_config, config.train_input_reader, config.model, 0), _NUM_BATCHES)
    )
    model = model_builder.build(config.model, is_training=True)
    model.build_variables()
    optimizer, _ = optimizers.build(train_config.optimizer)
    optimizers.create_slots(optimizer, model.trainable_variables)
    trainer = FasterRcnnTrainer(
        model,
        train_dataset=None,
        optimizer=optimizer,
        global_step=tf.Variable(0, dtype=tf.int64, trainable=False),
        strategy=tf.distribute.get_strategy(),
        update=UpdateSettings(gradient_clipping_by_norm=train_config.gradient_clipping_by_norm),
        add_regularization_loss=train_config.add_regularization_loss,
    )
    step = tf.function(trainer.replica_step)
    num_flops = flops.count(step.get_concrete_function(*batches[0]))
    turns = itertools.cycle(batches)

    def take_step() -> float:
        losses, _ = step(*next(turns))
        return losses[TOTAL_LOSS].numpy()

    measured = stopwatch.measure(take_step, num_flops, num_repeats, WARM_UP_CALLS)
    _, height, width, _ = batches[0][0]["image"].shape
    row = forward_pass.row_of(measured, num_flops, train_config.batch_size)
    return row | {"height_px": height, "width_px": width}
