"""Boxes against anchors, by hand."""

import numpy as np
import pytest
from google.protobuf import text_format

from tfod_csf.config.pipeline_config import ConfigError
from tfod_csf.config.protos import faster_rcnn_pb2
from tfod_csf.data.dataset_page import anchor_fit

RESIZER = "image_resizer { keep_aspect_ratio_resizer { min_dimension: 200 max_dimension: 300 } }"
GRID = "first_stage_anchor_generator { grid_anchor_generator { scales: [0.25, 0.5] aspect_ratios: [1.0, 4.0] } }"


def anchors(text):
    return anchor_fit.anchors_of(text_format.Parse(text, faster_rcnn_pb2.FasterRcnn()))


def test_anchors_of_a_grid():
    # Base 256 px; an aspect ratio of 4 doubles the width and halves the height.
    sizes = anchors(RESIZER + GRID).sizes
    assert sizes.tolist() == [[64, 64], [128, 128], [128, 32], [256, 64]]


def test_anchors_of_a_pyramid():
    text = "first_stage_anchor_generator { multiscale_anchor_generator { min_level: 3 max_level: 4 anchor_scale: 4 "
    sizes = anchors(RESIZER + text + "aspect_ratios: [1.0] scales_per_octave: 2 } }").sizes
    assert sizes[:, 0] == pytest.approx([32, 32 * 2**0.5, 64, 64 * 2**0.5])
    assert sizes[:, 0] == pytest.approx(sizes[:, 1])


def test_anchors_of_another_kind_are_refused():
    with pytest.raises(ConfigError, match="ssd_anchor_generator; expected grid"):
        anchors("first_stage_anchor_generator { ssd_anchor_generator { } }")
    with pytest.raises(ConfigError, match="is not given"):
        anchors("")
    with pytest.raises(ConfigError, match="needs scales and aspect_ratios"):
        anchors(RESIZER + "first_stage_anchor_generator { grid_anchor_generator { } }")


def test_a_resizer_that_training_refuses_is_refused():
    with pytest.raises(ConfigError, match="image_resizer: pad_to_multiple_resizer; expected keep_aspect_ratio"):
        anchors("image_resizer { pad_to_multiple_resizer { multiple: 32 } }" + GRID)


@pytest.mark.parametrize(
    ("resizer", "size", "scales"),
    [
        (RESIZER, (400, 400), (0.5, 0.5)),
        (RESIZER, (800, 400), (0.375, 0.375)),  # the longer side would be 400
        ("image_resizer { fixed_shape_resizer { width: 100 height: 300 } }", (200, 300), (0.5, 1)),
        ("image_resizer { identity_resizer { } }", (200, 300), (1, 1)),
    ],
)
def test_pixels_of_the_network(resizer, size, scales):
    assert anchors(resizer + GRID).scales(*size) == scales


def test_sizes_of_classes():
    # Images of 400 x 400 px are halved. Boxes of 128 x 128 become 64 x 64, an anchor; of 200 x 200 become 100 x 100:
    # IoU with 128 x 128 is 100^2 / 128^2 = 0.61; of 20 x 20 become 10 x 10: 100 / 64^2 or less.
    counts = {("b", 400, 400, 128, 128): 3, ("b", 400, 400, 200, 200): 6, ("b", 400, 400, 20, 20): 1}
    found = anchor_fit.class_sizes(counts, ["a", "b"], anchors(RESIZER + GRID))
    assert list(found) == ["b"]
    sizes = found["b"]
    assert (sizes.total, sizes.good, sizes.poor) == (10, 0.3, 0.1)
    assert sizes.widths == sizes.heights == (20, 200, 200)
    assert sorted(sizes.sides.tolist()) == pytest.approx([10, 64, 100])
    assert sizes.best is not None
    assert sorted(sizes.best) == pytest.approx([100 / (128 * 32), 100**2 / 128**2, 1])


def test_sizes_without_a_config_are_those_of_the_images():
    [sizes] = anchor_fit.class_sizes({("b", 400, 400, 30, 120): 2}, ["b"], None).values()
    assert sizes.sides.tolist() == [60]
    assert (sizes.good, sizes.poor) == (None, None)


def test_overlap_of_boxes_of_one_center():
    # 20 x 10 in 10 x 20: 100 shared of 300.
    assert anchor_fit.best_iou(np.array([[20.0, 10.0]]), np.array([[10.0, 20.0]])).tolist() == [100 / 300]
