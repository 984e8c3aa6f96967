"""Pictures too large for memory: one rectangle at a time from a TIFF or BigTIFF, tiled or striped.

tifffile (extra [tiff], with imagecodecs for its codecs) finds and decodes the file's blocks, which TIFF calls tiles or
strips. It was chosen over libvips, which needs as little memory, because of damaged files: tifffile raises an error,
libvips returned other pixels without one for tiles that are damaged, missing, or in a codec it was not built with.

Memory: the blocks under the rows that are read at a time, and one block more in height, at full width: 150 MB for tiles
of 1944 rows on a picture 20,000 pixels wide.

Only what a slide scanner's program exports as 8-bit RGB is read; anything else is refused with what to do.
"""

import collections
import hashlib
import io
import os
import pathlib
import warnings
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfod_csf.files import given_files
from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_limits
from tfod_csf.study.image_limits import ImageLimitError

_MAX_BLOCK_BYTES = 256_000_000
_MAX_PAGES = 100
_START = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF and BigTIFF in both byte orders
_NOT_COMPRESSED, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE, _PACKBITS = 1, 5, 7, 8, 32946, 32773
_COMPRESSIONS = (_NOT_COMPRESSED, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE, _PACKBITS)
_BLACK_IS_ZERO, _RGB, _YCBCR = 1, 2, 6
_EXPORT = "Export it as a tiled TIFF, 8-bit RGB, compressed with JPEG, LZW or deflate, or not compressed."
_COPY_AGAIN = "Copy the file again from the scanner, or export it again."
_COMPARE = "Compare one labeled picture with the scanner's own view."


class ReadAgainError(ImageLimitError):
    """The file was written to, or its disk gave no answer: the same file may be read another time."""


def is_tiff(start: bytes) -> bool:
    """Whether the first four bytes of a file are those of a TIFF or BigTIFF."""
    return start in _START


def _tifffile() -> Any:
    try:
        import imagecodecs  # noqa: F401  without it tifffile finds out at the first block that it cannot decode
        import tifffile
    except ImportError:
        raise ImageLimitError(
            "large TIFFs need tifffile and imagecodecs, which are not installed",
            "Install them with `pip install 'tfod_csf[tiff]'` (tifffile and imagecodecs).",
        ) from None
    return tifffile


