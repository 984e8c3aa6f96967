"""Labeled images one by one from TFRecords of TFOD's kind, for comparing a detector with them.

Evaluating an exported model needs no training code and no TensorFlow to read records, so this is a reader of its own,
with training's rules: of an Example it takes the encoded image, the boxes, class texts and labels
(`LabelMap.record_class_ids`), the flags difficult and is_crowd, the weights (a box of weight 0 is ignored) and the
name. An Example that training would refuse is skipped with a row in problems.csv. Boxes in pixels are not the fault of
one Example but of the script that wrote all of them: `check_records` refuses them before the model is opened.
"""

import dataclasses
import io
import itertools
import pathlib
from collections.abc import Container, Iterator, Mapping, Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfod_csf.cell_classes import UNKNOWN
from tfod_csf.detections import BOX_SIDES
from tfod_csf.files import record_set
from tfod_csf.files.tf_example import BoxOutsideError, Features
from tfod_csf.files.tfrecord import TFRecordError
from tfod_csf.inference.labeled.ground_truth import LabeledImage
from tfod_csf.label_map import NO_CLASS_ID, LabelMap, mapped_name
from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_io, image_limits
from tfod_csf.study.image_io import JpegDecoder
from tfod_csf.study.image_limits import ImageLimitError
from tfod_csf.study.record_patients import RecordPatients
from tfod_csf.wording import listed

_WRITE_AGAIN = "Write the records again with create_csf_tf_record."
_IGNORED_ID, _DROPPED_ID = -2, -3  # what a class map makes of a class text, beside ids of the label map


class _UnusableError(Exception):
    """Why an Example cannot be used, and the remedy."""


def check_records(shards: Sequence[str]) -> None:
    """Reads all files once; no image is decoded.

    Raises:
      TFRecordError: as `record_set.read_records`, two shards of a set hold the same records, or a box that lies outside
        of its image, which is most likely in pixels.
    """
    for where, record in record_set.numbered_records(shards):
        _refuse_boxes_outside(record, where)


def _refuse_boxes_outside(record: bytes, where: str) -> None:
    try:
        features = Features(record, where)
        features.boxes(len(features.floats("image/object/bbox/xmin")))
    except BoxOutsideError:
        raise
    except TFRecordError:
        return  # a row of `read_records`


def read_records(
    shards: Sequence[str],
    label_map: LabelMap,
    problems: ProblemLog,
    decode_jpeg: JpegDecoder | None,
    skip_damaged: bool = False,
    chosen: Container[int] | None = None,
    class_map: Mapping[str, str] | None = None,
) -> Iterator[LabeledImage]:
    """The usable examples of all shards, in order.

    Args:
      decode_jpeg: of the detector that will see the images; None where pixels do not matter.
      skip_damaged: a damaged shard is read up to the damage; what is missing is a row, counted as often as there are
        records missing, as far as that is known.
      chosen: numbers of the examples to decode, counted over all shards from 0; None decodes all.
      class_map: from `label_map.parse_class_map`; renames class texts first. A text mapped to "" is dropped, one mapped
        to `unknown` is ignored where the label map has no such class. Objects without a text keep their label.

    Raises:
      TFRecordError: a shard that is not whole (see `record_set.read_records`); with skip_damaged, only one of which no
        record can be read.
    """
    numbers = itertools.count()
    for shard in shards:
        patients, number = RecordPatients.beside(shard), 0
        try:
            for number, record in enumerate(record_set.read_records(shard), start=1):
                if chosen is not None and next(numbers) not in chosen:
                    continue
                item = f"example {number}"
                labeled = _read_example(
                    record, shard, item, label_map, problems, decode_jpeg, patients, class_map or {}
                )
                if labeled is not None:
                    yield labeled
        except TFRecordError as damage:
            if not number or not skip_damaged:
                raise
            reason = f"not whole; what comes after example {number} was not read ({damage})"
            remedy = "Copy the file again, or write the records again."
            problems.skipped(shard, reason, remedy, "records", record_set.num_missing(shard, number))


def _read_example(
    record: bytes,
    shard: str,
    item: str,
    label_map: LabelMap,
    problems: ProblemLog,
    decode_jpeg: JpegDecoder | None,
    patients: RecordPatients,
    class_map: Mapping[str, str],
) -> LabeledImage | None:
    try:
        features = Features(record, item)
        labeled = _labeled_image(features, label_map, decode_jpeg, class_map)
    except _UnusableError as error:
        reason, remedy = error.args
        problems.skipped(shard, reason, remedy, item)
        return None
    except TFRecordError as error:
        problems.skipped(shard, str(error).rstrip("."), _WRITE_AGAIN, item)
        return None
    name = f"{pathlib.PurePath(shard).name}, {item}: {features.image_name}"
    image_id, patient_id = f"{shard}:{item}:{features.image_name}", patients.patient_of(features.image_name)
    return dataclasses.replace(labeled, image_id=image_id, name=name, patient_id=patient_id)


