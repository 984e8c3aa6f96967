import logging
import os

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from tfod_csf.config.protos import eval_pb2, train_pb2
from tfod_csf.data import inputs
from tfod_csf.data.left_out_boxes import LeftOutBoxes
from tfod_csf.network_input.image_normalizer import CHANNEL_MEANS

BOX = (0.25, 0.5, 0.75, 1.0)
AUGMENTATION = (
    "data_augmentation_options { random_horizontal_flip {} } data_augmentation_options { random_crop_image {} }"
)


@pytest.fixture
def label_map_path(tmp_path):
    path = tmp_path / "label_map.pbtxt"
    path.write_text("".join(f"item {{ id: {i} name: 'c{i}' }}\n" for i in (1, 2, 3)))
    return str(path)


def train_config(text="", batch_size=1, **fields):
    return text_format.Parse(text, train_pb2.TrainConfig(batch_size=batch_size, **fields))


def one_epoch(dataset):
    return list(dataset.as_numpy_iterator())


def test_boxes_classes_and_padding(serialized, write_records, reader_of, model_config):
    path = write_records("a.record", [serialized([BOX], [2])])
    dataset = inputs.train_input(train_config(max_number_of_boxes=2), reader_of(path, num_epochs=1), model_config)
    ((features, labels),) = one_epoch(dataset)
    # 8 x 10 becomes 12.8 -> 13 x 16 within 16 x 16, so heights shrink by 13/16.
    assert features["true_image_shape"].tolist() == [[13, 16, 3]]
    np.testing.assert_allclose(
        labels["groundtruth_boxes"], [[[0.25 * 13 / 16, 0.5, 0.75 * 13 / 16, 1.0], [0, 0, 0, 0]]], rtol=1e-6
    )
    assert labels["groundtruth_classes"].tolist() == [[[0, 1, 0], [0, 0, 0]]]
    assert labels["groundtruth_weights"].tolist() == [[1, 0]]
    assert labels["num_groundtruth_boxes"].tolist() == [1]
    assert features["source_id"].tolist() == [b"a.png"]
    np.testing.assert_allclose(features["image"][0, 15, 0], -np.float32(CHANNEL_MEANS))
    assert dataset.element_spec[1]["groundtruth_boxes"].shape == (1, 2, 4)
    assert set(features) == {"image", "true_image_shape", "original_image_spatial_shape", "source_id", "hash"}
    per_object = ("boxes", "classes", "weights", "difficult", "is_crowd", "group_of", "area", "confidences")
    per_image = ("verified_neg_classes", "not_exhaustive_classes", "image_classes")
    assert set(labels) == {"num_groundtruth_boxes"} | {f"groundtruth_{name}" for name in per_object + per_image}


def test_no_objects(serialized, write_records, reader_of, model_config):
    reader = reader_of(write_records("a.record", [serialized()]), num_epochs=1)
    config = train_config(AUGMENTATION, max_number_of_boxes=2)
    ((_, labels),) = one_epoch(inputs.train_input(config, reader, model_config, seed=0))
    assert labels["num_groundtruth_boxes"].tolist() == [0]
    assert not labels["groundtruth_weights"].any()


def test_a_seed_repeats_batches_with_augmentation(serialized, write_records, reader_of, model_config):
    records = [serialized([BOX], [1 + i % 3], name=str(i)) for i in range(7)]
    reader = reader_of(write_records("a.record", records), shuffle=True)
    config = train_config(AUGMENTATION, batch_size=2, max_number_of_boxes=3)

    def first(seed):
        batches = one_epoch(inputs.train_input(config, reader, model_config, seed=seed).take(6))
        return [tensor for batch in batches for part in batch for tensor in part.values()]

    for left, right in zip(first(1), first(1)):
        np.testing.assert_array_equal(left, right)
    assert any(not np.array_equal(left, right) for left, right in zip(first(1), first(2)))


