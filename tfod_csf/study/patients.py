"""Which image belongs to which patient, and which XML belongs to which image.

The patient of an image is, by the first that applies: its row in a manifest CSV (image, patient_id); the group
`patient` of a pattern found in its path; the sub-folder of the images folder it lies in (deeper folders, for example
one per day, belong to the same patient); and for images directly in the images folder, that folder's name: a flat
folder is one patient.

An image is known by its `key`, its path below the images folder with "/" ("patient_07/day1/IMG_0001.jpg"): unique even
when two patients have a file of the same name.
"""

import dataclasses
import os
import pathlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from tfod_csf import run_folder
from tfod_csf.files import csv_schemas
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg
from tfod_csf.study.folder_arrangement import note_arrangement
from tfod_csf.study.folder_listing import ListedFile, list_files, note_folders_without_images, readable_images
from tfod_csf.study.folder_names import safe_folder_name
from tfod_csf.study.image_io import IMAGE_SUFFIXES, OTHER_IMAGE_SUFFIXES
from tfod_csf.study.patient_ids import PatientsError, alike_key, composed, loose

_PICTURE_SUFFIXES = frozenset((*IMAGE_SUFFIXES, *OTHER_IMAGE_SUFFIXES))


class NoImagesError(PatientsError):
    """A folder without an image that could be used, so far."""


@dataclasses.dataclass(frozen=True, slots=True)
class ImageFile:
    """One image on disk; a run holds one of each image, of which an archive has more than a million.

    Attributes:
      file: where it is, as text, which takes a quarter of the memory of `path`.
      patient_id: as the user knows it; not safe as a folder name (see `folder_names`).
      name: path below the patient's folder with "/"; with a manifest or pattern, the same as `key`.
      key: path below the images folder with "/"; unique in the run.
    """

    file: str | os.PathLike
    patient_id: str
    name: str
    key: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "file", os.fspath(self.file))

    @property
    def path(self) -> pathlib.Path:
        """Where it is."""
        return pathlib.Path(self.file)


@dataclasses.dataclass(frozen=True)
class AnnotatedFile:
    """An image and the XML that belongs to it."""

    image: ImageFile
    xml_path: pathlib.Path


def _by_folder(folder: pathlib.Path, files: list[ListedFile], problems: ProblemLog) -> list[ImageFile]:
    flat_patient = folder.resolve().name or "images"
    folders = {listed.key.partition("/")[0] for listed in files if "/" in listed.key}
    while flat_patient in folders:
        flat_patient += "_"  # a sub-folder of that name is another patient
    images = []
    for listed in files:
        first, _, rest = listed.key.partition("/")
        patient_id = first if rest else flat_patient
        images.append(ImageFile(listed.path, patient_id, rest or first, listed.key))
    num_flat = sum("/" not in image.key for image in images)
    if 0 < num_flat < len(images):
        reason = f"{num_flat} images lie beside the patients' folders and were taken as patient {flat_patient!r}"
        problems.noted(folder, reason, "Move them into the folder of their patient.")
    note_arrangement(folder, (image.key for image in images), problems)
    return images


def _by_pattern(files: list[ListedFile], patient_pattern: str, problems: ProblemLog) -> list[ImageFile]:
    try:
        pattern = re.compile(patient_pattern)
    except re.error as error:
        raise PatientsError(f"--patient_pattern: {patient_pattern!r} is not a regular expression ({error}).") from error
    if "patient" not in pattern.groupindex:
        raise PatientsError(
            f"--patient_pattern: {patient_pattern!r} has no group named patient; write for example (?P<patient>P\\d+)_."
        )
    images = []
    for listed in files:
        path, key = listed.path, listed.key
        match = pattern.search(key)
        if match and match["patient"]:
            images.append(ImageFile(path, match["patient"], key, key))
        else:
            problems.skipped(path, f"--patient_pattern does not occur in {key!r}", "Rename it or correct the pattern.")
    return images


