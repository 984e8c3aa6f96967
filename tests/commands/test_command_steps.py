import json
import os
import signal
import subprocess
import sys
import types

import pytest

from tfod_csf.commands import command_steps
from tfod_csf.commands.command_steps import CommandSteps
from tfod_csf.commands.stop_signals import Stopped
from tfod_csf.errors import UserError


@pytest.fixture
def calls(monkeypatch):
    """What was run; a command called "bad" ends with status 3."""
    seen = []

    def run(name, arguments):
        seen.append((name, *arguments))
        return 3 if name == "bad" else 0

    monkeypatch.setattr(command_steps, "run_command", run)
    return seen


def test_a_finished_step_is_not_run_again(tmp_path, calls):
    for _ in range(2):
        steps = CommandSteps(tmp_path / "state.json", {"seed": 1, "names": ("a",)})
        steps.run("fold_1", "good", ["--x=1"])
        with pytest.raises(UserError, match="fold_1: bad ended with exit status 3"):
            steps.run("fold_1", "bad", [])
        steps.run("fold_2", "good", [])
    assert calls == [("good", "--x=1"), ("bad",), ("good",), ("bad",)]
    assert json.loads((tmp_path / "state.json").read_text())["finished"] == ["fold_1/good", "fold_2/good"]


def test_a_finished_step_runs_again_when_its_result_was_removed_also_after_a_stop(tmp_path, calls):
    result = tmp_path / "evaluation"
    result.mkdir()
    CommandSteps(tmp_path / "state.json", {}).finish("fold_1/bad")
    CommandSteps(tmp_path / "state.json", {}).run("fold_1", "bad", [], result)
    assert calls == []
    result.rmdir()
    with pytest.raises(UserError, match="status 3"):
        CommandSteps(tmp_path / "state.json", {}).run("fold_1", "bad", [], result)
    result.mkdir()  # as a run leaves it that was stopped
    with pytest.raises(UserError, match="status 3"):
        CommandSteps(tmp_path / "state.json", {}).run("fold_1", "bad", [], result)
    assert calls == [("bad",), ("bad",)]


def test_other_settings_are_refused_by_name(tmp_path, monkeypatch):
    CommandSteps(tmp_path / "state.json", {"seed": 1})  # nothing is finished yet, so nothing binds
    CommandSteps(tmp_path / "state.json", {"seed": 1}).finish("records")
    with pytest.raises(UserError, match=r"begun with --seed=1, not 2; give the same flags"):
        CommandSteps(tmp_path / "state.json", {"seed": 2})
    with pytest.raises(UserError, match="begun with --more=None, not x"):
        CommandSteps(tmp_path / "state.json", {"seed": 1, "more": "x"})
    with monkeypatch.context() as changed:
        changed.setattr(command_steps, "__version__", "99")
        with pytest.raises(UserError, match=r"begun with tfod_csf .*, not 99; two versions"):
            CommandSteps(tmp_path / "state.json", {"seed": 1})
    (tmp_path / "state.json").write_text("[]")
    with pytest.raises(UserError, match="cannot be used"):
        CommandSteps(tmp_path / "state.json", {})


def test_a_command_runs_in_a_process_of_its_own_and_gives_its_status(tmp_path, capfd):
    assert command_steps.run_command("dataset_report", [f"--records_dir={tmp_path / 'nowhere'}"]) == 1
    assert "no such folder" in capfd.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals on Windows")
@pytest.mark.parametrize("comes", ["while the command starts", "while it is awaited"])
def test_a_signal_is_passed_on_and_the_command_awaited(monkeypatch, comes):
    """The command is a program that ends with status 7 when it gets the signal, a little later."""
    program = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.2), sys.exit(7)))"
    program += "; print('in', flush=True); signal.pause()"
    started = []

    def start(arguments):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        wait = process.wait

        def send_then_wait():
            send()
            return wait()

        def send():
            assert process.stdout.readline() == b"in\n"
            os.kill(os.getpid(), signal.SIGTERM)

        if comes == "while it is awaited":
            process.wait = send_then_wait
        else:
            send()
        started.append(process)
        return process

    monkeypatch.setattr(command_steps, "subprocess", types.SimpleNamespace(Popen=start))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped) as stopped:
        command_steps.run_command("evaluate", [])
    assert stopped.value.number == signal.SIGTERM
    started[0].stdout.close()
    assert started[0].returncode == 7
    assert signal.getsignal(signal.SIGTERM) == before
