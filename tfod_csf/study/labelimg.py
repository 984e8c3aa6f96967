"""LabelImg (Pascal VOC) XML: parse defensively, report every repair, write files LabelImg can open.

Coordinate frame: xmin, ymin, xmax, ymax are pixels of the image the annotation belongs to, as written in the file
(divided by the width they give 0..1, as in TFOD; no -1 for VOC's count from 1). Nothing outside the XML file is ever
opened: <filename> and <path> are only names, of which the last part is kept.

What happens to a faulty file or object is said in its row of problems.csv. The rules are in `bndbox`,
`_read_object`, `_without_repeats` and `fit_to_image`.
"""

import dataclasses
import ntpath
import os
import pathlib
import re
from collections import Counter
from collections.abc import Mapping

import numpy as np
from lxml import etree

from tfod_csf import np_box_ops
from tfod_csf.cell_classes import UNKNOWN
from tfod_csf.files import atomic_write, given_files
from tfod_csf.label_map import LabelMap, mapped_name, normalize_name
from tfod_csf.problems import ProblemLog
from tfod_csf.study import bndbox, hardened_xml
from tfod_csf.study.bndbox import BNDBOX_SIDES
from tfod_csf.study.hardened_xml import HardenedXmlError
from tfod_csf.wording import named

MAX_XML_BYTES = 5_000_000
MAX_OBJECTS = 2000
REPEATED = "exactly the box and class of an earlier object"
MAX_CLOSE_PAIRS = 100  # of which each is a row
SAME_CELL_IOU = 0.7  # boxes that overlap more are reported as one cell boxed twice
# Endings of JPEG files that LabelImg's file list does not show, and one that it does.
_UNLISTED_SUFFIXES = {".jpe": ".jpg", ".jfif": ".jpg"}
_SIZE = re.compile(r"0{0,9}\d{1,9}", re.ASCII)
_ROOT = "annotation"
_TWO_NAMES = "The label map has both names for one class; if they are two classes, give each its own id there."
_HEAD_BYTES = 1 << 16


@dataclasses.dataclass(slots=True)
class LabeledObject:
    """One box.

    Attributes:
      name: class as written, with blanks and line breaks normalized.
      xmin, ymin, xmax, ymax: float pixels, xmin < xmax and ymin < ymax.
      difficult: 1 when marked difficult (ignored by PASCAL evaluation).
      truncated: 1 when marked as cut by the image edge.
      pose: VOC's free text; LabelImg writes "Unspecified".
    """

    name: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    difficult: int = 0
    truncated: int = 0
    pose: str = "Unspecified"

    def box_text(self) -> str:
        """The box in the words of problems.csv: "[xmin, ymin, xmax, ymax]"."""
        return f"[{', '.join(f'{getattr(self, side):g}' for side in BNDBOX_SIDES)}]"


@dataclasses.dataclass
class Annotation:
    """The content of one XML file.

    Attributes:
      path: the XML file.
      filename: last part of <filename>; "" when there is none.
      width, height: pixels, from <size>; None when missing or not positive.
      objects: boxes in file order.
      verified: LabelImg's green mark.
      folder: <folder>, as written.
      num_unusable: objects of the file that are not in `objects` because they cannot be used.
    """

    path: pathlib.Path
    filename: str
    width: int | None
    height: int | None
    objects: list[LabeledObject]
    verified: bool = False
    folder: str = ""
    num_unusable: int = 0


def _size(root: etree._Element) -> tuple[int | None, int | None]:
    """(width, height) of <size>, or (None, None) unless both are positive whole numbers of up to nine digits."""
    values = [(root.findtext(f"size/{side}") or "").strip() for side in ("width", "height")]
    if all(_SIZE.fullmatch(value) and int(value) > 0 for value in values):
        return int(values[0]), int(values[1])
    return None, None


def _flag(element: etree._Element, name: str, path: pathlib.Path, item: str, problems: ProblemLog) -> int:
    text = (element.findtext(name) or "").strip()
    if text in ("", "0", "1"):
        return int(text or 0)
    value = int(text.lower() in ("true", "yes", "1.0"))
    problems.mended(path, f"<{name}> is {text!r}, read as {value}", "Write 0 or 1.", item)
    return value


