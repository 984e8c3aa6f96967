import gzip

import numpy as np
import pytest
import tensorflow as tf

from tests.support.tfrecord_frames import frame
from tfod_csf.data.records.tf_example_decoder import TfExampleDecoder
from tfod_csf.files import csv_schemas
from tfod_csf.files.tfrecord import TFRecordError
from tfod_csf.inference.labeled import record_reader
from tfod_csf.label_map import NO_CLASS_ID, LabelMap, LabelMapItem, label_map_from_names, parse_class_map
from tfod_csf.problems import SKIPPED, ProblemLog
from tfod_csf.study import image_limits

LABEL_MAP = label_map_from_names(["lymphocyte", "monocyte", "neutrophil", "erythrocyte"])


def bytes_feature(*values):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def floats_feature(*values):
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def ints_feature(*values):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def example(texts=("lymphocyte",), labels=(1,), num_boxes=None, **features):
    """A serialized Example with as many boxes as labels; further features replace these, with __ for /."""
    num_boxes = len(labels) if num_boxes is None else num_boxes
    feature = {
        "image/encoded": bytes_feature(tf.io.encode_png(np.full([50, 100, 3], 7, np.uint8)).numpy()),
        "image/source_id": bytes_feature(b"a.png"),
        "image/object/class/text": bytes_feature(*[text.encode() for text in texts]),
        "image/object/class/label": ints_feature(*labels),
        "image/object/difficult": ints_feature(*[1] * num_boxes),
    }
    for side, value in {"ymin": 0.2, "xmin": 0.1, "ymax": 0.4, "xmax": 0.5}.items():
        feature[f"image/object/bbox/{side}"] = floats_feature(*[value] * num_boxes)
    feature |= {name.replace("__", "/"): value for name, value in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def read(path, *examples, label_map=LABEL_MAP, decode_jpeg=None, class_map=None):
    path.write_bytes(b"".join(map(frame, examples)))
    problems = ProblemLog(quiet=True)
    return list(
        record_reader.read_records([str(path)], label_map, problems, decode_jpeg, class_map=class_map)
    ), problems


def test_record(tmp_path):
    (image, empty), problems = read(tmp_path / "r", example(), example((), ()))
    assert image.pixels.shape == (50, 100, 3)
    np.testing.assert_allclose(image.boxes, [[10, 10, 20, 50]], rtol=1e-6)
    assert (image.classes.tolist(), image.difficult.tolist(), image.is_ignored.tolist()) == ([1], [True], [False])
    assert image.image_id == f"{tmp_path / 'r'}:example 1:a.png"
    assert image.jpeg is None
    assert (empty.boxes.shape, empty.classes.shape, empty.difficult.shape) == ((0, 4), (0,), (0,))
    assert not problems.problems


def test_boxes_of_weight_0_are_ignored(tmp_path):
    names, ids = LABEL_MAP.names, LABEL_MAP.ids
    weights = floats_feature(1, 0, 0, 0, 0)
    (image,), _ = read(tmp_path / "r", example(["monocyte", *names], [2, *ids], image__object__weight=weights))
    assert image.is_ignored.tolist() == [False, True, True, True, True]
    assert image.classes.tolist() == [2, 1, 2, 3, 4]


def test_crowds_are_for_cocos_metrics_alone(tmp_path):
    record = example(["monocyte"] * 2, [2, 2], image__object__is_crowd=ints_feature(1, 0))
    (image,), _ = read(tmp_path / "r", record)
    assert image.is_ignored.tolist() == [False, False]
    assert image.groundtruth_dict["groundtruth_is_crowd"].tolist() == [True, False]


def test_patients_are_those_of_the_table_beside_the_records(tmp_path):
    record = example(image__source_id=bytes_feature(b"day_1/a.png"))
    (image,), _ = read(tmp_path / "r", record)
    assert image.patient_id == "day_1"
    rows = [{"image": "day_1/a.png", "patient": "P7", "side": "test", "sha256": "0"}]
    csv_schemas.load("split").write(tmp_path / "split.csv", rows)
    (image,), _ = read(tmp_path / "r", record)
    assert image.patient_id == "P7"


def test_boxes_in_pixels_are_refused_at_once(tmp_path):
    other_mistake = example(("lymphocyte",), (1, 1))
    (tmp_path / "sound").write_bytes(frame(example()) + frame(other_mistake))
    record_reader.check_records([str(tmp_path / "sound")])
    pixels = example(image__object__bbox__xmax=floats_feature(50))
    (tmp_path / "pixels").write_bytes(frame(other_mistake) + frame(pixels))
    with pytest.raises(TFRecordError, match=r"pixels, record 2 \(a\.png\), object 1: .*xmax 50: a side is above 1\.1"):
        record_reader.check_records([str(tmp_path / "sound"), str(tmp_path / "pixels")])


def test_a_jpeg_is_decoded_by_the_detectors_decoder_and_handed_on_with_its_pixels(tmp_path):
    jpeg = tf.io.encode_jpeg(np.full([50, 100, 3], 7, np.uint8)).numpy()
    record = example(image__encoded=bytes_feature(jpeg))
    decoded = np.full([50, 100, 3], 9, np.uint8)
    (image,), _ = read(tmp_path / "r", record, decode_jpeg={jpeg: decoded}.get)
    assert image.jpeg == jpeg
    assert image.pixels is decoded
    # Where that decoder reads nothing, or an image of another size, Pillow's pixels are used.
    for other in (None, decoded[1:]):
        (image,), _ = read(tmp_path / "r", record, decode_jpeg=lambda data, other=other: other)
        assert image.jpeg is None
        assert (image.pixels == 7).all()


DISPLAYED = LabelMap(
    [LabelMapItem(1, "lymphocyte", "Lymphocyte (Ly)"), LabelMapItem(2, "monocyte", "cell 3"), LabelMapItem(3, "cell 3")]
)


@pytest.mark.parametrize(
    ("texts", "labels", "expected"),
    [
        (["lymphocyte", "monocyte"], [3, 3], [1, 2]),  # the labels may be another label map's; the text decides
        (["Lymphocyte (Ly)"], [2], [1]),
        (["cell 3"], [1], [3]),  # a name, and the display name of another class
        (["", "lymphocyte", ""], [2, 2, 3], [2, 1, 3]),
        ([], [3, 1], [3, 1]),
        (["monocyte"], [], [2]),
        ([], [], []),
        (["platelet"], [1], [NO_CLASS_ID]),
        (["Lymphocyte"], [1], [NO_CLASS_ID]),  # capitals count
        (["lymphocyte "], [1], [NO_CLASS_ID]),
        (["2"], [1], [NO_CLASS_ID]),  # a number is a name like any other
        (["monocyte", ""], [2], [2, NO_CLASS_ID]),
        ([], [4], [4]),
    ],
)
def test_evaluate_reads_the_classes_that_training_reads(tmp_path, texts, labels, expected):
    record = example(texts, labels, num_boxes=len(expected))
    decoded = TfExampleDecoder(DISPLAYED).decode(tf.constant(record))
    assert decoded["groundtruth_classes"].numpy().tolist() == expected
    images, problems = read(tmp_path / "r", record, label_map=DISPLAYED)
    if set(expected) <= set(DISPLAYED.ids):
        assert [image.classes.tolist() for image in images] == [expected]
        assert not problems.problems
    else:
        assert images == []
        (row,) = problems.problems
        assert (row.action, row.item) == (SKIPPED, "example 1")


@pytest.mark.parametrize(
    ("given", "classes", "is_ignored"),
    [
        (["eosinophil="], [1], [False]),
        (["Eosinophil=Neutrophil"], [3, 1], [False, False]),
        (["eosinophil=unknown"], [1, 1, 2, 3, 4], [False] + [True] * 4),  # once for every class, behind the named ones
        (["eosinophil=", "lymphocyte="], [], []),
        (["eosinophil=", "lymphocyte=monocyte"], [2], [False]),
    ],
)
def test_the_class_map_renames_ignores_and_drops_class_texts(tmp_path, given, classes, is_ignored):
    record = example(["eosinophil", "lymphocyte"], [5, 1])
    (image,), problems = read(tmp_path / "r", record, class_map=parse_class_map(given))
    assert (image.classes.tolist(), image.is_ignored.tolist()) == (classes, is_ignored)
    assert image.boxes.shape == (len(classes), 4)
    assert not problems.problems


def test_a_box_that_is_ignored_once_for_every_class_stays_so(tmp_path):
    record = example(["lymphocyte", "eosinophil"], [1, 5], image__object__weight=floats_feature(0, 0))
    for given in ["lymphocyte=monocyte,eosinophil=unknown", "eosinophil=monocyte,lymphocyte="]:
        (image,), _ = read(tmp_path / "r", record, class_map=parse_class_map(given.split(",")))
        assert (image.classes.tolist(), image.is_ignored.tolist()) == ([1], [True])


def test_what_the_class_map_leaves_without_a_class_is_skipped_and_the_remedy_names_it(tmp_path):
    record = example(["eosinophil"], [5])
    for given in ([], ["eosinophil=platelet"]):
        images, problems = read(tmp_path / "r", record, class_map=parse_class_map(given))
        assert images == []
        (row,) = problems.problems
        assert row.reason.startswith("class 'eosinophil' is not in the label map")
        assert "'eosinophil=unknown' (ignored)" in row.remedy
    # A label without a text has no name that could be mapped.
    (image,), _ = read(tmp_path / "r", example((), (1,)), class_map=parse_class_map(["lymphocyte="]))
    assert image.classes.tolist() == [1]


def test_of_16_bits_the_higher_8_are_taken_as_tensorflow_does(tmp_path):
    gray = np.arange(256 * 4, dtype=np.uint16).reshape(4, 256, 1) * 61
    encoded = tf.io.encode_png(gray).numpy()
    (image,), _ = read(tmp_path / "r", example(image__encoded=bytes_feature(encoded)))
    np.testing.assert_array_equal(image.pixels, tf.io.decode_image(encoded, channels=3).numpy())
    np.testing.assert_array_equal(image.pixels[..., 2], gray[..., 0] // 256)


@pytest.mark.parametrize(
    ("serialized", "reason"),
    [
        (b"nonsense", "not a tf.train.Example"),
        (example(image__encoded=bytes_feature(b"nonsense")), "image/encoded begins with b'nonsense', which is"),
        (example(image__encoded=bytes_feature(b"BM nonsense")), "decoded (it begins with b'BM nonsense')"),
        (example(image__encoded=bytes_feature()), "image/encoded is missing"),
        (example(image__object__bbox__ymin=floats_feature(0.1, 0.2)), "box sides of different numbers [1, 2]"),
        (example(("platelet",)), "class 'platelet' is not in the label map"),
        (example((), (9,)), "class 9 is not in the label map"),
        (example(("",), (), num_boxes=1), "an object has neither class text nor label"),
        (example((), (), num_boxes=1), "0 classes for 1 boxes"),
        (example(("lymphocyte",), (1, 1)), "1 classes for 2 boxes"),
        (example(image__object__difficult=ints_feature(0, 1)), "2 values of difficult for 1 boxes"),
        (example(image__object__weight=floats_feature(0, 1)), "2 values of weight for 1 boxes"),
        (example(image__object__is_crowd=ints_feature(0, 1)), "2 values of is_crowd for 1 boxes"),
        (
            example(image__object__bbox__ymin=floats_feature(float("nan"))),
            "ymin nan, xmin 0.1, ymax 0.4, xmax 0.5 is not",
        ),
        (example(image__object__bbox__ymin=floats_feature(0.5)), "ymin 0.5, xmin 0.1, ymax 0.4, xmax 0.5 is not a box"),
        (example(image__encoded=ints_feature(1, 2)), "image/encoded holds numbers (int64_list), expected an encoded"),
        (
            example(image__object__class__text=ints_feature(1)),
            "image/object/class/text holds numbers (int64_list), exp",
        ),
        (
            example(image__object__class__label=floats_feature(1)),
            "image/object/class/label holds decimal numbers (float_list), expected whole numbers",
        ),
    ],
)
def test_unusable_examples_are_skipped(tmp_path, serialized, reason):
    images, problems = read(tmp_path / "r", serialized, example())
    assert [image.image_id for image in images] == [f"{tmp_path / 'r'}:example 2:a.png"]
    (row,) = problems.problems
    assert reason in row.reason
    assert (row.file, row.item, row.action) == (str(tmp_path / "r"), "example 1", SKIPPED)


def test_damaged_files(tmp_path):
    whole = frame(example()) + frame(example())
    (tmp_path / "cut").write_bytes(whole[:-10])
    problems = ProblemLog(quiet=True)
    with pytest.raises(TFRecordError, match="ends within record 2"):
        list(record_reader.read_records([str(tmp_path / "cut")], LABEL_MAP, problems, None))
    found = record_reader.read_records([str(tmp_path / "cut")], LABEL_MAP, problems, None, skip_damaged=True)
    assert len(list(found)) == 1
    assert "what comes after example 1 was not read" in problems.problems[0].reason
    assert "ends within record 2 (at byte " in problems.problems[0].reason
    for content in (b"no record at all, but long enough", whole[:20], gzip.compress(whole)):
        (tmp_path / "text").write_bytes(content)
        with pytest.raises(TFRecordError, match=f"{tmp_path / 'text'}: "):
            list(record_reader.read_records([str(tmp_path / "text")], LABEL_MAP, problems, None, skip_damaged=True))


def test_images_that_must_not_be_decoded_are_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(image_limits, "MAX_PIXELS", 3)
    problems = ProblemLog(quiet=True)
    (tmp_path / "a").write_bytes(frame(example()))
    assert list(record_reader.read_records([str(tmp_path / "a")], LABEL_MAP, problems, None)) == []
    assert "pixels, more than 3; was not decoded" in problems.problems[0].reason
