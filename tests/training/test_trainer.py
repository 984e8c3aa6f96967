"""A step by hand: a "network" of two variables whose losses and gradients can be written down."""

import types

import numpy as np
import pytest


class Line:
    """predict is slope * x + bias; the loss is the prediction's mean square, the penalty is slope."""

    def __init__(self, tf):
        self.slope = tf.Variable(2.0, name="line/kernel")
        self.bias = tf.Variable(1.0, name="line/bias")
        self.trainable_variables = [self.slope, self.bias]
        self.feature_extractor = types.SimpleNamespace(slim_scope=None)

    def predict(self, images, true_image_shapes, groundtruth, training):
        assert training
        return {"value": self.slope * images[:, 0, 0, 0] + self.bias}

    def loss(self, predictions, true_image_shapes, groundtruth):
        import tensorflow as tf

        return {"Loss/a": tf.reduce_mean(predictions["value"] ** 2), "Loss/b": tf.constant(0.5)}

    def regularization_losses(self):
        return [self.slope * 0.25]


@pytest.fixture
def make_trainer():
    """A trainer of a Line by plain SGD of rate 1 on batches of x = 1 and 3; without num_batches they do not end."""
    import tensorflow as tf
    import tf_keras

    from tfod_csf.training.trainer import FasterRcnnTrainer, UpdateSettings

    def make(num_batches=None, add_regularization_loss=True, **update):
        features = {
            "image": tf.reshape(tf.constant([1.0, 3.0]), [2, 1, 1, 1]),
            "true_image_shape": tf.constant([[1, 1, 3]] * 2),
            "source_id": tf.constant(["a.jpg", "b.jpg"]),
        }
        labels = {
            "groundtruth_boxes": tf.zeros([2, 0, 4]),
            "groundtruth_classes": tf.zeros([2, 0, 1]),
            "groundtruth_weights": tf.zeros([2, 0]),
            "num_groundtruth_boxes": tf.zeros([2], tf.int32),
        }
        return FasterRcnnTrainer(
            Line(tf),
            tf.data.Dataset.from_tensors((features, labels)).repeat(num_batches),
            tf_keras.optimizers.legacy.SGD(1.0),
            tf.Variable(0, dtype=tf.int64),
            tf.distribute.get_strategy(),
            UpdateSettings(**update),
            add_regularization_loss,
        )

    return make


@pytest.fixture
def train_one_step(make_trainer):
    """Runs one step; returns outputs, changes of slope and bias, step."""

    def run(**settings):
        trainer = make_trainer(**settings)
        (outputs,) = trainer.steps(1)
        changes = [2.0 - float(trainer.model.slope), 1.0 - float(trainer.model.bias)]
        return outputs, changes, int(trainer.global_step)

    return run


def test_losses_and_update_by_hand(train_one_step):
    outputs, gradient, step = train_one_step()
    # predictions 3 and 7: mean square (9 + 49) / 2 = 29; gradients mean(2 * 3 * 1, 2 * 7 * 3) = 24 and mean(6, 14) = 10
    losses = {name: float(value) for name, value in outputs["losses"].items()}
    assert losses == {"Loss/a": 29.0, "Loss/b": 0.5, "Loss/regularization_loss": 0.5, "Loss/total_loss": 30.0}
    assert gradient == [24.25, 10.0]  # the penalty's gradient is 0.25
    assert step == 1
    assert outputs["source_ids"].numpy().tolist() == [b"a.jpg", b"b.jpg"]


def test_without_regularization_loss(train_one_step):
    outputs, gradient, _ = train_one_step(add_regularization_loss=False)
    assert set(outputs["losses"]) == {"Loss/a", "Loss/b", "Loss/total_loss"}
    assert float(outputs["losses"]["Loss/total_loss"]) == 29.5
    assert gradient == [24.0, 10.0]


def test_clipping_of_the_global_norm(train_one_step):
    _, gradient, _ = train_one_step(add_regularization_loss=False, gradient_clipping_by_norm=13.0)
    # the norm of (24, 10) is 26: half of it
    np.testing.assert_allclose(gradient, [12.0, 5.0], rtol=1e-6)


def test_bias_gradients_are_multiplied_before_clipping(train_one_step):
    _, gradient, _ = train_one_step(add_regularization_loss=False, bias_grad_multiplier=0.7)
    np.testing.assert_allclose(gradient, [24.0, 7.0], rtol=1e-6)
    _, gradient, _ = train_one_step(
        add_regularization_loss=False, bias_grad_multiplier=0.7, gradient_clipping_by_norm=12.5
    )
    np.testing.assert_allclose(gradient, [12.0, 3.5], rtol=1e-6)  # the norm of (24, 7) is 25


def test_frozen_variables_stay(train_one_step):
    _, gradient, _ = train_one_step(add_regularization_loss=False, freeze_variables=["bias"])
    assert gradient == [24.0, 0.0]
    _, gradient, _ = train_one_step(add_regularization_loss=False, update_trainable_variables=["bias"])
    assert gradient == [0.0, 10.0]


def test_steps_continue_where_they_stopped_and_end_with_the_dataset(make_trainer):
    trainer = make_trainer(num_batches=3)
    assert list(trainer.steps(0)) == []
    assert len(list(trainer.steps(2))) == 2
    assert len(list(trainer.steps(2))) == 1
    assert list(trainer.steps(2)) == []
    assert int(trainer.global_step) == 3


def test_a_batch_that_cannot_be_read_is_not_a_step(make_trainer):
    import tensorflow as tf

    def read(index, batch):
        with tf.control_dependencies([tf.debugging.assert_less(index, tf.constant(2, tf.int64))]):
            return tf.nest.map_structure(tf.identity, batch)

    trainer = make_trainer()
    trainer.train_dataset = trainer.train_dataset.enumerate().map(read)
    with pytest.raises(tf.errors.InvalidArgumentError):
        list(trainer.steps(5))
    assert int(trainer.global_step) == 2
