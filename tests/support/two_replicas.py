"""Run as a program: the same global batch on one and on two logical CPU devices; writes gradients and weights.

`python -m tests.support.two_replicas RECORDS_DIR OUT.npz`. Arrays: `<replicas>/loss/<name>`,
`<replicas>/gradient/<index>`, `<replicas>/before/<index>`, `<replicas>/after/<index>` (after one step, the gradient
clipped). A process of its own, because logical devices must be made before TensorFlow starts.
"""

import pathlib
import sys

from tfod_csf import legacy_keras  # noqa: F401  isort: skip

import numpy as np
import tensorflow as tf
import tf_keras
from google.protobuf import text_format

from tests.support import tiny_training
from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.data import inputs
from tfod_csf.modeling import model_builder
from tfod_csf.training import optimizer as optimizers
from tfod_csf.training.trainer import FasterRcnnTrainer, UpdateSettings


def make_config(records_dir: pathlib.Path) -> pipeline_pb2.TrainEvalPipelineConfig:
    """Batch norm frozen, and minibatches larger than what there is to sample from: nothing is left to chance."""
    text = tiny_training.config_text(records_dir, batch_norm_trainable=False)
    config = text_format.Parse(text, pipeline_pb2.TrainEvalPipelineConfig())
    config.model.faster_rcnn.first_stage_positive_balance_fraction = 1.0
    config.model.faster_rcnn.second_stage_balance_fraction = 1.0
    config.model.faster_rcnn.first_stage_max_proposals = 32
    config.model.faster_rcnn.second_stage_batch_size = 32
    # Proposals close to their anchors, so that some of them meet a box and the second stage has boxes to learn.
    rpn = config.model.faster_rcnn.first_stage_box_predictor_conv_hyperparams
    rpn.initializer.truncated_normal_initializer.stddev = 0.001
    return config


def arrays_of(config: pipeline_pb2.TrainEvalPipelineConfig, devices: list[str]) -> dict[str, np.ndarray]:
    """Gradients of the first batch, and the weights before and after one step."""
    strategy = tf.distribute.MirroredStrategy(devices)
    tf_keras.utils.set_random_seed(3)
    with strategy.scope():
        model = model_builder.build(config.model, is_training=True)
        model.build_variables()
        global_step = tf.Variable(0, dtype=tf.int64, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)
        optimizer, _ = optimizers.build(config.train_config.optimizer)

    def make_dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
        return inputs.train_input(
            config.train_config, config.train_input_reader, config.model, seed=11, input_context=context
        )

    dataset = strategy.distribute_datasets_from_function(make_dataset)
    update = UpdateSettings(gradient_clipping_by_norm=50.0, bias_grad_multiplier=2.0)
    trainer = FasterRcnnTrainer(model, dataset, optimizer, global_step, strategy, update)
    variables = model.trainable_variables
    # The second network of a process has other names for its layers, so variables go by their place in the list.
    names = [f"{index:03d}" for index in range(len(variables))]
    arrays = {f"before/{name}": variable.numpy() for name, variable in zip(names, variables)}

    def replica_step(features, labels):
        losses, gradients, updated = trainer.compute_gradients(features, labels)
        trainer.apply_gradients(gradients, updated)
        return losses, gradients

    @tf.function
    def step(features, labels):
        losses, gradients = strategy.run(replica_step, args=(features, labels))
        total = tf.distribute.ReduceOp.SUM
        return tf.nest.map_structure(lambda value: strategy.reduce(total, value, axis=None), (losses, gradients))

    losses, gradients = step(*next(iter(dataset)))
    arrays |= {f"loss/{name}": loss.numpy() for name, loss in losses.items()}
    arrays |= {f"gradient/{name}": gradient.numpy() for name, gradient in zip(names, gradients)}
    return arrays | {f"after/{name}": variable.numpy() for name, variable in zip(names, variables)}


def main(records_dir: str, output: str) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    config = make_config(pathlib.Path(records_dir))
    arrays = {}
    for devices in (["CPU:0"], ["CPU:0", "CPU:1"]):
        found = arrays_of(config, devices)
        arrays |= {f"{len(devices)}/{name}": value for name, value in found.items()}
    np.savez(output, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