def _labeled_image(
    features: Features, label_map: LabelMap, decode_jpeg: JpegDecoder | None, class_map: Mapping[str, str]
) -> LabeledImage:
    pixels, jpeg = _read_image(features.encoded_image(), decode_jpeg)
    boxes = _read_boxes(features, pixels.shape)
    num_boxes = len(boxes)
    is_ignored = _of_each_box("weight", features.floats("image/object/weight"), num_boxes, 1) == 0
    classes = _read_classes(features, is_ignored, label_map, class_map)
    labeled = LabeledImage(
        image_id=features.image_name,
        pixels=pixels,
        boxes=boxes,
        classes=classes,
        difficult=_of_each_box("difficult", features.ints("image/object/difficult"), num_boxes, 0) != 0,
        is_ignored=is_ignored,
        is_crowd=_of_each_box("is_crowd", features.ints("image/object/is_crowd"), num_boxes, 0) != 0,
        jpeg=jpeg,
    )
    named = labeled.rows(np.flatnonzero((classes != _IGNORED_ID) & (classes != _DROPPED_ID)))
    return named.with_ignored(boxes[classes == _IGNORED_ID], label_map.ids)


def _read_image(data: bytes, decode_jpeg: JpegDecoder | None) -> tuple[np.ndarray, bytes | None]:
    """uint8 [H, W, 3] RGB, and the bytes where `decode_jpeg` made the pixels of them."""
    try:
        image_limits.check_encoded(data)
        with Image.open(io.BytesIO(data), formats=image_limits.RECORD_FORMATS) as image:
            decoded = image_io.decoded_by(decode_jpeg, image, data)
            return (_rgb(image), None) if decoded is None else (decoded, data)
    except ImageLimitError as error:
        raise _UnusableError(*error.args) from None
    except UnidentifiedImageError:  # its message holds an address in memory
        raise _UnusableError(f"the image cannot be decoded (it begins with {data[:12]!r})", _WRITE_AGAIN) from None
    except (OSError, ValueError, SyntaxError) as error:
        raise _UnusableError(f"the image cannot be decoded ({error})", _WRITE_AGAIN) from None


def _rgb(image: Image.Image) -> np.ndarray:
    """uint8 [H, W, 3]; of 16 bits the higher 8, as TensorFlow takes them (Pillow would clip at 255)."""
    if image.mode.startswith("I;16"):
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., np.newaxis], 3, axis=2)
    return np.array(image.convert("RGB"))


def _read_boxes(features: Features, image_shape: tuple[int, ...]) -> np.ndarray:
    """float32 [M, 4] ymin, xmin, ymax, xmax in pixels of the image [H, W, 3]."""
    sides = [features.floats(f"image/object/bbox/{side}") for side in BOX_SIDES]
    lengths = {len(side) for side in sides}
    if len(lengths) > 1:
        raise _UnusableError(f"box sides of different numbers {sorted(lengths)}", _WRITE_AGAIN)
    height, width = image_shape[:2]
    return features.boxes(len(sides[0])) * np.array([height, width, height, width], np.float32)


def _read_classes(
    features: Features, is_ignored: np.ndarray, label_map: LabelMap, class_map: Mapping[str, str]
) -> np.ndarray:
    """int32 [M], ids of the label map, _IGNORED_ID and _DROPPED_ID, of boxes of which some [M] are ignored anyway."""
    texts = features.texts("image/object/class/text")
    ids = label_map.record_class_ids(texts, features.ints("image/object/class/label"))
    if len(ids) != len(is_ignored):
        raise _UnusableError(f"{len(ids)} classes for {len(is_ignored)} boxes", _WRITE_AGAIN)
    mapped = []
    for text, class_id, ignored in zip(texts or [""] * len(ids), ids, is_ignored):
        mapped.append(_mapped_id(text, class_id, bool(ignored), label_map, class_map))
        if mapped[-1] not in (*label_map.ids, _IGNORED_ID, _DROPPED_ID):
            raise _UnusableError(*_why_no_class(text, class_id, label_map))
    return np.array(mapped, np.int32)


def _mapped_id(text: str, class_id: int, is_ignored: bool, label_map: LabelMap, class_map: Mapping[str, str]) -> int:
    """Id of an object's class after the class map; `class_id` where the map does not name its text."""
    wanted = mapped_name(text, class_map)
    if wanted == text:
        return class_id
    if is_ignored:  # it is there once for every class of the record
        return class_id if class_id in label_map.ids else _DROPPED_ID
    if not wanted:
        return _DROPPED_ID
    name = label_map.resolve(wanted)
    if name is not None:
        return label_map.id_of(name)
    return _IGNORED_ID if wanted.casefold() == UNKNOWN else NO_CLASS_ID


def _why_no_class(text: str, class_id: int, label_map: LabelMap) -> tuple[str, str]:
    """(reason, remedy) of an object whose class is not in the label map."""
    same_label_map = "Use the label map the records were written with"
    if not text and class_id == NO_CLASS_ID:
        return "an object has neither class text nor label", f"{same_label_map}."
    reason = f"class {repr(text) if text else class_id} is not in the label map, which has {listed(label_map.names)}"
    if not text:
        return reason, f"{same_label_map}."
    by_map = f"--class_map='{text}=NEW' (a class), '{text}=unknown' (ignored) or '{text}=' (dropped)"
    return reason, f"{same_label_map}; for evaluate and suggest_labels there is {by_map}."


def _of_each_box(name: str, values: Sequence[float], num_boxes: int, when_absent: float) -> np.ndarray:
    """Values [M] of a feature that an Example has for each box or not at all."""
    if len(values) not in (0, num_boxes):
        raise _UnusableError(f"{len(values)} values of {name} for {num_boxes} boxes", _WRITE_AGAIN)
    return np.array(values or [when_absent] * num_boxes)
