"""generate_pipeline_config: what follows from the records, what a flag changes, what stops it."""

import pytest

from tfod_csf import label_map
from tfod_csf.commands import command_line
from tfod_csf.config.pipeline_config import load_pipeline_config


@pytest.fixture
def records_dir(tmp_path):
    """Two images: 2 cells of 100 px and 400 cells of 40 px, in photographs of 1280 x 960 px."""
    folder = tmp_path / "tfrecords"
    folder.mkdir()
    label_map.save_label_map(
        label_map.label_map_from_names(["lymphocyte", "monocyte", "erythrocyte"]), folder / "label_map.pbtxt"
    )
    rows = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
    rows += ["a.jpg,1280,960,lymphocyte,0,0,100,100"] * 2 + ["b.jpg,1280,960,erythrocyte,0,0,40,40"] * 400
    (folder / "annotations.csv").write_text("\n".join(rows) + "\n")
    for name in ("train.record-00000-of-00002", "train.record-00001-of-00002", "test.record"):
        (folder / name).touch()
    return folder


@pytest.fixture
def run(records_dir, tmp_path, capsys):
    from absl import flags

    from tfod_csf.commands import generate_pipeline_config as command

    values = {name: command.FLAGS[name].value for name in command.FLAGS}

    def run_command(*arguments):
        output = tmp_path / "pipeline.config"
        given = [f"--records_dir={records_dir}", f"--output_path={output}", *arguments]
        status = command_line.run(command.main, command.FLAGS, command.__doc__, "generate_pipeline_config", given)
        captured = capsys.readouterr()
        return status, captured.out + captured.err, load_pipeline_config(output) if output.exists() else None

    yield run_command
    command.FLAGS.unparse_flags()
    flags.FLAGS.unparse_flags()
    for name, value in values.items():
        command.FLAGS[name].value = value


def test_classes_limits_and_anchors_follow_from_the_records(run, records_dir):
    status, text, config = run()
    assert status == 0
    model = config.model.faster_rcnn
    assert model.num_classes == 3
    assert config.train_config.max_number_of_boxes == 400
    nms = model.second_stage_post_processing.batch_non_max_suppression
    assert (nms.max_detections_per_class, nms.max_total_detections, model.first_stage_max_proposals) == (600, 600, 800)
    # 40 and 100 px of 1280 are 20 and 50 px of 640, each class counts as much: 20, 27, 37, 50 px in units of 256 px
    scales = model.first_stage_anchor_generator.grid_anchor_generator.scales
    assert list(scales) == pytest.approx([0.078, 0.106, 0.144, 0.195], abs=1e-3)
    assert list(config.train_input_reader.tf_record_input_reader.input_path) == [
        f"{records_dir}/train.record-?????-of-00002"
    ]
    assert list(config.eval_input_reader[0].tf_record_input_reader.input_path) == [f"{records_dir}/test.record"]
    assert "2 images with 402 cells, up to 400 in one" in text
    assert "learning rate: 0.001 (the paper's), times 0.95 every 711 steps" in text
    assert "checkpoint/ckpt-0 is not there yet; docs/CHECKPOINTS.md" in text
    assert "anchors have sides of 20, 27, 37, 50 px" in text


def test_flags_and_override_change_what_they_name(run):
    status, _, config = run(
        "--feature_extractor=resnet18",
        "--max_boxes_per_image=30",
        "--anchor_scales=0.1,0.2",
        "--num_steps=900",
        "--batch_size=2",
        "--nouse_class_agnostic_nms",
        "--config_override=train_config { gradient_clipping_by_norm: 5.0 num_steps: 901 }",
        "--config_override=train_config { num_steps: 902 }",
    )
    assert status == 0
    model = config.model.faster_rcnn
    assert model.feature_extractor.type == "faster_rcnn_resnet18_keras"
    assert model.first_stage_max_proposals == 100
    assert list(model.first_stage_anchor_generator.grid_anchor_generator.scales) == pytest.approx([0.1, 0.2])
    assert not model.second_stage_post_processing.batch_non_max_suppression.use_class_agnostic_nms
    train = config.train_config
    assert (train.batch_size, train.num_steps, train.gradient_clipping_by_norm) == (2, 902, 5.0)
    assert not train.fine_tune_checkpoint


