"""tf.train.Example to tensors. The keys of the record and the names of the tensors are TFOD's.

Shape shorthand in this module: M objects of the image. A decoded example holds:

  image: uint8 [h, w, 3], RGB.
  original_image_spatial_shape: int32 [2], (h, w).
  source_id, key, filename: strings; "" where the record has none.
  groundtruth_boxes: float32 [M, 4] ymin, xmin, ymax, xmax, normalized to the image, as written (not clipped).
  groundtruth_classes: int64 [M], label map ids from 1; -1 for a class text that the label map does not have.
  groundtruth_weights: float32 [M]; 1 for all where the record has none.
  groundtruth_area (float32, px of the image squared), groundtruth_difficult (int64), groundtruth_is_crowd,
      groundtruth_group_of (bool): [M], or [0] where the record has none.
  groundtruth_image_classes, groundtruth_image_confidences, groundtruth_verified_neg_classes,
      groundtruth_not_exhaustive_classes: what the image as a whole is labeled with, any length.
"""

import tensorflow as tf

from tfod_csf.detections import BOX_SIDES
from tfod_csf.label_map import NO_CLASS_ID, LabelMap

_SCALARS = {
    "source_id": "image/source_id",
    "key": "image/key/sha256",
    "filename": "image/filename",
}
_LISTS = {
    "groundtruth_area": ("image/object/area", tf.float32),
    "groundtruth_weights": ("image/object/weight", tf.float32),
    "groundtruth_difficult": ("image/object/difficult", tf.int64),
    "groundtruth_is_crowd": ("image/object/is_crowd", tf.int64),
    "groundtruth_group_of": ("image/object/group_of", tf.int64),
    "groundtruth_image_confidences": ("image/class/confidence", tf.float32),
    "groundtruth_verified_neg_classes": ("image/neg_category_ids", tf.int64),
    "groundtruth_not_exhaustive_classes": ("image/not_exhaustive_category_ids", tf.int64),
}


class TfExampleDecoder:
    """Decodes one record at a time; usable inside tf.data.

    Args:
      label_map: gives the classes, by `LabelMap.record_class_ids`. When None, the labels count
          (`image/object/class/label`) and texts are not read.
    """

    def __init__(self, label_map: LabelMap | None = None):
        self._class_ids = _class_id_table(label_map) if label_map is not None else None

    def decode(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        """Decodes a record.

        Args:
          serialized: string scalar, a serialized tf.train.Example.

        Returns:
          The tensors that the module's docstring lists.
        """
        parsed = tf.io.parse_single_example(serialized, _feature_types())
        # By content, whatever image/format says: files with a wrong suffix are common.
        image = tf.io.decode_image(parsed["image/encoded"], channels=3, expand_animations=False)
        image = tf.ensure_shape(image, [None, None, 3])
        example = {"image": image, "original_image_spatial_shape": tf.shape(image)[:2]}
        example.update({name: parsed[feature] for name, feature in _SCALARS.items()})
        example.update({name: parsed[feature] for name, (feature, _) in _LISTS.items()})
        boxes = tf.stack([parsed[f"image/object/bbox/{side}"] for side in BOX_SIDES], axis=1)
        example["groundtruth_boxes"] = boxes
        for name in ("groundtruth_is_crowd", "groundtruth_group_of"):
            example[name] = tf.cast(example[name], tf.bool)
        weights = example["groundtruth_weights"]
        example["groundtruth_weights"] = tf.cond(
            tf.size(weights) > 0, lambda: weights, lambda: tf.ones(tf.shape(boxes)[:1])
        )
        for name, feature in (
            ("groundtruth_classes", "image/object/class"),
            ("groundtruth_image_classes", "image/class"),
        ):
            example[name] = self._classes(parsed[f"{feature}/text"], parsed[f"{feature}/label"])
        return example

    def _classes(self, texts: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """`LabelMap.record_class_ids` in the graph."""
        if self._class_ids is None:
            return labels

        def from_texts() -> tf.Tensor:
            ids = self._class_ids.lookup(texts)
            # Usually there is a label for each text; where there are fewer, the last texts have none.
            missing = tf.maximum(tf.size(texts) - tf.size(labels), 0)
            padded = tf.pad(labels, [[0, missing]], constant_values=NO_CLASS_ID)[: tf.size(texts)]
            return tf.where(texts == "", padded, ids)

        return tf.cond(tf.size(texts) > 0, from_texts, lambda: labels)


def _feature_types() -> dict[str, tf.io.FixedLenFeature | tf.io.RaggedFeature]:
    scalars = ["image/encoded", *_SCALARS.values()]
    types = {feature: tf.io.FixedLenFeature([], tf.string, default_value="") for feature in scalars}
    lists = dict(_LISTS.values())
    lists.update({f"image/object/bbox/{side}": tf.float32 for side in BOX_SIDES})
    for feature in ("image/object/class", "image/class"):
        lists[f"{feature}/text"], lists[f"{feature}/label"] = tf.string, tf.int64
    types.update({feature: tf.io.RaggedFeature(dtype) for feature, dtype in lists.items()})
    return types


def _class_id_table(label_map: LabelMap) -> tf.lookup.StaticHashTable:
    ids = label_map.ids_by_text
    keys, values = tf.constant(list(ids), tf.string), tf.constant(list(ids.values()), tf.int64)
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), NO_CLASS_ID)
