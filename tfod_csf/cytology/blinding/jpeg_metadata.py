"""Removes everything but the picture from a JPEG; the compressed data stay byte for byte as they were.

Kept are the parts a decoder needs: quantization and Huffman tables, frame, scans, restart interval, and the two markers
that define the color space (JFIF, reduced to its name, and Adobe). Removed are EXIF with its GPS position and
thumbnail, XMP, IPTC, color profiles, comments, maker notes, further pictures, and everything after the end marker.
"""

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
# SOF0..15 with DHT (C4) and DAC (CC) among them, DQT, DNL, DRI, DHP, EXP.
_PICTURE = {*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD, 0xDE, 0xDF} - {0xC8}
_RESTARTS = range(0xD0, 0xD8)
_JFIF = b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"  # version 1.1, no unit, aspect 1:1, no thumbnail
_ADOBE_BYTES = 12


class JpegError(ValueError):
    """The data are not a JPEG of the structure that the standard describes."""


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def _end_of_scan(data: bytes, position: int) -> int:
    """End of the entropy-coded data that begin here: the first marker that is neither restart nor stuffed zero."""
    while True:
        position = data.find(b"\xff", position)
        if position < 0 or position + 1 >= len(data):
            raise JpegError("the scan has no end")
        following = data[position + 1]
        if following == 0 or following in _RESTARTS:
            position += 2
        elif following == 0xFF:  # a fill byte before a marker
            position += 1
        else:
            return position


def strip(data: bytes) -> bytes:
    """The JPEG without metadata.

    Raises:
      JpegError: not a JPEG, or truncated.
    """
    if data[:2] != bytes([0xFF, _SOI]):
        raise JpegError("not a JPEG")
    kept = [data[:2]]
    position = 2
    while True:
        if position + 2 > len(data) or data[position] != 0xFF:
            raise JpegError(f"no marker at byte {position}")
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == _EOI:
            return b"".join([*kept, bytes([0xFF, _EOI])])
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : end]
        if not position + 4 <= end <= len(data):
            raise JpegError(f"the segment at byte {position} is truncated")
        if marker == _SOS:
            end = _end_of_scan(data, end)
            kept.append(data[position:end])
        elif marker in _PICTURE:
            kept.append(_segment(marker, body))
        elif marker == 0xE0 and body.startswith(b"JFIF\0"):
            kept.append(_segment(marker, _JFIF))
        elif marker == 0xEE and body.startswith(b"Adobe"):
            kept.append(_segment(marker, body[:_ADOBE_BYTES]))
        position = end
