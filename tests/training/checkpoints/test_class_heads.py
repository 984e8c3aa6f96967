"""Rows of class and box heads by class, worked out by hand."""

import numpy as np
import pytest

from tfod_csf.label_map import LabelMap, LabelMapItem, label_map_from_names, save_label_map
from tfod_csf.training.checkpoints import class_heads
from tfod_csf.training.checkpoints.class_heads import ClassMatch

CLASS_BIAS = "model/_mask_rcnn_box_predictor/_class_prediction_head/_class_predictor_layers/1/bias/x"
BOX_BIAS = "model/_mask_rcnn_box_predictor/_box_prediction_head/_box_encoder_layers/1/bias/x"
STORED = label_map_from_names(["lymphocyte", "monocyte", "neutrophil"])


def test_other_order_a_new_class_and_one_that_is_not_used():
    match = ClassMatch.of(STORED, label_map_from_names(["Neutrophil", "blast", "lymphocyte"]))
    assert match.stored_ids == {1: 3, 3: 1}
    assert str(match) == "Neutrophil, lymphocyte copied; blast new; monocyte of the checkpoint not used"
    assert not match.is_same
    # background, lymphocyte, monocyte, neutrophil -> background, neutrophil, blast, lymphocyte
    stored, initial = np.array([10.0, 11, 12, 13]), np.array([0.0, 1, 2, 3])
    assert match.head(CLASS_BIAS, stored, initial).tolist() == [10, 13, 2, 11]
    assert initial.tolist() == [0, 1, 2, 3]


def test_kernels_and_boxes_of_another_number_of_classes():
    match = ClassMatch.of(STORED, label_map_from_names(["monocyte", "blast"]))
    kernel = match.head(CLASS_BIAS, np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]]), np.zeros([2, 3]))
    assert kernel.tolist() == [[1, 3, 0], [5, 7, 0]]
    # four numbers of each class, and none of the background
    boxes = match.head(BOX_BIAS, np.arange(12.0), np.full(8, -1.0))
    assert boxes.tolist() == [4, 5, 6, 7, -1, -1, -1, -1]


def test_the_same_classes_are_the_same_whatever_capitals():
    assert ClassMatch.of(STORED, label_map_from_names(["Lymphocyte", "monocyte ", "neutrophil"])).is_same
    assert not ClassMatch.of(STORED, label_map_from_names(["monocyte", "lymphocyte", "neutrophil"])).is_same
    assert not ClassMatch.of(STORED, label_map_from_names(["lymphocyte", "monocyte"])).is_same


def test_no_class_in_common_keeps_the_background_only():
    match = ClassMatch.of(STORED, label_map_from_names(["red"]))
    assert match.head(CLASS_BIAS, np.arange(4.0) + 1, np.zeros(2)).tolist() == [1, 0]
    assert str(match).startswith("none copied; red new; ")


def test_a_head_of_another_size_than_the_label_map_says():
    match = ClassMatch.of(STORED, label_map_from_names(["monocyte", "blast"]))
    with pytest.raises(ValueError, match=r"is \[5\], expected \[4\]"):
        match.head(CLASS_BIAS, np.zeros(5), np.zeros(3))


def test_only_a_model_folder_of_this_package_says_which_classes_a_checkpoint_has(tmp_path):
    save_label_map(LabelMap([LabelMapItem(2, "red")]), tmp_path / "label_map.pbtxt")
    prefix = tmp_path / "checkpoint" / "ckpt-0"
    assert class_heads.label_map_of(tmp_path) is None  # TFOD's: it has no model.json
    (tmp_path / "model.json").touch()
    for path in (tmp_path, tmp_path / "checkpoint", prefix, str(prefix)):
        assert class_heads.label_map_of(path).names == ["id 1", "red"]
    assert class_heads.label_map_of(tmp_path / "run" / "ckpt-7") is None
