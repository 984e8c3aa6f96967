"""The model under TFOD's checkpoint keys.

On disk the key of a variable is its path through TFOD's objects, for example
`model/_feature_extractor_for_proposal_features/layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE`. The attributes
of our objects have our names; `checkpoint_view` is the tree of TFOD's names over them.
"""

import collections

import tensorflow as tf

from tfod_csf.modeling.faster_rcnn import FasterRCNN

VALUE_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def checkpoint_view(model: FasterRCNN) -> tf.train.Checkpoint:
    """The model under TFOD's names: save and restore with `tf.train.Checkpoint(model=checkpoint_view(model), ...)`.

    The view holds the model's own variables and may be made before or after they exist. A model of one stage has
    TFOD's first stage only.
    """
    view = tf.train.Checkpoint(
        _feature_extractor_for_proposal_features=model.feature_extractor.proposal_features,
        _first_stage_box_predictor_first_conv=model.rpn.head.first_conv,
        _first_stage_box_predictor=tf.train.Checkpoint(
            _prediction_heads={
                "box_encodings": [tf.train.Checkpoint(_box_encoder_layers=[model.rpn.head.box_encodings])],
                "class_predictions_with_background": [
                    tf.train.Checkpoint(_class_predictor_layers=[model.rpn.head.class_predictions])
                ],
            }
        ),
    )
    if model.box_classifier is not None:
        view._feature_extractor_for_box_classifier_features = model.feature_extractor.box_classifier_features
        view._mask_rcnn_box_predictor = tf.train.Checkpoint(
            _box_prediction_head=tf.train.Checkpoint(_box_encoder_layers=model.box_classifier.head.box_encoder_layers),
            _class_prediction_head=tf.train.Checkpoint(
                _class_predictor_layers=model.box_classifier.head.class_predictor_layers
            ),
        )
    return view


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
