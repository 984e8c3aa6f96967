"""model_main_tf2 from config to files, on a tiny network."""

import csv
import json
import re
import shutil

import numpy as np

from tests.support.tiny_training import read_tags, read_tensors, run_command
from tfod_csf.files import csv_schemas


def _variables(prefix) -> dict[str, np.ndarray]:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(prefix))
    return {
        key: reader.get_tensor(key)
        for key in reader.get_variable_to_shape_map()
        if key != "_CHECKPOINTABLE_OBJECT_GRAPH"
    }


def test_files_of_a_run(trained_run):
    names = {path.relative_to(trained_run["model_dir"]).as_posix() for path in trained_run["model_dir"].rglob("*")}
    assert {"checkpoint", "ckpt-1.index", "loss_history.csv", "training.json", "pipeline.config"} <= names
    # steps 0; 3 (best so far); 4; 5 (the last)
    assert sorted(name for name in names if name.endswith(".index") and "/" not in name) == [
        f"ckpt-{number}.index" for number in (1, 2, 3, 4)
    ]
    record = json.loads((trained_run["model_dir"] / "training.json").read_text())
    assert (record["status"], record["step"], record["seed"], record["rms_prop_rule"]) == ("finished", 5, 1, "tf1")


def test_checkpoint_has_tfods_keys(trained_run):
    keys = set(_variables(trained_run["model_dir"] / "ckpt-4"))
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    outside = {key.removesuffix(suffix) for key in keys if not key.startswith("model/")}
    assert outside == {"step", "save_counter", *(f"optimizer/{name}" for name in ("iter", "decay", "rho", "momentum"))}
    slots = {re.search(r"\.OPTIMIZER_SLOT/optimizer/(\w+)/", key)[1] for key in keys if ".OPTIMIZER_SLOT" in key}
    assert slots == {"rms", "momentum"}


def test_training_moves_the_weights(trained_run):
    first, last = (_variables(trained_run["model_dir"] / f"ckpt-{number}") for number in (1, 4))
    assert int(last["step/.ATTRIBUTES/VARIABLE_VALUE"]) == 5
    assert int(last["optimizer/iter/.ATTRIBUTES/VARIABLE_VALUE"]) == 5
    changed = [
        key for key in first if key.startswith("model/") and "SLOT" not in key and np.any(first[key] != last[key])
    ]
    kernels = [key for key in first if "kernel/.ATTRIBUTES" in key and "SLOT" not in key]
    assert set(kernels) <= set(changed)
    assert any("moving_variance" in key for key in changed)


def test_console_lines_are_tfods_and_come_once(trained_run):
    log = trained_run["log"]
    steps = [line for line in log if line.startswith("Step ")]
    assert [re.match(r"Step (\d+) per-step time \d+\.\d{3}s", line)[1] for line in steps] == ["2", "4", "5"]
    losses = [line for line in log if line.startswith("{'Loss/BoxClassifierLoss/classification_loss': ")]
    assert len(losses) == 3
    assert losses[0].endswith(" 'learning_rate': 0.00095}")
    assert sum(line.startswith("Eval metrics at step 3\n\t+ PascalBoxes_Precision/mAP@0.5IOU: 0.") for line in log) == 1
    assert "DetectionBoxes_Precision/mAP (large): n/a (no ground truth)" in "".join(log)


def test_loss_history(trained_run):
    assert csv_schemas.load("loss_history").check(trained_run["model_dir"] / "loss_history.csv") == 3
    with open(trained_run["model_dir"] / "loss_history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4", "5"]
    assert all(0 < float(row["mean_total_loss"]) < 100 for row in rows)


def test_training_images_are_pictures_of_what_the_network_sees(trained_run):
    import tensorflow as tf

    tensor = read_tensors(trained_run["model_dir"] / "train", "train_input_images")[0]
    assert tensor[:2].tolist() == [b"64", b"64"]
    assert len(tensor) == 2 + 2  # width, height and the batch's two images (three at most)
    pixels = tf.io.decode_image(tensor[2]).numpy()
    # gray noise of 90..110 with colored squares: the means were added back
    assert 85 < np.median(pixels) < 115


def test_side_by_side_picture_is_two_enlarged_images_wide(trained_run):
    import tensorflow as tf

    tensor = read_tensors(trained_run["model_dir"] / "eval", "eval_side_by_side_0_0")[0]
    assert tf.io.decode_image(tensor[2]).shape == (7 * 64, 7 * 128, 3)


