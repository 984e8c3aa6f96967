"""Checkpoint keys, shapes and the weight rule against TFOD's."""

import json
import re
import zlib

import pytest
import tensorflow as tf
from google.protobuf import text_format

from tfod_csf.config.protos import model_pb2
from tfod_csf.modeling import model_builder
from tfod_csf.training import checkpoints

CONFIG = """
  faster_rcnn {{
    num_classes: {num_classes}
    image_resizer {{ fixed_shape_resizer {{ height: 64 width: 64 }} }}
    feature_extractor {{ type: "faster_rcnn_{depth}_keras" }}
    first_stage_anchor_generator {{
      grid_anchor_generator {{ scales: [0.25, 0.5, 1.0, 2.0] aspect_ratios: [0.5, 1.0, 2.0] }}
    }}
    first_stage_max_proposals: 8
    initial_crop_size: 14
    maxpool_kernel_size: 2
    maxpool_stride: 2
    second_stage_box_predictor {{
      mask_rcnn_box_predictor {{ share_box_across_classes: {share} }}
    }}
  }}
"""


def build(depth: str, num_classes: int, share: bool = True):
    text = CONFIG.format(depth=depth, num_classes=num_classes, share=str(share).lower())
    model = model_builder.build(text_format.Parse(text, model_pb2.DetectionModel()), is_training=True)
    model.build_variables()
    return model


@pytest.mark.recorded("checkpoint_keys_resnet*.json")
def test_keys_and_shapes(recorded, tmp_path):
    expected = json.loads(recorded.read_text())
    depth = re.search(r"resnet\d+", recorded.name).group()
    for share in (True, False):
        model = build(depth, expected["num_classes"], share)
        path = tf.train.Checkpoint(model=checkpoints.checkpoint_view(model)).write(str(tmp_path / str(share)))
        keys = dict(expected["keys_share_box_across_classes_true"])
        if not share:
            keys |= expected["keys_only_changed_when_share_box_false"]
        assert dict(tf.train.list_variables(path)) == keys
        by_key = checkpoints.variables_by_key(model=checkpoints.checkpoint_view(model))
        assert {key: list(variable.shape) for key, variable in by_key.items()} == {
            key: shape for key, shape in keys.items() if key != "_CHECKPOINTABLE_OBJECT_GRAPH"
        }
        assert len(model.trainable_variables) == expected["num_trainable_variables"]


@pytest.mark.recorded("weights_check*.json")
def test_weight_rule(recorded, weight_rule):
    """The weights that all other comparisons use are the recorded ones, to the bit."""
    checksums = json.loads(recorded.read_text())["crc32"]
    shapes = json.loads((recorded.parent / "checkpoint_keys_resnet50.json").read_text())
    rule = weight_rule(recorded.parent)
    made = rule.make_all(shapes["keys_share_box_across_classes_true"])
    assert {key: zlib.crc32(value.astype("<f4").tobytes()) for key, value in made.items()} == checksums
