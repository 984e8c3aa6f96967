"""Image files to RGB: detect the format from the content, check the size before decoding, report every conversion.

Every image is returned as uint8 [H, W, 3] RGB. What had to be done to it (turned as EXIF says, 16 bits scaled, alpha
dropped, ...) is a row in `problems`; an image that cannot be used is None and a row with the remedy.

A file is read once: its checksum is that of the bytes that were decoded. Several threads may read at the same time.
"""

import contextlib
import dataclasses
import functools
import hashlib
import io
import os
import pathlib
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from tfod_csf.files import checksums, given_files
from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_limits, large_tiff
from tfod_csf.study.image_limits import MAX_FILE_BYTES, ImageLimitError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp")
# What cameras write beside a JPEG of the same picture.
RAW_SUFFIXES = (".dng", ".nef", ".cr2", ".cr3", ".arw")
# Formats of microscope programs, cameras and phones that are not read; such files are reported, not silently ignored.
OTHER_IMAGE_SUFFIXES = (
    *(".gif", ".webp", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".jxr", ".ppm", ".tga", ".svs", ".ndpi"),
    *(".mrxs", ".scn", ".bif", ".qptiff", ".vsi", ".ets", ".czi", ".zvi", ".lsm", ".lif", ".nd2", ".oib"),
    *(".oif", ".dcm", ".psd", ".raw", *RAW_SUFFIXES),
)
MAX_COUNTED_FRAMES = 100
JPEG_QUALITY = 95  # for images that are not a plain JPEG; with full color resolution (4:4:4)
# Pillow's format -> the suffixes that go with it. Pillow calls a JPEG with several pictures inside (phones) MPO.
_JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
_SUFFIXES_OF = {"JPEG": _JPEG_SUFFIXES, "MPO": _JPEG_SUFFIXES, "PNG": (".png",), "TIFF": (".tif", ".tiff")}
_SUFFIXES_OF |= {"BMP": (".bmp",), "WEBP": (".webp",)}
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
# Pictures that a labeling program may have shown of an image with an EXIF orientation.
TURNED, STORED = "turned", "stored"
_TIFF_BITS_PER_SAMPLE = 258
# What Pillow raises on damaged files besides OSError; none of these is documented.
_DAMAGED = (SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError, AttributeError, struct.error)
_COPY_AGAIN = "Copy the file again from the microscope, or export it again."
_EXPORT = "Export it from the microscope program as 8-bit RGB JPEG or PNG."


class _UnusableError(Exception):
    """Why an image cannot be used, and the remedy."""


# A JPEG file's bytes as uint8 [H, W, 3] RGB; None where the decoder cannot read them.
JpegDecoder = Callable[[bytes], np.ndarray | None]


@dataclasses.dataclass
class LoadedImage:
    """A decoded image.

    Attributes:
      path: the file.
      decoded: what the decoder gave: a picture of mode RGB, or uint8 [height, width, 3] of `JpegDecoder`.
      sha256: hex digest of the file.
      is_plain_jpeg: the file is a three-channel JPEG whose stored pixels are those of `image`.
      file_bytes: the file; kept only when `is_plain_jpeg`.
      is_as_stored: reading changed nothing that another program may show otherwise: no turning, no conversion.
    """

    path: pathlib.Path
    decoded: Image.Image | np.ndarray
    sha256: str
    is_plain_jpeg: bool
    file_bytes: bytes | None
    is_as_stored: bool

    @property
    def width(self) -> int:
        """Pixels."""
        return self.decoded.width if isinstance(self.decoded, Image.Image) else self.decoded.shape[1]

    @property
    def height(self) -> int:
        """Pixels."""
        return self.decoded.height if isinstance(self.decoded, Image.Image) else self.decoded.shape[0]

    @property
    def jpeg(self) -> bytes | None:
        """The file, where `pixels` are what a `JpegDecoder` made of it."""
        return self.file_bytes if isinstance(self.decoded, np.ndarray) else None

    @functools.cached_property
    def image(self) -> Image.Image:
        """Mode RGB."""
        return self.decoded if isinstance(self.decoded, Image.Image) else Image.fromarray(self.decoded)

    @functools.cached_property
    def pixels(self) -> np.ndarray:
        """uint8 [height, width, 3], RGB; copied at first use where Pillow decoded (records of JPEGs never need it)."""
        return np.array(self.decoded) if isinstance(self.decoded, Image.Image) else self.decoded

    def jpeg_bytes(self) -> bytes:
        """The file itself when it is a plain JPEG, else `image` encoded with JPEG_QUALITY and no subsampling."""
        return self.file_bytes if self.is_plain_jpeg and self.file_bytes is not None else _encoded(self.image)


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def encode_jpeg(pixels: np.ndarray) -> bytes:
    """uint8 [H, W, 3] RGB as JPEG; the same pixels give the same bytes."""
    return _encoded(Image.fromarray(pixels))


