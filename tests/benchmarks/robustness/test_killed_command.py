import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from tfod_csf.benchmarks.robustness.killed_command import ChangeCounter, DarkCells
from tfod_csf.label_map import label_map_from_names
from tfod_csf.model_folder import ModelFolder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no process groups on Windows")


def test_changes_below_a_folder_are_counted():
    counter = ChangeCounter("/folder", 0)
    for event, arguments in (
        ("open", ("/folder/a", "w", os.O_WRONLY | os.O_CREAT)),
        ("os.rename", ("/folder/a", "/folder/b", -1, -1)),
        ("os.mkdir", ("/folder/c", 0o777, -1)),
        ("ctypes.dlsym", (None, "renameat2")),
    ):
        before = counter.count
        counter(event, arguments)
        assert counter.count == before + 1
    for event, arguments in (
        ("open", ("/folder/a", "r", os.O_RDONLY)),
        ("open", ("/elsewhere/a", "w", os.O_WRONLY)),
        ("open", (3, "w", os.O_WRONLY)),
        ("os.listdir", ("/folder",)),
        ("ctypes.dlsym", (None, "puts")),
    ):
        counter(event, arguments)
    assert counter.count == 4


def test_the_process_is_killed_before_the_change_of_the_given_number(tmp_path):
    flags = [f"--below={tmp_path}", "--kill_at=2", "--", "synthesize", f"--output_dir={tmp_path / 'slides'}"]
    command = [sys.executable, "-m", "tfod_csf.benchmarks.robustness.killed_command", *flags]
    run = subprocess.run([*command, "--num_patients=1", "--num_processes=1"], start_new_session=True)
    assert run.returncode == -signal.SIGKILL
    # The first change makes the folder; the second was about to be made.
    assert [path.name for path in tmp_path.rglob("*")] in (["slides"], [])


def test_dark_regions_are_cells(tmp_path):
    (tmp_path / "saved_model").mkdir()
    folder = ModelFolder(tmp_path, label_map_from_names(["a", "b", "c"]), {})
    pixels = np.full([60, 80, 3], 220, np.uint8)
    pixels[10:20, 30:50] = 100  # 100 % 3 = 1: class b; 0.55 + 0.4 * 0
    pixels[40:42, 5:8] = 100  # 6 px: too small
    found = DarkCells(folder).detect(pixels, "x.jpg")
    np.testing.assert_array_equal(found.boxes, [[10, 30, 20, 50]])
    assert (list(found.classes), found.image) == ([2], "x.jpg")
    np.testing.assert_allclose(found.scores, [0.55])
