import numpy as np
import pytest

from tfod_csf.benchmarks import large_picture
from tfod_csf.synthetic import slides

pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")


def test_dark_regions_are_cells():
    pixels = np.full((300, 400, 3), 230, np.uint8)
    pixels[100:160, 50:120] = 60
    pixels[200:230, 300:330] = 60  # too small
    assert large_picture.DarkCells().detect(pixels).boxes.tolist() == [[100, 50, 160, 120]]


def test_a_scan_is_written_and_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(large_picture, "FIELD", slides.FieldSettings())
    monkeypatch.setattr(large_picture, "_LEAST_SIDE_PX", 12)
    scan = tmp_path / "images" / "patient" / "scan.tif"
    scan.parent.mkdir(parents=True)
    large_picture.write_scan(scan, 700)
    line = large_picture.measure(tmp_path, "400x400", 150, draw=False)
    assert line.startswith("tiles of 400x400, overlap 150: ")
    assert int(line.split(": ")[1].split(" cells")[0]) >= 1
    assert " MiB before, at most " in line
