"""Each config field of the forward pass shows its effect, or is refused. Losses' fields are in test_loss_fields.py."""

import itertools
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from google.protobuf import text_format

from tfod_csf.config.protos import hyperparams_pb2, model_pb2
from tfod_csf.errors import UserError
from tfod_csf.modeling import model_builder
from tfod_csf.modeling.feature_extractors import extractor_builder


@pytest.fixture(scope="module")
def run(tiny_config, tiny_images):
    """Predictions and detections of the tiny network, same weights, with config text merged over its config."""
    extractor = extractor_builder.build("faster_rcnn_resnet18_keras")

    def predict_and_postprocess(changes: str, training: bool = False):
        with mock.patch.object(extractor_builder, "build", return_value=extractor):  # most of the time of a build
            model = model_builder.build(tiny_config(changes), is_training=True)
        model.build_variables(32, 32)
        random = np.random.RandomState(5)
        for variable in model.trainable_variables:
            if "gamma" not in variable.name:
                variable.assign(random.normal(0, 1.0 / np.sqrt(np.prod(variable.shape[:-1]) + 1), variable.shape))
        for layer in (*model.rpn.head.class_predictions, model.box_classifier.head.class_predictor_layers[-1]):
            layer.kernel.assign(0.2 * layer.kernel)
        preprocessed, true_image_shapes = model.preprocess(tiny_images / 50.0 + 110.0)
        predictions = model.predict(preprocessed, true_image_shapes, training=training)
        return predictions, model.postprocess(predictions, true_image_shapes)

    return predict_and_postprocess


@pytest.fixture(scope="module")
def plain(run):
    return run("")


def test_score_converters_and_logit_scale(run, plain):
    logits = plain[0]["class_predictions_with_background"]
    for changes, expected in (
        ("score_converter: SIGMOID", tf.sigmoid(logits)),
        ("score_converter: IDENTITY", logits),
        ("score_converter: SOFTMAX logit_scale: 0.5", tf.nn.softmax(logits / 0.5)),
    ):
        scores = run(f"second_stage_post_processing {{ {changes} }}")[1]["raw_detection_scores"]
        np.testing.assert_allclose(tf.reshape(scores, [-1, 3]), expected, atol=1e-4)


def test_second_stage_suppression(run, plain):
    nms = "second_stage_post_processing {{ batch_non_max_suppression {{ {} }} }}"
    scores = plain[1]["detection_scores"].numpy()
    middle = float(np.median(scores[scores > 0]))
    above = run(nms.format(f"score_threshold: {middle}"))[1]
    assert 0 < above["num_detections"].numpy().sum() < plain[1]["num_detections"].numpy().sum()
    assert np.all(above["detection_scores"].numpy()[above["detection_scores"].numpy() > 0] > middle)
    assert run(nms.format("max_total_detections: 2"))[1]["detection_boxes"].shape == (2, 2, 4)
    one_each = run(nms.format("max_detections_per_class: 1"))[1]
    assert np.all(one_each["num_detections"] <= 2)
    agnostic = run(nms.format("use_class_agnostic_nms: true iou_threshold: 1.0"))[1]
    for image in range(2):
        rows = agnostic["detection_anchor_indices"][image][: int(agnostic["num_detections"][image])].numpy()
        assert len(set(rows)) == len(rows)
    soft = run(nms.format("soft_nms_sigma: 0.5 iou_threshold: 1.0"))[1]["detection_scores"].numpy()
    hard = run(nms.format("iou_threshold: 1.0"))[1]["detection_scores"].numpy()
    assert np.all(soft <= hard + 1e-6)
    assert np.any(soft < hard - 1e-3)


def test_first_stage_suppression(run):
    all_of_them = run("first_stage_max_proposals: 32")[0]["num_proposals"].numpy().sum()
    for changes in ("first_stage_nms_iou_threshold: 0.01", "first_stage_nms_score_threshold: 0.5"):
        fewer = run(f"{changes} first_stage_max_proposals: 32")[0]["num_proposals"].numpy().sum()
        assert 0 < fewer < all_of_them
    assert run("first_stage_max_proposals: 5")[0]["proposal_boxes"].shape == (2, 5, 4)


