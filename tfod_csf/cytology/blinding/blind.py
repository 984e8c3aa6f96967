"""Copies of a study's images without names: pseudonyms for patients and images, no metadata, cleaned XML.

    OUT/<pseudonym>/<image pseudonym>.jpg, .xml     nothing else is written there
    KEY, KEY.mapping.csv, KEY.problems.csv          in another folder, readable by their owner only

A plain JPEG keeps its compressed picture byte for byte; every other image, and one that EXIF turns, becomes a PNG of
exactly the pixels this package reads, upright. Both are read again and compared with the original before they count.
Nothing in OUT follows the order of the originals: files are written in the order of pseudonyms and all carry one date;
folders within a patient (often days) are not copied. A name that is part of the picture itself is not detected.
"""

import dataclasses
import io
import json
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from tfod_csf import cell_classes
from tfod_csf.cytology.blinding import jpeg_metadata, pseudonyms
from tfod_csf.cytology.blinding.pseudonyms import IMAGE, PATIENT, BlindedImage
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, key_files
from tfod_csf.files.checksums import file_sha256
from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_io, labelimg, patients
from tfod_csf.study.labelimg import Annotation
from tfod_csf.study.patients import ImageFile

JPEG_STRIPPED, PNG = "jpeg_stripped", "png"
_WORD = re.compile(r"[^\W_]+")
_DATE = 946684800  # 2000-01-01, on every file: when a slide was photographed can tell whose it is


class BlindError(UserError):
    """Blinding that would overwrite or reveal something."""


@dataclasses.dataclass(frozen=True)
class SecretFiles:
    """Files that lead from pseudonyms back to names; they must not be in the blinded copy.

    Attributes:
      key, mapping, problems: paths.
      unfinished: there while a blinding is under way, or after one was stopped; names its output folder.
    """

    key: pathlib.Path
    mapping: pathlib.Path
    problems: pathlib.Path
    unfinished: pathlib.Path

    @classmethod
    def beside(cls, key_file: str | os.PathLike) -> "SecretFiles":
        """The usual names beside a key file."""
        key = pathlib.Path(key_file)
        names = ("mapping.csv", "problems.csv", "unfinished.json")
        return cls(key, *(key.with_name(f"{key.name}.{name}") for name in names))

    def check_apart(self, output_dir: pathlib.Path) -> None:
        """Refuses secret files in the folder that is given away.

        Raises:
          BlindError: one of the files would lie in it.
        """
        for path in (self.key, self.mapping, self.problems, self.unfinished):
            if path.resolve().is_relative_to(output_dir.resolve()):
                raise BlindError(f"{path}: would lie in the blinded folder {output_dir}; keep it on another disk.")

    def check_finished(self) -> None:
        """Refuses a table that does not name all images that were blinded.

        Raises:
          BlindError: a blinding with this key was stopped.
        """
        if self.unfinished.exists():
            raise BlindError(
                f"{self.unfinished}: a blinding with this key was stopped; run the same blind again first."
            )

    def open(self, reuse_key: bool, output_dir: pathlib.Path) -> tuple[bytes, list[BlindedImage]]:
        """The key and what was blinded with it so far; a new key and nothing when there was none.

        From here on until `finish` the blinding is unfinished. One that was stopped is resumed, with its key.

        Raises:
          BlindError: without `reuse_key`, when the key file exists or the output holds something; or a blinding into
            another folder was stopped.
        """
        is_resumed = self._is_stopped_in(output_dir)
        if not reuse_key and not is_resumed:
            for path in (self.key, self.mapping):
                if path.exists():
                    raise BlindError(
                        f"{path}: exists and is never overwritten; give another --key_file, or --reuse_key to add "
                        "images to the same blinding."
                    )
            if _visible(output_dir):
                raise BlindError(f"--output_dir={output_dir}: is not empty; a new blinding needs a new folder.")
        if reuse_key and not is_resumed:
            key_files.read_key(self.key)
        with key_files.owner_only():
            atomic_write.write_json(self.unfinished, {"output_dir": str(output_dir.resolve())})
        key = key_files.read_key(self.key) if self.key.exists() else key_files.create_key(self.key)
        return key, pseudonyms.read_mapping(self.mapping, key) if self.mapping.exists() else []

    def finish(self) -> None:
        """Says that images and table are complete."""
        self.unfinished.unlink()

    def _is_stopped_in(self, output_dir: pathlib.Path) -> bool:
        """Whether a blinding into this folder was stopped.

        Raises:
          BlindError: one into another folder was.
        """
        try:
            stopped_in = json.loads(self.unfinished.read_text(encoding="utf-8"))["output_dir"]
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BlindError(f"{self.unfinished}: cannot be read ({error}); give another --key_file.") from None
        if stopped_in != str(output_dir.resolve()):
            raise BlindError(
                f"--output_dir={output_dir}: a blinding with this key into {stopped_in} was stopped; finish it first "
                "with that --output_dir."
            )
        return True


