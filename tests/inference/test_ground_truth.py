import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.inference import ground_truth, record_reader
from tfod_csf.label_map import label_map_from_names
from tfod_csf.problems import ProblemLog
from tfod_csf.study import patients

LABEL_MAP = label_map_from_names(["lymphocyte", "monocyte", "neutrophil", "erythrocyte"])


def example(texts=("lymphocyte",), labels=(1,), encoded=None, weights=(), **lists):
    encoded = tf.io.encode_png(np.full([50, 100, 3], 7, np.uint8)).numpy() if encoded is None else encoded
    sides = {"ymin": 0.2, "xmin": 0.1, "ymax": 0.4, "xmax": 0.5}
    feature = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded])),
        "image/source_id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"a.png"])),
        "image/object/class/text": tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[text.encode() for text in texts])
        ),
        "image/object/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=labels)),
        "image/object/difficult": tf.train.Feature(int64_list=tf.train.Int64List(value=[1] * len(labels))),
        "image/object/weight": tf.train.Feature(float_list=tf.train.FloatList(value=weights)),
    }
    for side, value in sides.items():
        values = lists.get(side, [value] * len(labels))
        feature[f"image/object/bbox/{side}"] = tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def read(path, *examples):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for serialized in examples:
            writer.write(serialized)
    problems = ProblemLog(quiet=True)
    return list(record_reader.read_records([str(path)], LABEL_MAP, problems)), problems


def test_record(tmp_path):
    # The label 3 is another label map's; the text is what counts.
    (image, empty), problems = read(tmp_path / "r", example(labels=(3,)), example((), ()))
    assert image.pixels.shape == (50, 100, 3)
    np.testing.assert_allclose(image.boxes, [[10, 10, 20, 50]], rtol=1e-6)
    assert (image.classes.tolist(), image.difficult.tolist()) == ([1], [True])
    assert image.image_id.endswith("a.png")
    assert empty.boxes.shape == (0, 4)
    assert not problems.problems


def test_cells_nobody_could_name(tmp_path):
    names, ids = LABEL_MAP.names, LABEL_MAP.ids
    (image,), _ = read(tmp_path / "r", example(["monocyte", *names], [2, *ids], weights=[1, 0, 0, 0, 0]))
    assert image.is_passed_over.tolist() == [False, True, True, True, True]
    assert image.groundtruth_dict["groundtruth_is_crowd"].tolist() == [False, True, True, True, True]
    background = image.with_unnamed_as_background()
    assert background.classes.tolist() == [2]
    again = background.passing_over(2, ids)
    assert again.classes.tolist() == [1, 2, 3, 4]
    assert again.is_passed_over.all()
    np.testing.assert_array_equal(again.boxes, np.repeat(background.boxes, 4, axis=0))
    assert len(again.passing_over(2, ids).classes) == 4


def test_labels_where_there_are_no_texts(tmp_path):
    (image,), _ = read(tmp_path / "r", example((), (4,)))
    assert image.classes.tolist() == [4]


@pytest.mark.parametrize(
    ("serialized", "reason"),
    [
        (b"nonsense", "not a tf.train.Example"),
        (example(encoded=b"nonsense"), "cannot be decoded"),
        (example(ymin=[0.1, 0.2]), "different numbers"),
        (example(("platelet",)), "not in the label map"),
        (example((), (9,)), "class 9"),
    ],
)
def test_unusable_examples_are_skipped(tmp_path, serialized, reason):
    images, problems = read(tmp_path / "r", serialized, example())
    assert len(images) == 1
    assert reason in problems.problems[0].reason


def test_damaged_files(tmp_path):
    read(tmp_path / "r", example(), example())
    whole = (tmp_path / "r").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-10])
    problems = ProblemLog(quiet=True)
    assert len(list(record_reader.read_records([str(tmp_path / "cut")], LABEL_MAP, problems))) == 1
    assert "damaged after example 1" in problems.problems[0].reason
    (tmp_path / "text").write_text("no record at all, but long enough")
    with pytest.raises(record_reader.RecordError, match="not a TFRecord"):
        list(record_reader.read_records([str(tmp_path / "text")], LABEL_MAP, problems))


def test_shards(tmp_path):
    for number in range(2):
        (tmp_path / f"t.record-0000{number}-of-00002").touch()
    expected = [str(tmp_path / f"t.record-0000{number}-of-00002") for number in range(2)]
    assert ground_truth.find_shards(tmp_path / "t.record@2") == expected
    assert ground_truth.find_shards(tmp_path / "t.record-?????-of-00002") == expected
    assert ground_truth.find_shards(expected[0]) == expected[:1]
    assert ground_truth.find_shards(tmp_path / "none") == []


def test_folder(bad_inputs_dir):
    folder = bad_inputs_dir / "c00_control_good"
    problems = ProblemLog(quiet=True)
    pairs = patients.find_pairs(folder, None, problems)
    (image,) = ground_truth.read_labelled_folder(pairs, LABEL_MAP, problems)
    np.testing.assert_array_equal(image.boxes, [[10, 8, 36, 34], [30, 50, 64, 84]])
    assert image.classes.tolist() == [1, 4]
