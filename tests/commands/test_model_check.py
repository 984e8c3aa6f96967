import json
import shutil

import pytest

from tfod_csf.commands import command_line
from tfod_csf.files import manifest

EXPECTED = "self_test/expected.json"


def check(capsys, *arguments):
    status = command_line.main(["model_check", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


@pytest.fixture
def copied_model(tiny_exported_model, tmp_path):
    return shutil.copytree(tiny_exported_model, tmp_path / "tiny")


def test_an_exported_model_finds_what_it_found(tiny_exported_model, capsys):
    status, text = check(capsys, tiny_exported_model)
    assert status == 0
    assert f"{tiny_exported_model}: " in text
    assert "(the export's and today's) in 2 drawn images are also in the other run; scores differ by at most " in text


def test_other_detections_are_an_error_that_names_the_model_and_the_others_are_checked_too(
    tiny_exported_model, copied_model, capsys
):
    contents = json.loads((copied_model / EXPECTED).read_text())
    for image in contents["images"]:
        for cell in image["detections"]:
            cell["score"] = min(1, cell["score"] + 0.1)
    (copied_model / EXPECTED).write_text(json.dumps(contents))
    (copied_model / "SHA256SUMS").unlink()
    manifest.write(copied_model)
    status, text = check(capsys, f"--model={copied_model}", f"--model={tiny_exported_model}")
    assert status == 1
    assert f"error: {copied_model}: a score differs by 0.1 (allowed 0.01). Here the model gives other" in text
    assert f"\n{tiny_exported_model}: " in text


def test_a_model_that_does_not_run_hides_nothing_about_the_others(tiny_exported_model, copied_model, tmp_path, capsys):
    broken = shutil.copytree(tiny_exported_model, tmp_path / "broken")
    next((broken / "saved_model" / "variables").glob("variables.data*")).write_bytes(b"")
    contents = json.loads((copied_model / EXPECTED).read_text())
    for cell in contents["images"][0]["detections"]:
        cell["score"] = min(1, cell["score"] + 0.1)
    (copied_model / EXPECTED).write_text(json.dumps(contents))
    for folder in (broken, copied_model):
        (folder / "SHA256SUMS").unlink()
        manifest.write(folder)
    status, text = check(capsys, copied_model, broken, tiny_exported_model)
    assert status == 1
    assert f"error: {copied_model}: a score differs by 0.1 (allowed 0.01) / {broken}: does not run here (" in text
    assert f"\n{tiny_exported_model}: " in text


def test_a_changed_self_test_is_refused_as_any_changed_file_is(copied_model, capsys):
    (copied_model / EXPECTED).write_text("{}")
    status, text = check(capsys, copied_model)
    assert status == 1
    assert f"{EXPECTED} was changed" in text


def test_a_model_without_a_self_test_and_no_model_at_all(tiny_exported_model, copied_model, tmp_path, capsys):
    shutil.rmtree(copied_model / "self_test")
    (copied_model / "SHA256SUMS").unlink()
    manifest.write(copied_model)
    status, text = check(capsys, copied_model)
    assert status == 1
    assert f"{EXPECTED}: no such file; a model that TFOD or an earlier version exported has no self-test" in text
    status, text = check(capsys, copied_model, tmp_path / "none", tiny_exported_model)
    assert status == 1
    assert f"{tiny_exported_model}: " in text
    assert "has no self-test" in text
    assert str(tmp_path / "none") in text
    status, text = check(capsys)
    assert (status, "--model is required" in text) == (1, True)
    status, text = check(capsys, "--modle=a")
    assert "did you mean --model?" in text