def _by_manifest(
    folder: pathlib.Path, files: list[ListedFile], manifest: str | os.PathLike, problems: ProblemLog
) -> list[ImageFile]:
    by_key = {listed.key: listed.path for listed in files}
    by_composed = {composed(key): key for key in by_key}
    patients: dict[str, str] = {}
    for row in csv_schemas.load("input_manifest").read(manifest):
        item = f"line {row.line}"
        written, patient_id = row["image"].strip(), row["patient_id"].strip()
        key = os.path.normpath(written.replace("\\", "/")).replace(os.sep, "/")
        if key.startswith(f"{folder.as_posix()}/"):
            key = key.removeprefix(f"{folder.as_posix()}/")
        key = key if key in by_key else by_composed.get(composed(key), key)
        # Skipped as a file, so that it counts among the skipped: the image may be all that there is of a patient.
        file = os.path.join(folder, key) if written else f"{manifest}, {item}"
        if not patient_id:
            problems.skipped(file, f"{item} of {manifest} has no patient_id for {written!r}", "Fill in the cell.")
        elif key not in by_key:
            reason = f"{item} of {manifest} names {written!r}, which is not an image below {folder}"
            problems.skipped(file, reason, "Write the path below it, add the image, or delete the line.")
        elif patients.setdefault(key, patient_id) != patient_id:
            raise PatientsError(
                f"{manifest}, {item}: {written!r} belongs to {patients[key]!r} and to {patient_id!r}; keep one row."
            )
    num_others = len(by_key) - len(patients)
    if num_others:
        problems.noted(folder, f"{num_others} images are not in {manifest} and are not used", "Add rows to use them.")
    return [ImageFile(by_key[key], patients[key], key, key) for key in sorted(patients)]


def _note_names_alike(folder: pathlib.Path, images: Sequence[ImageFile], problems: ProblemLog) -> None:
    by_alike: dict[str, list[str]] = defaultdict(list)
    for patient_id in sorted({image.patient_id for image in images}):
        by_alike[alike_key(patient_id)].append(patient_id)
    for alike in by_alike.values():
        if len(alike) > 1:
            names = ", ".join(map(ascii, alike))  # composed and separate accents look the same otherwise
            only = "capitals or in how accents are stored"
            if len({loose(patient_id) for patient_id in alike}) > 1:
                only = "capitals, blanks, leading zeros or how accents are stored"
            reason = f"patients {names} differ only in {only}, and were taken as {len(alike)} patients"
            remedy = "Give them one name, in the manifest or as folders, if it is one person."
            problems.noted(folder, reason, remedy, is_allowed_when_strict=False)


def _refuse_drawn_pictures(images: Sequence[ImageFile]) -> None:
    """Refuses the pictures of an earlier run: boxes and text drawn over the cells would be read as a slide."""
    folders = {pathlib.Path(os.path.abspath(image.path.parent)) for image in images}
    folders |= {pathlib.Path(os.path.realpath(image.path)).parent for image in images if image.path.is_symlink()}
    for folder in sorted(folders):
        results = run_folder.results_with_pictures(folder)
        if results is not None:
            raise PatientsError(
                f"{folder}: holds pictures that batch_infer drew in an earlier run (its results are in {results}), not "
                "images of a patient; give the original images, or move the results out of the folder of images."
            )


def _all_images(
    folder: pathlib.Path,
    listed: list[ListedFile],
    problems: ProblemLog,
    manifest: str | os.PathLike | None,
    patient_pattern: str | None,
    others: Sequence[str | os.PathLike],
) -> list[ImageFile]:
    """Images among the files of the images folder, sorted by patient and key; `others` are no folders of images."""
    if manifest and patient_pattern:
        raise PatientsError("--manifest and --patient_pattern both say whose image it is; give one of them.")
    files = readable_images(folder, listed, problems)
    if not files:
        looked = f"looked for {', '.join(IMAGE_SUFFIXES)}; {problems.summary()}"
        raise NoImagesError(f"{folder}: no image was found in it ({looked}).")
    note_folders_without_images(folder, listed, problems, others)
    if manifest:
        images = _by_manifest(folder, files, manifest, problems)
    elif patient_pattern:
        images = _by_pattern(files, patient_pattern, problems)
    else:
        images = _by_folder(folder, files, problems)
    if not images:
        raise NoImagesError(f"{folder}: no image could be assigned to a patient; see the lines above for the reasons.")
    _refuse_drawn_pictures(images)
    _note_names_alike(folder, images, problems)
    return sorted(images, key=lambda image: (image.patient_id, image.key))


def _with_folder_names(images: list[ImageFile], problems: ProblemLog) -> list[ImageFile]:
    """Those whose patient can have a folder of results."""
    refused = {}
    for patient_id in {image.patient_id for image in images}:
        try:
            safe_folder_name(patient_id)
        except PatientsError as error:
            refused[patient_id] = str(error).rstrip(".")
    for image in images:
        if image.patient_id in refused:
            problems.skipped(image.path, refused[image.patient_id], "Nothing was written for this patient.")
    return [image for image in images if image.patient_id not in refused]


def _key_stem(image: ImageFile) -> str:
    """The image's key without its suffix."""
    return os.path.splitext(image.key)[0]


