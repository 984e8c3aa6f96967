"""A patient's decisions become a revision: written as LabelImg would have saved them, and imported by `review`."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

from tfod_csf import cell_classes
from tfod_csf.cytology.browser_review.desk import Desk
from tfod_csf.cytology.browser_review.marked_images import MarkedImage, Progress, check_seen, progress
from tfod_csf.cytology.review.session import Session
from tfod_csf.cytology.review.sidecar import ReviewError
from tfod_csf.files import atomic_write
from tfod_csf.files.checksums import file_sha256
from tfod_csf.problems import SKIPPED, Problem
from tfod_csf.study import labelimg
from tfod_csf.study.labelimg import Annotation, LabeledObject

# In <folder> of what is written here, so that it differs from the export even when everything was undone again.
_FOLDER = "reviewed in the browser"
Import = Callable[[list[pathlib.Path]], tuple[Session, Sequence[Problem]]]


@dataclasses.dataclass(frozen=True)
class SignOff:
    """What came of a sign-off.

    Attributes:
      revision: number of the new revision; None when the import had nothing new.
      sha256: of the revision; "" without one.
      progress: how far the reviewer was.
    """

    revision: int | None
    sha256: str
    progress: Progress


def sign_off(desk: Desk, name: str, seen: int, take: Import) -> SignOff:
    """Imports a patient as the reviewer left it.

    Args:
      name: the patient's folder.
      seen: version of the patient that was on the screen.
      take: imports folders (`session.run`), so with every check that `review_import` has; returns the problems too.

    Raises:
      RefusedDecisionError: another window has decided something that was not on the screen.
      ReviewError: the import was refused, or skipped an image that the reviewer decided on, or somebody else has
        edited XML in the folder. Where a colleague decided otherwise, the message does not say what: reviewers do not
        see each other's decisions here.
    """
    with desk.reading():
        patient = desk.patient(name)
        check_seen(patient.version, seen)
        version, now = patient.version, progress(patient)
        _check_xml(desk, name, patient.images)
        decided = {key: one for key, one in patient.images.items() if one.version}
        _write_xml(desk, name, decided)
    session, problems = take([desk.folder / name])
    if session.refused:
        if session.disagreeing:
            raise ReviewError(
                "A colleague decided differently on some of these cells, so nothing was imported; the cells are listed "
                "in problems.csv of the reviewed folder. Settle it with the colleague, or start review_serve with "
                "--disagreements."
            )
        raise ReviewError(session.refused[0])
    _check_taken(desk.folder / name, decided, problems)
    revision = session.imported[name][1].revision
    number, sha256 = (revision.number, revision.sha256) if revision else (None, "")
    desk.note_signed_off(name, version, {"revision": number, "sha256": sha256})
    return SignOff(number, sha256, now)


def _check_xml(desk: Desk, name: str, images: dict[str, MarkedImage]) -> None:
    """Refuses XML that is neither the exported one nor one that a sign-off wrote.

    Raises:
      ReviewError: somebody worked on it with LabelImg; that would be lost, or be imported without being shown.
    """
    for file_name, image in images.items():
        path = (desk.folder / name / file_name).with_suffix(".xml")
        sha256 = file_sha256(path) if path.is_file() else ""
        if sha256 not in ("", image.shown.xml_sha256) and not desk.was_written(sha256):
            raise ReviewError(
                f"{path}: was edited outside of the browser. Import that work with review_import and start with a new "
                "export, or put the exported XML back."
            )


def _check_taken(folder: pathlib.Path, decided: Mapping[str, MarkedImage], problems: Sequence[Problem]) -> None:
    """Refuses to call a patient signed off of whom the import left an image out.

    Raises:
      ReviewError: with the first one, and what to do.
    """
    stems = {(folder / name).with_suffix("") for name in decided}  # the picture, its XML and what else LabelImg saves
    skipped = [
        problem
        for problem in problems
        if problem.action == SKIPPED and not problem.item and pathlib.Path(problem.file).with_suffix("") in stems
    ]
    if skipped:
        first = skipped[0]
        more = f" ({len(skipped) - 1} more in problems.csv)" if len(skipped) > 1 else ""
        raise ReviewError(
            f"{first.file}: {first.reason}{more}. {first.remedy} Then sign off again; the other images were imported."
        )


def _write_xml(desk: Desk, name: str, images: dict[str, MarkedImage]) -> None:
    """Writes the XML of the images that the reviewer said something about."""
    folder = desk.folder / name
    with atomic_write.folder_beside(folder / "xml") as beside:
        written = {}
        for file_name, image in images.items():
            path = (beside / file_name).with_suffix(".xml")
            labelimg.write_annotation(annotation_of(path, file_name, image), path)
            written[path.name] = file_sha256(path)
        desk.note_written(name, written)
        for xml in written:
            os.replace(beside / xml, folder / xml)
    atomic_write.sync_folder(folder)


def annotation_of(path: pathlib.Path, file_name: str, image: MarkedImage) -> Annotation:
    """An image's cells as LabelImg's XML holds them; what is not a cell has no object."""
    objects = []
    for cell in image.cells.values():
        if cell.name:
            xmin, ymin, xmax, ymax = map(float, cell.box)
            is_unknown = int(cell.name == cell_classes.UNKNOWN)
            objects.append(LabeledObject(cell.name, xmin, ymin, xmax, ymax, difficult=is_unknown))
    shown = image.shown
    return Annotation(path, file_name, shown.width, shown.height, objects, image.is_verified, _FOLDER)
