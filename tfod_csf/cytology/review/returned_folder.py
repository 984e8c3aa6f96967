"""A reviewer's folder as it is returned: XML may be renamed, damaged, missing, in another format, or not ours.

Nothing is guessed. An image whose XML is missing or cannot be read keeps its cells as they were, with a row in
problems.csv; so does one whose picture was swapped, or whose XML is a copy of another image's. Pictures and XML that
are not of this export are skipped. With an unknown class name the patient is refused, because the cell would be lost or
counted wrongly.
"""

import dataclasses
import pathlib
import unicodedata
from collections.abc import Mapping, Sequence, Set

from tfod_csf import cell_classes
from tfod_csf.cytology.review.sidecar import CLASSES_FILE, FILE_NAME, ReviewError, ShownImage, Sidecar
from tfod_csf.files import given_files
from tfod_csf.files.checksums import file_sha256
from tfod_csf.label_map import LabelMap, LabelMapItem, mapped_name
from tfod_csf.problems import SKIPPED, ProblemLog
from tfod_csf.study import labelimg
from tfod_csf.study.image_io import IMAGE_SUFFIXES
from tfod_csf.study.labelimg import Annotation, LabeledObject
from tfod_csf.wording import plural

_AS_BEFORE = "the image's cells stay as they were"
_OTHER_FORMATS = {".txt": "YOLO", ".json": "CreateML"}


@dataclasses.dataclass(frozen=True)
class ReviewedImage:
    """An image whose XML a person has saved.

    Attributes:
      shown: what the reviewer was shown.
      path: the image in the review folder.
      xml_sha256: of the XML as it came back.
      verified: LabelImg's green mark.
      objects: the boxes, with names in the study's spelling.
    """

    shown: ShownImage
    path: pathlib.Path
    xml_sha256: str
    verified: bool
    objects: tuple[LabeledObject, ...]


def _loose(name: str) -> str:
    """An image's name without its ending, capitals and the form of letters."""
    return unicodedata.normalize("NFC", pathlib.PurePath(name).stem).casefold()


def _read_xml(path: pathlib.Path, shown: ShownImage, names: Set[str], problems: ProblemLog) -> Annotation | None:
    """The annotation, or None when any of its objects would be lost, or it is another image's.

    Args:
      names: of all images of the export, as `_loose` makes them.
      problems: gets the reasons.
    """
    found = ProblemLog(quiet=True)
    annotation = labelimg.read_annotation(path, found)
    if annotation is not None and _loose(annotation.filename) in names - {_loose(path.name)}:
        reason = f"a copy: its <filename> is {annotation.filename!r}, another image of this review; {_AS_BEFORE}"
        problems.skipped(path, reason, "Put this image's own XML back, or save the image again in LabelImg.")
        return None
    if annotation is not None:
        annotation = labelimg.fit_to_image(annotation, shown.width, shown.height, found)
    problems.extend(found.problems)
    lost = [p for p in found.problems if p.action == SKIPPED and p.item and p.reason != labelimg.REPEATED]
    if annotation is not None and lost:
        reason = f"{len(lost)} of its objects cannot be used; {_AS_BEFORE}"
        problems.skipped(path, reason, "Repair them in LabelImg and import again.")
        return None
    return annotation


def _is_saved_in_other_format(image: pathlib.Path, problems: ProblemLog) -> bool:
    for suffix, name in _OTHER_FORMATS.items():
        path = image.with_suffix(suffix)
        if path.is_file() and path.name not in (FILE_NAME, CLASSES_FILE):
            reason = f"LabelImg saved this image in the format {name}, which is not read; {_AS_BEFORE}"
            problems.skipped(path, reason, "Choose PascalVOC in LabelImg and save again, then delete this file.")
            return True
    return False


