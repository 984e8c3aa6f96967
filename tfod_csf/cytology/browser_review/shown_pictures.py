"""The pictures a reviewer is shown: cells cropped at one scale, and whole images, as JPEGs.

They are made from the pixels as this package reads them (turned as EXIF says), because boxes are in that frame.
"""

import io
import pathlib
import threading
from collections import OrderedDict

import numpy as np
from PIL import Image

from tfod_csf.cytology.review.sidecar import ShownImage, Sidecar
from tfod_csf.pages import cell_pictures
from tfod_csf.study.pictures import Picture, open_picture

_CROP_QUALITY, _FIELD_QUALITY = 85, 92
_MARGIN = 1.35  # side of a crop against the box of a large cell of the patient
_LARGE = 90  # percentile
_MAX_OPEN = 4
_MAX_CROPS = 20_000  # of 3 to 5 kB


class PictureError(Exception):
    """A picture that cannot be shown: the file is gone or was replaced."""


def crop_side(sidecar: Sidecar) -> float:
    """Side of all crops of a patient in pixels, because size distinguishes cells; larger cells get a larger crop."""
    sides = [max(c.box[2] - c.box[0], c.box[3] - c.box[1]) for image in sidecar.images.values() for c in image.cells]
    return _MARGIN * float(np.percentile(sides, _LARGE)) if sides else 64.0


class ShownPictures:
    """Makes and keeps pictures; may be called from several threads.

    Args:
      folder: that review_export wrote.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[str, str], Picture] = OrderedDict()
        self._crops: OrderedDict[tuple, bytes] = OrderedDict()

    def crop(self, patient: str, name: str, image: ShownImage, box: tuple[int, int, int, int], side: float) -> bytes:
        """A cell; the first of an image also makes those of all exported cells, so that it is read once.

        Args:
          name: of the image in the exported folder.
          box: xmin, ymin, xmax, ymax in pixels.

        Raises:
          PictureError: the picture cannot be shown.
        """
        with self._lock:
            if (patient, name, box) not in self._crops:
                picture = self._picture(patient, name, image)
                for one in dict.fromkeys([*(cell.box for cell in image.cells), box]):
                    if (patient, name, one) not in self._crops:  # those of a box that was moved are new alone
                        self._keep((patient, name, one), picture, one, side)
            return self._crops[patient, name, box]

    def field(self, patient: str, name: str, image: ShownImage) -> bytes:
        """A whole image.

        Raises:
          PictureError: the picture cannot be shown.
        """
        with self._lock:
            picture = self._picture(patient, name, image)
        return _jpeg(Image.fromarray(picture.read(0, 0, picture.height, picture.width)), _FIELD_QUALITY)

    def _keep(self, key: tuple, picture: Picture, box: tuple[int, int, int, int], side: float) -> None:
        xmin, ymin, xmax, ymax = box
        crop = cell_pictures.crop(picture, np.array([ymin, xmin, ymax, xmax], float), side)
        self._crops[key] = _jpeg(crop, _CROP_QUALITY)
        if len(self._crops) > _MAX_CROPS:
            self._crops.popitem(last=False)

    def _picture(self, patient: str, name: str, image: ShownImage) -> Picture:
        key = (patient, name)
        if key not in self._open:
            picture = open_picture(self._folder / patient / name, image.picture_sha256)
            if picture is None:
                raise PictureError(f"{self._folder / patient / name}: is gone, or not the picture that was exported.")
            self._open[key] = picture
            if len(self._open) > _MAX_OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(key)
        return self._open[key]


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
