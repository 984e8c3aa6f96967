"""A patient's cells as a folder that LabelImg opens: images, XML, class list, and cells.json to find cells again.

Unknown cells are named `unknown` and marked difficult, which PASCAL's metrics and --ignore_difficult_instances ignore.
No image is marked as verified: the reviewer does that.

LabelImg looks for an image's XML by its name alone, in the save folder it used last, so every image has a name that no
other patient's image has: <patient>__<image>, with "__" for the folders within the patient's folder.
"""

import dataclasses
import hashlib
import pathlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from tfod_csf import cell_classes, run_folder
from tfod_csf.cytology import cell_rows
from tfod_csf.cytology.cell_rows import Cell
from tfod_csf.cytology.review import revisions, sampling
from tfod_csf.cytology.review.sidecar import (
    CLASSES_FILE,
    FILE_NAME,
    ReviewError,
    ShownCell,
    ShownImage,
    Sidecar,
    write_sidecar,
)
from tfod_csf.evaluation import labeling_folder
from tfod_csf.files import atomic_write, given_files
from tfod_csf.files.checksums import file_sha256
from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_io, labelimg
from tfod_csf.study.image_limits import MAX_FILE_BYTES, MAX_PIXELS
from tfod_csf.study.labelimg import Annotation, LabeledObject

TO_VERIFY = "TO_VERIFY.txt"
_IF_WRONG = """\
Where a white cell of the sample was wrong or missing, the sample is not enough: verify all images of this folder.
"""
_MAX_STEM_BYTES = 180
INSTRUCTIONS = """\
How to review with LabelImg

LabelImg 1.8.6 (pip install labelImg) needs Python 3.9 or older; on newer ones it stops as soon as a box is drawn. Its
ready-made Windows program brings its own. Open each patient's folder with its class list and as its own save folder:

    labelImg PATIENT PATIENT/{classes} PATIENT

- Every box is a cell the machine found. `unknown` (difficult) means: the machine is not sure, please decide.
- Right class: do nothing. Wrong class or unknown: choose the box, Ctrl+E, pick the class, OK.
- Not a cell: delete the box. A cell without a box: W, draw it, pick the class.
- Save with Ctrl+S. When every cell of the image is right, press the space bar: the image turns green (verified). Then
  all its cells count as decided by you, unchanged ones too, and it may be used for training.
- Is there a {to_verify} in the folder? Then only a sample has to be verified; it lists the images.
- Every reviewer needs an export of his own: a copy of this folder cannot be imported under a second name.
- Keep the format PascalVOC. Do not rename files, and leave {sidecar} as it is.

Then: tfod_csf review_import --review_dir THIS_FOLDER --inference_dir RUN --output_dir REVIEWED --reviewer "Your Name"
"""


@dataclasses.dataclass(frozen=True)
class ExportSource:
    """Where a patient's cells and images come from.

    Attributes:
      folder: the patient's folder in the output of batch_infer or review_import.
      images: {name as in cells.csv: file}.
      model: whose cells are shown.
      thresholds: of the run, for information.
    """

    folder: pathlib.Path
    images: Mapping[str, pathlib.Path]
    model: str
    thresholds: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class ExportMark:
    """What the folders of one export have in common.

    Attributes:
      export_id: unique for every export.
      exported: ISO time with zone.
    """

    export_id: str
    exported: str


class _NothingToShowError(Exception):
    """None of a patient's images can be shown."""


