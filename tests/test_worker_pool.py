import os
import signal
import subprocess
import sys
import time

import pytest

from tfod_csf import worker_pool


def test_order_is_kept_in_one_process_and_in_several():
    items = list(range(40))
    expected = [str(item) for item in items]
    assert list(worker_pool.ordered_map(str, items, 1)) == expected
    assert list(worker_pool.ordered_map(str, items, 2)) == expected
    assert list(worker_pool.ordered_map(str, [], 2)) == []


def test_no_more_items_are_taken_than_are_needed_ahead():
    taken = []

    def items():
        for item in range(1000):
            taken.append(item)
            yield item

    results = worker_pool.ordered_map(str, items(), 2)
    next(results)
    assert len(taken) <= 2 * 4 + 1
    results.close()


def test_errors_come_out_and_a_dead_worker_is_one_sentence():
    with pytest.raises(ValueError, match="invalid literal"):
        list(worker_pool.ordered_map(int, ["1", "x"], 2))
    with pytest.raises(worker_pool.WorkerPoolError, match="--num_processes=1"):
        list(worker_pool.ordered_map(os._exit, [3], 2))


def test_available_cores():
    assert 1 <= worker_pool.available_cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
def test_workers_of_a_killed_process_end_too(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import os, time\ndef slow(item):\n    time.sleep(0 if item < 2 else 60)\n    return os.getpid()\n"
    )
    code = (
        "from slow import slow\nfrom tfod_csf import worker_pool\n"
        "for pid in worker_pool.ordered_map(slow, range(8), 2):\n    print(pid, flush=True)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    workers = {int(parent.stdout.readline()) for _ in range(2)}
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    # Their standard output is the parent's: it ends when the last of them has ended.
    assert parent.stdout.read() == ""
    for worker in workers:
        assert not _is_running(worker)


def _is_running(pid):
    """Whether a process runs; a dead one that nobody has waited for yet does not."""
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return False
        except FileNotFoundError:
            return False
        time.sleep(0.05)
    return True
