"""What a training and an evaluation are checked for: each mistake before step 1 is one sentence."""

import re
import shutil

import pytest

from tests.support import tiny_training
from tfod_csf.data.records.record_files import record_files
from tfod_csf.errors import UserError
from tfod_csf.label_map import label_map_from_names, load_label_map, save_label_map
from tfod_csf.training import preflight
from tfod_csf.training.checkpoints import trained_classes


def _refusal(config, model_dir, **arguments) -> str:
    with pytest.raises(UserError) as caught:
        preflight.check_training(config, "pipeline.config", str(model_dir), **arguments)
    return str(caught.value)


def test_sound_input_is_described(config, tmp_path):
    checked = preflight.check_training(config, "pipeline.config", str(tmp_path / "new" / "model"), evaluates=True)
    assert checked.notices[-2].startswith("Training records: 6 images, 9 boxes (blue ")
    assert checked.notices[-1].startswith("Evaluation records: 3 images, 3 boxes (")
    assert not (tmp_path / "new").exists()


def test_classes_without_boxes_are_named(config, tmp_path):
    import tensorflow as tf

    example = tiny_training.make_example(tf, "one.jpg", [(0.1, 0.1, 0.4, 0.4)], [1], seed=0)
    tiny_training.write_records(tmp_path / "red.record", [example])
    for reader in (config.train_input_reader, config.eval_input_reader[0]):
        reader.tf_record_input_reader.input_path[:] = [str(tmp_path / "red.record")]
    notices = preflight.check_training(config, "pipeline.config", str(tmp_path), evaluates=True).notices
    assert "Training records: no box of class 'blue'; it cannot be learned." in notices
    assert "Evaluation records: no box of blue; such a class has no average precision." in notices
    assert any("batch_size is 2, but there are only 1 training images" in notice for notice in notices)


def test_evaluation_records_without_any_box_are_named(config, tmp_path):
    import tensorflow as tf

    example = tiny_training.make_example(tf, "one.jpg", [], [], seed=0)
    tiny_training.write_records(tmp_path / "none.record", [example])
    config.eval_input_reader[0].tf_record_input_reader.input_path[:] = [str(tmp_path / "none.record")]
    notices = preflight.check_training(config, "pipeline.config", str(tmp_path), evaluates=True).notices
    assert any("no image has a box; there is no average precision, and no checkpoint" in notice for notice in notices)


def test_a_folder_of_which_files_were_left_behind_is_refused_before_anything_is_written(config, tmp_path):
    (tmp_path / "ckpt-3.index").touch()
    assert f"--model_dir={tmp_path}: the folder holds ckpt-3 but no file checkpoint that names it" in _refusal(
        config, tmp_path
    )
    with pytest.raises(
        UserError, match=r"--checkpoint_dir=.* but no file checkpoint .*, or give another --checkpoint_dir"
    ):
        preflight.check_evaluation(config, "pipeline.config", str(tmp_path), eval_once=True)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("ckpt")] == ["ckpt-3.index"]


def test_copies_of_training_images_among_the_evaluation_records_are_counted(config, tmp_path):
    import tensorflow as tf

    images = [tiny_training.make_example(tf, f"{n}.jpg", [(0.1, 0.1, 0.4, 0.4)], [1 + n % 2], seed=n) for n in range(4)]
    for name, records in (("train", images[:3]), ("copy", images[:3]), ("part", images[2:]), ("new", images[3:])):
        tiny_training.write_records(tmp_path / f"{name}.record", records)
    said = (
        "Evaluation uses training images ({} in {}, by the pictures' bytes): its metrics say nothing about new images"
    )

    def shared(name):
        config.train_input_reader.tf_record_input_reader.input_path[:] = [str(tmp_path / "train.record")]
        config.eval_input_reader[0].tf_record_input_reader.input_path[:] = [str(tmp_path / f"{name}.record")]
        found = preflight.check_training(config, "pipeline.config", str(tmp_path / "m"), evaluates=True).notices
        return [notice for notice in found if notice.startswith("Evaluation uses")]

    assert shared("new") == []
    assert shared("copy") == [said.format("3 of 3", tmp_path / "copy.record") + "."]
    assert shared("part") == [said.format("1 of 2", tmp_path / "part.record") + " as far as they are of these."]
    alone = preflight.check_evaluation(config, "pipeline.config", str(tmp_path)).notices
    assert alone[-1].startswith("Evaluation uses training images (1 of 2")
    (tmp_path / "train.record").unlink()  # the training records are on another computer
    unknown = preflight.check_evaluation(config, "pipeline.config", str(tmp_path)).notices[-1]
    assert not unknown.startswith("Evaluation u")
    assert "it is not known whether evaluation images are among them" in unknown