class _Encoded(NamedTuple):
    """A file that was read, and the image in it before it is decoded."""

    path: pathlib.Path
    data: bytes
    sha256: str
    image: Image.Image


def _read_checked(path: pathlib.Path, on_header: Callable[[int, int, int], object]) -> _Encoded:
    """Reads a file; its header is checked before the rest is read.

    Args:
      on_header: of `read_image`.

    Raises:
      OSError: it cannot be read, is no regular file, or is larger than MAX_FILE_BYTES.
      _UnusableError: empty, or not an image.
      ImageLimitError: too many pixels or scans.
    """
    with given_files.open_file(path, MAX_FILE_BYTES) as file:
        start = file.read(16)
        if not start:
            raise _UnusableError("the file has 0 bytes", _COPY_AGAIN)
        try:
            file.seek(0)
            size = Image.open(file, formats=_FORMATS).size
            image_limits.check_size(*size)
            on_header(*size, os.fstat(file.fileno()).st_size)
            file.seek(0)
            data = given_files.read_open(file, path, MAX_FILE_BYTES)
            # The file may have been written to since its header was read: what is decoded is checked again.
            image_limits.check_scans(data)
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
            image_limits.check_size(*image.size)
        except Image.DecompressionBombError as error:
            described = str(error).partition(" exceeds")[0]  # "Image size (400000000 pixels)"
            raise image_limits.too_large(described) from None
        except UnidentifiedImageError:
            reason = f"the content is not an image that can be read (it begins with {start!r})"
            raise _UnusableError(reason, _COPY_AGAIN) from None
    return _Encoded(path, data, hashlib.sha256(data).hexdigest(), image)


def _num_frames(image: Image.Image) -> int:
    """Number of pictures in the file, counted up to MAX_COUNTED_FRAMES + 1: each page of a TIFF takes time to find."""
    if not isinstance(image, TiffImageFile):
        return getattr(image, "n_frames", 1) if image.format in ("WEBP", "PNG", "MPO") else 1
    number = 1
    try:
        while number <= MAX_COUNTED_FRAMES:
            image.seek(number)
            number += 1
    except EOFError:
        pass
    image.seek(0)
    return number


def _is_turned(
    image: Image.Image, annotated_size: tuple[int, int] | None, unclear_exif: str | None
) -> tuple[bool, str, bool]:
    """Whether to turn the pixels as EXIF says, the sentence that reports it ("" for none), and whether it is unclear.

    LabelImg and picture viewers show the turned image, so that is the rule; but when the annotation's size agrees only
    with the stored pixels, its boxes were drawn on those. When it agrees with both, the file does not tell.
    """
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    if orientation not in range(2, 9):
        return False, "", False
    stored = image.size
    turned = stored[::-1] if orientation >= 5 else stored
    fits_stored, fits_turned = (annotated_size in (None, size) for size in (stored, turned))
    says_turned = f"turned as EXIF orientation {orientation} says"
    says_stored = f"EXIF orientation {orientation} not applied"
    if fits_stored and not fits_turned:
        return False, f"{says_stored}: the annotation has the size of the stored pixels", False
    if unclear_exif is None or not fits_stored:
        return True, says_turned, False
    is_turned = unclear_exif == TURNED
    what = f"{says_turned if is_turned else says_stored}; the boxes are right only if the labeling program showed the"
    return is_turned, f"{what} {'turned' if is_turned else 'stored'} picture, which their XML does not tell", True


def _bits_per_channel(image: Image.Image, data: bytes) -> int:
    """Bits of a color channel in the file; Pillow's mode "RGB" does not tell 8 from 16."""
    if image.format == "PNG":
        return data[24]  # IHDR: 8 bytes signature, 4 length, 4 name, 4 width, 4 height, then the bit depth
    if isinstance(image, TiffImageFile):
        return max(image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (8,)))
    return 8


