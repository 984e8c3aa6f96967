import os
import signal
import subprocess
import sys
import time

import pytest

from tfod_csf.commands.stop_signals import Stopped, StopSignals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such signals on Windows")

# A program whose one command does what the code says; `ready()` tells the test to send the signal.
PROGRAM = """
import os, sys, time
from absl import flags
from tfod_csf import worker_pool
from tfod_csf.commands import command_line

def ready():
    print("in", flush=True)

def main():
    {body}

if __name__ == "__main__":
    sys.argv = ["any"]
    sys.exit(command_line.run(main, flags.FlagValues(), "", "any"))
"""


def started(tmp_path, body, **how):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(body=body.replace("\n", "\n    ")))
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how
    )
    assert process.stdout.readline() == "in\n"
    return process


@pytest.mark.parametrize(("number", "said"), [(2, "Ctrl-C"), (15, "SIGTERM"), (1, "SIGHUP")])
def test_a_signal_is_one_sentence_and_128_and_its_number(tmp_path, number, said):
    process = started(tmp_path, "try:\n    ready()\n    time.sleep(60)\nfinally:\n    print('cleaned')")
    process.send_signal(number)
    out, error = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert out == "cleaned\n"
    assert error == (
        f"tfod_csf any: stopped by {said}; what was finished is kept and no file is half-written; run the same command "
        "again to resume.\n"
    )


def test_an_error_that_follows_the_signal_is_not_what_is_said(tmp_path):
    process = started(
        tmp_path, "try:\n    ready()\n    time.sleep(60)\nexcept BaseException:\n    raise RuntimeError('pool broken')"
    )
    process.terminate()
    assert "Traceback" not in process.communicate(timeout=30)[1]
    assert process.returncode == 143


def test_a_second_signal_ends_at_once_but_a_double_one_does_not(tmp_path):
    # `timeout` sends the signal to the process and to its group.
    body = "try:\n    ready()\n    time.sleep(60)\n"
    body += "finally:\n    time.sleep(0.5)\n    print('cleaned', flush=True)\n    time.sleep(60)"
    process = started(tmp_path, body)
    process.terminate()
    time.sleep(0.1)
    process.terminate()
    assert process.stdout.readline() == "cleaned\n"
    time.sleep(1)
    before = time.monotonic()
    process.terminate()
    assert process.wait(30) == 143
    assert time.monotonic() - before < 5
    process.communicate()


def test_what_does_not_end_is_ended(tmp_path):
    body = "from tfod_csf.commands import stop_signals\nstop_signals._LONGEST_END = 0.3\n"
    body += "while True:\n    try:\n        ready()\n        time.sleep(60)\n    except BaseException:\n        pass"
    process = started(tmp_path, body)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert "ended at once by SIGINT: the command had not ended 0.3 s after it. What had been saved is kept." in said


def test_a_thread_that_waits_does_not_keep_the_process(tmp_path):
    body = "import threading\nfrom tfod_csf.commands import stop_signals\nstop_signals._LONGEST_END = 0.3\n"
    body += "threading.Thread(target=time.sleep, args=(60,)).start()\nready()\ntime.sleep(60)"
    process = started(tmp_path, body)
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 143


def test_a_signal_that_the_caller_ignores_stays_ignored(tmp_path):
    def ignore():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = started(tmp_path, "ready()\ntime.sleep(0.5)\nprint('done')", preexec_fn=ignore)
    process.send_signal(signal.SIGHUP)
    out, error = process.communicate(timeout=30)
    assert (process.returncode, out, error) == (0, "done\n", "")


@pytest.mark.parametrize("to", ["process", "group"])
def test_workers_end_with_the_command_and_say_nothing(tmp_path, to):
    body = "for pid in worker_pool.ordered_map(slow, range(8), 2):\n    print(pid, flush=True)"
    (tmp_path / "slow.py").write_text(
        "import os, time\ndef slow(item):\n    time.sleep(0 if item == 0 else 60)\n    return os.getpid()\n"
    )
    process = started(tmp_path, f"from slow import slow\nready()\n{body}", start_new_session=True)
    worker = int(process.stdout.readline())
    (os.killpg if to == "group" else os.kill)(process.pid, signal.SIGTERM)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 143
    assert error.count("\n") == 1
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_the_handlers_of_the_caller_come_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    stop = StopSignals(ends_process=False)
    with pytest.raises(Stopped, match="SIGTERM"), stop:
        signal.raise_signal(signal.SIGTERM)
    assert stop.number == signal.SIGTERM
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


WATCHING = """from tfod_csf.commands.stop_signals import EndOnInterrupt
with EndOnInterrupt() as user:
    user.wait(0)
    ready()
    while not user.wait(60):
        pass
    print('finishing', flush=True)
    time.sleep({seconds})
    print('finished', flush=True)"""


def test_ctrl_c_can_be_a_wish_to_finish_also_when_it_comes_twice_at_once(tmp_path):
    process = started(tmp_path, WATCHING.format(seconds=0.3))
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "finishing\n"
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=30)
    assert (process.returncode, out, error) == (0, "finished\n", "")


def test_a_second_ctrl_c_stops_the_finishing(tmp_path):
    process = started(tmp_path, WATCHING.format(seconds=60))
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "finishing\n"
    time.sleep(1.1)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "stopped by Ctrl-C" in error


def test_ctrl_c_before_there_is_something_to_finish_stops(tmp_path):
    body = "from tfod_csf.commands.stop_signals import EndOnInterrupt\nwith EndOnInterrupt() as user:\n    ready()\n"
    process = started(tmp_path, body + "    time.sleep(60)  # a model is loaded\n    user.wait(60)")
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "stopped by Ctrl-C" in error


def test_sigterm_does_not_wait_for_the_finishing(tmp_path):
    process = started(tmp_path, WATCHING.format(seconds=60))
    process.terminate()
    assert process.wait(timeout=30) == 143