def review_names(patient_folder: str, images: Sequence[str]) -> dict[str, str]:
    """{image: name in the review folder}, unique without its ending and without regard to capitals.

    >>> review_names("p1", ["day1/a.png", "a.jfif"])
    {'a.jfif': 'p1__a.jpg', 'day1/a.png': 'p1__day1__a.png'}
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for image in sorted(images):
        path = pathlib.PurePosixPath(image)
        stem = f"{patient_folder}__{'__'.join(path.with_suffix('').parts)}"
        suffix = labelimg.listed_suffix(path.suffix)
        loose = unicodedata.normalize("NFC", stem).casefold()
        if len(stem.encode()) > _MAX_STEM_BYTES or loose in taken:
            digest = hashlib.sha256(f"{patient_folder}/{image}".encode()).hexdigest()[:10]
            stem = stem.encode()[: _MAX_STEM_BYTES - 11].decode(errors="ignore") + "~" + digest
            loose = stem.casefold()
        taken.add(loose)
        names[image] = stem + suffix
    return names


def shown_cell(cell: Cell) -> ShownCell:
    """A cell as its XML object shows it: sides in whole pixels, width and height at least 1."""
    xmin, ymin, xmax, ymax = (round(side) for side in cell.box)
    name = cell.label
    return ShownCell(
        cell_id=cell.cell_id,
        name=name,
        difficult=int(name == cell_classes.UNKNOWN),
        box=(xmin, ymin, max(xmax, xmin + 1), max(ymax, ymin + 1)),
        score=cell.score,
        predicted_class=cell.predicted_class,
    )


def _image_bytes(row: Mapping, images: Mapping[str, pathlib.Path], problems: ProblemLog) -> bytes | None:
    """The image file, if it is there and still the one that was examined."""
    if row["width"] * row["height"] > MAX_PIXELS:
        reason = f"{row['width']} x {row['height']} pixels: labeling programs do not open images of this size"
        problems.skipped(row["image"], reason, "See the report's gallery and the pictures of its tiles instead.")
        return None
    path = images.get(row["image"])
    if path is None:
        reason = f"image {row['image']!r} of patient {row['patient_id']!r} is not in the images folder"
        problems.skipped(row["image"], reason, "Give the folder batch_infer read with --images_dir.")
        return None
    try:
        data = given_files.read_bytes(path, MAX_FILE_BYTES)
    except OSError as error:
        problems.skipped(path, f"the file cannot be read ({error.strerror})", "Check the disk and its rights.")
        return None
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        problems.skipped(path, "the image has changed since batch_infer examined it", "Run batch_infer again.")
        return None
    return data


def _write_picture(
    target: pathlib.Path, path: pathlib.Path, row: Mapping, data: bytes, problems: ProblemLog
) -> str | None:
    """Writes an image so that LabelImg shows the pixels that were examined.

    Returns:
      The sha256 of what was written where it is not the file itself, else ""; None where it cannot be written.
    """
    if labeling_folder.is_shown_as_read(data):
        atomic_write.write_bytes(target, data)
        return ""
    loaded, sha256 = image_io.read_image(path, ProblemLog(quiet=True))
    if loaded is None or (sha256, loaded.width, loaded.height) != (row["sha256"], row["width"], row["height"]):
        problems.skipped(path, "the image is not read as batch_infer read it", "Run batch_infer again.")
        return None
    written_sha256 = file_sha256(labeling_folder.write_image(loaded, target))
    return "" if written_sha256 == row["sha256"] else written_sha256


def _object_of(cell: ShownCell) -> LabeledObject:
    xmin, ymin, xmax, ymax = map(float, cell.box)
    return LabeledObject(cell.name, xmin, ymin, xmax, ymax, difficult=cell.difficult)


def _write_xml(
    target: pathlib.Path, folder_name: str, name: str, row: Mapping, rewritten_sha256: str, cells: Sequence[Cell]
) -> ShownImage:
    """Writes the boxes of an image whose picture is there."""
    shown = tuple(shown_cell(cell) for cell in cells if cell.counted_as)
    objects = [_object_of(cell) for cell in shown]
    xml_path = (target / name).with_suffix(".xml")
    annotation = Annotation(xml_path, name, row["width"], row["height"], objects, folder=folder_name)
    labelimg.write_annotation(annotation, xml_path)
    return ShownImage(
        image=row["image"],
        sha256=row["sha256"],
        width=row["width"],
        height=row["height"],
        xml_sha256=file_sha256(xml_path),
        verified=False,
        cells=shown,
        rewritten_sha256=rewritten_sha256,
    )


def check_is_new(targets: Iterable[pathlib.Path]) -> None:
    """Refuses to write over an export.

    Raises:
      ReviewError: one of the folders exists; a reviewer's work may be in it.
    """
    for target in targets:
        if target.exists():
            raise ReviewError(
                f"{target}: exists already, perhaps with a reviewer's work; import it, or give another --output_dir."
            )


def export_patient(
    source: ExportSource,
    output_dir: pathlib.Path,
    mark: ExportMark,
    extra_names: Sequence[str],
    problems: ProblemLog,
    sample_images: int | None = None,
) -> Sidecar | None:
    """Writes output_dir/<patient>/ for LabelImg; the folder is complete or absent.

    Args:
      extra_names: classes a reviewer may use beside the model's and `unknown`.
      sample_images: images to be verified by the rule of `sampling`; None for all.

    Returns:
      What was shown, or None when none of the patient's images can be shown (reasons in `problems`).

    Raises:
      ReviewError: the folder exists; a reviewer's work may be in it.
      RevisionError: the patient's history is broken, or the tables are not those of the newest revision.
    """
    target = output_dir / source.folder.name
    check_is_new([target])
    chain = revisions.read_revisions(source.folder)
    revisions.check_is_current(source.folder, chain)
    try:
        with atomic_write.replacing_folder(target, may_exist=False) as folder:
            return _write_patient(folder, source, chain, mark, extra_names, problems, sample_images)
    except _NothingToShowError as error:
        problems.noted(source.folder, str(error), "Run batch_infer again when the images are there.")
        return None


def _write_patient(
    target: pathlib.Path,
    source: ExportSource,
    chain: tuple[revisions.Revision, ...],
    mark: ExportMark,
    extra_names: Sequence[str],
    problems: ProblemLog,
    sample_images: int | None,
) -> Sidecar:
    """Writes the files of a patient into a folder; see `export_patient`.

    Raises:
      _NothingToShowError: none of the images can be shown.
    """
    table = cell_rows.read_cells(source.folder / "cells.csv").of_model(source.model)
    by_image = table.by_image()
    all_rows = cell_rows.read_images(source.folder / "images.csv")
    rows = {row["image"]: row for row in all_rows if row["status"] == run_folder.OK and row["model"] == source.model}
    names = review_names(source.folder.name, list(rows))
    images = {}
    for image, name in names.items():
        data = _image_bytes(rows[image], source.images, problems)
        if data is None:
            continue
        rewritten_sha256 = _write_picture(target / name, source.images[image], rows[image], data, problems)
        if rewritten_sha256 is not None:
            cells = by_image.get(image, [])
            images[name] = _write_xml(target, source.folder.name, name, rows[image], rewritten_sha256, cells)
    if not images:
        raise _NothingToShowError(f"none of the {len(rows)} images that model {source.model!r} examined can be shown")
    used = sorted({cell.label for cell in table.cells} - {""})
    class_names = tuple(dict.fromkeys([*cell_rows.names_of(table.classes), *extra_names, *used]))
    machine = revisions.machine_revision(chain).folder if chain else source.folder
    patient_id = next(iter(rows.values()))["patient_id"]
    checksums = {image: row["sha256"] for image, row in rows.items()}
    sidecar = Sidecar(
        export_id=mark.export_id,
        exported=mark.exported,
        patient_id=patient_id,
        folder=source.folder.name,
        model=source.model,
        names=class_names,
        machine_sha256=revisions.tables_sha256(machine),
        revision=chain[-1].number if chain else 0,
        revision_sha256=chain[-1].sha256 if chain else "",
        thresholds=source.thresholds,
        images=images,
        sampled=() if sample_images is None else sampling.sampled_images(patient_id, checksums, sample_images),
    )
    if sidecar.sampled:
        _write_list_of_images(target / TO_VERIFY, sidecar)
    atomic_write.write_text(target / CLASSES_FILE, "".join(f"{name}\n" for name in class_names))
    write_sidecar(target / FILE_NAME, sidecar)
    return sidecar


def _write_list_of_images(path: pathlib.Path, sidecar: Sidecar) -> None:
    """The images a reviewer has to open when only a sample is verified."""
    sample = [name for name, shown in sidecar.images.items() if shown.image in sidecar.sampled]
    undecided = {
        name: sum(cell.name == cell_classes.UNKNOWN and _may_be_white(cell) for cell in shown.cells)
        for name, shown in sidecar.images.items()
        if name not in sample
    }
    lines = ["Verify these images (the sample):", *sample, "", "Decide the unknown cells on these images:"]
    most_first = sorted((-count, name) for name, count in undecided.items() if count)
    lines += [f"{name} ({-count} that may be white cells)" for count, name in most_first] or ["none"]
    atomic_write.write_text(path, "\n".join([*lines, "", _IF_WRONG]))


def _may_be_white(cell: ShownCell) -> bool:
    return cell_classes.canonical_name(cell.predicted_class) != cell_classes.ERYTHROCYTE


def write_instructions(output_dir: pathlib.Path) -> None:
    """A page for the reviewer beside the patients' folders."""
    text = INSTRUCTIONS.format(classes=CLASSES_FILE, sidecar=FILE_NAME, to_verify=TO_VERIFY)
    atomic_write.write_text(output_dir / "HOW_TO_REVIEW.txt", text)