def _read_object(element: etree._Element, index: int, path: pathlib.Path, problems: ProblemLog) -> LabeledObject | None:
    """One <object>, or None with a row in `problems`. Swapped corners are put in order; what is unclear is skipped."""
    name = normalize_name(element.findtext("name") or "")
    item = f"object {index} ({name or 'no name'})"
    redraw = "Draw the box again in LabelImg."
    if not name:
        problems.skipped(path, "the object has no name", "Give it a class in LabelImg.", item)
        return None
    if reason := bndbox.without_upright_box(element):
        problems.skipped(path, reason, redraw, item)
        return None
    corners = bndbox.corners(element)
    if corners is None:
        side, text = next((s, t) for s, t in bndbox.corner_texts(element).items() if not bndbox.is_finite(t))
        problems.skipped(path, f"<{side}> is {text!r}, not a number", redraw, item)
        return None
    labeled = LabeledObject(name, *corners)
    smaller = min(abs(labeled.xmax - labeled.xmin), abs(labeled.ymax - labeled.ymin))
    if smaller < 1:
        what = f"is less than a pixel ({smaller:.2g}) wide or high" if smaller else "has no area"
        problems.skipped(path, f"the box {labeled.box_text()} {what}", redraw, item)
        return None
    if labeled.xmin > labeled.xmax or labeled.ymin > labeled.ymax:
        reason = f"corners swapped in {labeled.box_text()}, put in order"
        problems.mended(path, reason, "Check that the box lies on the cell.", item)
        labeled.xmin, labeled.xmax = sorted((labeled.xmin, labeled.xmax))
        labeled.ymin, labeled.ymax = sorted((labeled.ymin, labeled.ymax))
    labeled.difficult = _flag(element, "difficult", path, item, problems)
    labeled.truncated = _flag(element, "truncated", path, item, problems)
    labeled.pose = normalize_name(element.findtext("pose") or "") or "Unspecified"
    return labeled


def boxes_of(objects: list[LabeledObject]) -> np.ndarray:
    """float64 [N, 4] ymin, xmin, ymax, xmax in pixels."""
    return np.array([[o.ymin, o.xmin, o.ymax, o.xmax] for o in objects], dtype=np.float64).reshape(-1, 4)


def _without_repeats(objects: list[LabeledObject], path: pathlib.Path, problems: ProblemLog) -> list[LabeledObject]:
    """Drops exact repeats (same class and box); reports boxes so close that one cell seems to be boxed twice."""
    kept: list[LabeledObject] = []
    seen: set[tuple] = set()
    for index, labeled in enumerate(objects, start=1):
        key = (labeled.name, labeled.xmin, labeled.ymin, labeled.xmax, labeled.ymax)
        if key in seen:
            item = f"object {index} ({labeled.name})"
            problems.skipped(path, REPEATED, "Delete the repeat.", item)
        else:
            seen.add(key)
            kept.append(labeled)
    overlap = np.triu(np_box_ops.iou(boxes_of(kept), boxes_of(kept)), k=1)
    pairs = np.argwhere(overlap > SAME_CELL_IOU)
    if len(pairs) > MAX_CLOSE_PAIRS:
        reason = (
            f"{len(pairs):,} pairs of boxes overlap like one cell boxed twice, the first {MAX_CLOSE_PAIRS} are listed"
        )
        problems.noted(path, reason, "Look at the boxes in LabelImg.", "all objects")
    for first, second in pairs[:MAX_CLOSE_PAIRS]:
        a, b = kept[first], kept[second]
        what = f"boxed twice as {a.name}" if a.name == b.name else f"boxed as {a.name} and as {b.name}"
        reason = f"the cell at {a.box_text()} seems {what} (IoU {overlap[first, second]:.2f}); both are used"
        problems.noted(path, reason, "Delete one of the two in LabelImg if it is one cell.", f"{a.name}, {b.name}")
    return kept


