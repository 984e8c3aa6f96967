import io
import math

import numpy as np
import pytest
from PIL import Image

from tfod_csf.data.records.record_statistics import boxes_in_pixels, record_statistics
from tfod_csf.files.tfrecord import TFRecordError

BOX = (0.0, 0.0, 0.5, 0.5)


def test_counts(serialized, write_records, tmp_path):
    write_records("a.record-00000-of-00002", [serialized([BOX, (0.0, 0.0, 0.2, 0.8)], [1, 2], ["x", "y"])])
    write_records("a.record-00001-of-00002", [serialized(name="b.png"), serialized([BOX], [2], name="c.png")])
    found = record_statistics([str(tmp_path / "a.record-?????-of-00002")])
    assert (found.num_examples, found.num_negatives, found.num_boxes) == (3, 1, 3)
    assert (found.max_boxes, found.max_boxes_image) == (2, "a.png")
    assert found.objects_per_class == {"x": 1, "y": 1, "id 2": 1}
    assert found.class_ids == {"x": {1}, "y": {2}, "id 2": {2}}


def test_objects_of_weight_0_are_rows_but_not_counted(serialized, write_records):
    record = serialized([BOX, BOX], [1, 2], ["x", "y"], image__object__weight=[0.0, 1.0])
    found = record_statistics([write_records("a.record", [record])])
    assert (found.num_boxes, found.max_boxes) == (1, 2)
    assert found.objects_per_class == {"y": 1}


def test_boxes_in_pixels(serialized, write_records):
    path = write_records("a.record", [serialized([(0.25, 0.1, 0.5, 0.2)], [1]), serialized()])  # 8 high, 10 wide
    first, second = boxes_in_pixels([path])
    assert first[:2] == (10, 8)
    ((*box, class_name),) = first[2]
    np.testing.assert_allclose(box, (1, 2, 2, 4), rtol=1e-6)
    assert class_name == "id 1"
    assert second == (10, 8, [])


def test_the_size_of_the_image_itself_counts(serialized, write_records):
    box = [(0.25, 0.1, 0.5, 0.2)]
    turned = {"image__height": 10, "image__width": 8}
    path = write_records(
        "a.record", [serialized(box, [1]), serialized(box, [1], **turned), serialized(box, [1], **turned)]
    )
    assert [image[:2] for image in boxes_in_pixels([path])] == [(10, 8)] * 3
    found = record_statistics([path])
    assert found.num_other_sizes == 2
    assert "record 2 (a.png) says 8 x 10, its image is 10 x 8" in found.first_other_size
    assert len(found.image_digests) == 1
    without = serialized(box, [1], image__height=None, image__width=None)
    assert record_statistics([write_records("b.record", [without])]).num_other_sizes == 0


def test_boxes_without_width_or_height_are_counted(serialized, write_records):
    flat = [BOX, (0.2, 0.3, 0.2, 0.4), (0.2, 0.3, 0.4, 0.3)]
    found = record_statistics([write_records("a.record", [serialized([BOX], [1]), serialized(flat, [1, 1, 1])])])
    assert found.num_flat_boxes == 2
    assert found.first_flat_box.endswith("a.record, record 2 (a.png), object 2")


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "BMP"])
def test_every_format_that_tensorflow_decodes_is_taken(serialized, write_records, image_format):
    buffer = io.BytesIO()
    Image.new("L", (10, 8)).save(buffer, image_format)
    assert record_statistics([write_records("a.record", [serialized(image=buffer.getvalue())])]).num_examples == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"boxes": [(1.0, 2.0, 4.0, 6.0)], "labels": [1]},
            "object 1: ymin 1, xmin 2, ymax 4, xmax 6: a side is above 1.1",
        ),
        ({"boxes": [BOX], "labels": [1], "image__object__difficult": [0.0]}, "image/object/difficult holds decimal"),
        ({"boxes": [BOX], "texts": [5]}, "image/object/class/text holds numbers"),
        ({"image": [1, 2, 3]}, "image/encoded holds numbers"),
        ({"image": b""}, "image/encoded is missing"),
        ({"image": b"slides/patient_1/a.png"}, "image/encoded begins with b'slides/patie', which is not a JPEG"),
        ({"image": b"\0" * 300}, "which is not a JPEG, PNG, GIF or BMP"),
        ({"boxes": [BOX], "labels": [1, 1]}, "has 2 objects but 1 ymin, 1 xmin"),
        ({"boxes": [(0.5, 0.0, 0.4, 1.0)], "labels": [1]}, "object 1: ymin 0.5, xmin 0, ymax 0.4, xmax 1 is not a box"),
        ({"boxes": [(0.5, math.nan, 0.6, 1.0)], "labels": [1]}, "xmin nan"),
    ],
)
def test_bad_records_are_named(serialized, write_records, fields, words):
    path = write_records("bad.record", [serialized(), serialized(name="bad.png", **fields)])
    with pytest.raises(TFRecordError, match=words) as error:
        record_statistics([path])
    assert f"{path}, record 2 (bad.png)" in str(error.value)


