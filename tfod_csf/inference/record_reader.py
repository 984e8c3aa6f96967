"""Labelled images one by one from TFRecords of TFOD's kind, for comparing a detector with them.

Its own small reader: what evaluates an exported model needs no training code. Of an Example it takes the encoded image,
the boxes, class texts (or labels), the difficult flags, the weights (0: passed over) and the name.
"""

import io
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from tfod_csf.errors import UserError
from tfod_csf.inference.ground_truth import LabelledImage
from tfod_csf.label_map import LabelMap
from tfod_csf.problems import ProblemLog

_SIDES = ("ymin", "xmin", "ymax", "xmax")


class RecordError(UserError):
    """A TFRecord that cannot be used."""


def read_records(shards: Sequence[str], label_map: LabelMap, problems: ProblemLog) -> Iterator[LabelledImage]:
    """The usable examples of all shards, in order; a damaged shard is read up to the damage."""
    for shard in shards:
        number = 0
        try:
            for serialized in tf.data.TFRecordDataset(shard):
                number += 1
                labelled = _read_example(serialized.numpy(), f"{shard}", f"example {number}", label_map, problems)
                if labelled is not None:
                    yield labelled
        except tf.errors.DataLossError:
            if not number:
                raise RecordError(f"{shard}: not a TFRecord; give the files create_csf_tf_record wrote.") from None
            problems.skipped(
                shard, f"damaged after example {number}; the rest was not read", "Write the records again."
            )


def _read_example(
    serialized: bytes, shard: str, item: str, label_map: LabelMap, problems: ProblemLog
) -> LabelledImage | None:
    remedy = "Write the records again with create_csf_tf_record."
    try:
        features = tf.train.Example.FromString(serialized).features.feature
    except Exception as error:  # protobuf's DecodeError has another name in each of its implementations
        problems.skipped(shard, f"not a tf.train.Example ({error})", remedy, item)
        return None
    encoded = features["image/encoded"].bytes_list.value
    try:
        with Image.open(io.BytesIO(encoded[0] if encoded else b"")) as image:
            pixels = np.array(image.convert("RGB"))
            jpeg = encoded[0] if image.format == "JPEG" and image.mode == "RGB" else None
    except (OSError, ValueError, SyntaxError) as error:
        problems.skipped(shard, f"the image cannot be decoded ({error})", remedy, item)
        return None
    height, width = pixels.shape[:2]
    sides = [np.array(features[f"image/object/bbox/{side}"].float_list.value, np.float32) for side in _SIDES]
    lengths = {len(side) for side in sides}
    if len(lengths) > 1:
        problems.skipped(shard, f"box sides of different numbers {sorted(lengths)}", remedy, item)
        return None
    boxes = np.stack(sides, axis=1) * np.array([height, width, height, width], np.float32)
    classes = _class_ids(features, len(boxes), label_map)
    if classes is None or (wrong := set(classes.tolist()) - set(label_map.ids)):
        reason = "classes are missing" if classes is None else f"class {min(wrong)} is not in the label map"
        problems.skipped(shard, reason, "Evaluate with the label map the records were written with.", item)
        return None
    difficult = np.array(features["image/object/difficult"].int64_list.value, bool)
    weights = np.array(features["image/object/weight"].float_list.value, np.float32)
    return LabelledImage(
        image_id=f"{shard}:{item}:{_text(features, 'image/source_id') or _text(features, 'image/filename')}",
        pixels=pixels,
        boxes=boxes,
        classes=classes,
        difficult=difficult if len(difficult) == len(boxes) else np.zeros(len(boxes), bool),
        is_passed_over=weights == 0 if len(weights) == len(boxes) else np.zeros(len(boxes), bool),
        jpeg=jpeg,
    )


def _class_ids(features: dict, num_boxes: int, label_map: LabelMap) -> np.ndarray | None:
    """Ids from the class texts, which mean the same in every label map; labels where there are no texts."""
    texts = [text.decode("utf-8", "replace") for text in features["image/object/class/text"].bytes_list.value]
    labels = list(features["image/object/class/label"].int64_list.value)
    if len(texts) == num_boxes:
        ids = dict(zip(label_map.names, label_map.ids))
        return np.array([ids.get(text, -1) for text in texts], dtype=np.int32)
    return np.array(labels, dtype=np.int32) if len(labels) == num_boxes else None


def _text(features: dict, key: str) -> str:
    values = features[key].bytes_list.value
    return values[0].decode("utf-8", "replace") if values else ""
