"""One image and its boxes as TFOD's tf.train.Example.

Keys and normalization are TFOD's create_pascal_tf_record: x / width and y / height as written in the XML (no -1), class
id and name, difficult, truncated, `pose` under image/object/view, sha256 of the encoded image under image/key/sha256.
"""

import hashlib
from collections.abc import Iterable, Sequence

from tfod_csf.data.records.ready_image import ReadyImage
from tfod_csf.files.example_pb2 import BytesList, Example, Feature, Features, FloatList, Int64List
from tfod_csf.label_map import LabelMap
from tfod_csf.study.labelimg import LabeledObject


def _bytes(values: Iterable[bytes]) -> Feature:
    return Feature(bytes_list=BytesList(value=values))


def _ints(values: Iterable[int]) -> Feature:
    return Feature(int64_list=Int64List(value=values))


def _floats(values: Iterable[float]) -> Feature:
    return Feature(float_list=FloatList(value=values))


def _object_features(
    objects: Sequence[LabeledObject], class_ids: Sequence[int], names: Sequence[str], width: int, height: int
) -> dict[str, Feature]:
    return {
        "image/object/bbox/xmin": _floats(o.xmin / width for o in objects),
        "image/object/bbox/xmax": _floats(o.xmax / width for o in objects),
        "image/object/bbox/ymin": _floats(o.ymin / height for o in objects),
        "image/object/bbox/ymax": _floats(o.ymax / height for o in objects),
        "image/object/class/text": _bytes(name.encode() for name in names),
        "image/object/class/label": _ints(class_ids),
        "image/object/difficult": _ints(o.difficult for o in objects),
        "image/object/truncated": _ints(o.truncated for o in objects),
        "image/object/view": _bytes(o.pose.encode() for o in objects),
    }


def create_tf_example(ready: ReadyImage, label_map: LabelMap, filename: str | None = None) -> Example:
    """TFOD's Example of one image.

    A box of `ready.ignored` is written once for every class with weight 0, difficult 1 and is_crowd 1: training takes
    it neither for a cell of a class nor for background, and no evaluator counts a detection on it as right or wrong.
    Only Examples with such a box have the keys image/object/weight and image/object/is_crowd.

    Args:
      filename: for image/filename and image/source_id; the image's key when None.
    """
    objects = list(ready.objects)
    names = [o.name for o in objects]
    num_counted = len(objects)
    for labeled in ready.ignored:
        objects += [labeled] * len(label_map)
        names += label_map.names
    class_ids = [label_map.id_of(name) for name in names]
    names = [label_map.written_name_of(class_id) for class_id in class_ids]
    feature = _object_features(objects, class_ids, names, ready.width, ready.height)
    if ready.ignored:
        ignored = [0] * num_counted + [1] * (len(objects) - num_counted)
        feature["image/object/difficult"] = _ints(o.difficult | i for o, i in zip(objects, ignored, strict=True))
        feature["image/object/is_crowd"] = _ints(ignored)
        feature["image/object/weight"] = _floats(1.0 - i for i in ignored)
    name = (ready.image.key if filename is None else filename).encode()
    feature |= {
        "image/height": _ints([ready.height]),
        "image/width": _ints([ready.width]),
        "image/filename": _bytes([name]),
        "image/source_id": _bytes([name]),
        "image/key/sha256": _bytes([hashlib.sha256(ready.jpeg).hexdigest().encode()]),
        "image/encoded": _bytes([ready.jpeg]),
        "image/format": _bytes([b"jpeg"]),
    }
    return Example(features=Features(feature=feature))


def serialize(example: Example) -> bytes:
    """The same bytes for the same content (plain SerializeToString may order the keys differently in each process)."""
    return example.SerializeToString(deterministic=True)
