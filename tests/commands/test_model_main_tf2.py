import subprocess
import sys

import pytest

from tests.support import tiny_training
from tfod_csf.commands import command_line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--use_tpu"], "TPUs are not supported"),
        (["--pipeline_config_path=/nowhere/pipeline.config"], "/nowhere/pipeline.config: there is no such file"),
        (["--num_workers=2"], "--num_workers=2 needs the environment variable TF_CONFIG"),
        (["--config_override=train_config{batch_size:0}"], "train_config.batch_size is 0"),
        (["--num_train_steps=0"], "num_train_steps"),
        (["--eval_once"], "holds no checkpoint to evaluate"),
        (["--rms_prop_rule=tf3"], "tf1"),
        (["--saturation_min_fall=0.1"], "--saturation_min_fall: has no effect without --stop_when_saturated"),
        (["--saturation_min_steps=5"], "--saturation_min_steps: has no effect without --stop_when_saturated"),
        (
            ["--rms_prop_rule=tf2", "--config_override=train_config{optimizer{adam_optimizer{}}}"],
            "--rms_prop_rule=tf2: is of rms_prop_optimizer, and the config has adam_optimizer",
        ),
        (
            ["--leave_out_class_heads", '--config_override=train_config{fine_tune_checkpoint_type:"detection"}'],
            '--leave_out_class_heads: is for fine_tune_checkpoint_type "full", and the config has "detection"',
        ),
    ],
)
def test_mistakes_are_one_sentence_without_tensorflow(records_dir, tmp_path, arguments, message):
    path = tmp_path / "pipeline.config"
    path.write_text(tiny_training.config_text(records_dir).replace("batch_size: 2", "batch_size: 1"))
    code = (
        "import sys\n"
        "from tfod_csf.commands import command_line\n"
        f"status = command_line.main(['model_main_tf2', '--pipeline_config_path={path}', '--model_dir={tmp_path}', "
        f"*{arguments!r}])\n"
        "assert 'tensorflow' not in sys.modules\n"
        "sys.exit(status)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    errors = [line for line in run.stderr.splitlines() if "error:" in line]
    assert run.returncode == 1, run.stderr
    assert len(errors) == 1
    assert message in errors[0]


def test_required_flags(capsys):
    assert command_line.main(["model_main_tf2", "--model_dir=x"]) == 1
    assert "pipeline_config_path" in capsys.readouterr().err