def _visible(folder: pathlib.Path) -> list[str]:
    """Names in a folder except hidden files."""
    return [path.name for path in folder.iterdir() if not path.name.startswith(".")] if folder.exists() else []


def find_annotations(
    images_dir: str | os.PathLike,
    annotations_dir: str | None,
    problems: ProblemLog,
    manifest: str | None = None,
    patient_pattern: str | None = None,
) -> dict[str, pathlib.Path]:
    """{image key: its XML}, empty when there are none.

    Args:
      manifest, patient_pattern: as in `patients.find_pairs`.
    """
    found = ProblemLog(quiet=True)
    try:
        pairs = patients.find_pairs(images_dir, annotations_dir, found, manifest, patient_pattern)
    except patients.PatientsError:
        if annotations_dir is not None:
            raise
        return {}
    below = os.path.join(annotations_dir, "") if annotations_dir else None
    of_xml = (p for p in found.problems if p.file.lower().endswith(".xml") or (below and p.file.startswith(below)))
    problems.extend(of_xml)
    return {pair.image.key: pair.xml_path for pair in pairs}


def _loaded(data_path: pathlib.Path) -> np.ndarray | None:
    loaded = image_io.open_image(data_path, ProblemLog(quiet=True))
    return None if loaded is None else loaded.pixels


def _write_copy(loaded: image_io.LoadedImage, target: pathlib.Path) -> tuple[pathlib.Path, str]:
    """Writes the picture without metadata as target.jpg or target.png; returns the path and how."""
    try:
        stripped = jpeg_metadata.strip(loaded.path.read_bytes())
    except jpeg_metadata.JpegError:
        stripped = None
    if stripped is not None:
        path = target.with_name(f"{target.name}.jpg")
        atomic_write.write_bytes(path, stripped)
        pixels = _loaded(path)
        if pixels is not None and np.array_equal(pixels, loaded.pixels):
            return path, JPEG_STRIPPED
        path.unlink()  # turned by EXIF: the stripped file shows another picture
    path = target.with_name(f"{target.name}.png")
    encoded = io.BytesIO()
    Image.fromarray(loaded.pixels).save(encoded, "PNG")  # from the pixels alone: no profile, no text
    atomic_write.write_bytes(path, encoded.getbuffer())
    copied = _loaded(path)
    if copied is None or not np.array_equal(copied, loaded.pixels):
        raise BlindError(f"{loaded.path}: its copy does not show the same picture; please report this image.")
    return path, PNG


def reveals(name: str, image: ImageFile) -> bool:
    """Whether a class name holds the patient's id or the image's name, or a longer word of them."""
    if cell_classes.canonical_name(name) in (*cell_classes.STUDY_CLASSES, cell_classes.UNKNOWN):
        return False
    plain = "".join(_WORD.findall(name.casefold()))
    for whole in (image.patient_id, *pathlib.PurePath(image.name).with_suffix("").parts):
        words = _WORD.findall(whole.casefold())
        secrets = [(2, "".join(words)), *((3, word) for word in words)]
        if any(len(secret) > (least if secret.isascii() else 1) and secret in plain for least, secret in secrets):
            return True
    return False


def _clean_annotation(
    annotation: Annotation, loaded: image_io.LoadedImage, image: ImageFile, problems: ProblemLog
) -> Annotation | None:
    """Boxes, classes and marks only; None when they do not fit the image or a class name reveals whose it is."""
    fitted = labelimg.fit_to_image(annotation, loaded.width, loaded.height, problems)
    if fitted is None:
        return None
    revealing = [labeled.name for labeled in fitted.objects if reveals(labeled.name, image)]
    if revealing:
        reason = f"the class name {revealing[0]!r} holds the patient's id or the image's name; its XML was not copied"
        problems.skipped(annotation.path, reason, "Give the class a name without them.")
        return None
    fitted.objects = [dataclasses.replace(labeled, pose="Unspecified") for labeled in fitted.objects]
    return dataclasses.replace(fitted, folder="")


def _blind_image(
    image: ImageFile,
    xml: pathlib.Path | None,
    target: pathlib.Path,
    known: BlindedImage | None,
    problems: ProblemLog,
) -> tuple[pathlib.Path, str, str] | None:
    """Writes the copy and its XML where they are not there yet; returns (path, how, sha256 of the original).

    Raises:
      BlindError: the copy must be written again, and XML that this would not write lies beside it.
    """
    annotation = labelimg.read_annotation(xml, problems) if xml else None
    size = (annotation.width, annotation.height) if annotation and annotation.width and annotation.height else None
    loaded = image_io.open_image(image.path, problems, size)
    if loaded is None:
        return None
    cleaned = _clean_annotation(annotation, loaded, image, problems) if annotation else None
    beside = target.with_name(f"{target.name}.xml")
    is_own = _is_own_xml(beside, cleaned, target.name)
    if known is not None and _is_kept(known, target.parent, loaded):
        path, written = target.parent / known.blinded_image, known.written
        if xml is not None and not is_own:
            reason = "is not what the original's XML gives now; it was left as it is"
            problems.noted(beside, reason, "To have the original's instead, move it elsewhere and run blind again.")
    else:
        if not is_own:
            raise BlindError(
                f"{beside}: is not what this program writes for {image.path}, and the picture beside it must be "
                "written again, because the original or the copy was changed; move this XML out of the folder (it may "
                "be an annotator's work), then run the same blind again."
            )
        for suffix in (".jpg", ".png"):  # of an earlier run, when the original was another picture
            target.with_name(target.name + suffix).unlink(missing_ok=True)
        path, written = _write_copy(loaded, target)
        os.utime(path, (_DATE, _DATE))
    if cleaned is not None and is_own:
        cleaned.filename = path.name
        labelimg.write_annotation(cleaned, beside)
        os.utime(beside, (_DATE, _DATE))
    return path, written, loaded.sha256


