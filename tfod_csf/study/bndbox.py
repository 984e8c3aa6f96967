"""What the corners in the objects of a Pascal VOC XML mean: pixels of upright boxes, or something else."""

import math
import re

from lxml import etree

BNDBOX_SIDES = ("xmin", "ymin", "xmax", "ymax")  # order of a box's sides in XML and in CSV tables of boxes
_ROTATIONS = ("rotation", "angle", "rotate")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def is_finite(text: str) -> bool:
    """Whether a text is a number as Pascal VOC writes it, and finite."""
    return bool(_NUMBER.fullmatch(text)) and math.isfinite(float(text))


def corner_texts(element: etree._Element) -> dict[str, str]:
    """{side: its text}, "" for one that is missing."""
    return {side: (element.findtext(f"bndbox/{side}") or "").strip() for side in BNDBOX_SIDES}


def corners(element: etree._Element) -> tuple[float, float, float, float] | None:
    """xmin, ymin, xmax, ymax as written; None unless all are numbers."""
    texts = corner_texts(element).values()
    if not all(map(is_finite, texts)):
        return None
    xmin, ymin, xmax, ymax = map(float, texts)
    return xmin, ymin, xmax, ymax


def fault_of_all_boxes(elements: list[etree._Element]) -> tuple[str, str] | None:
    """(reason, remedy) when the corners of a file mean something else than Pascal VOC's pixels."""
    boxes = [found for element in elements if (found := corners(element))]
    if boxes and all(-1 <= side <= 1 for box in boxes for side in box):
        reason = "the corners look like fractions of the image: none is above 1"
        return reason, "Multiply them by width and height, or export the boxes again as Pascal VOC, in pixels."
    swapped = sum(xmin > xmax or ymin > ymax for xmin, ymin, xmax, ymax in boxes)
    if swapped > 1 and 2 * swapped > len(boxes):
        reason = f"the corners look like x, y, width, height: {swapped} of {len(boxes)} boxes have swapped corners"
        return reason, "Export the boxes again as Pascal VOC, with xmax = x + width and ymax = y + height."
    return None


def _rotation(element: etree._Element) -> str:
    """The angle of a rotated box as written, as CVAT's attribute or a tag of its own; "" for an upright box."""
    found = [element.findtext(tag) or element.findtext(f"bndbox/{tag}") or "" for tag in _ROTATIONS]
    for attribute in element.iterfind("attributes/attribute"):
        if (attribute.findtext("name") or "").strip().lower() in _ROTATIONS:
            found.append(attribute.findtext("value") or "")
    for text in map(str.strip, found):
        try:
            if text and float(text.replace(",", ".")) % 360 != 0:
                return text
        except ValueError:
            return text
    return ""


def without_upright_box(element: etree._Element) -> str:
    """Why an object has no upright box; "" for one that has."""
    if element.find("robndbox") is not None:
        return "a rotated box (roLabelImg) has no upright corners"
    if element.find("bndbox") is None:
        polygon = any(element.find(tag) is not None for tag in ("polygon", "segm"))
        return "a polygon is not a box" if polygon else "the object has no <bndbox>"
    angle = _rotation(element)
    return f"a rotated box (rotation {angle!r}) has no upright corners" if angle else ""
