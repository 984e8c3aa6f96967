"""Tiny records, a tiny network and one short training run by the command, for the tests of several packages."""

import logging
import pathlib

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfod_csf.label_map import label_map_from_names, save_label_map

SIZE_PX = 64
NAMES = ("red", "blue")

CONFIG = """
model {{ faster_rcnn {{
  num_classes: 2
  image_resizer {{ fixed_shape_resizer {{ height: {size} width: {size} }} }}
  feature_extractor {{ type: "faster_rcnn_resnet18_keras" batch_norm_trainable: {batch_norm_trainable} }}
  first_stage_anchor_generator {{ grid_anchor_generator {{
    scales: 0.0859375 scales: 0.125 aspect_ratios: 1.0 height_stride: 16 width_stride: 16 }} }}
  first_stage_box_predictor_conv_hyperparams {{ op: CONV
    regularizer {{ l2_regularizer {{ weight: 0.0001 }} }}
    initializer {{ truncated_normal_initializer {{ stddev: 0.01 }} }} }}
  first_stage_nms_score_threshold: 0.0 first_stage_nms_iou_threshold: 0.7 first_stage_max_proposals: 8
  first_stage_localization_loss_weight: 2.0 first_stage_objectness_loss_weight: 1.0
  initial_crop_size: 4 maxpool_kernel_size: 2 maxpool_stride: 2
  second_stage_batch_size: 8
  second_stage_box_predictor {{ mask_rcnn_box_predictor {{ fc_hyperparams {{ op: FC
    regularizer {{ l2_regularizer {{ weight: 0.0001 }} }}
    initializer {{ variance_scaling_initializer {{ factor: 1.0 uniform: true mode: FAN_AVG }} }} }} }} }}
  second_stage_post_processing {{ batch_non_max_suppression {{ score_threshold: 0.0 iou_threshold: 0.6
    max_detections_per_class: 8 max_total_detections: 8 }} score_converter: SOFTMAX }}
  second_stage_localization_loss_weight: 2.0 second_stage_classification_loss_weight: 1.0
}} }}
train_config {{
  batch_size: 2 num_steps: 4 max_number_of_boxes: 5
  data_augmentation_options {{ random_horizontal_flip {{ }} }}
  optimizer {{ rms_prop_optimizer {{ learning_rate {{ exponential_decay_learning_rate {{
    initial_learning_rate: 0.001 decay_steps: 2 decay_factor: 0.95 }} }} epsilon: 1.0 }} use_moving_average: false }}
}}
train_input_reader {{ label_map_path: "{folder}/label_map.pbtxt"
  tf_record_input_reader {{ input_path: "{folder}/train.record-?????-of-00002" }} }}
eval_config {{ metrics_set: "pascal_voc_detection_metrics" metrics_set: "coco_detection_metrics"
  num_visualizations: 2 }}
eval_input_reader {{ label_map_path: "{folder}/label_map.pbtxt" shuffle: false num_epochs: 1
  tf_record_input_reader {{ input_path: "{folder}/eval.record" }} }}
"""


def make_example(tf, name: str, boxes: list, classes: list[int], seed: int) -> bytes:
    """A serialized record: a gray image of 48 x 60 px with squares in the color of their class.

    Args:
      tf: tensorflow.
      name: source_id and filename.
      boxes: M of (ymin, xmin, ymax, xmax), normalized.
      classes: [M] from 1.
      seed: of the noise.
    """
    height, width = 48, 60
    pixels = np.random.default_rng(seed).integers(90, 110, [height, width, 3]).astype(np.uint8)
    for (ymin, xmin, ymax, xmax), class_id in zip(boxes, classes):
        rows, columns = slice(int(ymin * height), int(ymax * height)), slice(int(xmin * width), int(xmax * width))
        pixels[rows, columns] = (220, 30, 30) if class_id == 1 else (30, 30, 220)
    texts = [NAMES[class_id - 1].encode() if class_id <= len(NAMES) else b"green" for class_id in classes]
    sides = np.asarray(boxes, np.float32).reshape(-1, 4).T.tolist()

    def feature(**kind):
        name, values = next(iter(kind.items()))
        kinds = {"bytes_list": tf.train.BytesList, "float_list": tf.train.FloatList, "int64_list": tf.train.Int64List}
        return tf.train.Feature(**{name: kinds[name](value=values)})

    features = {
        "image/encoded": feature(bytes_list=[tf.io.encode_jpeg(pixels, quality=95).numpy()]),
        "image/format": feature(bytes_list=[b"jpeg"]),
        "image/filename": feature(bytes_list=[name.encode()]),
        "image/source_id": feature(bytes_list=[name.encode()]),
        "image/height": feature(int64_list=[height]),
        "image/width": feature(int64_list=[width]),
        "image/object/class/text": feature(bytes_list=texts),
        "image/object/class/label": feature(int64_list=classes),
    }
    for side, values in zip(("ymin", "xmin", "ymax", "xmax"), sides):
        features[f"image/object/bbox/{side}"] = feature(float_list=values)
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_records(path, examples) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            writer.write(example)