def is_annotation(path: str | os.PathLike) -> bool:
    """Whether a file is an XML of annotations, or may be one: False where its first element is known to be another.

    Microscopes and programs put XML of their own beside images (.ome.xml, ImageScope's <Annotations>).
    """
    try:
        with given_files.open_file(path) as file:
            return hardened_xml.root_name(file.read(_HEAD_BYTES)) in (_ROOT, "")
    except OSError:
        return True


def note_foreign_xml(folder: pathlib.Path, paths: list[pathlib.Path], problems: ProblemLog) -> None:
    """Notes once the XML of other programs (see `is_annotation`) that lies in a folder."""
    reason = f"{len(paths)} XML files of other programs are not read ({named([path.name for path in paths])})"
    problems.noted(folder, reason, "No action is needed if they are not annotations.")


def read_annotation(path: str | os.PathLike, problems: ProblemLog) -> Annotation | None:
    """Reads one LabelImg XML.

    UTF-8, UTF-16 and the declared Chinese encodings are read; so is undeclared GB18030, with a row in `problems`.
    DOCTYPE and entities are rejected before parsing (see `hardened_xml`). Tags are compared without capitals and
    namespaces.

    Returns:
      The annotation (possibly without objects: an image without cells), or None when the file cannot be used; every
      reason is in `problems`.
    """
    path = pathlib.Path(path)
    try:
        root, repair = hardened_xml.parse(given_files.read_bytes(path, MAX_XML_BYTES))
        if root.tag != _ROOT:
            remedy = "Put a LabelImg (Pascal VOC) XML here."
            raise HardenedXmlError(f"the root element is <{root.tag}>, not <annotation>", remedy)
    except OSError as error:
        problems.skipped(path, f"the XML cannot be read ({error.strerror or error})", "Check the file.")
        return None
    except HardenedXmlError as error:
        problems.skipped(path, *error.args)
        return None
    if repair:
        problems.mended(path, f"the text {repair}", "Check Chinese names in it; best save the file as UTF-8.")
    written = (root.findtext("filename") or "").strip()
    filename = ntpath.basename(written)  # splits at "/" and at "\\"
    if filename != written:
        reason = f"<filename> is a path ({written!r}); only its last part {filename!r} is used"
        problems.mended(path, reason, "No action is needed if that is the image.")
    elements = list(root.iterfind("object"))
    if len(elements) > MAX_OBJECTS:
        problems.skipped(path, f"{len(elements)} objects, more than {MAX_OBJECTS}", "Check that this is one field.")
        return None
    deeper = sum(1 for _ in root.iter("object")) - len(elements)
    fault = bndbox.fault_of_all_boxes(elements)
    if deeper:
        fault = f"{deeper} objects are not directly in <annotation>", "Export the boxes again as Pascal VOC."
    if fault:
        problems.skipped(path, *fault)
        return None
    untidy = Counter(element.findtext("name") or "" for element in elements)
    for name, count in untidy.items():
        if name != normalize_name(name) != "":
            tidy = normalize_name(name)
            problems.mended(path, f"class {name!r} read as {tidy!r}", "No action is needed.", f"class {tidy}", count)
    objects = [_read_object(element, index, path, problems) for index, element in enumerate(elements, start=1)]
    width, height = _size(root)
    return Annotation(
        path=path,
        filename=filename,
        width=width,
        height=height,
        objects=_without_repeats([labeled for labeled in objects if labeled], path, problems),
        verified=root.get("verified", "").lower() in ("yes", "true"),
        folder=(root.findtext("folder") or "").strip(),
        num_unusable=objects.count(None),
    )


def _clipped(labeled: LabeledObject, width: int, height: int) -> LabeledObject:
    limits = {"xmin": width, "xmax": width, "ymin": height, "ymax": height}
    sides = {side: min(max(getattr(labeled, side), 0.0), float(limit)) for side, limit in limits.items()}
    return dataclasses.replace(labeled, **sides)


def _rescaled(objects: list[LabeledObject], x: float, y: float) -> list[LabeledObject]:
    return [dataclasses.replace(o, xmin=o.xmin * x, xmax=o.xmax * x, ymin=o.ymin * y, ymax=o.ymax * y) for o in objects]


