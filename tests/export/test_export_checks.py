"""What the exporter refuses before TensorFlow starts."""

import subprocess
import sys

import pytest

from tests.support import tiny_training
from tfod_csf.config import pipeline_config
from tfod_csf.errors import UserError
from tfod_csf.export import export_checks
from tfod_csf.label_map import label_map_from_names


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "pipeline.config"
    path.write_text(tiny_training.config_text(tmp_path))
    return pipeline_config.load_pipeline_config(path)


@pytest.fixture
def checkpoint_dir(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "ckpt-1.index").touch()
    return folder


def test_what_can_be_exported_passes(config, checkpoint_dir, tmp_path):
    classes = label_map_from_names(["red", "blue"])
    export_checks.check_export("image_tensor", config, checkpoint_dir, tmp_path / "out", classes)
    export_checks.check_export("tf_example", config, checkpoint_dir / "ckpt-1", tmp_path / "out", classes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (None, "--input_type=tensor is not supported; use one of image_tensor"),
        (("number_of_stages", 1), "an exported model needs 2"),
        (("number_of_stages", 3), "number_of_stages: 3 is not supported"),
        (("num_classes", 1), "label_map.pbtxt"),
    ],
)
def test_what_cannot_be_exported(config, checkpoint_dir, tmp_path, change, words):
    if change:
        setattr(config.model.faster_rcnn, *change)
    classes, input_type = label_map_from_names(["red", "blue"]), "image_tensor" if change else "tensor"
    with pytest.raises(UserError) as error:
        export_checks.check_export(input_type, config, checkpoint_dir, tmp_path / "out", classes)
    assert words in str(error.value)


def test_a_folder_with_other_files_is_refused_and_an_earlier_export_is_not(tmp_path):
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "model.json").touch()
    export_checks.check_replaceable(tmp_path)
    export_checks.check_replaceable(tmp_path / "new")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(export_checks.ExportError, match=r"holds notes\.txt, which no export wrote"):
        export_checks.check_replaceable(tmp_path)
    with pytest.raises(export_checks.ExportError, match="holds a file"):
        export_checks.check_replaceable(tmp_path / "notes.txt")


def test_a_folder_without_checkpoint_is_named(tmp_path):
    with pytest.raises(export_checks.ExportError, match="holds no checkpoint; give the --model_dir"):
        export_checks.check_has_checkpoint(tmp_path)
    with pytest.raises(export_checks.ExportError, match="is not there"):
        export_checks.check_has_checkpoint(tmp_path / "absent")


def test_the_checks_do_not_start_tensorflow():
    code = "import sys; import tfod_csf.export.export_checks; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_output_folder_that_holds_an_input_is_refused(tmp_path):
    config = tmp_path / "model" / "pipeline.config"
    export_checks.check_inputs_are_elsewhere(tmp_path / "out", {"pipeline_config_path": str(config), "other": None})
    for inputs in ({"pipeline_config_path": str(config)}, {"other": None, "frozen_graph": str(config.parent)}):
        with pytest.raises(UserError, match=r"lies in --output_directory=.*model, which is replaced as a whole"):
            export_checks.check_inputs_are_elsewhere(config.parent, inputs)