def _one_of_each_stem(
    images: list[ImageFile], problems: ProblemLog, xml_files_of: Callable[[ImageFile], list[pathlib.Path]]
) -> list[ImageFile]:
    """Of a patient's IMG_1.jpg and IMG_1.png in one folder, most likely one picture exported twice, keeps one: cells
    count once.

    That is the one that <filename> of their XML names, or else the first in the order of IMAGE_SUFFIXES.
    """
    num_of_stem = Counter((image.patient_id, _key_stem(image)) for image in images)
    by_stem: dict[tuple[str, str], list[ImageFile]] = defaultdict(list)
    for image in images if len(num_of_stem) < len(images) else ():
        if num_of_stem[stem := (image.patient_id, _key_stem(image))] > 1:
            by_stem[stem].append(image)
    duplicates = set()
    for same in by_stem.values():
        annotations = (labelimg.read_annotation(path, ProblemLog(quiet=True)) for path in xml_files_of(same[0]))
        wanted = {loose(annotation.filename) for annotation in annotations if annotation}
        order = IMAGE_SUFFIXES.index
        same.sort(key=lambda image: (loose(image.path.name) not in wanted, order(image.path.suffix.lower())))
        for image in same[1:]:
            reason = f"taken for a copy of {same[0].path.name}: the same name with another suffix"
            problems.skipped(image.path, reason, "Rename it if it is another picture.")
            duplicates.add(image.key)
    return [image for image in images if image.key not in duplicates] if duplicates else images


def find_images(
    images_dir: str | os.PathLike,
    problems: ProblemLog,
    manifest: str | os.PathLike | None = None,
    patient_pattern: str | None = None,
    except_below: Sequence[pathlib.Path] = (),
) -> list[ImageFile]:
    """The images of a study, sorted by patient and key.

    Args:
      manifest: CSV with the columns image (path below images_dir) and patient_id.
      patient_pattern: regular expression with a group named `patient`, searched in each image's key.
      except_below: folders that are not searched.

    Raises:
      NoImagesError: no image, or none of a patient.
      PatientsError: no such folder, a pattern or manifest that cannot be used.
    """
    folder = pathlib.Path(images_dir)
    listed = list_files(folder, "folder of images", problems, except_below)
    images = _all_images(folder, listed, problems, manifest, patient_pattern, except_below)
    xml_files = _XmlFiles(listed, [], is_separate=False)
    images = _one_of_each_stem(_with_folder_names(images, problems), problems, xml_files.of)
    if not images:
        raise NoImagesError(f"{folder}: no image is left; see the lines above for the reasons.")
    return images


class _XmlFiles:
    """The XML files of an annotations folder, looked up for an image by sub-folder and stem.

    Args:
      files: all files of the folder.
      pictures: all that were listed, those that are not used too: XML directly in the folder may be theirs.
      is_separate: the folder is not the images folder, so that XML of all sub-folders may lie directly in it.
    """

    def __init__(self, files: list[ListedFile], pictures: list[ImageFile], is_separate: bool):
        self._by_stem: dict[tuple[str, str], list[pathlib.Path]] = defaultdict(list)
        for listed in files:
            if listed.suffix == ".xml":
                self._by_stem[listed.parent, loose(listed.stem)].append(pathlib.Path(listed.path))
        num_folders: Counter[str] = Counter()
        if is_separate:
            num_folders.update(stem for stem, _ in {(loose(one.path.stem), one.path.parent) for one in pictures})
        self._flat_stems = {stem for stem, number in num_folders.items() if number == 1}

    def of(self, image: ImageFile) -> list[pathlib.Path]:
        """XML files whose name is the image's, capitals aside."""
        stem = loose(image.path.stem)
        candidates = self._by_stem.get((image.key.rpartition("/")[0], stem), [])
        if not candidates and stem in self._flat_stems:
            candidates = self._by_stem.get(("", stem), [])
        return candidates

    def exactly_of(self, image: ImageFile) -> list[pathlib.Path]:
        """XML files whose name is the image's, letter by letter."""
        return [path for path in self.of(image) if path.stem == image.path.stem]

    def all(self) -> set[pathlib.Path]:
        """Every XML file."""
        return {path for paths in self._by_stem.values() for path in paths}


def _pictures(listed: Sequence[ListedFile]) -> list[ImageFile]:
    """All pictures that were listed, those of formats that are not read too; whose they are is not looked up."""
    return [ImageFile(one.path, "", one.key, one.key) for one in listed if one.suffix in _PICTURE_SUFFIXES]


def _claims(
    xml_files: _XmlFiles, images: Sequence[ImageFile], pictures: Sequence[ImageFile]
) -> tuple[Counter[pathlib.Path], Counter[pathlib.Path]]:
    """How many images each XML may belong to: by its name letter by letter; and, of all other XML, capitals aside.

    Pictures that are not used count too, apart from copies of an image under another suffix.
    """
    used = {_key_stem(image) for image in images}
    others = {_key_stem(picture): picture for picture in pictures if _key_stem(picture) not in used}
    owners = [*images, *others.values()]
    exact = Counter(path for owner in owners for path in xml_files.exactly_of(owner))
    return exact, Counter(path for owner in owners for path in xml_files.of(owner) if path not in exact)


