"""A JPEG without anything but its picture, the compressed data byte for byte as they were.

Kept are the parts a decoder needs: quantization and Huffman tables, frame, scans, restart interval, and the two markers
that say which colors the numbers are (JFIF, reduced to its name, and Adobe). Gone are EXIF with its GPS position and
thumbnail, XMP, IPTC, color profiles, comments, maker's data, further pictures, and what stands behind the end.
"""

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
# SOF0..15 with DHT (C4) and DAC (CC) among them, DQT, DNL, DRI, DHP, EXP.
_PICTURE = {*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD, 0xDE, 0xDF} - {0xC8}
_RESTARTS = range(0xD0, 0xD8)
_JFIF = b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"  # version 1.1, no unit, aspect 1:1, no thumbnail
_ADOBE_BYTES = 12


class JpegError(ValueError):
    """The data are no JPEG of the structure the standard describes."""


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def _end_of_scan(data: bytes, position: int) -> int:
    """Where the entropy-coded data that begin here end: at the first marker that is no restart and no stuffed zero."""
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
      JpegError: not a JPEG, or cut off.
    """
    if data[:2] != bytes([0xFF, _SOI]):
        raise JpegError("no JPEG")
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
            raise JpegError(f"the part at byte {position} is cut off")
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