def test_ids_without_a_name_are_said(config, tmp_path):
    config.model.faster_rcnn.num_classes = 3
    notices = preflight.check_training(config, "pipeline.config", str(tmp_path)).notices
    path = config.train_input_reader.label_map_path
    assert f"{path}: num_classes is 3, but no class has the id 3; such a class has no objects, cannot" in str(notices)


def test_records_with_labels_alone_are_counted_by_name(config, tmp_path):
    import tensorflow as tf

    example = tf.train.Example.FromString(
        tiny_training.make_example(tf, "a.jpg", [(0.1, 0.1, 0.4, 0.4)] * 3, [1, 2, 2], 0)
    )
    del example.features.feature["image/object/class/text"]
    tiny_training.write_records(tmp_path / "a.record", [example.SerializeToString()])
    config.train_input_reader.tf_record_input_reader.input_path[:] = [str(tmp_path / "a.record")]
    notices = preflight.check_training(config, "pipeline.config", str(tmp_path / "model")).notices
    assert "Training records: 1 images, 3 boxes (blue 2, red 1), at most 3 in one." in notices
    assert not [notice for notice in notices if "no box of class" in notice]
    config.train_input_reader.label_map_path = str(tmp_path / "gap.pbtxt")
    (tmp_path / "gap.pbtxt").write_text("item { id: 1 name: 'red' }")
    message = _refusal(config, tmp_path / "model")
    assert "the records hold 2 objects of class 'id 2', but" in message


def test_images_of_another_size_than_the_record_says_are_named(config, tmp_path):
    import tensorflow as tf

    example = tf.train.Example.FromString(tiny_training.make_example(tf, "a.jpg", [(0.1, 0.1, 0.4, 0.4)], [1], 0))
    for side in ("width", "height"):
        example.features.feature[f"image/{side}"].int64_list.value[:] = [7]
    tiny_training.write_records(tmp_path / "a.record", [example.SerializeToString()])
    config.train_input_reader.tf_record_input_reader.input_path[:] = [str(tmp_path / "a.record")]
    notices = preflight.check_training(config, "pipeline.config", str(tmp_path / "model")).notices
    assert any("1 of 1 images are of another size than image/width and image/height say" in n for n in notices)


def test_records_that_are_there_twice_and_flat_boxes_are_named(config, tmp_path):
    import tensorflow as tf

    records = [
        tiny_training.make_example(tf, "a.jpg", [(0.1, 0.1, 0.4, 0.4)], [1], 0),
        tiny_training.make_example(tf, "b.jpg", [(0.1, 0.1, 0.1, 0.4)], [2], 1),
    ]
    tiny_training.write_records(tmp_path / "a.record", records)
    tiny_training.write_records(tmp_path / "a.record.tmp", records)
    config.train_input_reader.tf_record_input_reader.input_path[:] = [str(tmp_path / "a.record*")]
    notices = preflight.check_training(config, "pipeline.config", str(tmp_path / "model")).notices
    assert any("2 different images in 4 records; 2 are there again" in notice for notice in notices)
    assert any("2 boxes have no width or no height" in notice and "object 1" in notice for notice in notices)


def test_one_id_with_two_names_is_refused(config, tmp_path):
    label_map = tmp_path / "eval.pbtxt"
    config.eval_input_reader[0].label_map_path = str(label_map)
    label_map.write_text("item { id: 1 name: 'blue' } item { id: 2 name: 'red' }")
    words = f"eval_input_reader[0].label_map_path: {label_map} calls id 1 'blue', and "
    assert words in _refusal(config, tmp_path / "model", evaluates=True)
    (tmp_path / "model").mkdir(exist_ok=True)
    with pytest.raises(UserError, match=r"calls id 1 'blue', and .* of the training calls it 'red'; give one"):
        preflight.check_evaluation(config, "pipeline.config", str(tmp_path / "model"))
    config.train_input_reader.label_map_path = str(tmp_path / "not_here.pbtxt")
    preflight.check_evaluation(config, "pipeline.config", str(tmp_path / "model"))


