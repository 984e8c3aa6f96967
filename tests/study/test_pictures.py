import hashlib

import numpy as np
import pytest
from PIL import Image

from tfod_csf.study import image_limits
from tfod_csf.study.pictures import PixelPicture, open_picture

PIXELS = np.arange(60 * 80 * 3, dtype=np.uint32).astype(np.uint8).reshape(60, 80, 3)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_rectangle_of_pixels_in_memory():
    picture = PixelPicture(PIXELS)
    assert (picture.width, picture.height) == (80, 60)
    found = picture.read(5, 7, 20, 9)
    assert np.array_equal(found, PIXELS[5:20, 7:9])
    assert found.flags.c_contiguous


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_file_that_fits_into_memory(tmp_path, name):
    path = tmp_path / name
    Image.fromarray(PIXELS).save(path)
    picture = open_picture(path, sha256(path))
    assert isinstance(picture, PixelPicture)
    assert np.array_equal(picture.read(0, 0, 60, 80), PIXELS)
    assert open_picture(path, "0" * 64) is None


def test_a_file_that_does_not_fit_is_read_by_rectangles(tmp_path, monkeypatch):
    tifffile = pytest.importorskip("tifffile")
    monkeypatch.setattr(image_limits, "MAX_PIXELS", 1000)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, photometric="rgb", tile=(16, 16))
    with open_picture(path, sha256(path)) as picture:
        assert np.array_equal(picture.read(5, 7, 20, 9), PIXELS[5:20, 7:9])
    assert open_picture(path, "0" * 64) is None
    path.write_bytes(path.read_bytes()[:100])
    assert open_picture(path, sha256(path)) is None
