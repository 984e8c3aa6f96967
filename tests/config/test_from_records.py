"""What generate_pipeline_config takes from a folder of records, and how it says why."""

import pytest
from google.protobuf import text_format

from tfod_csf.config import from_records, paper_settings
from tfod_csf.config.box_statistics import from_boxes
from tfod_csf.config.detection_limits import ZOO_ANCHOR_SCALES
from tfod_csf.config.network_presets import network_preset
from tfod_csf.config.pipeline_config import ConfigError
from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.label_map import label_map_from_names, save_label_map


@pytest.fixture
def records_dir(tmp_path):
    """Three classes, training records in two shards, test records in one file."""
    save_label_map(label_map_from_names(["lymphocyte", "monocyte", "neutrophil"]), tmp_path / "label_map.pbtxt")
    for name in ("train.record-00000-of-00002", "train.record-00001-of-00002", "test.record"):
        (tmp_path / name).touch()
    return tmp_path


def test_records_of_a_folder(records_dir):
    found = from_records.find_records(records_dir)
    assert found == paper_settings.Records(
        3,
        f"{records_dir}/label_map.pbtxt",
        f"{records_dir}/train.record-?????-of-00002",
        f"{records_dir}/test.record",
    )


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("label_map.pbtxt", r"label_map\.pbtxt: there is no such file; run create_csf_tf_record first"),
        ("test.record", r"holds no test\.record file; run create_csf_tf_record first"),
    ],
)
def test_a_missing_part_is_named(records_dir, missing, words):
    (records_dir / missing).unlink()
    with pytest.raises(ConfigError, match=words):
        from_records.find_records(records_dir)


def test_statistics_are_those_of_annotations_csv_if_there_is_one(records_dir):
    assert from_records.statistics_of(records_dir) is None
    header = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    (records_dir / "annotations.csv").write_text(header + "a.jpg,640,480,monocyte,0,0,90,40\n", encoding="utf-8")
    statistics = from_records.statistics_of(records_dir)
    assert (statistics.images, statistics.boxes) == (1, 1)
    assert statistics.box_sizes == ((60.0, 640.0, 480.0, "monocyte"),)  # sqrt(90 * 40)


def limits_of(*arguments):
    limits = from_records.choose_limits(*arguments)
    return limits.max_number_of_boxes, limits.max_detections, limits.first_stage_max_proposals


def test_limits_follow_from_the_most_crowded_image_unless_given():
    zoo, small = network_preset("resnet50"), network_preset("resnet18")
    assert limits_of(zoo, 0) == (300, 300, 300)
    assert limits_of(small, 0) == (100, 100, 100)
    assert limits_of(small, 333) == (350, 500, 700)  # 333; 499.5; 666
    assert limits_of(small, 333, 900) == (350, 900, 900)  # proposals are at least as many as detections
    assert limits_of(small, 333, 400) == (350, 400, 700)
    assert limits_of(small, 333, 900, 600) == (350, 900, 600)
    # Boxes of objects without a class have to be held, but are no cells to detect.
    assert limits_of(small, 39, None, None, 146) == (150, 100, 100)
    assert limits_of(small, 333, None, None, 146) == (350, 500, 700)


def test_anchors_of_unknown_cells_are_the_zoos():
    for statistics in (None, from_boxes([]), from_boxes([(640, 640, [(5, 5, 5, 9, "without area")])])):
        scales, remark = from_records.choose_anchor_scales(network_preset("resnet50"), statistics)
        assert scales == ZOO_ANCHOR_SCALES
        assert remark == "anchors: the zoo's scales, because no box sizes are known"


def test_anchors_of_known_cells():
    # 64 px at an input of 640 px: 64 / sqrt 2 = 45.3 to 90.5 px in three steps of the cube root of 2.
    statistics = from_boxes([(640, 640, [(0, 0, 64, 64, "a")])])
    scales, remark = from_records.choose_anchor_scales(network_preset("resnet50"), statistics)
    assert scales == pytest.approx([45.25 / 256, 57.02 / 256, 71.84 / 256, 90.51 / 256], abs=5e-4)
    assert remark == (
        "anchors: cells are 64 to 64 px (5 % of the smallest class to 95 % of the largest, median of all 64) at the "
        "network's input, so anchors have sides of 45, 57, 72, 91 px"
    )
    # An image of 3200 px is scaled by 0.2, so that its cells of 64 px are 12.8 px: less than the stride of 16 px.
    statistics = from_boxes([(3200, 3200, [(0, 0, 64, 64, "a")])])
    _, remark = from_records.choose_anchor_scales(network_preset("resnet50"), statistics)
    assert "small cells are below the anchors' spacing of 16 px, a larger --input_size helps" in remark