def test_display_names_and_numbers_are_classes_too(config, tmp_path):
    import tensorflow as tf

    label_map = tmp_path / "label_map.pbtxt"
    label_map.write_text("item { id: 1 name: 'r' display_name: 'red' } item { id: 2 name: 'blue' }")
    examples = [tiny_training.make_example(tf, "one.jpg", [(0.1, 0.1, 0.4, 0.4)] * 2, [1, 2], seed=0)]
    example = tf.train.Example.FromString(examples[0])
    example.features.feature["image/object/class/text"].bytes_list.value[:] = [b"red", b""]
    tiny_training.write_records(tmp_path / "one.record", [example.SerializeToString()])
    config.train_input_reader.tf_record_input_reader.input_path[:] = [str(tmp_path / "one.record")]
    config.train_input_reader.label_map_path = str(label_map)
    notices = preflight.check_training(config, "pipeline.config", str(tmp_path / "model")).notices
    assert not [notice for notice in notices if "no box of class" in notice]
    example.features.feature["image/object/class/text"].bytes_list.value[:] = [b"red", b"r"]
    tiny_training.write_records(tmp_path / "one.record", [example.SerializeToString()])
    notices = preflight.check_training(config, "pipeline.config", str(tmp_path / "model")).notices
    assert "Training records: no box of class 'blue'; it cannot be learned." in notices


def test_fields_without_effect_are_named(config, tmp_path):
    config.train_config.sync_replicas = True
    notices = preflight.check_training(config, "pipeline.config", str(tmp_path)).notices
    assert any(notice.startswith("train_config.sync_replicas: true has no effect") for notice in notices)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: setattr(config.train_config, "num_steps", 0), "train_config.num_steps is 0; set it, or"),
        (lambda config: setattr(config.train_config, "batch_size", 0), "train_config.batch_size is 0"),
        (lambda config: config.train_config.ClearField("optimizer"), "train_config.optimizer is missing"),
        (
            lambda config: config.train_config.optimizer.rms_prop_optimizer.ClearField("learning_rate"),
            "train_config.optimizer.rms_prop_optimizer.learning_rate is missing",
        ),
        (
            lambda config: setattr(config.train_config, "max_number_of_boxes", 2),
            "max_number_of_boxes: 2 is less than the 3 boxes of train_0_2.jpg",
        ),
        (
            lambda config: setattr(config.train_input_reader, "label_map_path", "/nowhere/label_map.pbtxt"),
            "/nowhere/label_map.pbtxt: the label map cannot be read",
        ),
        (
            lambda config: setattr(config.model.faster_rcnn, "num_classes", 1),
            "class 'blue' has id 2 (classes: red, blue), but num_classes is 1; set num_classes to 2",
        ),
        (
            lambda config: setattr(config.model.faster_rcnn, "number_of_stages", 3),
            "number_of_stages: 3 is not supported",
        ),
        (
            lambda config: config.train_input_reader.tf_record_input_reader.input_path.append("/nowhere/x-*"),
            "train_input_reader: tf_record_input_reader.input_path: '/nowhere/x-*' matches no file",
        ),
        (
            lambda config: config.train_input_reader.tf_record_input_reader.input_path.append(
                "PATH_TO_BE_CONFIGURED/x"
            ),
            "train_input_reader: 'PATH_TO_BE_CONFIGURED/x' is a placeholder",
        ),
    ],
)
def test_mistakes_in_the_config(config, tmp_path, change, message):
    change(config)
    assert message in _refusal(config, tmp_path)


def test_a_batch_that_does_not_divide(config, tmp_path, monkeypatch):
    task = '"task": {"type": "worker", "index": 0}'
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1", "c:1"]}, ' + task + "}")
    assert "batch_size: 2 is the global batch and does not divide by 3 replicas (--num_workers=3)" in _refusal(
        config, tmp_path, num_workers=3
    )


def test_records_of_other_classes(config, tmp_path):
    import tensorflow as tf

    example = tiny_training.make_example(tf, "green.jpg", [(0.1, 0.1, 0.4, 0.4)], [3], seed=0)
    tiny_training.write_records(tmp_path / "green.record", [example])
    config.train_input_reader.tf_record_input_reader.input_path[:] = [str(tmp_path / "green.record")]
    label_map = config.train_input_reader.label_map_path
    message = _refusal(config, tmp_path)
    assert f"the records hold 1 objects of class 'green', but {label_map} has red, blue; use the label map" in message
    config.train_input_reader.label_map_path = ""
    message = _refusal(config, tmp_path)
    assert "the records hold 1 objects of class 'green' (number 3), but num_classes is 2" in message


def test_records_without_a_box_or_without_records(config, tmp_path):
    import tensorflow as tf

    path = tmp_path / "train.record"
    config.train_input_reader.tf_record_input_reader.input_path[:] = [str(path)]
    tiny_training.write_records(path, [tiny_training.make_example(tf, "empty.jpg", [], [], seed=0)])
    assert "none of 1 images has a box" in _refusal(config, tmp_path)
    tiny_training.write_records(path, [])
    assert "train.record: holds no record (0 bytes)" in _refusal(config, tmp_path)
    path.write_bytes(b"this is not a TFRecord file")
    assert "not a TFRecord file" in _refusal(config, tmp_path)


