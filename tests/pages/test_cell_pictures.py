"""Crops of cells: what is shown and what is not."""

import base64

import numpy as np
from PIL import Image

from tfod_csf.pages import cell_pictures
from tfod_csf.study.pictures import PixelPicture


def test_a_crop_shows_the_cell_in_its_middle():
    pixels = np.zeros([100, 200, 3], np.uint8)
    pixels[40:50, 90:100] = 255
    crop = np.asarray(cell_pictures.crop(PixelPicture(pixels), np.array([40.0, 90, 50, 100]), side=20))
    middle, border = crop[40:72, 40:72].mean(), crop[:20].mean()
    assert middle > 250
    assert border < 5


def test_a_cell_at_the_edge_stays_in_the_middle_and_a_large_one_is_not_cut():
    pixels = np.full([100, 200, 3], 10, np.uint8)
    edge = np.asarray(cell_pictures.crop(PixelPicture(pixels), np.array([0.0, 0, 10, 10]), side=20))
    assert edge[:20, :20].min() > 200  # outside: light gray
    assert edge[58:80, 58:80].max() < 30
    large = np.asarray(cell_pictures.crop(PixelPicture(pixels), np.array([0.0, 0, 100, 100]), side=20))
    assert large[20:90, 20:90].max() < 30


def test_angles_mark_the_box_and_leave_it_uncovered():
    pixels = np.full([100, 200, 3], 128, np.uint8)
    crop = np.asarray(cell_pictures.crop(PixelPicture(pixels), np.array([40.0, 90, 60, 110]), side=40)).astype(int)
    # The box takes half of the crop, 28 to 84, and the angles stand two pixels outside.
    assert abs(crop[30:82, 30:82] - 128).max() <= 12  # JPEG is not involved here, resampling is
    assert abs(crop[26, 26:36] - 128).max() > 50
    assert abs(crop[26, 50:60] - 128).max() <= 12


def test_a_box_far_outside_the_image_needs_no_more_memory():
    pixels = np.zeros([10, 10, 3], np.uint8)
    assert cell_pictures.crop(PixelPicture(pixels), np.array([-1e9, 0, 1e9, 5]), side=4).size == (
        cell_pictures.CROP_PX,
        cell_pictures.CROP_PX,
    )


def test_a_picture_in_a_page_holds_no_metadata():
    picture = Image.new("RGB", (8, 8))
    exif = Image.Exif()
    exif[0x010E] = "Wang Fang"
    picture.info.update(comment=b"Wang Fang", icc_profile=b"Wang Fang", exif=exif.tobytes(), xmp=b"Wang Fang")
    shown = base64.b64decode(cell_pictures.data_address(picture, 80).partition(",")[2])
    assert b"Wang" not in shown


def test_another_box_is_dashed():
    pixels = np.full([100, 200, 3], 128, np.uint8)
    box, other = np.array([40.0, 90, 60, 110]), np.array([35.0, 90, 55, 110])
    crop = np.asarray(cell_pictures.crop(PixelPicture(pixels), box, side=40, dashed=other)).astype(int)
    # The other box begins 5 pixels higher: 14 of the crop's, at 14.
    row = crop[14, 36:76].mean(axis=1)
    assert 0.3 < (row < 60).mean() < 0.7
    assert (row[row >= 60] > 200).all()


def test_a_dashed_box_far_outside_takes_no_more_time():
    pixels = np.zeros([10, 10, 3], np.uint8)
    far = np.array([-1e12, -1e12, 1e12, 1e12])
    assert cell_pictures.crop(PixelPicture(pixels), np.array([0.0, 0, 5, 5]), side=8, dashed=far).size == (112, 112)