def _is_same_aspect(annotated: tuple[int, int], width: int, height: int) -> bool:
    """Whether one scale, up to a pixel of rounding, takes the annotated size to this size."""
    return abs(annotated[0] * height - annotated[1] * width) <= max(annotated)


def _is_of_larger_copy(objects: list[LabeledObject], width: int, height: int) -> bool:
    """Whether a box lies wholly beyond the image's right or lower edge, and none reaches below 0.

    A labeling program clips boxes to its picture, so that picture was larger. A pixel more may be counted from 1.
    """
    if any(min(labeled.xmin, labeled.ymin) < 0 for labeled in objects):
        return False
    beyond = (o for o in objects if o.xmin >= width or o.ymin >= height)
    return any(labeled.xmax > width + 1 or labeled.ymax > height + 1 for labeled in beyond)


def fit_to_image(
    annotation: Annotation, width: int, height: int, problems: ProblemLog, rescale_boxes: bool = False
) -> Annotation | None:
    """Compares the annotation with the true size of its image (pixels, as decoded).

    Args:
      rescale_boxes: when the image was reduced or enlarged after annotation, at the same aspect, scale the boxes with
        it. Only on request: the sizes may also differ because it is another image.

    Returns:
      The annotation with the true size and boxes clipped at the edge, or None when <size> says another size or a box
      lies where only a larger copy of the image has pixels; reasons are in `problems`. Where boxes also reach below 0,
      which no copy explains, one wholly outside is skipped alone.
    """
    path, objects = annotation.path, annotation.objects
    if annotation.width is None or annotation.height is None:
        problems.mended(path, f"no usable <size>; {width} x {height} was taken from the image", "No action is needed.")
    elif (annotation.width, annotation.height) != (width, height):
        reason = f"<size> says {annotation.width} x {annotation.height} pixels, the image has {width} x {height}"
        if not rescale_boxes or not _is_same_aspect((annotation.width, annotation.height), width, height):
            remedy = "Put the annotated image here, or, if it was resized as a whole, give --rescale_boxes."
            problems.skipped(path, reason, remedy)
            return None
        problems.mended(path, f"{reason}; the boxes were scaled with it", "Check that the boxes lie on the cells.")
        objects = _rescaled(objects, width / annotation.width, height / annotation.height)
    if _is_of_larger_copy(objects, width, height):
        reach = f"{max(o.xmax for o in objects):.0f} x {max(o.ymax for o in objects):.0f}"
        reason = f"boxes lie outside the image of {width} x {height}: they reach to about {reach}, as in a larger copy"
        problems.skipped(path, reason, "Put the annotated image here, or scale the boxes with it.")
        return None
    kept = []
    for index, labeled in enumerate(objects, start=1):
        clipped = _clipped(labeled, width, height)
        if clipped == labeled:
            kept.append(labeled)
            continue
        item = f"object {index} ({labeled.name})"
        if min(clipped.xmax - clipped.xmin, clipped.ymax - clipped.ymin) < 1:
            reason = f"the box {labeled.box_text()} lies outside the image of {width} x {height}"
            problems.skipped(path, reason, "Draw the box again in LabelImg.", item)
        else:
            reason = f"the box {labeled.box_text()} reaches over the edge of {width} x {height} and was clipped there"
            problems.mended(path, reason, "Check that the box lies on the cell.", item)
            kept.append(clipped)
    return dataclasses.replace(annotation, width=width, height=height, objects=kept)


