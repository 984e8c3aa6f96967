"""exporter_main_v2: flags, messages, and what is refused before TensorFlow starts."""

import shutil

import pytest

from tfod_csf.commands import command_line
from tfod_csf.config.pipeline_config import load_pipeline_config
from tfod_csf.label_map import label_map_from_names, load_label_map, save_label_map
from tfod_csf.model_folder import ModelFolder
from tfod_csf.training.checkpoints import trained_classes
from tfod_csf.training.training_record import TrainingRecord


@pytest.fixture
def run(tiny_checkpoint, tmp_path, capsys):
    from absl import flags

    from tfod_csf.commands import exporter_main_v2 as command

    def run_command(*arguments):
        given = [
            f"--pipeline_config_path={tiny_checkpoint / 'pipeline.config'}",
            f"--trained_checkpoint_dir={tiny_checkpoint}",
            f"--output_directory={tmp_path / 'out'}",
            *arguments,
        ]
        status = command_line.run(command.main, command.FLAGS, command.__doc__, "exporter_main_v2", given)
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    yield run_command
    for name in command.FLAGS:
        command.FLAGS[name].value = command.FLAGS[name].default
    flags.FLAGS.unparse_flags()


def test_export_with_overridden_config_and_thresholds(run, tmp_path):
    status, text = run(
        "--config_override=model { faster_rcnn { second_stage_post_processing { batch_non_max_suppression "
        "{ max_total_detections: 5 } } } }",
        "--min_score=0.3",
        "--unknown_below=0.9",
    )
    assert status == 0
    assert "SavedModel and checkpoint differ by at most " in text
    assert "no training.json or best.json says which classes the checkpoint was trained with" in text
    model = ModelFolder.open(tmp_path / "out")
    assert model.thresholds == {"min_score": 0.3, "unknown_below": 0.9}
    assert model.info["limits"]["max_total_detections"] == 5
    assert "max_total_detections: 5" in model.pipeline_config_path.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--use_side_inputs"], "--use_side_inputs: side inputs (Context R-CNN) are not supported"),
        (["--side_input_shapes=1,2000,2057"], "--side_input_shapes: side inputs"),
        (["--input_type=tensor"], "--input_type=tensor is not supported; use one of image_tensor"),
        (["--pipeline_config_path=/absent.config"], "/absent.config: there is no such file"),
        (["--label_map_path=/absent.pbtxt"], "the label map '/absent.pbtxt' is not there"),
        (["--trained_checkpoint_dir=/absent"], "--trained_checkpoint_dir=/absent is not there"),
        (["--config_override=model { faster_rcnn { num_clases: 2 } }"], "did you mean num_classes?"),
        (["--config_override=model { faster_rcnn { number_of_stages: 3 } }"], "number_of_stages: 3 is not supported"),
        (["--min_score=2"], "min_score"),
        (["--compute_dtype=float16"], "compute_dtype"),
    ],
)
def test_mistakes_are_one_sentence_and_write_nothing(run, tmp_path, arguments, words):
    status, text = run(*arguments)
    assert status == 1
    assert words in text
    assert "Traceback" not in text
    assert not (tmp_path / "out").exists()


def test_a_label_map_in_another_order_than_the_training_had_is_refused(run, tiny_checkpoint, tmp_path):
    """The export would be whole, and every cell of it would have another's name."""
    label_map = load_label_map(
        load_pipeline_config(tiny_checkpoint / "pipeline.config").train_input_reader.label_map_path
    )
    shutil.copytree(tiny_checkpoint, tmp_path / "run")
    TrainingRecord(classes=trained_classes.by_id(label_map)).save(tmp_path / "run")
    save_label_map(label_map_from_names([*reversed(label_map.names)]), tmp_path / "swapped.pbtxt")
    arguments = [f"--trained_checkpoint_dir={tmp_path / 'run'}", f"--label_map_path={tmp_path / 'swapped.pbtxt'}"]
    status, text = run(*arguments)
    assert status == 1
    assert f"swapped.pbtxt calls class id 1 {label_map.names[-1]!r}" in text
    assert not (tmp_path / "out").exists()