def make_records(folder: pathlib.Path) -> None:
    """Six training images in two shards (one of them without objects), three for evaluation, a label map."""
    from tfod_csf import legacy_keras  # noqa: F401  isort: skip

    import tensorflow as tf

    rng = np.random.default_rng(7)

    def example(name: str, count: int, seed: int) -> bytes:
        # Each near the center of an anchor, so that an untrained network has some positive proposals.
        places = rng.choice([(y, x) for y in (0.25, 0.5, 0.75) for x in (0.25, 0.5, 0.75)], count, replace=False)
        centers = places + rng.uniform(-0.03, 0.03, [count, 2])
        boxes = [(y - 0.175, x - 0.15, y + 0.175, x + 0.15) for y, x in centers.tolist()]
        return make_example(tf, name, boxes, rng.integers(1, 3, count).tolist(), seed)

    for shard, counts in enumerate(([2, 1, 3], [2, 0, 1])):
        examples = [example(f"train_{shard}_{i}.jpg", count, 10 * shard + i) for i, count in enumerate(counts)]
        write_records(folder / f"train.record-{shard:05d}-of-00002", examples)
    examples = [example(f"eval_{i}.jpg", count, 50 + i) for i, count in enumerate([2, 1, 0])]
    write_records(folder / "eval.record", examples)
    save_label_map(label_map_from_names(NAMES), folder / "label_map.pbtxt")


def config_text(records_dir: pathlib.Path, batch_norm_trainable: bool = True) -> str:
    """pipeline.config of the tiny network on the tiny records."""
    return CONFIG.format(size=SIZE_PX, folder=records_dir, batch_norm_trainable=str(batch_norm_trainable).lower())


def run_command(*arguments: str) -> tuple[int, list[str]]:
    """Runs model_main_tf2 in this process; returns its exit status and what it logged."""
    from tfod_csf.commands import command_line

    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("tfod_csf").addHandler(handler)
    try:
        return command_line.main(["model_main_tf2", *arguments]), lines
    finally:
        logging.getLogger("tfod_csf").removeHandler(handler)


def run_and_evaluate(folder: pathlib.Path, records_dir: pathlib.Path) -> dict:
    """Five steps of the tiny network by the command, evaluated at steps 3 and 5.

    Returns:
      model_dir, config_path, and what was logged (log).
    """
    config_path, model_dir = folder / "pipeline.config", folder / "model"
    config_path.write_text(config_text(records_dir))
    flags = "--num_train_steps=5 --log_every_n=2 --checkpoint_every_n=4 --eval_every_n=3 --seed=1"
    status, log = run_command(f"--pipeline_config_path={config_path}", f"--model_dir={model_dir}", *flags.split())
    assert status == 0
    return {"model_dir": model_dir, "config_path": config_path, "log": log}


def read_tags(folder: pathlib.Path) -> dict[str, tuple[str, list[int]]]:
    """Tag to (plugin, steps) of all event files in a folder, in the order they were first written."""
    events = _events(folder)
    return {
        tag: (events.SummaryMetadata(tag).plugin_data.plugin_name, [event.step for event in events.Tensors(tag)])
        for tag in events.Tags()["tensors"]
    }


def read_tensors(folder: pathlib.Path, tag: str) -> list[np.ndarray]:
    """The tensors under one tag."""
    import tensorflow as tf

    return [tf.make_ndarray(event.tensor_proto) for event in _events(folder).Tensors(tag)]


def _events(folder: pathlib.Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events