class LargeTiff:
    """One picture in a TIFF; use it as a context manager, or `close` it.

    Attributes:
      path: the file.
      width, height: pixels.
      sha256: hex digest of the file.

    Args:
      path: a regular file of at most MAX_TILED_FILE_BYTES.
      problems: gets what is repaired: a gray picture, an alpha channel, further pictures in the file, missing blocks.

    Raises:
      ImageLimitError: more than MAX_TILED_PIXELS, or not a picture that can be read; with the remedy.
      OSError: the file cannot be read.
    """

    def __init__(self, path: pathlib.Path, problems: ProblemLog):
        self.path = path
        module = _tifffile()
        self._file = given_files.open_file(path, image_limits.MAX_TILED_FILE_BYTES)
        try:
            self._state = _state_of(self._file)
            self.sha256 = _sha256(self._file)
            self._page, num_pages = _first_page(module, self._file, path)
            self.width, self.height = int(self._page.imagewidth), int(self._page.imagelength)
            _check_page(self._page)
            self._is_contiguous = _is_contiguous(self._page)
            self._block = (1, self.width) if self._is_contiguous else _block_size(self._page)
            _check_blocks(self._page, self._block, self._state[0])
        except BaseException:
            self._file.close()
            raise
        self._blocks: collections.OrderedDict[int, np.ndarray] = collections.OrderedDict()
        self._capacity = 0
        self._report(num_pages, problems)

    def _report(self, num_pages: int, problems: ProblemLog) -> None:
        repairs = []
        if num_pages > 1:
            number = f"more than {_MAX_PAGES}" if num_pages > _MAX_PAGES else num_pages
            repairs.append(f"{number} pictures in the file, of which the first was read")
        if self._page.samplesperpixel in (2, 4):
            repairs.append("the alpha channel was dropped, colors kept as stored")
        if self._page.samplesperpixel < 3:
            repairs.append("gray, made three equal channels: the color of the stain is lost")
        missing = sum(count == 0 for count in self._page.databytecounts)
        if missing:
            repairs.append(f"{missing} of {len(self._page.databytecounts)} blocks hold no data and were read as black")
        for repair in repairs:
            problems.mended(self.path, repair, _COMPARE)

    def __enter__(self) -> "LargeTiff":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        self._blocks.clear()

    def check_unchanged(self) -> None:
        """Refuses what was read of a file that was written to since it was opened.

        Raises:
          ReadAgainError: its size or time of change is another.
        """
        if _state_of(self._file) != self._state:
            raise ReadAgainError("the file was changed while it was read", "Run again when nobody writes to it.")

    def read(self, top: int, left: int, bottom: int, right: int) -> np.ndarray:
        """uint8 [bottom - top, right - left, 3] RGB of a rectangle inside the picture.

        Raises:
          ImageLimitError: the file is damaged there.
          ReadAgainError: the disk does not give it.
        """
        try:
            if self._is_contiguous:
                samples = self._read_rows(top, left, bottom, right)
            else:
                samples = self._read_blocks(top, left, bottom, right)
        except (ImageLimitError, MemoryError):
            raise
        except Exception as error:  # of damaged files the decoders raise errors of their own, and many others
            if isinstance(error, OSError) and error.errno is not None:  # not from a decoder
                reason = f"the file cannot be read ({error.strerror})"
                raise ReadAgainError(reason, "Check the disk and the connection, and run again.") from error
            raise ImageLimitError(f"the image data are damaged or truncated ({error})", _COPY_AGAIN) from error
        if samples.shape[2] < 3:
            return np.repeat(samples[:, :, :1], 3, axis=2)
        return np.ascontiguousarray(samples[:, :, :3])

    def _read_rows(self, top: int, left: int, bottom: int, right: int) -> np.ndarray:
        """A rectangle of an uncompressed picture whose rows follow each other in the file."""
        channels = self._page.samplesperpixel
        samples = np.empty((bottom - top, (right - left) * channels), np.uint8)
        for number, row in enumerate(range(top, bottom)):
            self._file.seek(self._page.dataoffsets[0] + (row * self.width + left) * channels)
            data = self._file.read(samples.shape[1])
            if len(data) < samples.shape[1]:
                raise ImageLimitError("the image data are damaged or truncated (the file ends early)", _COPY_AGAIN)
            samples[number] = np.frombuffer(data, np.uint8)
        return samples.reshape(bottom - top, right - left, channels)

    def _read_blocks(self, top: int, left: int, bottom: int, right: int) -> np.ndarray:
        height, width = self._block
        rows, columns = range(top // height, -(-bottom // height)), range(left // width, -(-right // width))
        per_row = -(-self.width // width)
        # The blocks of the next rectangle to the right are those of this one's rows; a strip is decoded once for all.
        self._capacity = max(self._capacity, (len(rows) + 1) * per_row)
        channels = self._page.samplesperpixel
        samples = np.zeros((bottom - top, right - left, channels), np.uint8)
        for row in rows:
            for column in columns:
                block = self._decoded(row * per_row + column)
                if block is None:
                    continue
                y, x = row * height, column * width
                y0, x0 = max(top, y), max(left, x)
                y1, x1 = min(bottom, y + height), min(right, x + width)
                samples[y0 - top : y1 - top, x0 - left : x1 - left] = block[y0 - y : y1 - y, x0 - x : x1 - x]
        return samples

    def _decoded(self, index: int) -> np.ndarray | None:
        """uint8 [height, width, channels] of a block; None for one without data."""
        if index in self._blocks:
            self._blocks.move_to_end(index)
            return self._blocks[index]
        page = self._page
        if page.databytecounts[index] == 0:
            return None
        self._file.seek(page.dataoffsets[index])
        data = self._file.read(page.databytecounts[index])
        if page.compression == _JPEG:
            _check_jpeg_size(data, self._block)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            decoded, _, shape = page.decode(data, index, jpegtables=page.jpegtables)
        expected = (*(min(side, shape[1 + axis]) for axis, side in enumerate(self._block)), page.samplesperpixel)
        if decoded is None or decoded.dtype != np.uint8 or decoded.shape[1:] < expected:
            raise ValueError(f"block {index} has another size than its file says")
        self._blocks[index] = decoded[0]
        while len(self._blocks) > self._capacity:
            self._blocks.popitem(last=False)
        return self._blocks[index]


def _state_of(file: Any) -> tuple[int, int]:
    """(bytes, time of the last change in nanoseconds)."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _sha256(file: Any) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(1 << 20):
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()


def _first_page(module: Any, file: Any, path: pathlib.Path) -> tuple[Any, int]:
    """(the first picture, number of pictures up to _MAX_PAGES + 1)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tiff = module.TiffFile(file, name=path.name)
            page, number = tiff.pages[0], 1
            while number <= _MAX_PAGES:
                try:
                    tiff.pages[number]
                except IndexError:
                    break
                number += 1
            return page.aspage() if hasattr(page, "aspage") else page, number
    except OSError:
        raise
    except Exception as error:  # a damaged directory gives errors of many kinds
        raise ImageLimitError(f"the TIFF cannot be read ({error})", _COPY_AGAIN) from error


def _check_page(page: Any) -> None:
    """Refuses what is not read, and what is too large.

    Raises:
      ImageLimitError: with the remedy.
    """
    width, height = int(page.imagewidth), int(page.imagelength)
    if width * height > image_limits.MAX_TILED_PIXELS:
        reason = f"{width} x {height} pixels, more than {image_limits.MAX_TILED_PIXELS:,}; was not decoded"
        raise ImageLimitError(reason, "Export the scan in parts.")
    orientation = page.tags.get("Orientation")
    kinds = {_BLACK_IS_ZERO: (1, 2), _RGB: (3, 4), _YCBCR: (3,)}
    wrong = ""
    if min(width, height) < 1:
        wrong = f"{width} x {height} pixels"
    elif page.compression not in _COMPRESSIONS:
        wrong = f"compressed with {getattr(page.compression, 'name', page.compression)}"
    elif page.bitspersample != 8 or page.sampleformat not in (None, 1):
        wrong = f"{page.bitspersample} bits a channel"
    elif page.samplesperpixel not in kinds.get(int(page.photometric), ()):
        wrong = f"{page.samplesperpixel} channels of kind {getattr(page.photometric, 'name', page.photometric)}"
    elif int(page.photometric) == _YCBCR and page.compression != _JPEG:
        wrong = "colors as YCbCr"
    elif page.samplesperpixel > 1 and page.planarconfig != 1:
        wrong = "channels stored apart"
    elif int(page.imagedepth) != 1:
        wrong = f"{page.imagedepth} layers"
    elif orientation is not None and orientation.value != 1:
        wrong = f"orientation {orientation.value}: stored turned or mirrored"
    if wrong:
        raise ImageLimitError(f"a large TIFF that is not read ({wrong})", _EXPORT)


def _is_contiguous(page: Any) -> bool:
    """Whether the rows follow each other in the file, uncompressed, however few strips they are said to be in."""
    return bool(
        page.compression == _NOT_COMPRESSED and not page.is_tiled and page.predictor == 1 and page.is_contiguous
    )


def _block_size(page: Any) -> tuple[int, int]:
    """(rows, columns) of a tile or strip."""
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return min(int(page.rowsperstrip) or int(page.imagelength), int(page.imagelength)), int(page.imagewidth)


def _check_blocks(page: Any, block: tuple[int, int], file_bytes: int) -> None:
    """Refuses blocks that are too large for memory or that the file does not hold.

    Raises:
      ImageLimitError.
    """
    if block[0] * block[1] * page.samplesperpixel > _MAX_BLOCK_BYTES:
        raise ImageLimitError("a large TIFF that is compressed as one block", _EXPORT)
    needed = -(-int(page.imagelength) // block[0]) * -(-int(page.imagewidth) // block[1])
    ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts)]
    if not _is_contiguous(page) and len(ends) != needed:
        raise ImageLimitError(f"the TIFF lists {len(ends)} blocks; its size needs {needed}", _COPY_AGAIN)
    if not ends or max(ends) > file_bytes:
        raise ImageLimitError("the image data are truncated: the file ends before its last block", _COPY_AGAIN)


def _check_jpeg_size(data: bytes, block: tuple[int, int]) -> None:
    """Refuses a JPEG that is larger than the block it fills.

    Raises:
      ValueError.
    """
    try:
        size = Image.open(io.BytesIO(data), formats=("JPEG",)).size
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError("a block is not a JPEG") from error
    if size[0] > block[1] or size[1] > block[0]:
        raise ValueError(f"a block of {block[1]} x {block[0]} pixels holds a JPEG of {size[0]} x {size[1]}")