def test_remarks_do_not_claim_the_papers_values_for_others(run):
    _, text, _ = run("--initial_learning_rate=0.01", "--fine_tune_checkpoint=")
    assert "learning rate: 0.01 (the paper's is 0.001)" in text
    assert "starts from scratch" in text
    assert "is not there yet" not in text
    adam = "train_config { optimizer { adam_optimizer { learning_rate { constant_learning_rate { } } } } }"
    assert "optimizer: adam_optimizer; the paper's is RMSprop" in run(f"--config_override={adam}")[1]
    assert "; Adam (the paper's is RMSprop)" in run("--optimizer=adam")[1]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        # Merged text adds to a list: 20 to 50 px as without it, and 3 * 256 px.
        (
            "first_stage_anchor_generator { grid_anchor_generator { scales: 3.0 } }",
            "with --config_override, sides of 20, 27, 37, 50, 768 px; cells are 20 to 50 px",
        ),
        # Photographs of 1280 x 960 px keep their size, so do cells of 40 and 100 px; the anchors are those of 640 px.
        (
            "image_resizer { identity_resizer { } }",
            "with --config_override, sides of 20, 27, 37, 50 px; cells are 40 to 100 px",
        ),
        # What has nothing to do with them changes nothing.
        ("first_stage_nms_iou_threshold: 0.6", "cells are 20 to 50 px"),
    ],
)
def test_the_remark_on_anchors_is_true_of_the_config_with_its_override(run, tmp_path, override, expected):
    status, text, _ = run(f"--config_override=model {{ faster_rcnn {{ {override} }} }}")
    assert status == 0, text
    [printed] = [line for line in text.splitlines() if line.startswith("anchors: ")]
    assert printed.startswith(f"anchors: {expected} (5 %")
    assert ("are found badly: change their scales" in printed) == ("identity" in override)
    assert f"# {printed}.\n" in (tmp_path / "pipeline.config").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--feature_extractor=resnet50_fpn", "--anchor_scales=0.1"],
            "--anchor_scales: the anchors of resnet50_fpn follow from the levels of its feature pyramid",
        ),
        (["--feature_extractor=vgg"], "'vgg' is not supported; use one of resnet50"),
        (["--input_size=big"], "is not MINxMAX"),
        (["--anchor_scales=a,b"], "--anchor_scales=a,b: 'a' is not a number above 0"),
        (["--config_override=model { faster_rcnn { number_of_stages: 3 } }"], "number_of_stages: 3 is not supported"),
        (["--records_dir=/absent"], "there is no such file; run create_csf_tf_record first"),
        (["--batch_size=0"], "batch_size"),
        (["--optimizer=adam", "--rms_prop_epsilon=0.1"], "--rms_prop_epsilon: is of RMSprop, and --optimizer is adam"),
        (["--optimizer=sgd"], "optimizer"),
    ],
)
def test_mistakes_are_one_sentence_and_write_nothing(run, arguments, words):
    status, text, config = run(*arguments)
    assert status == 1
    assert words in text
    assert "Traceback" not in text
    assert config is None


def test_records_without_annotations_csv_are_read_themselves(run, records_dir):
    tf = pytest.importorskip("tensorflow")
    (records_dir / "annotations.csv").unlink()
    feature = {
        "image/width": tf.train.Feature(int64_list=tf.train.Int64List(value=[640])),
        "image/height": tf.train.Feature(int64_list=tf.train.Int64List(value=[480])),
    }
    for side, value in (("xmin", 0.0), ("ymin", 0.0), ("xmax", 0.1), ("ymax", 0.1)):
        floats = tf.train.FloatList(value=[value] * 350)
        feature[f"image/object/bbox/{side}"] = tf.train.Feature(float_list=floats)
    feature["image/object/class/label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[1] * 350))
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    for path in records_dir.glob("*.record*"):
        with tf.io.TFRecordWriter(str(path)) as writer:
            writer.write(example.SerializeToString())
    status, text, config = run()
    assert status == 0
    assert config.train_config.max_number_of_boxes == 350
    # sqrt(64 * 48) = 55 px at 640 px
    assert "cells are 55 to 55 px" in text
