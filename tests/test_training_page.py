"""docs/TRAINING.md: its scripts for several machines run as they are printed, with stand-ins for ssh, Slurm and us."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

PAGE = (pathlib.Path(__file__).parent.parent / "docs" / "TRAINING.md").read_text(encoding="utf-8")

SCONTROL = "#!/bin/sh\nprintf 'host1\\nhost2\\n'\n"
SSH = '#!/bin/sh\nshift\nexec sh -c "$*"\n'
# The seconds of the page would be long: a fifth of a second, and a little more for the others to end.
SLEEP = "#!/bin/sh\n[ $1 = 60 ] && exec /bin/sleep 1.5\nexec /bin/sleep 0.2\n"
# Two tasks. As Slurm's, it gives a signal to all processes of a task, and kills those left when its first has ended.
SRUN = f"""#!{sys.executable} -IS
import os, pathlib, signal, subprocess, sys, time
command = [word for word in sys.argv[1:] if not word.startswith("--")]
tasks = [
    subprocess.Popen(command, start_new_session=True, env={{**os.environ, "SLURM_PROCID": str(n), "SLURM_NTASKS": "2"}})
    for n in range(2)
]
def give(number, some):
    for task in some:
        try:
            os.killpg(task.pid, number)
        except ProcessLookupError:
            pass
pathlib.Path("srun_pid").write_text(str(os.getpid()))
signal.signal(signal.SIGTERM, lambda number, frame: give(number, tasks))
running, status = list(tasks), 0
while running:
    time.sleep(0.02)
    for task in [task for task in running if task.poll() is not None]:
        running.remove(task)
        give(signal.SIGKILL, [task])
        status = status or task.returncode
        if task.returncode and "--kill-on-bad-exit=1" in sys.argv:
            give(signal.SIGKILL, tasks)
sys.exit(status)
"""
# The command notes what it was started with; then it does what a test wants.
COMMAND = """#!/bin/sh
index=$(echo "$TF_CONFIG" | sed 's/.*"index": \\([0-9]*\\).*/\\1/')
echo "$TF_CONFIG $*" >> told$index
"""


def script(word: str) -> str:
    """The fenced block of shell commands with a word."""
    (text,) = (text for text in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE) if word in text)
    return text


def start(folder: pathlib.Path, word: str, command: str) -> subprocess.Popen:
    """Starts a script of the page; `command` is what the stand-in of tfod_csf does after its line in told0 or told1."""
    programs = folder / "programs"
    programs.mkdir()
    stand_ins = {"scontrol": SCONTROL, "ssh": SSH, "sleep": SLEEP, "srun": SRUN, "tfod_csf": COMMAND + command}
    for name, text in stand_ins.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_NODELIST": "host[1-2]"}
    return subprocess.Popen(["bash", "-c", script(word)], cwd=folder, env=environment)


def told(folder: pathlib.Path) -> list[list[str]]:
    """What each worker was started with, start by start."""
    return [(folder / f"told{index}").read_text().splitlines() for index in range(2)]


@pytest.mark.parametrize("word", ["ssh", "srun"])
def test_every_worker_is_started_with_its_own_index(tmp_path, word):
    assert start(tmp_path, word, "exit 0\n").wait(timeout=60) == 0
    for index, (line,) in enumerate(told(tmp_path)):
        config, flags = line.split(" model_main_tf2 ")
        assert config.replace(" ", "") == (
            f'{{"cluster":{{"worker":["host1:2222","host2:2222"]}},"task":{{"type":"worker","index":{index}}}}}'
        )
        assert flags == "--pipeline_config_path=pipeline.config --model_dir=model --num_workers=2"


def test_all_start_again_after_one_was_killed(tmp_path):
    lost = "[ $(wc -l < told$index) = 2 ] && exit 0\n[ $index = 1 ] && kill -9 $$\nexit 75\n"
    assert start(tmp_path, "srun", lost).wait(timeout=60) == 0
    assert [len(lines) for lines in told(tmp_path)] == [2, 2]


def test_a_mistake_of_one_ends_all(tmp_path):
    """Without it, the others would start again until the job's time is over."""
    mistake = "[ $index = 0 ] && exit 1\nexit 75\n"
    assert start(tmp_path, "srun", mistake).wait(timeout=60) == 1
    assert len(told(tmp_path)[0]) == 1


def test_when_the_time_is_over_the_command_saves_before_it_is_killed(tmp_path):
    saves = "trap '/bin/sleep 0.5; touch saved$index; exit 143' TERM\ntouch ready$index\n/bin/sleep 30 &\nwait\n"
    process = start(tmp_path, "srun", saves)
    last = time.monotonic() + 60
    while len(list(tmp_path.glob("ready*"))) < 2:
        assert time.monotonic() < last
        time.sleep(0.05)
    os.kill(int((tmp_path / "srun_pid").read_text()), signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert len(list(tmp_path.glob("saved*"))) == 2
    assert [len(lines) for lines in told(tmp_path)] == [1, 1]
