import io
import struct
import zlib

import pytest
from PIL import Image

from tfod_csf.study import image_limits
from tfod_csf.study.image_limits import ImageLimitError


def jpeg(**options) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 48), 80).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG of zeros that says it has this size; a few bytes whatever it says."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100)))


def test_scans_are_those_before_the_end_of_the_image():
    plain = jpeg()
    assert image_limits.jpeg_scans(plain) == 1
    # A gray progressive JPEG of libjpeg has six scans (jcparam.c, jpeg_simple_progression).
    assert image_limits.jpeg_scans(jpeg(progressive=True)) == 6
    assert image_limits.jpeg_scans(plain + b"\xff\xda\x00\x02" * 500) == 1


def test_markers_within_a_segment_are_no_scans():
    comment = b"\xff\xfe" + (2 + 4 * 500).to_bytes(2, "big") + b"\xff\xda\x00\x02" * 500
    assert image_limits.jpeg_scans(jpeg()[:2] + comment + jpeg()[2:]) == 1


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xda", b"\xff\xd8\xff\xda\x00\x00", b"GIF89a\xff\xda"]
)
def test_cut_off_or_other_data_end_the_count(data):
    assert image_limits.jpeg_scans(data) <= 1


def test_images_of_records_are_checked_by_their_header():
    image_limits.check_encoded(jpeg())
    image_limits.check_encoded(b"no image")
    image_limits.check_encoded(png_header(8000, 10_000))
    with pytest.raises(ImageLimitError, match="8001 x 10000 pixels"):
        image_limits.check_encoded(png_header(8001, 10_000))
    with pytest.raises(ImageLimitError, match="pixels"):
        image_limits.check_encoded(png_header(60_000, 60_000))