def _scaled_gray(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Integers [H, W] as uint8, and the bit depth: the smallest of 8, 10, 12, 14, 16 that holds the brightest."""
    brightest = int(values.max(initial=0))
    bits = next(bits for bits in (8, 10, 12, 14, 16) if brightest < 2**bits)
    # A table, because the products of all pixels would take eight bytes each.
    table = np.round(np.arange(2**bits) * (255 / (2**bits - 1))).astype(np.uint8)
    return table[values], bits


def _rgb_of_gray(image: Image.Image) -> tuple[Image.Image, str]:
    """RGB of a gray image of 1, 8 or 16 bits, and what was done."""
    lost = "gray, made three equal channels: the color of the stain is lost"
    if image.mode not in ("1", "L"):
        values = np.asarray(image)
        if values.dtype.kind == "f" or values.min(initial=0) < 0 or values.max(initial=0) >= 2**16:
            raise _UnusableError(f"pixels of mode {image.mode} ({values.dtype}) have no known range", _EXPORT)
        gray, bits = _scaled_gray(values)
        lost = f"16-bit samples read as {bits} bits (brightest {values.max()}) and scaled to 8; {lost}"
        image = Image.fromarray(gray)
    return image.convert("RGB"), lost


def _rgb(image: Image.Image, data: bytes) -> tuple[Image.Image, list[str]]:
    """RGB of a decoded image, and what was done to get there."""
    if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16"):
        image, scaling = _rgb_of_gray(image)
        return image, [scaling]
    done: list[str] = []
    bits = _bits_per_channel(image, data)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        # Colors as stored, not blended with some background: a microscope has no transparency to show.
        image = image.convert("RGBA")
        done.append("the alpha channel was dropped, colors kept as stored")
    elif image.mode == "CMYK":
        done.append("CMYK converted to RGB without a color profile")
    elif image.mode not in ("RGB", "P"):  # P, a color table, is only another way to write RGB
        done.append(f"mode {image.mode} converted to RGB")
    if image.mode != "RGB":
        image = image.convert("RGB")
    if bits > 8:
        brightest = int(np.max(image.getextrema()))
        if brightest < 64:  # Pillow keeps the high byte; 12 bits in 16 leave nothing of the picture there
            raise _UnusableError(f"{bits} bits a channel of which the upper 2 or more are unused", _EXPORT)
        done.append(f"{bits} bits a channel scaled to 8")
    return image, done


def decoded_by(decode_jpeg: JpegDecoder | None, image: Image.Image, data: bytes) -> np.ndarray | None:
    """uint8 [H, W, 3] of an undecoded three-channel JPEG by another decoder than Pillow.

    Args:
      image: as Pillow opened it.
      data: the file.

    Returns:
      None for another image, without a decoder, and where it gives nothing or an image of another size.
    """
    if decode_jpeg is None or image.format != "JPEG" or image.mode != "RGB":
        return None
    pixels = decode_jpeg(data)
    return pixels if pixels is not None and pixels.shape == (image.height, image.width, 3) else None


def _load(
    encoded: _Encoded,
    annotated_size: tuple[int, int] | None,
    unclear_exif: str | None,
    problems: ProblemLog,
    decode_jpeg: JpegDecoder | None,
) -> LoadedImage:
    path, data, sha256, image = encoded
    repairs = []
    with image:
        if path.suffix.lower() not in _SUFFIXES_OF[image.format or ""]:
            repairs.append(f"the content is {image.format}, not what the name says, and was read as such")
        num_frames = _num_frames(image)
        if num_frames > 1:
            number = f"more than {MAX_COUNTED_FRAMES}" if num_frames > MAX_COUNTED_FRAMES else num_frames
            repairs.append(f"{number} pictures in the file, of which the first was read")
        turned, about_orientation, is_unclear = _is_turned(image, annotated_size, unclear_exif)
        is_plain_jpeg = image.format == "JPEG" and image.mode == "RGB" and not turned
        pixels = decoded_by(decode_jpeg, image, data) if is_plain_jpeg else None
        if pixels is None:
            image.load()
        if is_unclear:
            remedy = "Look at the boxes on a picture; --exif (create_csf_tf_record, evaluate) chooses."
            problems.noted(path, about_orientation, remedy)
        elif about_orientation:
            repairs.append(about_orientation)
        if turned:
            image = ImageOps.exif_transpose(image)
        done: list[str] = []
        if pixels is None:
            image, done = _rgb(image, data)
    for repair in repairs + done:
        problems.mended(path, repair, "Compare one labeled picture with the microscope's own view.")
    decoded = image if pixels is None else pixels
    is_as_stored = not (repairs or done or about_orientation)
    return LoadedImage(path, decoded, sha256, is_plain_jpeg, data if is_plain_jpeg else None, is_as_stored)


class _QuietPillow:
    """Context manager of several threads at once, which `warnings.catch_warnings` is not: the last to leave ends it.

    Pillow warns of decompression bombs (MAX_PIXELS is stricter) and of odd metadata, which are not used here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_inside = 0
        self._caught = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._num_inside:
                self._caught.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._num_inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._num_inside -= 1
            if not self._num_inside:
                self._caught.close()


_quiet_pillow = _QuietPillow()


@contextlib.contextmanager
def _reported(path: pathlib.Path, problems: ProblemLog) -> Iterator[None]:
    """What makes an image unusable becomes a row."""
    try:
        yield
    except (_UnusableError, ImageLimitError) as error:
        problems.skipped(path, *error.args)
    except given_files.UnusableFileError as error:
        problems.skipped(path, f"the file cannot be read ({error.strerror})", "Put an image here, or move it away.")
    except OSError as error:
        if error.errno is None:  # from the decoder
            problems.skipped(path, f"the image data are damaged or truncated ({error})", _COPY_AGAIN)
        else:
            problems.skipped(path, f"the file cannot be read ({error.strerror})", "Check the disk and the permissions.")
    except _DAMAGED as error:
        problems.skipped(path, f"the image data are damaged ({error})", _COPY_AGAIN)


def read_image(
    path: str | os.PathLike,
    problems: ProblemLog,
    annotated_size: tuple[int, int] | None = None,
    unclear_exif: str | None = None,
    decode_jpeg: JpegDecoder | None = None,
    on_header: Callable[[int, int, int], object] = lambda width, height, file_bytes: None,
) -> tuple[LoadedImage | None, str | None]:
    """Decodes an image file and computes its checksum, both from the same bytes.

    Args:
      annotated_size: (width, height) of the annotation, if there is one; decides whether an EXIF orientation applies.
      unclear_exif: TURNED or STORED: the picture that boxes were drawn on where `annotated_size` fits both, or is not
        known; None without boxes.
      decode_jpeg: decodes three-channel JPEGs whose pixels are used as they are; without it, or where it gives None or
        an image of another size, Pillow does. Pillow looks at every file first and decides whether it is an image.
      on_header: called with width, height (pixels) and the size of the file (bytes) when the header has been checked,
        before the rest is read; it may wait, or raise.

    Returns:
      (the image, or None when it cannot be used, sha256 of the file, or None when the file cannot be read); every
      reason and every change is in `problems`.
    """
    path = pathlib.Path(path)
    loaded, sha256, disk_failed = None, None, False
    with _quiet_pillow, _reported(path, problems):
        try:
            encoded = _read_checked(path, on_header)
        except OSError as error:
            disk_failed = error.errno is not None and not isinstance(error, given_files.UnusableFileError)
            raise
        sha256 = encoded.sha256
        loaded = _load(encoded, annotated_size, unclear_exif, problems, decode_jpeg)
    # A disk that failed may answer a moment later; with a checksum the image would count as looked at.
    return loaded, None if disk_failed else sha256 or file_sha256(path)


def needs_tiles(path: str | os.PathLike) -> bool:
    """Whether a file is a TIFF that is too large to be decoded as a whole; False where it cannot be read."""
    try:
        with _quiet_pillow, given_files.open_file(path) as file:
            if not large_tiff.is_tiff(file.read(4)):
                return False
            if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
                return True
            file.seek(0)
            width, height = Image.open(file, formats=("TIFF",)).size
            return width * height > image_limits.MAX_PIXELS
    except Image.DecompressionBombError:
        return True
    except (OSError, *_DAMAGED):
        return False


def file_sha256(path: str | os.PathLike) -> str | None:
    """Checksum of an image's file; None when it cannot be read, or is too large to be an image."""
    try:
        return checksums.file_sha256(path, image_limits.MAX_TILED_FILE_BYTES)
    except OSError:
        return None


def open_image(
    path: str | os.PathLike,
    problems: ProblemLog,
    annotated_size: tuple[int, int] | None = None,
    unclear_exif: str | None = None,
) -> LoadedImage | None:
    """The image of `read_image`, decoded by Pillow."""
    return read_image(path, problems, annotated_size, unclear_exif)[0]
