"""The edges of the view; the keys of whole networks are compared with TFOD's in tests/fidelity."""

import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.modeling import model_builder
from tfod_csf.training.checkpoints.checkpoint_view import VALUE_SUFFIX, checkpoint_view, variables_by_key

FIRST_STAGE = {
    "_feature_extractor_for_proposal_features",
    "_first_stage_box_predictor_first_conv",
    "_first_stage_box_predictor",
}
SECOND_STAGE = {"_feature_extractor_for_box_classifier_features", "_mask_rcnn_box_predictor"}


def _stored(prefix) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(prefix)
    keys = set(reader.get_variable_to_shape_map()) - {"_CHECKPOINTABLE_OBJECT_GRAPH", f"save_counter{VALUE_SUFFIX}"}
    return {key: reader.get_tensor(key) for key in keys}


@pytest.mark.parametrize("view_first", [True, False], ids=["view before variables", "variables before view"])
def test_keys_are_those_that_tensorflow_writes(config, tmp_path, view_first):
    model = model_builder.build(config.model, is_training=True)
    view = checkpoint_view(model) if view_first else None
    model.build_variables(64, 64)
    view = view or checkpoint_view(model)
    stored = _stored(tf.train.Checkpoint(model=view).write(str(tmp_path / "ckpt")))
    by_key = variables_by_key(model=view)
    assert set(by_key) == set(stored)
    assert {key.split("/")[1] for key in by_key} == FIRST_STAGE | SECOND_STAGE
    assert len(by_key) == len(model.variables)
    for key, variable in by_key.items():
        np.testing.assert_array_equal(stored[key], variable.numpy(), err_msg=key)


def test_a_model_of_one_stage_has_the_keys_of_the_first_stage(config):
    config.model.faster_rcnn.number_of_stages = 1
    model = model_builder.build(config.model, is_training=True)
    model.build_variables(64, 64)
    by_key = variables_by_key(model=checkpoint_view(model))
    assert {key.split("/")[1] for key in by_key} == FIRST_STAGE


def test_of_two_ways_to_a_variable_the_shorter_is_its_key(tmp_path):
    shared = tf.Variable(1.0)
    parts = {"a": tf.train.Checkpoint(deep=tf.train.Checkpoint(weight=shared)), "b": tf.train.Checkpoint(weight=shared)}
    assert set(variables_by_key(**parts)) == {f"b/weight{VALUE_SUFFIX}"}
    assert set(_stored(tf.train.Checkpoint(**parts).write(str(tmp_path / "ckpt")))) == {f"b/weight{VALUE_SUFFIX}"}


def test_nothing_has_no_keys():
    assert variables_by_key() == {}
