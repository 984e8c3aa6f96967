"""A checkpoint of the tiny network that has detections although it is untrained, for the tests of the exporter."""

import pathlib

from tests.support import tiny_training


def write_checkpoint(folder: pathlib.Path, records_dir: pathlib.Path, seed: int = 0) -> None:
    """Writes pipeline.config and ckpt-1 into `folder`.

    Random weights, batch norm statistics of noise, and output layers with larger weights than at the start of a
    training, so that scores and boxes differ from each other and from image to image.
    """
    from tfod_csf import legacy_keras  # noqa: F401  isort: skip

    import tensorflow as tf

    from tfod_csf.config.pipeline_config import load_pipeline_config
    from tfod_csf.modeling import model_builder
    from tfod_csf.training.checkpoints import checkpoint_view

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pipeline.config").write_text(tiny_training.config_text(records_dir))
    config = load_pipeline_config(folder / "pipeline.config")
    tf.keras.utils.set_random_seed(seed)
    model = model_builder.build(config.model, is_training=True)
    model.build_variables(tiny_training.SIZE_PX, tiny_training.SIZE_PX)
    layers = [layer for half in model.keras_layers() for layer in half.submodules]
    for layer in layers:
        if hasattr(layer, "moving_mean"):
            layer.momentum = 0.0
    noise = tf.random.stateless_uniform([4, tiny_training.SIZE_PX, tiny_training.SIZE_PX, 3], [seed, 1], -110.0, 130.0)
    model.predict(noise, tf.constant([[tiny_training.SIZE_PX, tiny_training.SIZE_PX, 3]] * 4), training=True)
    step = tf.Variable(0, dtype=tf.int64)
    root = tf.train.Checkpoint(step=step, model=checkpoint_view.checkpoint_view(model))
    tf.train.CheckpointManager(root, str(folder), max_to_keep=1).save()
