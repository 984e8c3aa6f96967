"""The model under TFOD's checkpoint keys.

On disk the key of a variable is its path through TFOD's objects, for example
`model/_feature_extractor_for_proposal_features/layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE`. The attributes
of our objects have our names; `checkpoint_view` is the tree of TFOD's names over them.

TFOD has no such keys for its slim types, whose checkpoints hold variables by name. Ours have TFOD's keys around the two
halves of the network and slim's scopes inside: `model/_feature_extractor_for_proposal_features/InceptionV2/
Conv2d_2b_1x1/weights/.ATTRIBUTES/VARIABLE_VALUE` is TensorFlow 1's
`FirstStageFeatureExtractor/InceptionV2/Conv2d_2b_1x1/weights`.
"""

import collections
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from tfod_csf.modeling import slim_variable_names
from tfod_csf.modeling.faster_rcnn import FasterRCNN

VALUE_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def checkpoint_view(model: FasterRCNN) -> tf.train.Checkpoint:
    """The model under TFOD's names: save and restore with `tf.train.Checkpoint(model=checkpoint_view(model), ...)`.

    The view holds the model's own variables and may be made before or after they exist. A model of one stage has
    TFOD's first stage only.
    """
    first_half, second_half = _halves(model)
    view = tf.train.Checkpoint(
        _feature_extractor_for_proposal_features=first_half,
        _first_stage_box_predictor_first_conv=model.rpn.head.first_conv,
        _first_stage_box_predictor=tf.train.Checkpoint(
            _prediction_heads={
                "box_encodings": [
                    tf.train.Checkpoint(_box_encoder_layers=[layer]) for layer in model.rpn.head.box_encodings
                ],
                "class_predictions_with_background": [
                    tf.train.Checkpoint(_class_predictor_layers=[layer]) for layer in model.rpn.head.class_predictions
                ],
            }
        ),
    )
    if model.box_classifier is not None:
        view._feature_extractor_for_box_classifier_features = second_half
        view._mask_rcnn_box_predictor = tf.train.Checkpoint(
            _box_prediction_head=tf.train.Checkpoint(_box_encoder_layers=model.box_classifier.head.box_encoder_layers),
            _class_prediction_head=tf.train.Checkpoint(
                _class_predictor_layers=model.box_classifier.head.class_predictor_layers
            ),
        )
    return view


def variables_alone(model: FasterRCNN) -> tf.Module:
    """The model's variables under TFOD's names, without the Keras layers that made them.

    For a SavedModel: as its attribute `model`, its variables have a checkpoint's keys, and fine-tuning reads them.
    """
    by_key = variables_by_key(model=checkpoint_view(model))
    names = ((key.removeprefix("model/").removesuffix(VALUE_SUFFIX), variable) for key, variable in by_key.items())
    return _scopes(names)


def _halves(model: FasterRCNN) -> tuple[Any, Any]:
    """What holds the variables of the two halves of the network: the Keras models, or slim's scopes."""
    extractor = model.feature_extractor
    if extractor.slim_scope is None:
        return extractor.proposal_features, extractor.box_classifier_features
    return (
        _scopes(slim_variable_names.network_variables(extractor.proposal_features, extractor.slim_scope)),
        _scopes(slim_variable_names.network_variables(extractor.box_classifier_features, extractor.slim_scope)),
    )


def _scopes(variables: Iterable[tuple[str, tf.Variable]]) -> tf.Module:
    """A tree with one node per scope of the variables' names ("InceptionV2/Conv2d_2b_1x1/weights").

    Nodes are modules, because a SavedModel gives every tf.train.Checkpoint in it a save_counter.
    """
    root = tf.Module()
    for name, variable in variables:
        *scopes, leaf = name.split("/")
        node = root
        for scope in scopes:
            if not hasattr(node, scope):
                setattr(node, scope, tf.Module())
            node = getattr(node, scope)
        setattr(node, leaf, variable)
    return root


def variables_by_key(**trackables) -> dict[str, tf.Variable]:
    """Checkpoint key to variable, of `tf.train.Checkpoint(**trackables)`, without optimizer slots."""
    root = tf.train.Checkpoint(**trackables)
    view = tf.train.TrackableView(root)
    paths, queue, variables = {id(root): ()}, collections.deque([root]), {}
    # Breadth first, as in TensorFlow: a variable that can be reached in two ways has the shorter path as its key.
    while queue:
        trackable = queue.popleft()
        path = paths[id(trackable)]
        if isinstance(trackable, tf.Variable):
            variables["/".join(path) + VALUE_SUFFIX] = trackable
        for name, child in view.children(trackable).items():
            if id(child) not in paths:
                paths[id(child)] = (*path, name)
                queue.append(child)
    return variables