def test_best_checkpoint(trained_run):
    best = json.loads((trained_run["model_dir"] / "best" / "best.json").read_text())
    assert best["metric"] == "PascalBoxes_Precision/mAP@0.5IOU"
    assert best["step"] in (3, 5)
    variables = _variables(trained_run["model_dir"] / "best" / best["checkpoint"])
    assert int(variables["step/.ATTRIBUTES/VARIABLE_VALUE"]) == best["step"]
    # Of what the value is, and what the outputs mean.
    assert (best["run"], best["classes"]) == ("eval", {"1": "red", "2": "blue"})
    assert best["images"].endswith(", 1 of 1")
    assert [path.rpartition("/")[2] for path in best["input_path"]] == ["eval.record"]
    assert json.loads((trained_run["model_dir"] / "training.json").read_text())["classes"] == best["classes"]


def test_restart_resumes_and_eval_once_evaluates(trained_run, tmp_path):
    model_dir = tmp_path / "model"
    shutil.copytree(trained_run["model_dir"], model_dir)
    arguments = [f"--pipeline_config_path={trained_run['config_path']}", f"--model_dir={model_dir}"]
    status, log = run_command(*arguments, "--num_train_steps=6", "--log_every_n=1", "--record_summaries=false")
    assert status == 0
    variables = _variables(model_dir / "ckpt-5")
    assert int(variables["step/.ATTRIBUTES/VARIABLE_VALUE"]) == 6
    assert read_tags(model_dir / "train")["learning_rate"] == ("scalars", [2, 4, 5, 6])
    assert read_tags(model_dir / "train")["train_input_images"][1] == [0, 2, 4]
    assert any(line.startswith("Resuming from ") and line.endswith("ckpt-4 (step 5).") for line in log)

    status, log = run_command(*arguments, "--eval_once", "--eval_on_train_data")
    assert status == 0
    assert read_tags(model_dir / "eval")["Loss/total_loss"][1] == [3, 5, 6]
    assert read_tags(model_dir / "eval_on_train_data")["Loss/total_loss"][1] == [6]


def test_a_resumed_run_keeps_its_rms_prop_rule(trained_run, capfd):
    arguments = [f"--pipeline_config_path={trained_run['config_path']}", f"--model_dir={trained_run['model_dir']}"]
    status, _ = run_command(*arguments, "--rms_prop_rule=tf2")
    assert status == 1
    assert re.search(r"--rms_prop_rule=tf2: .*ckpt-4 was trained with rule tf1;", capfd.readouterr().err)
    # Other settings of the optimizer are stored too, and stay; that is said.
    override = "--config_override=train_config{num_steps:5 optimizer{rms_prop_optimizer{decay:0.5}}}"
    status, log = run_command(*arguments, override)
    assert status == 0
    assert any(line.startswith("Optimizer: rho stays 0.9 as in ") and "(config: 0.5)" in line for line in log)


def test_fine_tuning_reports_what_was_restored_and_a_loss_that_is_not_finite_ends_the_run(trained_run, tmp_path, capfd):
    model_dir, source = tmp_path / "model", trained_run["model_dir"] / "best"
    override = (
        f'train_config{{fine_tune_checkpoint:"{source}" fine_tune_checkpoint_version:V2'
        ' fine_tune_checkpoint_type:"full"'
        " optimizer{rms_prop_optimizer{learning_rate{constant_learning_rate{learning_rate:1e30}}}}}"
    )
    status, log = run_command(
        f"--pipeline_config_path={trained_run['config_path']}",
        f"--model_dir={model_dir}",
        f"--config_override={override}",
    )
    assert any(str(source) in line and "restored" in line for line in log)
    best = json.loads((source / "best.json").read_text())["checkpoint"]
    ours, theirs = _variables(model_dir / "ckpt-1"), _variables(source / best)
    weights = [key for key in ours if key.startswith("model/") and "SLOT" not in key]
    assert weights
    for key in weights:
        np.testing.assert_array_equal(ours[key], theirs[key])

    assert status == 1
    message = [line for line in capfd.readouterr().err.splitlines() if "error:" in line]
    assert len(message) == 1
    assert re.search(r"step \d: Loss/\S+.* not finite on the images train_\d_\d\.jpg, train_\d_\d\.jpg;", message[0])
    assert not (model_dir / "ckpt-2.index").exists()
    assert json.loads((model_dir / "training.json").read_text())["status"] == "failed"
