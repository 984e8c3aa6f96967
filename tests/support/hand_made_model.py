"""An exported model made by hand: TFOD's signature, detections that can be worked out on paper, ready in a second.

Each candidate box has a class and a score; the score is lowered by the mean brightness of the image inside the box, so
that different images give different cells: score = base * (1 - fade * mean / 255).
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import tensorflow as tf

from tests.support.gray_images import save_gray as save_gray
from tfod_csf.files import atomic_write
from tfod_csf.label_map import LabelMap, label_map_from_names, save_label_map

CLASSES = ("lymphocyte", "monocyte", "neutrophil", "erythrocyte")


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One detection: box (ymin, xmin, ymax, xmax) in 0..1 of the image, class id from 1, score on a black image."""

    box: tuple[float, float, float, float]
    class_id: int
    base: float
    fade: float = 0.0


# On the 96 x 72 images of the bad inputs the first two lie exactly on the labeled cells. The monocyte lies 1 px beside
# the lymphocyte (IoU 25 * 26 / (2 * 26 * 26 - 25 * 26) = 0.93), so it is the same cell. The neutrophil's score is 0.75
# on black, so it is unknown there, and 0.75 * (1 - 0.5 * 200 / 255) = 0.46 on gray 200, so it is no cell there.
CANDIDATES = (
    Candidate((10 / 72, 8 / 96, 36 / 72, 34 / 96), 1, 0.95),
    Candidate((30 / 72, 50 / 96, 64 / 72, 84 / 96), 4, 0.9),
    Candidate((10 / 72, 9 / 96, 36 / 72, 35 / 96), 2, 0.6),
    Candidate((40 / 72, 4 / 96, 66 / 72, 30 / 96), 3, 0.75, fade=0.5),
    Candidate((0.0, 0.7, 0.2, 0.9), 3, 0.05),
)


class _Model(tf.Module):
    def __init__(self, candidates, num_classes, max_detections):
        super().__init__()
        self._candidates = candidates
        self._num_classes = num_classes
        self._max_detections = max_detections
        self.gain = tf.Variable(1.0, name="gain")  # a SavedModel has variables

    def _detect(self, images):
        boxes = tf.constant([candidate.box for candidate in self._candidates], tf.float32)
        classes = tf.constant([candidate.class_id for candidate in self._candidates], tf.float32)
        base = tf.constant([candidate.base for candidate in self._candidates], tf.float32)
        fade = tf.constant([candidate.fade for candidate in self._candidates], tf.float32)
        crops = tf.image.crop_and_resize(images, boxes, tf.zeros(len(self._candidates), tf.int32), [8, 8])
        scores = self.gain * base * (1 - fade * tf.reduce_mean(crops, [1, 2, 3]) / 255)
        order = tf.argsort(-scores, stable=True)[: self._max_detections]
        kept = tf.gather(scores, order)
        others = (1 - kept)[:, tf.newaxis] / self._num_classes
        one_hot = tf.one_hot(tf.cast(tf.gather(classes, order), tf.int32), self._num_classes + 1)
        padding = self._max_detections - len(self._candidates[: self._max_detections])

        def padded(rows):
            return tf.pad(rows, [[0, padding]] + [[0, 0]] * (rows.shape.rank - 1))[tf.newaxis]

        return {
            "detection_boxes": padded(tf.gather(boxes, order)),
            "detection_scores": padded(kept),
            "detection_classes": padded(tf.gather(classes, order)),
            "detection_multiclass_scores": padded(one_hot * kept[:, tf.newaxis] + (1 - one_hot) * others),
            "num_detections": tf.cast(tf.shape(order)[:1], tf.float32),
        }


def save(
    folder: pathlib.Path,
    candidates: Sequence[Candidate] = CANDIDATES,
    label_map: LabelMap | None = None,
    input_type: str = "image_tensor",
    max_detections: int = 20,
    info: dict | None = None,
) -> pathlib.Path:
    """Writes a model folder (saved_model/, label_map.pbtxt, model.json, pipeline.config) and returns it."""
    label_map = label_map or label_map_from_names(CLASSES)
    model = _Model(candidates, len(label_map), max_detections)
    if input_type in ("image_tensor", "float_image_tensor"):
        dtype = tf.uint8 if input_type == "image_tensor" else tf.float32

        @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], dtype, name="input_tensor")])
        def serve(input_tensor):
            return model._detect(tf.cast(input_tensor, tf.float32))

    else:

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="input_tensor")])
        def serve(input_tensor):
            encoded = input_tensor[0]
            if input_type == "tf_example":
                features = {"image/encoded": tf.io.FixedLenFeature([], tf.string)}
                encoded = tf.io.parse_single_example(encoded, features)["image/encoded"]
            image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
            return model._detect(tf.cast(image, tf.float32)[tf.newaxis])

    model.serve = serve
    tf.saved_model.save(model, str(folder / "saved_model"), signatures={"serving_default": serve})
    save_label_map(label_map, folder / "label_map.pbtxt")
    atomic_write.write_json(folder / "model.json", {"input_type": input_type, **(info or {})})
    atomic_write.write_text(
        folder / "pipeline.config", f"model {{ faster_rcnn {{ num_classes: {len(label_map)} }} }}\n"
    )
    return folder
