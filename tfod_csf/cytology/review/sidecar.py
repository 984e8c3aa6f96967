"""What a reviewer was shown: the file cells.json beside the XML of a patient.

LabelImg loses everything it does not know when it saves, so the XML holds names and boxes only; cell id, score and
model are here, and a reviewed box is matched to its cell by overlap. The file carries a checksum of its own content:
every change is measured against it, so it must not be edited.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, given_files, inner_paths

FILE_NAME = "cells.json"
IMPORTED = "imported.json"  # in a revision: what the reviewer's folder said, in the form of cells.json
CLASSES_FILE = "predefined_classes.txt"
_FORMAT = "tfod_csf review 1"


class ReviewError(UserError):
    """A folder of a review that cannot be exported or imported."""


class DisagreementError(ReviewError):
    """A review that contradicts an earlier one, where only people can settle it."""


@dataclasses.dataclass(frozen=True)
class ShownCell:
    """A cell as the XML shows it.

    Attributes:
      name: its class, or `unknown`.
      difficult: 1 for an unknown cell.
      box: xmin, ymin, xmax, ymax in whole pixels, as written in the XML.
      score: of the predicted class; None for a cell that a person added.
      predicted_class: what the machine said, also of an unknown cell.
    """

    cell_id: int
    name: str
    difficult: int
    box: tuple[int, int, int, int]
    score: float | None
    predicted_class: str


@dataclasses.dataclass(frozen=True)
class ShownImage:
    """An image of the review.

    Attributes:
      image: path relative to the patient's folder, as in cells.csv.
      sha256: of the image file.
      width, height: pixels.
      xml_sha256: of the XML as it was written, to tell whether anybody saved it.
      verified: whether a person has marked the image as checked.
      rewritten_sha256: of the picture in the folder, where it was written again, because LabelImg would show the image
        file otherwise than it was read; "" where it is a copy.
    """

    image: str
    sha256: str
    width: int
    height: int
    xml_sha256: str
    verified: bool
    cells: tuple[ShownCell, ...]
    rewritten_sha256: str = ""  # exports of version 0.2.0 have none

    @property
    def picture_sha256(self) -> str:
        """Of the picture in the folder."""
        return self.rewritten_sha256 or self.sha256


@dataclasses.dataclass(frozen=True)
class Sidecar:
    """Content of cells.json.

    Attributes:
      export_id: unique for every export.
      exported: ISO time with zone.
      folder: the patient's folder name in the run.
      model: whose cells are shown.
      names: class names a reviewer may use.
      machine_sha256: checksum of the run's tables (`revisions.tables_sha256`).
      revision, revision_sha256: state that was shown; 0 and "" for the machine's.
      thresholds: of the run, for information.
      images: {name of the image in the review folder: image}.
      sampled: images that are to be verified by the rule of `sampling`; empty when all are.
    """

    export_id: str
    exported: str
    patient_id: str
    folder: str
    model: str
    names: tuple[str, ...]
    machine_sha256: str
    revision: int
    revision_sha256: str
    thresholds: Mapping[str, Any]
    images: Mapping[str, ShownImage]
    sampled: tuple[str, ...] = ()


def _checksum(content: Mapping[str, Any]) -> str:
    text = json.dumps({k: v for k, v in content.items() if k != "checksum"}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_sidecar(path: str | os.PathLike, sidecar: Sidecar) -> None:
    """Writes the file with its checksum."""
    content = {"format": _FORMAT, **dataclasses.asdict(sidecar)}
    atomic_write.write_json(path, {**content, "checksum": _checksum(content)})


def _check_names(path: pathlib.Path, folder: str, files: Sequence[str], images: Sequence[str]) -> None:
    """Refuses names that lead out of the folders they belong in; the file comes back from outside."""
    for name in (folder, *files):
        if not inner_paths.is_plain_name(name):
            raise ReviewError(f"{path}: {name!r} is not a plain file name; run review_export again.")
    for image in images:
        if inner_paths.leads_out(image):
            raise ReviewError(f"{path}: {image!r} leads out of the patient's folder; run review_export again.")


def read_sidecar(path: str | os.PathLike) -> Sidecar:
    """Reads the file back.

    Raises:
      ReviewError: missing, damaged, or edited.
    """
    path = pathlib.Path(path)
    try:
        content = given_files.read_json(path)
        if content["format"] != _FORMAT:
            raise ReviewError(f"{path}: format {content['format']!r}; this version reads {_FORMAT!r}.")
        if content.pop("checksum") != _checksum(content):
            raise ReviewError(f"{path}: the file was edited; put the one of review_export back, only XML is edited.")
        images = {}
        for name, image in content["images"].items():
            cells = tuple(ShownCell(**{**cell, "box": tuple(cell["box"])}) for cell in image.pop("cells"))
            images[name] = ShownImage(**image, cells=cells)
        _check_names(path, content["folder"], list(images), [image.image for image in images.values()])
        sampled = tuple(content.setdefault("sampled", ()))  # not in exports of version 0.2.0
        fields = {field.name: content[field.name] for field in dataclasses.fields(Sidecar)}
        return Sidecar(**{**fields, "names": tuple(content["names"]), "images": images, "sampled": sampled})
    except OSError as error:
        raise ReviewError(f"{path}: {error.strerror}; give a folder made by review_export.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReviewError(f"{path}: damaged ({error}); run review_export again.") from None