def test_training_names_images_that_lose_boxes(serialized, write_records, reader_of, model_config, caplog):
    path = write_records("a.record", [serialized([BOX] * 3, [1] * 3, name="crowd.png"), serialized([BOX], [1])])
    left_out = LeftOutBoxes()
    config = train_config(max_number_of_boxes=2)
    reader = reader_of(path, num_epochs=2)
    with caplog.at_level(logging.WARNING):
        batches = one_epoch(inputs.train_input(config, reader, model_config, left_out_boxes=left_out))
    assert [int(labels["num_groundtruth_boxes"][0]) for _, labels in batches] == [2, 1, 2, 1]
    assert caplog.text.count("crowd.png: 1 box is ignored: train_config.max_number_of_boxes is 2; raise it.") == 1
    assert list(left_out.boxes.values()) == [{"crowd.png": 1}]


def test_evaluation_keeps_every_box_and_image(serialized, write_records, reader_of, model_config):
    records = [serialized([BOX] * count, [3] * count, name=str(count)) for count in (0, 1, 5)]
    reader = reader_of(write_records("a.record", records), max_number_of_boxes=2)
    batches = one_epoch(inputs.eval_input(eval_pb2.EvalConfig(batch_size=2), reader, model_config))
    assert [labels["groundtruth_boxes"].shape for _, labels in batches] == [(2, 2, 4), (1, 5, 4)]
    assert [labels["num_groundtruth_boxes"].tolist() for _, labels in batches] == [[0, 1], [5]]
    assert batches[0][0]["original_image"].dtype == np.uint8
    reader.drop_remainder = True
    assert len(one_epoch(inputs.eval_input(eval_pb2.EvalConfig(batch_size=2), reader, model_config))) == 1


def test_original_images_are_retained_where_asked_for(serialized, write_records, reader_of, model_config):
    reader = reader_of(write_records("a.record", [serialized()]))
    eval_config = eval_pb2.EvalConfig()
    assert "original_image" in inputs.eval_input(eval_config, reader, model_config).element_spec[0]
    eval_config.retain_original_images = False
    assert "original_image" not in inputs.eval_input(eval_config, reader, model_config).element_spec[0]


def test_fields_that_say_how_much_is_done_at_once(serialized, write_records, reader_of, model_config, monkeypatch):
    asked_for = {}

    def spy(name, argument):
        original = getattr(tf.data.Dataset, name)

        def called(self, *args, **kwargs):
            asked_for[name] = kwargs.get(argument, args[0] if args else None)
            return original(self, *args, **kwargs)

        monkeypatch.setattr(tf.data.Dataset, name, called)

    spy("map", "num_parallel_calls")
    spy("prefetch", "buffer_size")
    reader = reader_of(write_records("a.record", [serialized()]), num_parallel_batches=1, num_prefetch_batches=3)
    inputs.eval_input(eval_pb2.EvalConfig(batch_size=2), reader, model_config)
    assert asked_for == {"map": 2, "prefetch": 3}
    reader.num_prefetch_batches = -1
    reader.num_parallel_batches = 1000
    inputs.eval_input(eval_pb2.EvalConfig(), reader, model_config)
    assert asked_for == {"map": 4 * os.cpu_count(), "prefetch": tf.data.AUTOTUNE}


def test_a_dataset_has_no_tuning_thread_that_its_end_may_wait_for(serialized, write_records, reader_of, model_config):
    reader = reader_of(write_records("a.record", [serialized()]))
    for dataset in (
        inputs.eval_input(eval_pb2.EvalConfig(), reader, model_config),
        inputs.train_input(train_config(), reader, model_config, seed=1),
    ):
        assert dataset.options().autotune.enabled is False


