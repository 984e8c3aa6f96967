"""TensorFlow 1 names of variables: the names and shapes of real checkpoints are held in tests/fidelity."""

import pytest

from tfod_csf.modeling import model_builder, slim_variable_names


def test_names_of_a_model_of_one_stage(tiny_config):
    changes = 'number_of_stages: 1 feature_extractor { type: "faster_rcnn_inception_v2" batch_norm_trainable: false }'
    model = model_builder.build(tiny_config(changes), is_training=True)
    model.build_variables()
    variables = slim_variable_names.tf1_variables(model)
    assert {name.split("/")[0] for name in variables} == {
        "FirstStageFeatureExtractor",
        "Conv",
        "FirstStageBoxPredictor",
    }
    assert {id(variable) for variable in variables.values()} == {id(variable) for variable in model.variables}
    assert variables["FirstStageFeatureExtractor/InceptionV2/Conv2d_1a_7x7/depthwise_weights"].shape == (7, 7, 3, 8)
    names = slim_variable_names.trainable_names(model)
    assert [id(variables[name]) for name in names] == [id(variable) for variable in model.trainable_variables]
    assert not [name for name in names if "moving" in name]
    # Two anchors per cell: 2 * 4 encodings from 8 channels.
    assert variables["FirstStageBoxPredictor/BoxEncodingPredictor/weights"].shape == (1, 1, 8, 8)


def test_keras_types_have_no_such_names(tiny_config):
    model = model_builder.build(tiny_config(), is_training=True)
    assert slim_variable_names.trainable_names(model) is None
    with pytest.raises(ValueError, match="slim"):
        slim_variable_names.tf1_variables(model)


def test_only_block4_of_the_first_stage_is_unused():
    scope = "resnet_v1_101/block4/unit_1/bottleneck_v1/conv1/weights"
    assert slim_variable_names.is_unused(f"FirstStageFeatureExtractor/{scope}")
    assert slim_variable_names.is_unused(f"FirstStageFeatureExtractor/{scope}/Momentum")
    assert not slim_variable_names.is_unused(f"SecondStageFeatureExtractor/{scope}")
    assert not slim_variable_names.is_unused("FirstStageFeatureExtractor/resnet_v1_101/block3/unit_1/conv1/weights")