def test_missing_eval_reader_and_two_of_one_name(config, tmp_path):
    config.eval_input_reader.add().CopyFrom(config.eval_input_reader[0])
    assert "eval_input_reader.name: '' is used by 2 eval_input_readers" in _refusal(config, tmp_path, evaluates=True)
    del config.eval_input_reader[:]
    assert "eval_input_reader is missing" in _refusal(config, tmp_path, evaluates=True)


def test_records_on_both_sides_are_noticed(config, tmp_path):
    config.eval_input_reader[0].CopyFrom(config.train_input_reader)
    notices = preflight.check_training(config, "pipeline.config", str(tmp_path), evaluates=True).notices
    assert any(notice.startswith("Evaluation uses the training records") for notice in notices)


def test_shards_that_are_not_there_are_noticed(config, tmp_path):
    path = record_files(config.train_input_reader.tf_record_input_reader.input_path)[0]
    shutil.copy(path, tmp_path / "a.record-00001-of-00002")
    for reader in (config.train_input_reader, config.eval_input_reader[0]):
        reader.tf_record_input_reader.input_path[:] = [f"{tmp_path}/a.record-?????-of-00002"]
    notices = preflight.check_training(config, "pipeline.config", str(tmp_path / "m"), evaluates=True).notices
    assert sum("1 of 2 shards are there; 1 missing, the first is" in notice for notice in notices) == 2


def test_fine_tune_checkpoint(config, tmp_path):
    train_config = config.train_config
    train_config.fine_tune_checkpoint_version = 2
    train_config.fine_tune_checkpoint_type = "detection"
    for path, message in (
        ("PATH_TO_BE_CONFIGURED/ckpt-0", "is a placeholder"),
        (str(tmp_path / "ckpt-0"), "there is no such checkpoint (looked for "),
        (str(tmp_path), "the folder holds no checkpoint"),
    ):
        train_config.fine_tune_checkpoint = path
        assert message in _refusal(config, tmp_path / "model")
    (tmp_path / "ckpt-0.index").touch()
    train_config.fine_tune_checkpoint = str(tmp_path / "ckpt-0")
    preflight.check_training(config, "pipeline.config", str(tmp_path / "model"))
    assert "is in --model_dir" in _refusal(config, tmp_path)
    (tmp_path / "zoo.tar.gz").write_bytes(b"half a download")
    train_config.fine_tune_checkpoint = str(tmp_path / "zoo.tar.gz")
    assert "is not a tar archive" in _refusal(config, tmp_path / "model")


def test_a_resumed_run_needs_no_fine_tune_checkpoint(config, trained_run, tmp_path):
    config.train_config.fine_tune_checkpoint = str(tmp_path / "gone")
    config.train_config.fine_tune_checkpoint_version = 2
    preflight.check_training(config, "pipeline.config", str(trained_run["model_dir"]))


def test_a_run_and_its_evaluation_go_on_with_the_classes_they_had(config, trained_run, tmp_path):
    """With swapped ids a resumed run would train each output for the other class, without a word."""
    model_dir = trained_run["model_dir"]
    names = load_label_map(config.train_input_reader.label_map_path).names
    swapped = label_map_from_names([*reversed(names)])
    label_map_path = tmp_path / "swapped.pbtxt"
    save_label_map(swapped, label_map_path)
    for reader in (config.train_input_reader, config.eval_input_reader[0]):
        reader.label_map_path = str(label_map_path)
    words = f"swapped.pbtxt calls class id 1 {names[-1]!r}, but the checkpoints were trained with {names[0]!r}"
    assert words in _refusal(config, model_dir)
    with pytest.raises(UserError, match=re.escape(words)):
        preflight.check_evaluation(config, "pipeline.config", str(model_dir))
    with pytest.raises(UserError, match=re.escape(words)):
        trained_classes.check_same(model_dir / "best", swapped, str(label_map_path))
    preflight.check_training(config, "pipeline.config", str(tmp_path / "new"))


def test_model_dir_must_be_a_folder(config, tmp_path):
    (tmp_path / "file").touch()
    assert "is a file; name a folder" in _refusal(config, tmp_path / "file")


def test_evaluation_needs_a_folder_and_eval_once_a_checkpoint(config, tmp_path):
    with pytest.raises(UserError, match="there is no such folder"):
        preflight.check_evaluation(config, "pipeline.config", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="holds no checkpoint to evaluate"):
        preflight.check_evaluation(config, "pipeline.config", str(tmp_path), eval_once=True)
    assert preflight.check_evaluation(config, "pipeline.config", str(tmp_path)).train is None