def _is_own_xml(path: pathlib.Path, cleaned: Annotation | None, stem: str) -> bool:
    """Whether there is no XML beside a copy, or the one that is written for it: nobody's work is lost with it."""
    if not path.exists():
        return True
    if cleaned is None:
        return False
    named = (dataclasses.replace(cleaned, filename=stem + suffix) for suffix in (".jpg", ".png"))
    found = path.read_bytes()
    return any(found == labelimg.annotation_text(annotation, path).encode() for annotation in named)


def _is_kept(known: BlindedImage, folder: pathlib.Path, loaded: image_io.LoadedImage) -> bool:
    """Whether the copy of an earlier run is unchanged and shows the original as it is read now."""
    path = folder / known.blinded_image
    if known.sha256 != loaded.sha256 or not path.is_file() or file_sha256(path) != known.blinded_sha256:
        return False
    pixels = _loaded(path)  # others where boxes that were drawn since say that the original is not turned by EXIF
    return pixels is not None and np.array_equal(pixels, loaded.pixels)


def blind(
    images: Sequence[ImageFile],
    annotations: Mapping[str, pathlib.Path],
    output_dir: pathlib.Path,
    key: bytes,
    known: Sequence[BlindedImage],
    problems: ProblemLog,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> list[BlindedImage]:
    """Writes the copies.

    Args:
      annotations: {image key: XML}.
      known: rows of earlier runs with the same key; their names stay, and so do their copies where neither original
        nor copy was changed, with the XML beside them.

    Returns:
      Rows of the table, those of `known` included.

    Raises:
      BlindError: a patient's folder is in the output already and not of this key, or a copy must be written again and
        an annotator's XML lies beside it.
    """
    own = {row.patient_id: row.pseudonym for row in known}
    folders = pseudonyms.assign(key, PATIENT, (image.patient_id for image in images), own)
    names = {_image_name(row.patient_id, row.image): pathlib.PurePath(row.blinded_image).stem for row in known}
    files = pseudonyms.assign(key, IMAGE, (_image_name(i.patient_id, i.name) for i in images), names)
    unrelated = sorted(set(_visible(output_dir)) - set(folders.values()))
    if unrelated:
        raise BlindError(f"{output_dir}: holds {unrelated[0]!r}, which is not of this blinding; give an empty folder.")
    rows = {_image_name(row.patient_id, row.image): row for row in known}
    order = sorted(images, key=lambda i: (folders[i.patient_id], files[_image_name(i.patient_id, i.name)]))
    for image in progress(order):
        name = _image_name(image.patient_id, image.name)
        target = output_dir / folders[image.patient_id] / files[name]
        made = _blind_image(image, annotations.get(image.key), target, rows.get(name), problems)
        if made is None:
            continue
        path, written, sha256 = made
        rows[name] = BlindedImage(
            patient_id=image.patient_id,
            pseudonym=folders[image.patient_id],
            image=image.name,
            blinded_image=path.name,
            sha256=sha256,
            blinded_sha256=file_sha256(path),
            written=written,
        )
    _note_unnamed(output_dir, rows.values(), problems)
    forget_when(output_dir)
    return list(rows.values())


def forget_when(output_dir: pathlib.Path) -> None:
    """Gives the folders of a blinded copy the date of its files; the lock's file comes and goes in the outer one."""
    for folder in [*output_dir.glob("[!.]*"), output_dir]:
        os.utime(folder, (_DATE, _DATE))


def _note_unnamed(output_dir: pathlib.Path, rows: Iterable[BlindedImage], problems: ProblemLog) -> None:
    """Notes copies that no row of the table names: of images that were removed since a blinding was stopped."""
    named = {f"{row.pseudonym}/{pathlib.PurePath(row.blinded_image).stem}" for row in rows}
    for path in sorted(output_dir.glob("[!.]*/[!.]*")):
        if path.relative_to(output_dir).with_suffix("").as_posix() not in named:
            reason = "its original is not among the images any more, and the table does not name it"
            problems.noted(path, reason, "Delete it from the blinded folder.")


def _image_name(patient_id: str, image: str) -> str:
    return f"{patient_id}\0{image}"