def _candidates(image: ImageFile, xml_files: _XmlFiles, exact: Mapping[pathlib.Path, int]) -> list[pathlib.Path]:
    """XML that may be the image's: by its name letter by letter, or else, capitals aside, what no other image names."""
    return xml_files.exactly_of(image) or [path for path in xml_files.of(image) if path not in exact]


def labeled_images(images_dir: str | os.PathLike, images: Sequence[ImageFile], problems: ProblemLog) -> set[str]:
    """Which images have labels beside them, by the rules of `find_pairs`; one whose XML fits several images counts.

    Args:
      images_dir: of `find_images`.
      images: found there.
      problems: gets a row about other programs' XML beside images, which is no label.

    Returns:
      Their keys.
    """
    folder = pathlib.Path(images_dir)
    listed = list_files(folder, "folder of images", ProblemLog(quiet=True))  # find_images has reported it
    xml_files = _XmlFiles(listed, [], is_separate=False)
    exact, _ = _claims(xml_files, images, _pictures(listed))
    beside = {image.key: _candidates(image, xml_files, exact) for image in images}
    foreign = {path for paths in beside.values() for path in paths if not labelimg.is_annotation(path)}
    if foreign:
        labelimg.note_foreign_xml(folder, sorted(foreign), problems)
    return {key for key, paths in beside.items() if not foreign.issuperset(paths)}


def _report_left_over(folder: pathlib.Path, paths: Sequence[pathlib.Path], problems: ProblemLog) -> None:
    """Skips XML without an image; that of other programs, such as a microscope's .ome.xml, is noted once."""
    foreign = [path for path in paths if not labelimg.is_annotation(path)]
    for path in sorted(set(paths) - set(foreign)):
        problems.skipped(path, "there is no image for this XML", "Put the image there, or delete the XML.")
    if foreign:
        labelimg.note_foreign_xml(folder, foreign, problems)


def find_pairs(
    images_dir: str | os.PathLike,
    annotations_dir: str | os.PathLike | None,
    problems: ProblemLog,
    manifest: str | os.PathLike | None = None,
    patient_pattern: str | None = None,
    except_below: Sequence[pathlib.Path] = (),
) -> list[AnnotatedFile]:
    """Images with their XML, sorted by patient and key.

    The XML has the image's name (capitals aside) and lies beside it or, with `annotations_dir`, in the same sub-folder
    there or directly there (LabelImg's one save folder). An image without XML is not an image without cells: it is
    skipped. An XML without an image is skipped too. XML of images that are not used (`manifest`, `patient_pattern`, a
    format that is not read) is ignored with them, and other programs' XML is noted.

    Raises:
      PatientsError: as `find_images`, and when no image has an XML.
    """
    folder = pathlib.Path(images_dir)
    listed = list_files(folder, "folder of images", problems, except_below)
    others = [*except_below, *([annotations_dir] if annotations_dir else [])]
    images = _all_images(folder, listed, problems, manifest, patient_pattern, others)
    pictures = _pictures(listed)
    if annotations_dir is not None and os.path.realpath(images_dir) != os.path.realpath(annotations_dir):
        folder = pathlib.Path(annotations_dir)
        listed = list_files(folder, "folder of annotations", problems)
    xml_files = _XmlFiles(listed, pictures, is_separate=annotations_dir is not None)
    images = _one_of_each_stem(images, problems, xml_files.of)
    exact, alike = _claims(xml_files, images, pictures)
    pairs = []
    for image in images:
        candidates = _candidates(image, xml_files, exact)
        if not candidates:
            remedy = "Label it in LabelImg and save, also when it shows no cell, or move it away."
            problems.skipped(image.path, "there is no XML for this image", remedy)
        elif exact[candidates[0]] > 1:
            reason = f"{candidates[0].name} may be that of another patient's image, which has the same name"
            problems.skipped(image.path, reason, "Give each image and its XML a name of their own.")
        elif len(candidates) > 1 or alike[candidates[0]] > 1:
            names = ", ".join(path.name for path in candidates)
            reason = f"capitals aside, names fit several ways ({names})"
            problems.skipped(image.path, reason, "Give the image and its XML one name.")
        else:
            pairs.append(AnnotatedFile(image, candidates[0]))
            if candidates[0] not in exact:
                reason = f"paired with {image.path.name}, whose name differs in capitals"
                problems.mended(candidates[0], reason, "No action is needed.")
    of_pictures = {path for picture in pictures for path in xml_files.of(picture)}
    _report_left_over(folder, sorted(xml_files.all() - of_pictures), problems)
    if not pairs:
        raise PatientsError(f"{images_dir}: no image has an XML in {folder}; see the lines above for the reasons.")
    return pairs