def test_anchors_that_cross_the_border(run):
    pruned = run("clip_anchors_to_image: false", training=True)[0]
    clipped = run("clip_anchors_to_image: true", training=True)[0]
    # 16 px anchors at 0, 16, 32, 48: those at 0 reach -8. 32 px ones at 0 reach -16, at 48 they end at 64.
    assert pruned["anchors"].shape == (3 * 3 * 2, 4)
    assert clipped["anchors"].shape == (4 * 4 * 2, 4)
    np.testing.assert_array_equal(clipped["anchors"][0], [0, 0, 8, 8])


def test_crops(run, plain):
    features = {
        name: run(changes)[0]["box_classifier_features"].numpy()
        for name, changes in {
            "matmul": "use_matmul_crop_and_resize: true",
            "larger": "initial_crop_size: 8",
            "pooled": "initial_crop_size: 8 maxpool_kernel_size: 2 maxpool_stride: 2",
        }.items()
    }
    native = plain[0]["box_classifier_features"].numpy()
    proposals = plain[0]["proposal_boxes_normalized"].numpy().reshape(-1, 4)
    inside = proposals[:, 2:].max(axis=1) < 0.999
    np.testing.assert_allclose(features["matmul"][inside], native[inside], atol=1e-3 * np.abs(native).max())
    assert features["larger"].shape[1:3] == (4, 4)
    assert features["pooled"].shape == native.shape
    assert np.any(features["pooled"] != native)


def test_heads(tiny_config):
    config = tiny_config("first_stage_box_predictor_kernel_size: 1 first_stage_atrous_rate: 1")
    predictor = config.faster_rcnn.second_stage_box_predictor.mask_rcnn_box_predictor
    predictor.share_box_across_classes = False
    predictor.use_dropout = True
    predictor.dropout_keep_probability = 0.25
    model = model_builder.build(config, is_training=True)
    model.build_variables(32, 32)
    assert model.rpn.head.first_conv.layers[0].kernel.shape == (1, 1, 128, 8)
    assert model.box_classifier.head.boxes_per_proposal == 2
    assert model.box_classifier.head.class_predictor_layers[1].rate == 0.75


def test_every_number_of_the_config_is_the_attribute_of_its_name(tiny_config):
    """Each field gets a value of its own, so that two of them cannot be mixed up."""
    config = tiny_config()
    rcnn = config.faster_rcnn
    processing = rcnn.second_stage_post_processing
    messages = (rcnn, processing, processing.batch_non_max_suppression, rcnn.hard_example_miner)
    values = itertools.count(2)
    for message in messages:
        for field in message.DESCRIPTOR.fields:
            if not field.is_repeated and field.type in (field.TYPE_INT32, field.TYPE_FLOAT, field.TYPE_BOOL):
                setattr(message, field.name, True if field.type == field.TYPE_BOOL else next(values))
    rcnn.number_of_stages = 2
    model = model_builder.build(config, is_training=True)
    second_stage = model.box_classifier
    owners = (model, model.rpn, second_stage, second_stage.proposal_sampler, second_stage.batch_non_max_suppression)
    owners += (second_stage.hard_example_miner,)
    found = {
        (message.DESCRIPTOR.name, field.name): (getattr(owner, field.name), getattr(message, field.name))
        for owner in owners
        for message in messages
        for field in message.DESCRIPTOR.fields
        if field.name in vars(owner) and not field.message_type and not field.enum_type
        # These names belong to one message each, and iou_threshold to two.
        if (field.name != "iou_threshold") or type(owner).__name__ == message.DESCRIPTOR.name
    }
    assert {place: values for place, values in found.items() if values[0] != values[1]} == {}
    assert len(found) == 19 + 1 + 7 + 2  # of the four messages
    assert (second_stage.score_converter, second_stage.hard_example_miner.loss_type) == ("SOFTMAX", "BOTH")


def test_batch_norm_trainable_and_is_training(tiny_config):
    for trainable, is_training, expected in ((True, True, True), (True, False, False), (False, True, False)):
        config = tiny_config(f"feature_extractor {{ batch_norm_trainable: {str(trainable).lower()} }}")
        model = model_builder.build(config, is_training=is_training)
        assert model.feature_extractor.batch_norm_trainable is expected