def test_unknown_classes_are_left_out_and_named(
    serialized, write_records, reader_of, model_config, label_map_path, caplog
):
    path = write_records("a.record", [serialized([BOX, BOX], [1, 1], ["platelet", "c3"])])
    reader = reader_of(path, label_map_path=label_map_path)
    ((_, labels),) = one_epoch(inputs.eval_input(eval_pb2.EvalConfig(), reader, model_config))
    assert labels["num_groundtruth_boxes"].tolist() == [1]
    assert labels["groundtruth_classes"][0, 0].tolist() == [0, 0, 1]
    assert f"a.png: 1 box is ignored: its class is not in {label_map_path}." in caplog.text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"boxes": [BOX], "labels": [4]}, r"a class id is not in 1\.\.3"),
        ({"boxes": [BOX], "labels": [0]}, r"a class id is not in 1\.\.3"),
        ({"boxes": [(0.5, 0.0, 0.4, 1.0)], "labels": [1]}, "a minimum above its maximum"),
        ({"boxes": [BOX, BOX], "labels": [1]}, "groundtruth_classes and the boxes differ in number"),
        ({"boxes": [BOX, BOX], "labels": [1, 1], "image__object__area": [1.0]}, "groundtruth_area and the boxes"),
    ],
)
def test_contradictory_records_end_the_run_with_the_images_name(serialized, reader_of, model_config, fields, words):
    read_example = inputs.example_reader(reader_of(), model_config)
    with pytest.raises(tf.errors.InvalidArgumentError, match=words) as error:
        read_example(tf.constant(serialized(name="bad.png", **fields)))
    assert "bad.png" in str(error.value)


def test_unequal_sizes_in_a_batch_are_refused(serialized, write_records, reader_of, model_config):
    path = write_records("a.record", [serialized(size=(8, 10)), serialized(size=(8, 8))])
    model_config.faster_rcnn.image_resizer.keep_aspect_ratio_resizer.pad_to_max_dimension = False
    dataset = inputs.eval_input(eval_pb2.EvalConfig(batch_size=2), reader_of(path), model_config)
    with pytest.raises(tf.errors.InvalidArgumentError, match="set pad_to_max_dimension: true or batch_size: 1"):
        one_epoch(dataset)
    one_by_one = inputs.eval_input(eval_pb2.EvalConfig(), reader_of(path), model_config)
    assert [features["image"].shape for features, _ in one_epoch(one_by_one)] == [(1, 13, 16, 3), (1, 16, 16, 3)]


def test_batch_is_divided_among_replicas(serialized, write_records, reader_of, model_config):
    reader = reader_of(write_records("a.record", [serialized()]))
    context = tf.distribute.InputContext(num_input_pipelines=1, input_pipeline_id=0, num_replicas_in_sync=2)
    dataset = inputs.train_input(train_config(batch_size=4), reader, model_config, input_context=context)
    assert dataset.element_spec[0]["image"].shape == (2, 16, 16, 3)
    with pytest.raises(inputs.InputsError, match="batch_size: 3 does not divide by 2 replicas"):
        inputs.train_input(train_config(batch_size=3), reader, model_config, input_context=context)


def test_two_pipelines_make_the_batches_of_one(serialized, write_records, reader_of, model_config):
    """Shuffled, augmented with random numbers, and from step 1 on; the last record fills no batch of both."""
    path = write_records("a.record", [serialized(name=f"{number}.jpg") for number in range(9)])
    reader = reader_of(path)
    reader.shuffle, reader.num_epochs = True, 1
    config = train_config(AUGMENTATION, batch_size=4)

    def batches(context=None):
        return one_epoch(inputs.train_input(config, reader, model_config, 3, context, num_batches_done=1))

    contexts = [tf.distribute.InputContext(2, pipeline, 2) for pipeline in range(2)]
    first, second = (batches(context) for context in contexts)
    whole = batches()[:1]
    assert len(first) == len(second) == 1
    for (features, _), (features_1, _), (features_2, _) in zip(whole, first, second):
        for name in ("source_id", "image"):
            together = np.concatenate([features_1[name], features_2[name]])
            np.testing.assert_array_equal(together, features[name])
    assert len(set(whole[0][0]["source_id"].tolist())) == 4
