"""One TFRecord file of one folder: what create_pascal_tf_record and the well-known tutorial's scripts make."""

import os
import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence

from tfod_csf.data.annotated import dataset_report, dataset_split
from tfod_csf.data.annotated.annotated_set import ReadingOptions
from tfod_csf.data.annotated.create_tf_record import MAX_SKIPPED_FLAG, read_files
from tfod_csf.data.annotated.dataset_split import SplitError, SplitImage
from tfod_csf.data.records import tf_example_encoder as encoder
from tfod_csf.files import atomic_write, csv_schemas, given_files, tfrecord
from tfod_csf.files.checksums import file_sha256
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg
from tfod_csf.study.image_io import IMAGE_SUFFIXES
from tfod_csf.study.patients import AnnotatedFile, ImageFile, PatientsError, find_images, find_pairs


def create_record(
    files: Sequence[AnnotatedFile],
    options: ReadingOptions,
    problems: ProblemLog,
    output_path: str | os.PathLike,
    csv_path: str | os.PathLike | None = None,
    max_skipped_fraction: float = 0.1,
) -> str:
    """Writes all images, sorted by key, to exactly one file, and <output>.problems.csv beside it.

    Args:
      csv_path: where to write filename,width,height,class,xmin,ymin,xmax,ymax; None for nowhere.

    Returns:
      A closing sentence with the counts.
    """
    output_path = pathlib.Path(output_path)
    problems_path = output_path.with_name(f"{output_path.name}.problems.csv")
    read = read_files(files, options, problems, problems_path, max_skipped_fraction=max_skipped_fraction)
    entries = sorted(read.entries, key=lambda entry: entry.image.key)
    examples = (encoder.create_tf_example(read.ready(entry), options.label_map) for entry in entries)
    tfrecord.write_records(map(encoder.serialize, examples), output_path)
    if csv_path:
        rows = (row for entry in entries for row in dataset_report.annotation_rows(entry, read.objects(entry)))
        csv_schemas.load("annotations").write(csv_path, rows)
    cells = Counter()
    for entry in entries:
        cells.update(entry.class_counts)
    counts = ", ".join(f"{number} {name}" for name, number in sorted(cells.items())) or "no objects"
    return f"{output_path}: {len(entries)} images, {counts} ({problems.summary()})."


def find_pascal_files(
    data_dir: str | os.PathLike, year: str, set_name: str, annotations_dir: str, problems: ProblemLog
) -> list[AnnotatedFile]:
    """Images of a Pascal VOC tree: YEAR/ImageSets/Main, YEAR/<annotations_dir>, YEAR/JPEGImages.

    The image list is aeroplane_<set>.txt as in TFOD, or <set>.txt where there is none. <folder> and <filename> of the
    XML are not followed: the image is the file in JPEGImages whose name is the one in the list.

    Args:
      year: VOC2007, VOC2012, or merged for both.

    Raises:
      PatientsError: a list is missing or no image is found.
    """
    files = []
    for name in ("VOC2007", "VOC2012") if year == "merged" else (year,):
        root = pathlib.Path(data_dir, name)
        lists = [root / "ImageSets" / "Main" / f"{prefix}{set_name}.txt" for prefix in ("aeroplane_", "")]
        found = next((path for path in lists if path.is_file()), None)
        if found is None:
            raise PatientsError(f"{lists[1]}: no such file; --set names a list of images in ImageSets/Main.")
        for line in given_files.read_text(found).splitlines():
            stem = pathlib.PurePath(line.split()[0]).name if line.strip() else ""
            if not stem:
                continue
            candidates = [root / "JPEGImages" / f"{stem}{suffix}" for suffix in IMAGE_SUFFIXES]
            path = next((path for path in candidates if path.is_file()), None)
            xml_path = root / annotations_dir / f"{stem}.xml"
            if path is None or not xml_path.is_file():
                missing = candidates[0] if path is None else xml_path
                problems.skipped(missing, f"does not exist, but {found.name} lists it", "Put it there.")
            else:
                files.append(AnnotatedFile(ImageFile(path, name, path.name, path.name), xml_path))
    if not files:
        raise PatientsError(f"{data_dir}: no listed image with an XML was found for --set={set_name} --year={year}.")
    return files


def _class_counts(xml_path: pathlib.Path) -> Counter:
    annotation = labelimg.read_annotation(xml_path, ProblemLog(quiet=True))
    return Counter(o.name for o in annotation.objects) if annotation else Counter()


def _refuse_other_files(sides: Sequence[pathlib.Path], copies: Mapping[pathlib.Path, pathlib.Path]) -> None:
    """Refuses folders that hold more than the copies of this division that an interrupted run made.

    Raises:
      SplitError: another file, or another content, which would mix two divisions.
    """
    for side in filter(pathlib.Path.is_dir, sides):
        for path in map(pathlib.Path, given_files.files_below(side)):
            if path not in copies or file_sha256(path) != file_sha256(copies[path]):
                raise SplitError(
                    f"{side} is not empty: {path} is not of this division; remove it or give another folder with -o."
                )


def partition(
    images_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    ratio: float,
    copy_xml: bool,
    seed: int,
    problems: ProblemLog,
    max_skipped_fraction: float = 0.1,
) -> dict[str, int]:
    """Copies images (and their XML) to OUTPUT_DIR/train and OUTPUT_DIR/test; the originals stay.

    Returns:
      Number of images on each side.

    Raises:
      SplitError: the two folders hold other files than an interrupted run of the same division left.
    """
    images_dir, output_dir = pathlib.Path(images_dir), pathlib.Path(output_dir)
    sides = [output_dir / side for side in dataset_report.SIDES]
    xml_of: dict[str, pathlib.Path] = {}
    if copy_xml:
        pairs = find_pairs(images_dir, None, problems, except_below=sides)
        images = [pair.image for pair in pairs]
        xml_of = {pair.image.key: pair.xml_path for pair in pairs}
    else:
        images = find_images(images_dir, problems, except_below=sides)
    num_skipped = len(problems.skipped_files())
    problems.check_skipped_files(num_skipped, len(images) + num_skipped, max_skipped_fraction, MAX_SKIPPED_FLAG)
    to_split = []
    for image in images:
        counts = _class_counts(xml_of[image.key]) if copy_xml else Counter()
        to_split.append(SplitImage(image.key, image.patient_id, "", counts))
    test_keys = dataset_split.split(to_split, ratio, "image", seed)
    copies: dict[pathlib.Path, pathlib.Path] = {}
    for image in images:
        target = output_dir / ("test" if image.key in test_keys else "train") / image.key
        copies[target] = image.path
        if copy_xml:
            copies[target.with_name(xml_of[image.key].name)] = xml_of[image.key]
    _refuse_other_files(sides, copies)
    for target, source in copies.items():
        atomic_write.copy_file(source, target)
    problems.write_csv(output_dir / "problems.csv")
    return {"train": len(images) - len(test_keys), "test": len(test_keys)}
