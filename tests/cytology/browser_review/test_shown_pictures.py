"""The pictures that a reviewer is shown."""

import io

import numpy as np
import pytest
from PIL import Image

from tfod_csf.cytology.browser_review.shown_pictures import PictureError, ShownPictures, crop_side
from tfod_csf.cytology.review.sidecar import FILE_NAME, read_sidecar
from tfod_csf.pages.cell_pictures import CROP_PX

IMAGE = "=王__day1__a.jpg"


def opened(data):
    return Image.open(io.BytesIO(data))


def test_crops_have_one_scale_and_fields_their_size(study):
    folder = study.export()
    sidecar = read_sidecar(folder / "=王" / FILE_NAME)
    # Sides 10, 10, 12: the 90th percentile is 11.6.
    assert crop_side(sidecar) == pytest.approx(1.35 * 11.6)
    pictures, image = ShownPictures(folder), sidecar.images[IMAGE]
    crop = opened(pictures.crop("=王", IMAGE, image, (1, 2, 11, 12), 15.66))
    assert crop.size == (CROP_PX, CROP_PX)
    field = opened(pictures.field("=王", IMAGE, image))
    original = np.asarray(Image.open(folder / "=王" / IMAGE), int)
    assert np.abs(np.asarray(field, int) - original).mean() < 12  # noise, encoded once more
    drawn = pictures.crop("=王", IMAGE, image, (5, 20, 15, 30), 15.66)
    assert drawn != pictures.crop("=王", IMAGE, image, (1, 2, 11, 12), 15.66)


def test_a_picture_that_was_replaced_is_not_shown(study):
    folder = study.export()
    image = read_sidecar(folder / "=王" / FILE_NAME).images[IMAGE]
    (folder / "=王" / IMAGE).write_bytes((folder / "=王" / "=王__b.jpg").read_bytes())
    with pytest.raises(PictureError, match="not the picture that was exported"):
        ShownPictures(folder).field("=王", IMAGE, image)
