"""Images for LabelImg: what another program shows of them are the pixels that were read."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from tfod_csf.evaluation import labeling_folder
from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_io

HEIGHT, WIDTH = 24, 32
# Orientation of EXIF -> what has to be done to the upright picture so that it is stored in that way.
STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}


def upright() -> Image.Image:
    """Bright, with a dark quarter at the upper left."""
    pixels = np.full((HEIGHT, WIDTH, 3), (220, 200, 230), np.uint8)
    pixels[:12, :16] = (60, 20, 90)
    return Image.fromarray(pixels)


def written(path: pathlib.Path, annotated_size=None) -> pathlib.Path:
    loaded = image_io.open_image(path, ProblemLog(quiet=True), annotated_size)
    return labeling_folder.write_image(loaded, path.parent / "to_label" / path.name)


def assert_shown(path: pathlib.Path, expected: Image.Image, tolerance: int = 3) -> None:
    """The file is plain: every program shows these pixels."""
    with Image.open(path) as image:
        assert (image.mode, image.getexif().get(0x0112, 1)) == ("RGB", 1)
        assert np.abs(np.asarray(image, int) - np.asarray(expected, int)).max() <= tolerance


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_a_turned_image_is_written_upright(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    upright().transpose(STORED_AS[orientation]).save(path, exif=exif, quality=100, subsampling=0)
    assert_shown(written(path), upright())


def test_an_orientation_that_the_boxes_do_not_follow_is_taken_away(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = upright().transpose(STORED_AS[6])
    stored.save(tmp_path / "a.png", exif=exif)
    assert_shown(written(tmp_path / "a.png", annotated_size=stored.size), stored, tolerance=0)


def test_what_labelimg_shows_dark_or_not_at_all_is_written_again(tmp_path):
    gray = np.asarray(upright().convert("L")).astype(np.uint16)
    brightest = int(gray.max())
    Image.fromarray(gray * (4095 // brightest)).save(tmp_path / "twelve_bits.tif")
    as_read = image_io.open_image(tmp_path / "twelve_bits.tif", ProblemLog(quiet=True)).image
    assert np.asarray(as_read).max() > 200
    assert_shown(written(tmp_path / "twelve_bits.tif"), as_read, tolerance=0)
    upright().save(tmp_path / "jpeg_inside.tif", compression="jpeg", quality=95)
    path = written(tmp_path / "jpeg_inside.tif")
    assert_shown(path, image_io.open_image(tmp_path / "jpeg_inside.tif", ProblemLog(quiet=True)).image, tolerance=0)
    with Image.open(path) as image:
        assert image.info.get("compression") == "raw"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_other_images_are_copied(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    upright().save(path)
    assert written(path).read_bytes() == path.read_bytes()


def test_which_files_have_not_to_be_read_to_know_that_they_are_shown_as_read(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    upright().save(tmp_path / "plain.jpg")
    upright().save(tmp_path / "turned.jpg", exif=exif)
    upright().convert("L").save(tmp_path / "gray.jpg")
    upright().save(tmp_path / "plain.png")
    found = {path.name for path in tmp_path.iterdir() if labeling_folder.is_shown_as_read(path.read_bytes())}
    assert found == {"plain.jpg"}


def test_content_and_name_agree(tmp_path):
    upright().save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    path = written(tmp_path / "a.jpg")
    with Image.open(path) as image:
        assert image.format == "JPEG"


def test_labelimg_lists_every_image(tmp_path):
    upright().save(tmp_path / "a.jfif", format="JPEG")
    path = written(tmp_path / "a.jfif")
    assert (path.name, path.read_bytes()) == ("a.jpg", (tmp_path / "a.jfif").read_bytes())


def test_a_folder_is_whole_and_new_or_is_not_there(tmp_path):
    with pytest.raises(ZeroDivisionError), labeling_folder.new(tmp_path / "x", "Look.\n", ["band"]):
        _ = 1 / 0
    assert not (tmp_path / "x").exists()
    with labeling_folder.new(tmp_path / "x", "Look.\n", ["band", "blast"]) as folder:
        (folder / "a.xml").write_text("<annotation/>")
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["READ_ME.txt", "a.xml", "classes.txt"]
    assert (tmp_path / "x" / "classes.txt").read_text() == "band\nblast\n"
    instructions = (tmp_path / "x" / "READ_ME.txt").read_text()
    assert instructions.startswith("Look.\n")
    assert "labelImg patient_01 classes.txt patient_01" in instructions
    with pytest.raises(labeling_folder.LabelingFolderError, match="may hold corrections"):
        labeling_folder.check_is_new(tmp_path / "x")
