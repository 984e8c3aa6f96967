"""Published configs, of TensorFlow 1 and 2: the network is built as written and learns one step."""

import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.config import extractor_types
from tfod_csf.config.pipeline_config import load_pipeline_config
from tfod_csf.modeling import model_builder
from tfod_csf.training import optimizer as optimizers

SIZE = 64  # px, instead of the configs' 640 to 1333


@pytest.mark.slow
@pytest.mark.recorded("pipeline_configs/*.config", "tf1/pipeline_configs_tf1/*.config")
def test_one_training_step(recorded):
    config = load_pipeline_config(recorded)
    if config.model.faster_rcnn.feature_extractor.type not in extractor_types.SUPPORTED:
        pytest.skip("refused by name, see test_pipeline_configs")
    resizer = config.model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer
    resizer.min_dimension = resizer.max_dimension = SIZE
    config.model.faster_rcnn.second_stage_batch_size = config.model.faster_rcnn.first_stage_max_proposals = 8
    # The zoo's smallest anchors are 64 px, most of which cross the border of so small an image.
    config.model.faster_rcnn.clip_anchors_to_image = True
    model = model_builder.build(config.model, is_training=True)
    model.build_variables(40, 40)  # TensorFlow 1's networks refuse sides below 33 px
    optimizer, _ = optimizers.build(config.train_config.optimizer)
    head = model.box_classifier.head.class_predictor_layers[-1].variables
    # Random weights under frozen batch norm give logits of 1e7, of which the right one, by chance, leaves no gradient.
    for variable in head:
        variable.assign(tf.zeros_like(variable))

    images = tf.random.stateless_uniform([1, SIZE, SIZE, 3], seed=[4, 2], maxval=255.0)
    groundtruth = {
        "boxes": tf.constant([[[0.1, 0.1, 0.6, 0.5]]]),
        "classes": tf.one_hot([[1]], model.num_classes),
        "weights": tf.ones([1, 1]),
    }
    preprocessed, true_image_shapes = model.preprocess(images)
    with tf.GradientTape() as tape:
        predictions = model.predict(preprocessed, true_image_shapes, groundtruth, training=True)
        losses = model.loss(predictions, true_image_shapes, groundtruth)
        total = tf.add_n([*losses.values(), *model.regularization_losses()])
    variables = model.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(total, variables), variables))
    assert all(np.isfinite(value) for value in losses.values())
    if config.train_config.optimizer.WhichOneof("optimizer") == "momentum_optimizer":
        # Cosine schedules that start from 0 move nothing in the first step.
        rate = config.train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate
        if rate.warmup_learning_rate == 0:
            return
    assert any(np.any(variable.numpy()) for variable in head)