def test_a_record_that_is_no_example(write_records):
    with pytest.raises(TFRecordError, match=r"record 1: not a tf\.train\.Example"):
        record_statistics([write_records("odd.record", [b"\xff\xff\xff"])])


def test_cut_off_file(serialized, write_records, tmp_path):
    path = tmp_path / "cut.record"
    write_records("whole.record", [serialized(), serialized()])
    path.write_bytes((tmp_path / "whole.record").read_bytes()[:-10])
    with pytest.raises(TFRecordError, match=r"cut.record: ends within record 2"):
        record_statistics([str(path)])


def test_other_kind_of_file(tmp_path):
    (tmp_path / "notes.txt").write_text("These are my notes about the slides.")
    with pytest.raises(TFRecordError, match="not a TFRecord file"):
        record_statistics([str(tmp_path / "notes.txt")])


def test_empty_file_and_no_file(tmp_path):
    (tmp_path / "empty.record").touch()
    with pytest.raises(TFRecordError, match="holds no record"):
        record_statistics([str(tmp_path / "empty.record")])
    with pytest.raises(TFRecordError, match="matches no file"):
        record_statistics([str(tmp_path / "*.tfrecord")])
    with pytest.raises(TFRecordError, match="input_path is empty"):
        record_statistics([])


def test_images_that_must_not_be_decoded_are_named_before_training(serialized, write_records):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    path = write_records(
        "scans.record", [serialized(), serialized(image=data[:last] + data[last:-2] * 500 + data[-2:])]
    )
    with pytest.raises(TFRecordError, match=r"scans\.record, record 2 .*progressive JPEG of 5\d\d scans"):
        record_statistics([path])
    # The header of a GIF: its sides are two bytes each.
    path = write_records(
        "pixels.record", [serialized(image=b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2")]
    )
    with pytest.raises(TFRecordError, match=r"4294836225 pixels\), more than 80,000,000"):
        record_statistics([path])


def test_a_file_named_in_two_ways_is_read_once(serialized, write_records, tmp_path):
    path = write_records("a.record", [serialized()])
    (tmp_path / "link.record").symlink_to(path)
    assert record_statistics([path, f"{tmp_path}/./a.record", f"{tmp_path}/*.record"]).num_examples == 1


def test_shards_that_are_there_twice_are_refused(serialized, write_records, tmp_path):
    path = write_records("a.record-00000-of-00002", [serialized()])
    assert record_statistics([f"{tmp_path}/a.record-?????-of-00002"]).num_examples == 1
    write_records("a.record-00001-of-00002", [serialized()])
    with pytest.raises(TFRecordError, match="holds the same records as"):
        record_statistics([f"{tmp_path}/a.record-?????-of-00002"])
    assert record_statistics([path]).num_examples == 1
