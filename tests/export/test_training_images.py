import pytest

from tfod_csf.export import training_images
from tfod_csf.files import example_pb2, tfrecord


def record(width, height, boxes=()):
    """An Example without pixels; boxes as (xmin, ymin, xmax, ymax), fractions of the image."""
    example = example_pb2.Example()
    features = example.features.feature
    if width:
        features["image/width"].int64_list.value.append(width)
        features["image/height"].int64_list.value.append(height)
    for side, place in (("xmin", 0), ("ymin", 1), ("xmax", 2), ("ymax", 3)):
        features[f"image/object/bbox/{side}"].float_list.value.extend(box[place] for box in boxes)
    return example.SerializeToString()


def write(path, records):
    tfrecord.write_records(records, path)
    return str(path)


def test_the_most_common_size_and_its_largest_cell(tmp_path):
    first = write(tmp_path / "a", [record(640, 480, [(0.1, 0.1, 0.2, 0.3)]), record(2592, 1944, [(0, 0, 0.5, 0.5)])])
    second = write(tmp_path / "b", [record(640, 480), record(0, 0)])
    # 0.1 x 640 = 64 wide, 0.2 x 480 = 96 high; the larger cell is on an image of another size.
    assert training_images.describe([first, second]) == {
        "width": 640,
        "height": 480,
        "images": 2,
        "of": 3,
        "largest_box": 96,
    }


@pytest.mark.parametrize("data", [b"", b"damaged"])
def test_records_that_do_not_say_or_cannot_be_read(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    assert training_images.describe([str(tmp_path / "a"), str(tmp_path / "gone")]) is None
    assert training_images.describe([write(tmp_path / "b", [record(0, 0)])]) is None
