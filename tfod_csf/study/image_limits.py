"""What an image file may demand: small files can hold gigabytes of pixels or hours of decoding.

All limits are checked on the encoded bytes, before anything is decoded.
"""

import io
import re
import warnings

from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 80_000_000  # a 100x field has up to about 25 million; more is a slide scan or a decompression bomb
MAX_FILE_BYTES = 700_000_000  # MAX_PIXELS with four channels of 16 bits, not compressed, have 640 million
# Of a TIFF that is cut into tiles (`large_tiff`): 20,000 x 20,000; with four channels, a pyramid and some room.
MAX_TILED_PIXELS = 400_000_000
MAX_TILED_FILE_BYTES = 8_000_000_000
# Encoders write about ten scans into a progressive JPEG; each scan costs as much time as a whole plain JPEG.
MAX_JPEG_SCANS = 100
# What TensorFlow decodes, and Pillow's names for it.
RECORD_FORMATS = ("JPEG", "PNG", "BMP", "GIF")
_JPEG_START = b"\xff\xd8"
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA
# A marker: any byte after FF but 00 (an FF of the data), FF (filling) and D0 to D7 (restarts within a scan).
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_WITHOUT_LENGTH = (0x01, 0xD8)
_SAVE_AGAIN = "Open it and save it again as an ordinary JPEG."


class ImageLimitError(Exception):
    """Why an image is not decoded; args are (reason, remedy)."""


def too_large(size: str) -> ImageLimitError:
    """The error for an image of too many pixels, of which `size` says how many."""
    reason = f"{size}, more than {MAX_PIXELS:,}; was not decoded"
    remedy = "Cut the slide scan into fields, or export single fields; batch_infer --tile_size cuts large TIFFs itself."
    return ImageLimitError(reason, remedy)


def check_size(width: int, height: int) -> None:
    """Refuses an image of more than MAX_PIXELS.

    Raises:
      ImageLimitError: it has more.
    """
    if width * height > MAX_PIXELS:
        raise too_large(f"{width} x {height} pixels")


def jpeg_scans(data: bytes) -> int:
    """Number of scans of a JPEG, up to its end-of-image marker as decoders see it; 0 for another format."""
    if not data.startswith(_JPEG_START):
        return 0
    scans, place = 0, len(_JPEG_START)
    while match := _MARKER.search(data, place):
        kind, place = match[1][0], match.end()
        if kind == _END_OF_IMAGE:
            break
        scans += kind == _START_OF_SCAN
        if kind not in _WITHOUT_LENGTH:
            place += max(2, int.from_bytes(data[place : place + 2], "big"))
    return scans


def check_scans(data: bytes) -> None:
    """Refuses a JPEG of more than MAX_JPEG_SCANS.

    Raises:
      ImageLimitError: it has more.
    """
    scans = jpeg_scans(data)
    if scans > MAX_JPEG_SCANS:
        reason = f"a progressive JPEG of {scans:,} scans, more than {MAX_JPEG_SCANS}; was not decoded"
        raise ImageLimitError(reason, _SAVE_AGAIN)


def check_encoded(data: bytes) -> tuple[int, int] | None:
    """Refuses an image of a record that must not be decoded; what is not an image is for the decoder to report.

    Returns:
      Width and height; None where Pillow cannot read them.

    Raises:
      ImageLimitError: too many pixels or scans.
    """
    check_scans(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own limit is less strict
            with Image.open(io.BytesIO(data), formats=RECORD_FORMATS) as header:
                check_size(*header.size)
                return header.size
    except Image.DecompressionBombError as error:
        raise too_large(str(error).partition(" exceeds")[0]) from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return None