def test_initializers_and_regularizers():
    def built(text):
        return model_builder.build_hyperparams(text_format.Parse(text, hyperparams_pb2.Hyperparams()))

    truncated = built("initializer { truncated_normal_initializer { mean: 1 stddev: 0.5 } }").kernel_initializer
    assert isinstance(truncated, tf_keras.initializers.TruncatedNormal)
    assert (truncated.mean, truncated.stddev) == (1, 0.5)
    normal = built("initializer { random_normal_initializer { stddev: 0.25 } }").kernel_initializer
    assert (type(normal), normal.stddev) == (tf_keras.initializers.RandomNormal, 0.25)
    scaling = built("initializer { variance_scaling_initializer { factor: 3 uniform: true mode: FAN_AVG } }")
    scaling = scaling.kernel_initializer
    assert (scaling.scale, scaling.mode, scaling.distribution) == (3, "fan_avg", "uniform")
    kernel = tf.constant([1.0, -3.0])
    np.testing.assert_allclose(built("regularizer { l2_regularizer { weight: 0.1 } }").kernel_regularizer(kernel), 0.5)
    np.testing.assert_allclose(built("regularizer { l1_regularizer { weight: 0.1 } }").kernel_regularizer(kernel), 0.4)
    batch_norm = built("batch_norm { decay: 0.9 epsilon: 0.01 scale: true }").batch_norm
    assert batch_norm == pytest.approx({"momentum": 0.9, "epsilon": 0.01, "center": True, "scale": True})
    assert built("").kernel_initializer is None
    assert built("").batch_norm is None


@pytest.mark.parametrize(("extractor_type", "regularized"), [("resnet18_keras", 0), ("inception_v2", 2)])
def test_the_dense_layers_are_regularized_on_tensorflow_1_only(tiny_config, extractor_type, regularized):
    text = "mask_rcnn_box_predictor { fc_hyperparams { op: FC regularizer { l2_regularizer { weight: 0.1 } } } }"
    config = tiny_config(f"second_stage_box_predictor {{ {text} }}").faster_rcnn
    config.feature_extractor.type = f"faster_rcnn_{extractor_type}"
    head = model_builder.build_box_classifier(config).head
    head(tf.ones([1, 1, 1, 3]))
    assert len([loss for layer in head.keras_layers() for loss in layer.losses]) == regularized


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ("number_of_stages: 3", "number_of_stages: 3"),
        ('feature_extractor { type: "faster_rcnn_resnet50_fpn_keras" }', "faster_rcnn_resnet50_fpn_keras"),
        ("image_resizer { conditional_shape_resizer { } }", "image_resizer"),
    ],
)
def test_refused(tiny_config, changes, words):
    with pytest.raises(UserError, match=words):
        model_builder.build(tiny_config(changes), is_training=True)


def test_refused_dtype_and_architecture(tiny_config):
    with pytest.raises(model_builder.ModelBuilderError, match='"float16" is not supported'):
        model_builder.build(tiny_config(), is_training=False, compute_dtype="float16")
    with pytest.raises(model_builder.ModelBuilderError, match=r"builds model\.faster_rcnn"):
        model_builder.build(model_pb2.DetectionModel(), is_training=False)


def test_static_shapes_reach_the_first_stage_in_training_only(tiny_config):
    """`use_static_shapes` pads proposals with boxes without area; outside training only if asked for."""
    static, for_eval = "use_static_shapes: true", "use_static_shapes: true use_static_shapes_for_eval: true"
    for changes, is_training, expected in (
        ("", True, False),
        (static, True, True),
        (static, False, False),
        (for_eval, False, True),
    ):
        model = model_builder.build(tiny_config(changes), is_training=is_training)
        assert model.rpn.use_static_shapes is expected


def test_static_shapes_of_the_first_stage_change_padding_rows_only(run):
    few = "first_stage_nms_score_threshold: 0.5 first_stage_max_proposals: 32"
    predictions, detections = run(few)
    padded_predictions, padded_detections = run(f"{few} use_static_shapes: true")
    for name, value in detections.items():
        if not name.startswith("raw_"):
            np.testing.assert_array_equal(padded_detections[name], value, err_msg=name)
    np.testing.assert_array_equal(padded_predictions["num_proposals"], predictions["num_proposals"])
    for image, count in enumerate(predictions["num_proposals"].numpy()):
        assert 0 < count < 32
        boxes, padded = predictions["proposal_boxes"][image], padded_predictions["proposal_boxes"][image]
        np.testing.assert_array_equal(padded[:count], boxes[:count])
        assert not np.any(boxes[count:])
        assert np.any(padded[count:])
