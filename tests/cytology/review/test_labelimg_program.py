"""LabelImg itself reads what review_export writes, and review_import reads what LabelImg writes.

Its source package comes from the package index (labelImg 1.8.6, MIT license), so these tests run with --runnetwork
only, and are skipped where the index cannot be reached. The reader and writer need lxml only. The window needs PyQt5,
which is put into a folder of its own and runs without a display.
"""

import json
import os
import subprocess
import sys
import tarfile

import pytest

from tests.support import examined_study
from tests.support.review_desk import Desk

pytestmark = pytest.mark.network

PACKAGE = "labelImg==1.8.6"
SURE = ("lymphocyte", 0.95, (0.2, 2.0, 11.4, 12.0))
UNSURE = ("monocyte", 0.6, (20.0, 5.0, 30.0, 15.0))
NEUTROPHIL = ("neutrophil", 0.9, (40.0, 30.0, 52.0, 42.0))

READ = """
import json, sys
from libs.pascal_voc_io import PascalVocReader
for path in sys.argv[1:]:
    reader = PascalVocReader(path)
    print(json.dumps([reader.verified, [[s[0], s[1][0], s[1][2], s[4]] for s in reader.get_shapes()]]))
"""

# What LabelImg does when a person relabels the unknown box, deletes the last one, saves and presses the space bar.
REVIEW = """
import os, sys
from labelImg.labelImg import get_main_app
folder = sys.argv[1]
app, window = get_main_app(["labelImg", folder, os.path.join(folder, "predefined_classes.txt"), folder])
window.load_file(next(path for path in window.m_img_list if path.endswith("__a.jpg")))
print([shape.label for shape in window.canvas.shapes], window.label_hist[-5:])
shape = next(shape for shape in window.canvas.shapes if shape.label == "unknown")
window.shapes_to_items[shape].setText("monocyte")
shape.label = "monocyte"
window.canvas.select_shape(window.canvas.shapes[-1])
window.delete_selected_shape()
window.save_file()
window.verify_image()
"""


def _pip(*arguments):
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--retries=1", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        pytest.skip(f"the package index cannot be reached or lacks {PACKAGE}: {done.stderr[-300:]}")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """LabelImg's source."""
    folder = tmp_path_factory.mktemp("labelimg_source")
    _pip("download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), PACKAGE)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


@pytest.fixture
def desk(tmp_path):
    patients = {"=王": {"day1/a.jpg": [SURE, UNSURE, NEUTROPHIL], "b.jpg": []}}
    return Desk(examined_study.write_study(tmp_path, patients), tmp_path)


def test_labelimgs_reader_loads_every_box(source, desk):
    folder = desk.export() / "=王"
    paths = [str(folder / name) for name in ("=王__day1__a.xml", "=王__b.xml")]
    done = subprocess.run([sys.executable, "-c", READ, *paths], cwd=source, capture_output=True, text=True, check=True)
    full, empty = map(json.loads, done.stdout.splitlines())
    # A reader that fails shows no boxes and says nothing, so an empty list would be a failure of the first.
    assert full == [
        False,
        [
            ["lymphocyte", [0, 2], [11, 12], False],
            ["unknown", [20, 5], [30, 15], True],
            ["neutrophil", [40, 30], [52, 42], False],
        ],
    ]
    assert empty == [False, []]


def test_a_review_in_the_program_itself(tmp_path, desk):
    target = tmp_path / "site"
    _pip("install", "--target", str(target), PACKAGE, "PyQt5")
    environment = {**os.environ, "PYTHONPATH": str(target), "QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path)}
    check = [sys.executable, "-c", "from PyQt5.QtWidgets import QApplication; QApplication([])"]
    if (tried := subprocess.run(check, env=environment, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"Qt does not start here: {tried.stderr[-300:]}")
    review = desk.export()
    command = [sys.executable, "-c", REVIEW, str(review / "=王")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "['lymphocyte', 'unknown', 'neutrophil']" in done.stdout
    assert desk.take(review) == 0
    # LabelImg made the first box's 0 to 1, which is no move.
    assert desk.cells("=王") == {
        ("day1/a.jpg", 1): ("lymphocyte", "confirmed"),
        ("day1/a.jpg", 2): ("monocyte", "relabelled"),
        ("day1/a.jpg", 3): ("", "deleted"),
    }
    assert [row["change"] for row in desk.rows("review_changes.csv")] == ["relabelled", "deleted", "verified"]