def _skip_unrelated_files(folder: pathlib.Path, sidecar: Sidecar, problems: ProblemLog) -> None:
    """Rows for pictures and XML that are not of this export."""
    own = {*sidecar.images, *(pathlib.PurePath(name).with_suffix(".xml").name for name in sidecar.images)}
    for path in map(pathlib.Path, given_files.files_below(folder, problems.unlisted_folder)):
        if path.name.startswith(".") or path.relative_to(folder).as_posix() in own or not path.is_file():
            continue
        if path.suffix.lower() in IMAGE_SUFFIXES:
            reason = "the image was not given to the reviewer; it is skipped"
            problems.skipped(path, reason, "Put it in the patient's own folder and run batch_infer.")
        elif path.suffix.lower() == ".xml":
            reason = "the XML belongs to no image of this patient's review; it is skipped"
            remedy = "If LabelImg saved it in the wrong folder, move it beside its image; else delete it."
            problems.skipped(path, reason, remedy)


def read_folder(
    folder: pathlib.Path, sidecar: Sidecar, problems: ProblemLog, exported: Sidecar | None = None
) -> dict[str, ReviewedImage]:
    """{image: what came back} of the images that a person has saved since they were shown, names as written.

    Args:
      sidecar: what the reviewer was shown, or left at his last import.
      exported: what he was shown; None for `sidecar`. XML that is byte for byte the exported one has not been saved,
        also when another state of it was imported earlier: then the folder is an old copy, which decides nothing.
    """
    reviewed, names = {}, {_loose(name) for name in sidecar.images}
    for name, shown in sidecar.images.items():
        path = folder / name
        xml = path.with_suffix(".xml")
        if _is_saved_in_other_format(path, problems):
            continue
        if not xml.is_file():
            problems.skipped(xml, f"the XML is missing; {_AS_BEFORE}", "To remove cells, delete their boxes and save.")
            continue
        xml_sha256 = file_sha256(xml)
        if xml_sha256 == shown.xml_sha256:
            continue
        if exported is not None and xml_sha256 == exported.images[name].xml_sha256:
            reason = f"as it was exported, although an edited one has been imported; {_AS_BEFORE}"
            problems.skipped(xml, reason, "If this is an old copy of the folder, import the one you edited last.")
            continue
        if path.is_file() and file_sha256(path) != shown.picture_sha256:
            reason = f"not the picture the reviewer was given; {_AS_BEFORE}"
            problems.skipped(path, reason, "Put the exported picture back and review it again.")
            continue
        annotation = _read_xml(xml, shown, names, problems)
        if annotation is not None:
            objects = tuple(annotation.objects)
            reviewed[shown.image] = ReviewedImage(shown, path, xml_sha256, annotation.verified, objects)
    _skip_unrelated_files(folder, sidecar, problems)
    return reviewed


def _known_names(names: Sequence[str]) -> LabelMap:
    unique = dict.fromkeys(map(cell_classes.canonical_name, names))
    return LabelMap(LabelMapItem(number, name) for number, name in enumerate(unique, start=1))


def with_known_names(
    reviewed: Mapping[str, ReviewedImage], names: Sequence[str], class_map: Mapping[str, str]
) -> dict[str, ReviewedImage]:
    """The same images with known class names; objects whose name `class_map` drops are removed.

    Args:
      names: classes a reviewer may use.
      class_map: of `label_map.parse_class_map`.

    Raises:
      ReviewError: unknown names; lists all of them, with the known name each is similar to.
    """
    known = _known_names(names)
    unknown: dict[str, tuple[int, str]] = {}
    result = {}
    for image, one in reviewed.items():
        objects = []
        for labeled in one.objects:
            wanted = mapped_name(labeled.name, class_map)
            name = known.resolve(wanted) if wanted else ""
            if name:
                objects.append(dataclasses.replace(labeled, name=name))
            elif wanted:
                count, first = unknown.get(wanted, (0, one.path.name))
                unknown[wanted] = (count + 1, first)
        result[image] = dataclasses.replace(one, objects=tuple(objects))
    if unknown:
        parts = []
        for name, (count, first) in unknown.items():
            near = known.nearest(name)
            parts.append(
                f"{name!r} ({plural(count, 'cell')}, first in {first}{f'; did you mean {near!r}?' if near else ''})"
            )
        name, near = next(iter(unknown)), known.nearest(next(iter(unknown))) or known.names[0]
        raise ReviewError(
            f"unknown class names: {', '.join(parts)}; rename them in LabelImg or give --class_map='{name}={near}', or "
            f"--extra_class='{name}' to accept the name."
        )
    return result