def resolve_names(
    annotation: Annotation, label_map: LabelMap, problems: ProblemLog, class_map: Mapping[str, str] | None = None
) -> tuple[Annotation, list[LabeledObject]]:
    """Separates the objects that have a class of the label map from those that have none.

    Args:
      class_map: from `label_map.parse_class_map`; applied first. A name mapped to "" is dropped, as the user asked.

    Returns:
      The annotation with its objects of the label map, in the label map's spelling; and the objects to ignore: those
      named `unknown` when the label map has no such class, and those with any other name that is not in it (a row in
      `problems` for each name). They are most likely cells, so they are not examples of background either.
    """
    class_map = class_map or {}
    known, ignored = [], []
    changed: Counter[tuple[str, str]] = Counter()
    refused: Counter[str] = Counter()
    for labeled in annotation.objects:
        wanted = mapped_name(labeled.name, class_map)
        if not wanted:
            continue
        name = label_map.resolve(wanted)
        if name is None:
            ignored.append(labeled)
            refused[wanted] += wanted.casefold() != UNKNOWN
            continue
        if wanted == labeled.name != name:
            changed[labeled.name, name] += 1
        known.append(dataclasses.replace(labeled, name=name))
    for (written, name), count in changed.items():
        reason, item = f"class {written!r} read as {name!r}", f"class {written}"
        is_spelling = normalize_name(written).casefold() == normalize_name(name).casefold()
        remedy = "No action is needed." if is_spelling else _TWO_NAMES
        problems.mended(annotation.path, reason, remedy, item, count)
    for name, count in (+refused).items():
        near = label_map.nearest(name)
        hint = f"Did you mean {near!r}? " if near else ""
        remedy = f"{hint}Use --class_map='{name}=NEW' to rename it, '{name}=' to drop it."
        reason = f"class {name!r} is not in the label map"
        problems.skipped(annotation.path, reason, remedy, f"class {name}", count)
    return dataclasses.replace(annotation, objects=known), ignored


def listed_suffix(suffix: str) -> str:
    """The ending to give an image so that LabelImg's file list shows it.

    >>> listed_suffix(".jfif"), listed_suffix(".PNG")
    ('.jpg', '.PNG')
    """
    return _UNLISTED_SUFFIXES.get(suffix.lower(), suffix)


def _child(parent: etree._Element, tag: str, text: object) -> None:
    etree.SubElement(parent, tag).text = str(text)


def _whole_pixels(low: float, high: float) -> tuple[int, int]:
    """Both rounded, and at least one pixel from each other."""
    first = round(low)
    return first, max(round(high), first + 1)


def annotation_text(annotation: Annotation, path: str | os.PathLike) -> str:
    """XML that LabelImg opens: its own tags, their order, whole pixels.

    LabelImg loses unknown tags when it saves, so there are no others.

    Args:
      path: of the XML, for the error.

    Raises:
      ValueError: width or height is missing, or a text holds control characters.
    """
    if not annotation.width or not annotation.height:
        raise ValueError(f"{path}: an annotation is written with the width and height of its image")
    root = etree.Element("annotation", verified="yes") if annotation.verified else etree.Element("annotation")
    _child(root, "folder", annotation.folder)
    _child(root, "filename", annotation.filename)
    _child(root, "path", f"{annotation.folder}/{annotation.filename}" if annotation.folder else annotation.filename)
    _child(etree.SubElement(root, "source"), "database", "Unknown")
    size = etree.SubElement(root, "size")
    for tag, value in (("width", annotation.width), ("height", annotation.height), ("depth", 3)):
        _child(size, tag, value)
    _child(root, "segmented", 0)
    for labeled in annotation.objects:
        element = etree.SubElement(root, "object")
        for tag in ("name", "pose", "truncated", "difficult"):
            _child(element, tag, getattr(labeled, tag))
        xmin, xmax = _whole_pixels(labeled.xmin, labeled.xmax)
        ymin, ymax = _whole_pixels(labeled.ymin, labeled.ymax)
        box = etree.SubElement(element, "bndbox")
        for tag, value in zip(BNDBOX_SIDES, (xmin, ymin, xmax, ymax)):
            _child(box, tag, value)
    etree.indent(root, space="\t")
    return etree.tostring(root, encoding="unicode") + "\n"


def write_annotation(annotation: Annotation, path: str | os.PathLike) -> None:
    """Writes `annotation_text` as UTF-8; whole or not at all.

    Raises:
      ValueError: as `annotation_text`.
    """
    atomic_write.write_text(path, annotation_text(annotation, path))
