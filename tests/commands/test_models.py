"""The models command: what it lists, what it says of one, copies, and that nothing is changed where it ships."""

import shutil
import stat

import pytest

from tfod_csf.commands import command_line
from tfod_csf.model_folder import ModelFolder
from tfod_csf.shipped_models import by_name


@pytest.fixture
def run(capsys):
    def run_command(*arguments):
        status = command_line.main(list(arguments))
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run_command


@pytest.fixture
def csf_tiny(shipped_models, monkeypatch):
    monkeypatch.setattr(by_name, "SHIPPED_MODELS", shipped_models)
    return shipped_models / "csf_tiny"


def test_the_list_has_version_size_classes_input_sha256_and_card(run, csf_tiny):
    status, text = run("models")
    assert status == 0
    size = sum(path.stat().st_size for path in csf_tiny.rglob("*") if path.is_file()) / 1e6
    assert text.splitlines() == [
        f"csf_tiny 1.0, {size:.1f} MB",
        "  classes     red, blue",
        "  input       stretched to 64 x 64 px",
        f"  sha256      {ModelFolder.open(csf_tiny).sha256}",
        f"  card        {csf_tiny / 'MODEL_CARD.md'}",
    ]


def test_one_model_in_detail(run, csf_tiny):
    status, text = run("models", "csf_tiny")
    assert status == 0
    assert "  network     faster_rcnn_resnet18_keras, weights in float16\n" in text
    assert "  cells       from a score of 0.5 on, unknown below 0.8; temperature 1\n" in text
    assert f"  folder      {csf_tiny}\n" in text


def test_no_models_and_no_such_model(run, tmp_path, monkeypatch):
    monkeypatch.setattr(by_name, "SHIPPED_MODELS", tmp_path)
    assert run("models") == (
        0,
        "No models ship with this version; exporter_main_v2 makes one from your own training.\n",
    )
    status, text = run("models", "csf_big")
    assert (status, "--model=csf_big: no model of that name ships (no model does)." in text) == (1, True)
    status, text = run("model_check", "csf_big")
    assert (status, "csf_big: there is no such folder, and no model of that name ships" in text) == (1, True)


def test_a_copy_is_the_same_model_and_may_be_changed(run, csf_tiny, tmp_path):
    copy = tmp_path / "exported_models" / "own"
    status, text = run("models", "csf_tiny", f"--output_dir={copy}")
    assert (status, text) == (0, f"Copied csf_tiny 1.0 to {copy}; use it with --model={copy}.\n")
    copied = ModelFolder.open(copy)
    assert (copied.sha256, copied.vouched_for_by) == (ModelFolder.open(csf_tiny).sha256, "SHA256SUMS")
    by_name.refuse_to_change(copy)
    status, text = run("models", "csf_tiny", f"--output_dir={copy}")
    assert (status, "own is there already; give a new folder" in text) == (1, True)
    status, text = run("models", f"--output_dir={tmp_path / 'all'}")
    assert (status, "--output_dir copies one model; give its name" in text) == (1, True)


def test_a_copy_may_be_changed_where_the_installation_may_not(run, csf_tiny, tmp_path, monkeypatch):
    installed = shutil.copytree(csf_tiny, tmp_path / "installed" / "csf_tiny")
    for path in (*installed.rglob("*"), installed):
        path.chmod(0o555 if path.is_dir() else 0o444)
    monkeypatch.setattr(by_name, "SHIPPED_MODELS", installed.parent)
    copy = tmp_path / "own"
    assert run("models", "csf_tiny", f"--output_dir={copy}")[0] == 0
    assert ModelFolder.open(copy).sha256 == ModelFolder.open(installed).sha256
    assert all(path.stat().st_mode & stat.S_IWUSR for path in (copy, *copy.rglob("*")))


def test_what_ships_is_not_changed(run, csf_tiny, records_dir, tmp_path):
    refused = "csf_tiny ships with this package and is not changed; copy it with tfod_csf models csf_tiny --output_dir="
    given = ["--model=csf_tiny", f"--output_dir={tmp_path / 'out'}"]
    for flag in ("--store", "--store_thresholds=f1"):
        status, text = run("evaluate", *given, f"--input_path={records_dir / 'eval.record'}", flag)
        assert (status, refused in text) == (1, True)
    folders = [f"--inference_dir={tmp_path}", f"--annotations_dir={tmp_path}"]
    status, text = run("calibrate", *given, *folders)
    assert (status, refused in text) == (1, True)
