import io

import numpy as np
import pytest
from PIL import Image

from tfod_csf.cytology.blinding import jpeg_metadata
from tfod_csf.cytology.blinding.jpeg_metadata import JpegError

SECRET = b"Wang Fang 1958"


def _picture(mode="RGB"):
    pixels = np.random.default_rng(3).integers(0, 255, (40, 56, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def _jpeg(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def _segment(marker, body):
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def _with_metadata(data):
    """APP0 extension, EXIF, XMP, profile, IPTC and comment after SOI, and bytes after the end."""
    bodies = {0xE0: b"JFXX\0\x10", 0xE1: b"Exif\0\0", 0xE2: b"ICC_PROFILE\0", 0xED: b"Photoshop 3.0\0", 0xFE: b""}
    parts = b"".join(_segment(marker, body + SECRET) for marker, body in bodies.items())
    return data[:2] + parts + _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + SECRET) + data[2:] + b"\0" + SECRET


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {}),
        ("RGB", {"progressive": True}),
        ("RGB", {"restart_marker_blocks": 2}),
        ("RGB", {"keep_rgb": True}),
        ("L", {}),
        ("CMYK", {}),
    ],
)
def test_the_picture_stays_byte_for_byte_and_the_rest_goes(mode, options):
    plain = _jpeg(_picture(mode), **options)
    stripped = jpeg_metadata.strip(_with_metadata(plain))
    assert SECRET not in stripped
    assert stripped == jpeg_metadata.strip(plain)
    before, after = Image.open(io.BytesIO(plain)), Image.open(io.BytesIO(stripped))
    assert (after.mode, after.size) == (mode, (56, 40))
    np.testing.assert_array_equal(np.asarray(before), np.asarray(after))
    assert not after.getexif()
    # The scan, from its marker to the end of the image, is in the result as it was.
    assert plain[plain.index(b"\xff\xda") :] in stripped


def test_the_thumbnail_and_resolution_in_jfif_go_too():
    plain = _jpeg(_picture(), dpi=(300, 300))
    thumbnail = plain.replace(plain[4:20], (16 + 27).to_bytes(2, "big") + plain[6:18] + b"\x03\x03" + bytes(27), 1)
    stripped = jpeg_metadata.strip(thumbnail)
    assert stripped == jpeg_metadata.strip(_jpeg(_picture()))


def test_only_the_first_picture_of_several_stays():
    buffer = io.BytesIO()
    _picture().save(buffer, "MPO", save_all=True, append_images=[Image.new("RGB", (56, 40), "red")])
    stripped = jpeg_metadata.strip(buffer.getvalue())
    image = Image.open(io.BytesIO(stripped))
    assert image.format == "JPEG"
    assert len(stripped) < len(buffer.getvalue()) - 500


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe1\xff\xff12"])
def test_what_is_no_jpeg_is_refused(data):
    with pytest.raises(JpegError):
        jpeg_metadata.strip(data)


def test_a_jpeg_cut_off_anywhere_is_refused():
    plain = _jpeg(_picture(), progressive=True)
    for length in range(0, len(plain) - 1, 37):
        with pytest.raises(JpegError):
            jpeg_metadata.strip(plain[:length])
