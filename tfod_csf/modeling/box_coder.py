"""Boxes as offsets from anchors, and back: the Faster R-CNN box coding with TFOD's scale factors.

Shape shorthand in this module:

  ...: any leading dimensions

A code is [ty, tx, th, tw]: the shift of the center in anchor heights and widths and the logarithm of the ratio of the
sizes, times the scale factors 10, 10, 5, 5. Both stages use the same coder; anchors of the second stage are proposals.
The algebra is that of official.vision's FasterRcnnBoxCoder, which is TFOD's own.
"""

import tensorflow as tf
from official.vision.utils.object_detection import box_list, faster_rcnn_box_coder

SCALE_FACTORS = (10.0, 10.0, 5.0, 5.0)
CODE_SIZE = 4

# Shared by the target assigner; holds no state beyond the factors.
CODER = faster_rcnn_box_coder.FasterRcnnBoxCoder(scale_factors=list(SCALE_FACTORS))


def encode(boxes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
    """Codes [..., 4] of boxes [..., 4] relative to anchors of a shape that broadcasts to that of the boxes.

    Both are [ymin, xmin, ymax, xmax] in one frame. 1e-8 is added to every size, so empty boxes give finite codes.
    """
    boxes, anchors = tf.convert_to_tensor(boxes), tf.convert_to_tensor(anchors)
    codes = CODER.encode(_boxlist(boxes), _boxlist(tf.broadcast_to(anchors, tf.shape(boxes))))
    return tf.ensure_shape(tf.reshape(codes, tf.shape(boxes)), boxes.shape)


def decode(rel_codes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
    """Boxes [..., 4] (ymin, xmin, ymax, xmax in the anchors' frame) of codes [..., 4]; anchors broadcast to the codes.

    th and tw are not limited: a wild prediction decodes to a huge box, which the caller clips to the image.
    """
    rel_codes, anchors = tf.convert_to_tensor(rel_codes), tf.convert_to_tensor(anchors)
    anchors = _boxlist(tf.broadcast_to(anchors, tf.shape(rel_codes)))
    boxes = CODER.decode(tf.reshape(rel_codes, [-1, CODE_SIZE]), anchors).get()
    return tf.ensure_shape(tf.reshape(boxes, tf.shape(rel_codes)), rel_codes.shape)


def _boxlist(boxes: tf.Tensor) -> box_list.BoxList:
    return box_list.BoxList(tf.reshape(boxes, [-1, CODE_SIZE]))
