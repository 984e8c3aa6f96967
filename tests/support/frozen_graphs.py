"""A TensorFlow 1 frozen graph made by hand, with one of its loops; its detections are worked out on paper.

For each picture: box 0..1 of class 2 with score 1 - mean / 255, then box 0.25..0.75 of class 1 with half of that, then
a row of padding (zeros, class 1, as TFOD pads). `num_detections` is 2.
"""

import pathlib

import tensorflow as tf

BOXES = ((0.0, 0.0, 1.0, 1.0), (0.25, 0.25, 0.75, 0.75), (0.0, 0.0, 0.0, 0.0))
CLASSES = (2.0, 1.0, 1.0)


def save(
    path: pathlib.Path,
    num_classes: int | None = 2,
    classes: tuple[float, ...] = CLASSES,
    input_shape: tuple[int | None, ...] = (None, None, None, 3),
    input_type: str = "image_tensor",
) -> pathlib.Path:
    """Writes the graph; without `num_classes` nothing in it tells how many classes there are."""
    with_loops = tf.compat.v1.control_flow_v2_enabled()
    tf.compat.v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default() as graph:
            _build(num_classes, classes, input_shape, input_type)
    finally:
        if with_loops:
            tf.compat.v1.enable_control_flow_v2()
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def _build(num_classes, classes, input_shape, input_type):
    if input_type == "image_tensor":
        images = tf.compat.v1.placeholder(tf.uint8, input_shape, name=input_type)
    else:
        encoded = tf.compat.v1.placeholder(tf.string, [None], name=input_type)
        images = tf.map_fn(lambda one: tf.io.decode_image(one, 3, expand_animations=False), encoded, tf.uint8)
    best = tf.map_fn(lambda image: 1 - tf.reduce_mean(tf.cast(image, tf.float32)) / 255, images, tf.float32)
    if num_classes is not None:
        biases = tf.constant([0.0] * (num_classes + 1), name="SecondStageBoxPredictor/ClassPredictor/biases")
        best += tf.reduce_sum(biases)
    count = tf.shape(best)[0]
    tf.identity(best[:, tf.newaxis] * tf.constant([[1.0, 0.5, 0.0]]), name="detection_scores")
    tf.tile(tf.constant([BOXES], tf.float32), [count, 1, 1], name="detection_boxes")
    tf.tile(tf.constant([classes], tf.float32), [count, 1], name="detection_classes")
    tf.fill([count], 2.0, name="num_detections")