def test_anchors_of_stretched_images_have_the_size_of_stretched_cells():
    # 512 x 256 px become 1024 x 1024: twice as wide and four times as high, so 32 x 32 px are 64 x 128, a side of 90.5
    # px. Around them 90.5 / sqrt 2 = 64 to 128 px in three steps of the cube root of 2.
    statistics = from_boxes([(512, 256, [(0, 0, 32, 32, "a")])])
    scales, remark = from_records.choose_anchor_scales(network_preset("resnet50", "1024x1024"), statistics)
    assert scales == pytest.approx([64 / 256, 80.63 / 256, 101.6 / 256, 128 / 256], abs=5e-4)
    assert "cells are 91 to 91 px" in remark
    # Scaled as one, the longer side being the limit: 512 x 256 px become 640 x 320, and cells are 40 px.
    assert "cells are 40 to 40 px" in from_records.choose_anchor_scales(network_preset("resnet50"), statistics)[1]


def test_anchors_of_a_feature_pyramid_follow_from_its_levels():
    pyramid = network_preset("resnet50_fpn")
    # 4 cells of 4 px at level 2, to 4 * sqrt(2) cells of 64 px at level 6.
    sides = "anchors: those of the feature pyramid, sides of 16 to 362 px in steps of 1.41"
    assert from_records.choose_anchor_scales(pyramid, None) == ((), sides)
    statistics = from_boxes([(640, 640, [(0, 0, 64, 64, "a")])])
    _, remark = from_records.choose_anchor_scales(pyramid, statistics)
    assert remark.startswith(f"{sides}; cells are 64 to 64 px (5 % of the smallest class")
    assert remark.endswith("at the network's input")
    for side, words in ((12, "below the smallest anchors, a larger"), (500, "above the largest anchors, a smaller")):
        _, remark = from_records.choose_anchor_scales(pyramid, from_boxes([(640, 640, [(0, 0, side, side, "a")])]))
        assert f"{words} --input_size helps" in remark


def test_remarks_say_what_the_numbers_come_from():
    network = network_preset("resnet50")
    statistics = from_boxes([(640, 640, [(0, 0, 64, 64, "a")] * 3), (640, 640, [(0, 0, 64, 64, "a")])])
    config = paper_settings.generate(network)
    remarks = from_records.remarks_on(config, network, statistics, "anchors: so and so")
    assert remarks[0].startswith("network: faster_rcnn_resnet50_v1_640x640, 4 classes")
    assert remarks[1].startswith("training: 32000 steps of 4 images, starts from pre-trained-models/")
    assert remarks[1].endswith("(detection)")
    assert remarks[2].startswith(
        "learning rate: 0.001 (the paper's), times 0.95 every 711 steps (not given in the paper)"
    )
    assert remarks[3] == (
        "limits: 2 images with 4 cells, up to 3 in one; 300 boxes, 300 detections, 300 proposals per image"
    )
    assert remarks[4] == "anchors: so and so"


def test_remarks_on_a_config_that_is_not_the_papers():
    network = network_preset("resnet18")
    training = paper_settings.Training(initial_learning_rate=0.01, fine_tune_checkpoint="")
    config = paper_settings.generate(network, training=training)
    remarks = from_records.remarks_on(config, network, None, "")
    assert remarks[1] == "training: 32000 steps of 4 images, starts from scratch, batch norm is trained"
    assert remarks[2].startswith("learning rate: 0.01 (the paper's is 0.001), times")
    assert "no counts of cells are known" in remarks[3]
    config.train_config.optimizer.adam_optimizer.SetInParent()
    assert from_records.remarks_on(config, network, None, "")[2] == (
        "optimizer: adam_optimizer; the paper's is RMSprop with exponential decay from 0.001"
    )


def test_the_remark_on_adam_says_its_learning_rate():
    network = network_preset("resnet18")
    config = paper_settings.generate(network, training=paper_settings.Training(num_steps=900, optimizer="adam"))
    assert from_records.remarks_on(config, network, None, "")[2] == (
        "learning rate: 0.001 (the paper's), times 0.95 every 20 steps (not given in the paper); Adam (the paper's is "
        "RMSprop)"
    )


def test_another_network_by_override_is_named():
    network = network_preset("resnet18")
    config = paper_settings.generate(network)
    config.model.faster_rcnn.feature_extractor.type = "faster_rcnn_resnet50_keras"
    remarks = from_records.remarks_on(config, network, None, "")
    assert remarks[0].startswith("network: faster_rcnn_resnet18_320x320 changed to faster_rcnn_resnet50_keras, 4")


def test_text_with_remarks_is_the_config_under_comments():
    config = paper_settings.generate(network_preset("resnet18"))
    text = from_records.text_with_remarks(config, ["first remark", "second"])
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert comments[1:] == ["# first remark.", "# second."]
    assert text_format.Parse(text, pipeline_pb2.TrainEvalPipelineConfig()) == config
