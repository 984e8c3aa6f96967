"""The graph that is exported: bytes or pixels in, TFOD's detection outputs out.

Shape shorthand in this module:

  B: images; h, w: size of an image as given; H, W: padded network input; T: max_total_detections;
  P: first_stage_max_proposals; K: classes without background
"""

from collections.abc import Callable

import tensorflow as tf

from tfod_csf.config.protos import faster_rcnn_pb2, image_resizer_pb2
from tfod_csf.modeling.faster_rcnn import FasterRCNN
from tfod_csf.training.checkpoints import checkpoint_view

INPUT_NAME = "input_tensor"
# TFOD numbers exported classes from 1; 0 is the background. Padding rows, which are 0 inside, read 1 as well.
_LABEL_ID_OFFSET = 1.0


class DetectionModule(tf.Module):
    """The detection model as TFOD exports it: callable, with one input named input_tensor.

    Only the model's variables are tracked, not its Keras layers: TensorFlow alone loads the result. They have the keys
    of a checkpoint, `model/...`, so that saved_model/variables/ is one.

    Args:
      model: variables built.
      config: `model.faster_rcnn`, for the shapes of inputs and outputs.
      input_type: one of export_checks.INPUT_TYPES.
    """

    def __init__(self, model: FasterRCNN, config: faster_rcnn_pb2.FasterRcnn, input_type: str):
        super().__init__()
        self.model = checkpoint_view.variables_alone(model)
        height, width = static_input_size(config.image_resizer)
        read = _READERS[input_type]

        def detect(input_tensor: tf.Tensor) -> dict[str, tf.Tensor]:
            images, true_image_shapes = read(model, input_tensor)
            images = tf.ensure_shape(images, [input_tensor.shape[0], height, width, 3])
            detections = model.postprocess(model.predict(images, true_image_shapes), true_image_shapes)
            return _outputs(detections, config, input_tensor.shape[0])

        self.__call__ = tf.function(detect, input_signature=[input_spec(input_type)])
        self._detect = detect

    def batch_function(self) -> tf.types.experimental.GenericFunction:
        """The same for any number of uint8 images of one size, [B, h, w, 3]."""
        return tf.function(
            self._detect, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name=INPUT_NAME)]
        )


def input_spec(input_type: str) -> tf.TensorSpec:
    """TFOD's input of each type: one uint8 image, or a batch of float images, encoded images or tf.train.Examples."""
    if input_type == "image_tensor":
        return tf.TensorSpec([1, None, None, 3], tf.uint8, name=INPUT_NAME)
    if input_type == "float_image_tensor":
        return tf.TensorSpec([None, None, None, 3], tf.float32, name=INPUT_NAME)
    return tf.TensorSpec([None], tf.string, name=INPUT_NAME)


def static_input_size(config: image_resizer_pb2.ImageResizer) -> tuple[int | None, int | None]:
    """(H, W) of the network's input; None where it depends on the image."""
    if config.HasField("fixed_shape_resizer"):
        return config.fixed_shape_resizer.height, config.fixed_shape_resizer.width
    resizer = config.keep_aspect_ratio_resizer
    if config.HasField("keep_aspect_ratio_resizer") and resizer.pad_to_max_dimension:
        return resizer.max_dimension, resizer.max_dimension
    return None, None


def _read_pixels(model: FasterRCNN, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(network input [B, H, W, 3], true_image_shapes [B, 3]) of images [B, h, w, 3], 0..255."""
    return model.preprocess(images)


def _read_each(decode: Callable[[tf.Tensor], tf.Tensor]):
    """A reader of strings [B]: every image is decoded and resized separately; all must then have the same size."""

    def read(model: FasterRCNN, strings: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def one(string: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            images, true_image_shapes = model.preprocess(decode(string)[tf.newaxis])
            return images[0], true_image_shapes[0]

        signature = (tf.TensorSpec([None, None, 3], tf.float32), tf.TensorSpec([3], tf.int32))
        return tf.map_fn(one, strings, fn_output_signature=signature)

    return read


def _decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """uint8 [h, w, 3] of JPEG, PNG, BMP or GIF bytes."""
    return tf.ensure_shape(tf.io.decode_image(encoded, channels=3, expand_animations=False), [None, None, 3])


def _decode_example(serialized: tf.Tensor) -> tf.Tensor:
    """uint8 [h, w, 3] of the image in a tf.train.Example; nothing else of it is read."""
    example = tf.io.parse_single_example(serialized, {"image/encoded": tf.io.FixedLenFeature([], tf.string)})
    return _decode_image(example["image/encoded"])


_READERS = {
    "image_tensor": _read_pixels,
    "float_image_tensor": _read_pixels,
    "encoded_image_string_tensor": _read_each(_decode_image),
    "tf_example": _read_each(_decode_example),
}


def _outputs(
    detections: dict[str, tf.Tensor], config: faster_rcnn_pb2.FasterRcnn, batch_size: int | None
) -> dict[str, tf.Tensor]:
    """TFOD's outputs: all float32, classes from 1, shapes as far as they are known."""
    outputs = {name: tf.cast(value, tf.float32) for name, value in detections.items()}
    outputs["detection_classes"] += _LABEL_ID_OFFSET
    total = config.second_stage_post_processing.batch_non_max_suppression.max_total_detections
    proposals, scores = config.first_stage_max_proposals, config.num_classes + 1
    shapes = {
        "detection_anchor_indices": [total],
        "detection_boxes": [total, 4],
        "detection_classes": [total],
        "detection_multiclass_scores": [total, scores],
        "detection_scores": [total],
        "num_detections": [],
        "raw_detection_boxes": [proposals, 4],
        "raw_detection_scores": [proposals, scores],
    }
    return {name: tf.ensure_shape(outputs[name], [batch_size, *shape]) for name, shape in shapes.items()}
