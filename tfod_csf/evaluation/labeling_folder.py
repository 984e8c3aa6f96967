"""A new folder of images and XML for LabelImg, with instructions; it is there as a whole, or not at all.

LabelImg decodes files itself, and not always to the pixels in which the boxes were found. 1.8.6 was tried: it turns
JPEG and TIFF as EXIF says (older ones do not turn JPEG), but not PNG; 12-bit gray is black; JPEG in TIFF is not read.
"""

import contextlib
import io
import pathlib
from collections.abc import Iterator, Sequence

from PIL import ExifTags, Image

from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write
from tfod_csf.study import labelimg
from tfod_csf.study.image_io import LoadedImage

INSTRUCTIONS = "READ_ME.txt"
_OPENING = """
How to open it

Open each folder that holds images by itself, with the class list and as its own save folder, for example

    labelImg patient_01 classes.txt patient_01

(or with Open Dir and then Change Save Dir). LabelImg looks for the boxes by the file name alone, in the save folder
that it used last: with another one it shows no boxes, or those of another patient's image of the same name, and saves
over them.

LabelImg 1.8.6 (pip install labelImg) needs Python 3.9 or older; on newer ones it stops as soon as a box is drawn. Its
ready-made Windows program brings its own.
"""
_FORMATS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"}
_TIFF_SUFFIXES = (".tif", ".tiff")


class LabelingFolderError(UserError):
    """The folder for LabelImg cannot be written."""


def check_is_new(target: pathlib.Path) -> None:
    """Refuses a folder that exists, before hours of computing.

    Raises:
      LabelingFolderError: there is one, which may hold a person's corrections.
    """
    if target.exists():
        raise LabelingFolderError(
            f"{target}: is there already and may hold corrections; move it away, or give another --output_dir."
        )


@contextlib.contextmanager
def new(target: pathlib.Path, instructions: str, classes: Sequence[str]) -> Iterator[pathlib.Path]:
    """A folder to write images into; when the block ends it is in its place.

    Args:
      instructions: text of READ_ME.txt; how to open the folder is added.
      classes: what LabelImg offers.

    Raises:
      LabelingFolderError: as `check_is_new`.
    """
    check_is_new(target)
    with atomic_write.replacing_folder(target, may_exist=False) as folder:
        atomic_write.write_text(folder / INSTRUCTIONS, instructions + _OPENING)
        atomic_write.write_text(folder / "classes.txt", "".join(f"{name}\n" for name in classes))
        yield folder


def is_shown_as_read(data: bytes) -> bool:
    """Whether a file is a JPEG of three channels that EXIF does not turn; any other has to be read to tell."""
    with Image.open(io.BytesIO(data)) as image:
        return image.format == "JPEG" and image.mode == "RGB" and image.getexif().get(ExifTags.Base.Orientation, 1) == 1


def write_image(loaded: LoadedImage, target: pathlib.Path) -> pathlib.Path:
    """Writes an image of which LabelImg shows the pixels of `loaded`, in any version.

    The file is copied. What had to be changed in reading, and every TIFF, is written again: upright, 8 bits, RGB.

    Args:
      target: where, with the name of the original file.

    Returns:
      Where it is; a JPEG with an ending that LabelImg does not list is called .jpg.
    """
    target = target.with_suffix(labelimg.listed_suffix(target.suffix))
    suffix = target.suffix.lower()
    if loaded.is_as_stored and suffix not in _TIFF_SUFFIXES:
        atomic_write.copy_file(loaded.path, target)
    elif suffix in _FORMATS:
        buffer = io.BytesIO()
        Image.fromarray(loaded.pixels).save(buffer, _FORMATS[suffix])
        atomic_write.write_bytes(target, buffer.getvalue())
    else:
        atomic_write.write_bytes(target, loaded.jpeg_bytes())
    return target
