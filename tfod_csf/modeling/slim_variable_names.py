"""TensorFlow 1 names of the variables of TFOD's slim types, which are the keys of TensorFlow 1 checkpoints.

    FirstStageFeatureExtractor/<Net>/<scope>/{weights,biases,depthwise_weights,pointwise_weights}
    FirstStageFeatureExtractor/<Net>/<scope>/BatchNorm/{gamma,beta,moving_mean,moving_variance}
    Conv/{weights,biases}, Conv/BatchNorm/...                          the RPN's convolution
    FirstStageBoxPredictor/{BoxEncodingPredictor,ClassPredictor}/{weights,biases}
    SecondStageFeatureExtractor/<Net>/...                              as the first stage
    SecondStageBoxPredictor/{BoxEncodingPredictor,ClassPredictor}/{weights,biases}

<Net> is InceptionV2, resnet_v1_50 (101, 152) or InceptionResnetV2. Nothing has to be turned around between the two: the
shapes and the order of values of each variable are ours (kernels [height, width, in, out], dense layers [in, out], box
encodings anchor or class outer and (ty, tx, th, tw) inner, class logits background first).

TensorFlow 1 makes one block more than it uses: block4 of the first stage of the ResNets, 50 variables that no output
depends on. They are not part of our model, so our checkpoints do not hold them, and nothing of a trained network is
lost: `is_unused` tells a reader of TensorFlow 1 checkpoints which names to pass over. Their moving statistics move in
TFOD's training with batch_norm_trainable, without effect.
"""

import re
from collections.abc import Iterator

import tensorflow as tf
import tf_keras

from tfod_csf.modeling.faster_rcnn import FasterRCNN

_UNUSED = re.compile(r"FirstStageFeatureExtractor/resnet_v1_\d+/block4/")
# Keras' names of variables, where slim has others.
_LEAVES = {
    "kernel": "weights",
    "bias": "biases",
    "depthwise_kernel": "depthwise_weights",
    "pointwise_kernel": "pointwise_weights",
}


def tf1_variables(model: FasterRCNN) -> dict[str, tf.Variable]:
    """TensorFlow 1 name, without ":0", to variable, of every variable of a model of a slim type; in forward order.

    The model's variables exist (build_variables). A model of one stage has the first stage only.

    Raises:
      ValueError: the model's feature extractor is not one of slim's.
    """
    net = model.feature_extractor.slim_scope
    if net is None:
        raise ValueError("only the slim types have TensorFlow 1 variable names")
    head = model.rpn.head
    named = [
        *network_variables(model.feature_extractor.proposal_features, f"FirstStageFeatureExtractor/{net}"),
        *_layer(head.first_conv.get_layer("RPNConv"), "Conv"),
        *(pair for layer in head.first_conv.layers[1:] for pair in _layer(layer, "Conv/BatchNorm")),
        *_layer(head.box_encodings[0], "FirstStageBoxPredictor/BoxEncodingPredictor"),
        *_layer(head.class_predictions[0], "FirstStageBoxPredictor/ClassPredictor"),
    ]
    if model.box_classifier is not None:
        head = model.box_classifier.head
        named += [
            *network_variables(model.feature_extractor.box_classifier_features, f"SecondStageFeatureExtractor/{net}"),
            *_layer(head.box_encoder_layers[-1], "SecondStageBoxPredictor/BoxEncodingPredictor"),
            *_layer(head.class_predictor_layers[-1], "SecondStageBoxPredictor/ClassPredictor"),
        ]
    return dict(named)


def trainable_names(model: FasterRCNN) -> list[str] | None:
    """TensorFlow 1 names of model.trainable_variables, in their order; None if the model is not of a slim type.

    Patterns of `freeze_variables` and `update_trainable_variables` are written for them.
    """
    if model.feature_extractor.slim_scope is None:
        return None
    names = {id(variable): name for name, variable in tf1_variables(model).items()}
    return [names[id(variable)] for variable in model.trainable_variables]


def is_unused(name: str) -> bool:
    """Whether a name of a TensorFlow 1 checkpoint belongs to block4 of the first stage; also with an optimizer's slot.

    >>> is_unused("FirstStageFeatureExtractor/resnet_v1_50/block4/unit_1/bottleneck_v1/conv1/weights")
    True
    """
    return _UNUSED.match(name) is not None


def network_variables(network: tf_keras.Model, scope: str) -> Iterator[tuple[str, tf.Variable]]:
    """(TensorFlow 1 name below `scope`, variable) of one half of a slim network, in forward order."""
    for layer in network.layers:
        yield from _layer(layer, f"{scope}/{layer.name}")


def _layer(layer: tf_keras.layers.Layer, scope: str) -> Iterator[tuple[str, tf.Variable]]:
    for variable in layer.variables:
        leaf = variable.name.split(":")[0].rsplit("/", 1)[-1]
        yield f"{scope}/{_LEAVES.get(leaf, leaf)}", variable
