"""Serialized Examples of recorded images and XML against TFOD's create_pascal_tf_record."""

import json

import pytest
import tensorflow as tf

from tfod_csf.data.records import tf_example_encoder as encoder
from tfod_csf.data.records.ready_image import ReadyImage
from tfod_csf.label_map import load_label_map
from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_io, labelimg
from tfod_csf.study.patients import ImageFile


def encoded(recorded, which: str) -> tf.train.Example:
    """Our Example of the recorded image: with all objects, without difficult ones, or without any."""
    problems = ProblemLog(strict=True)
    annotation = labelimg.read_annotation(recorded.with_suffix(".xml"), problems)
    loaded = image_io.open_image(recorded.with_suffix(".jpg"), problems, (annotation.width, annotation.height))
    annotation = labelimg.fit_to_image(annotation, loaded.width, loaded.height, problems)
    label_map = load_label_map(recorded.with_name(f"{recorded.stem}_label_map.pbtxt"))
    annotation, ignored = labelimg.resolve_names(annotation, label_map, problems)
    keep = {"all": lambda o: True, "ignore_difficult": lambda o: not o.difficult, "no_objects": lambda o: False}[which]
    objects = [o for o in annotation.objects if keep(o)]
    image = ImageFile(loaded.path, "patient", annotation.filename, annotation.filename)
    ready = ReadyImage(image, loaded.width, loaded.height, loaded.jpeg_bytes(), objects, ignored)
    return encoder.create_tf_example(ready, label_map)


@pytest.mark.recorded("tf_example*.tfrecord")
@pytest.mark.parametrize(("index", "which"), enumerate(["all", "ignore_difficult", "no_objects"]))
def test_the_example_is_tfods(recorded, index, which):
    serialized = list(tf.data.TFRecordDataset(str(recorded)).as_numpy_iterator())[index]
    ours, theirs = encoded(recorded, which), tf.train.Example.FromString(serialized)
    assert set(ours.features.feature) == set(theirs.features.feature)
    # Byte for byte, once both have their keys in one order (a map has none of its own).
    assert encoder.serialize(ours) == theirs.SerializeToString(deterministic=True)
    assert len(ours.SerializeToString()) == len(serialized)


@pytest.mark.recorded("tf_example*.tfrecord")
def test_values_are_the_recorded_ones(recorded):
    expected = json.loads(recorded.with_suffix(".json").read_text())["features"]
    features = encoded(recorded, "all").features.feature
    for key, feature in expected.items():
        if key == "image/encoded":
            continue
        values = list(getattr(features[key], feature["kind"]).value)
        assert [v.decode() if isinstance(v, bytes) else v for v in values] == feature["value"], key
