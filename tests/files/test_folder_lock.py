import subprocess
import sys
import time

import pytest

from tfod_csf.files.folder_lock import one_writer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such lock on Windows")

# Says that it waits for the folder, then notes the time it was let in.
OTHER = """
import pathlib, sys, time
from tfod_csf.files.folder_lock import one_writer
folder = pathlib.Path(sys.argv[1])
(folder / "asking").touch()
with one_writer(folder):
    (folder / "in").write_text(str(time.monotonic()))
"""


def test_a_second_process_waits_and_says_so(tmp_path):
    with one_writer(tmp_path):
        other = subprocess.Popen([sys.executable, "-c", OTHER, str(tmp_path)], stderr=subprocess.PIPE, text=True)
        while not (tmp_path / "asking").exists():
            time.sleep(0.01)
        time.sleep(0.3)
        assert not (tmp_path / "in").exists()
        left = time.monotonic()
    _, error = other.communicate(timeout=60)
    assert "another command is writing to this folder" in error
    assert float((tmp_path / "in").read_text()) >= left


def test_the_folder_is_free_again_after_an_error(tmp_path):
    folder = tmp_path / "new"
    with pytest.raises(ValueError, match="full"), one_writer(folder):
        raise ValueError("disk full")
    with one_writer(folder):
        assert folder.is_dir()
