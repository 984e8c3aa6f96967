"""train_input and eval_input against what TFOD's give to the model for the same records."""

import numpy as np
import pytest
from google.protobuf import text_format

from tfod_csf.config.protos import eval_pb2, input_reader_pb2, model_pb2, train_pb2
from tfod_csf.data import inputs

TOLERANCE = 1e-4


def model_of(resizer, arrays, run):
    """The recorded run's model; its resizer follows from its kind and the shapes."""
    model = model_pb2.DetectionModel()
    model.faster_rcnn.feature_extractor.type = "faster_rcnn_resnet50_keras"
    _, height, width, _ = arrays[f"{run}/features/image"].shape
    if resizer == "pad":
        true_sides = arrays[f"{run}/features/true_image_shape"][0, :2]
        shorter = height if max(true_sides) == height else min(true_sides)
        text = f"min_dimension: {shorter} max_dimension: {height} pad_to_max_dimension: true"
        text = f"keep_aspect_ratio_resizer {{ {text} }}"
    else:
        assert resizer == "fixed"
        text = f"fixed_shape_resizer {{ height: {height} width: {width} }}"
    text_format.Parse(text, model.faster_rcnn.image_resizer)
    model.faster_rcnn.num_classes = arrays[f"{run}/labels/groundtruth_classes"].shape[2]
    return model


def batches(mode, arrays, run, model, records, label_map):
    """Our batches for the run's records, in their order."""
    reader = input_reader_pb2.InputReader(label_map_path=str(label_map), shuffle=False, num_epochs=1)
    reader.tf_record_input_reader.input_path.append(str(records))
    batch_size, num_rows, _ = arrays[f"{run}/labels/groundtruth_boxes"].shape
    if mode == "train":
        train_config = train_pb2.TrainConfig(batch_size=batch_size, max_number_of_boxes=num_rows)
        return inputs.train_input(train_config, reader, model, seed=0)
    reader.max_number_of_boxes = num_rows
    return inputs.eval_input(eval_pb2.EvalConfig(batch_size=batch_size), reader, model)


@pytest.mark.recorded("input_pipeline*.npz")
def test_batches(recorded):
    suffix = recorded.stem.removeprefix("input_pipeline")
    records = recorded.with_name(f"tf_example{suffix}.tfrecord")
    label_map = recorded.with_name(f"tf_example{suffix}_label_map.pbtxt")
    with np.load(recorded) as archive:
        arrays = {key: archive[key] for key in archive if not key.startswith("meta/")}
    not_compared = set(arrays)
    for resizer, mode in sorted({tuple(key.split("/")[0].rstrip("0123456789").split("_")) for key in arrays}):
        run = f"{resizer}_{mode}"
        model = model_of(resizer, arrays, f"{run}0")
        for number, parts in enumerate(batches(mode, arrays, f"{run}0", model, records, label_map)):
            for part, tensors in zip(("features", "labels"), parts):
                for name, value in tensors.items():
                    key = f"{run}{number}/{part}/{name}"
                    if key in arrays:
                        np.testing.assert_allclose(value, arrays[key], rtol=0, atol=TOLERANCE, err_msg=key, strict=True)
                        not_compared.remove(key)
    assert not not_compared
