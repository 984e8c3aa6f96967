"""LabelImg folders to train and test TFRecords with everything that documents them.

Steps: pair images with XML, read and check them all on several cores, divide, write. Same files, same options: same
bytes, whatever the number of processes. TensorFlow is not needed.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

from tfod_csf import __version__, cell_classes
from tfod_csf import label_map as label_maps
from tfod_csf.data.annotated import annotated_set, augmented_copies, dataset_report, dataset_split, given_split
from tfod_csf.data.annotated.annotated_set import AnnotatedSet, AnnotatedSetError, Entry, ReadingOptions
from tfod_csf.data.annotated.dataset_report import DatasetStatistics
from tfod_csf.data.annotated.dataset_split import SplitImage
from tfod_csf.data.dataset_page import data_page
from tfod_csf.data.records import tf_example_encoder as encoder
from tfod_csf.files import atomic_write, csv_schemas, record_set, tfrecord
from tfod_csf.label_map import LabelMap
from tfod_csf.problems import ProblemLog
from tfod_csf.progress_bar import progress_bar
from tfod_csf.study import image_io
from tfod_csf.study.patients import AnnotatedFile, find_pairs

_SHARD = re.compile(r"(train|test)\.record-\d{5}-of-\d{5}")
MAX_SKIPPED_FLAG = "--max_skipped_fraction"
PROBLEMS = "problems.csv"


@dataclasses.dataclass(frozen=True)
class RecordOptions:
    """What to make records from, and how; names and meanings are those of the command's flags."""

    images_dir: str
    output_dir: str
    annotations_dir: str | None = None
    label_map_path: str | None = None
    test_fraction: float = 0.1
    test_set: str | None = None
    split_by: str = "image"
    keep_together: str | None = None
    class_map: Sequence[str] = ()
    ignore_difficult_instances: bool = False
    other_objects: str = "pass_over"
    rescale_boxes: bool = False
    exif: str = image_io.TURNED
    manifest: str | None = None
    patient_pattern: str | None = None
    num_shards: int = 1
    seed: int = 0
    num_processes: int = 0
    max_skipped_fraction: float = 0.1


@dataclasses.dataclass(frozen=True)
class ReadSet:
    """A set of labeled images that was read and checked, before it is divided.

    Attributes:
      images: the usable ones.
      found: {key: patient} of all images with annotations, usable or not.
      label_map: of the records.
      class_map: {name in the XML: class, "" to drop}.
      groups: keys of images that stay on one side.
    """

    images: AnnotatedSet
    found: Mapping[str, str]
    label_map: LabelMap
    class_map: Mapping[str, str]
    groups: Sequence[Sequence[str]]

    def for_split(self) -> list[SplitImage]:
        """What a split has to know of the usable images."""
        return [entry.for_split() for entry in self.images.entries]


def load_classes(label_map_path: str | os.PathLike | None, class_map_entries: Sequence[str]) -> tuple[LabelMap, dict]:
    """The label map (the four cell classes by default) and the class map, checked against each other.

    Raises:
      LabelMapError: a file or an entry cannot be used, or an entry renames to a class the label map does not have.
    """
    if label_map_path:
        label_map = label_maps.load_label_map(label_map_path)
    else:
        label_map = label_maps.label_map_from_names(cell_classes.STUDY_CLASSES)
    class_map = label_maps.parse_class_map(class_map_entries)
    for old, new in class_map.items():
        if new and label_map.resolve(new) is None and new.casefold() != cell_classes.UNKNOWN:
            near = label_map.nearest(new)
            hint = f"did you mean {near!r}?" if near else f"known: {', '.join(label_map.names)}."
            raise label_maps.LabelMapError(f"--class_map: {old!r} is renamed to {new!r}, which is not a class; {hint}")
    return label_map, class_map


def read_files(
    files: Sequence[AnnotatedFile],
    options: ReadingOptions,
    problems: ProblemLog,
    problems_path: pathlib.Path,
    num_processes: int = 0,
    max_skipped_fraction: float = 0.1,
) -> AnnotatedSet:
    """Reads all images; refuses a set of which too much was skipped or nothing remains.

    Raises:
      AnnotatedSetError: no usable image, or boxes of which none has a known class.
      TooManySkippedError: more files than max_skipped_fraction; problems_path is written nevertheless.
    """
    problems_path.parent.mkdir(parents=True, exist_ok=True)
    num_files = len(files) + len(problems.skipped_files())
    read = annotated_set.read(files, options, problems, num_processes, str(problems_path.parent))
    problems.write_csv(problems_path)
    num_skipped = len(problems.skipped_files())
    problems.check_skipped_files(num_skipped, num_files, max_skipped_fraction, MAX_SKIPPED_FLAG)
    if not read.entries:
        raise AnnotatedSetError(f"none of {num_files} files can be used; {problems_path} says why.")
    if not any(entry.class_counts for entry in read.entries) and any(e.num_ignored for e in read.entries):
        raise AnnotatedSetError(
            f"no object has a class of the label map ({', '.join(options.label_map.names)}); {problems_path} lists the "
            "names that were found; give their label map, or rename them with --class_map."
        )
    return read


def _note_identical_files(entries: Sequence[Entry], problems: ProblemLog) -> None:
    first_of: dict[str, Entry] = {}
    for entry in entries:
        first = first_of.setdefault(entry.sha256, entry)
        if first is not entry:
            reason = f"the same file as {first.image.key}; both are used, on one side"
            problems.noted(entry.image.path, reason, "Delete one: its cells count twice.")


def _statistics(
    read: AnnotatedSet, test_keys: set[str], label_map: LabelMap, output_dir: pathlib.Path
) -> DatasetStatistics:
    """Writes annotations.csv and counts while doing so."""
    statistics = DatasetStatistics(label_map)

    def rows() -> Iterator[dict]:
        for entry in read.entries:
            objects = read.objects(entry)
            statistics.add(entry, "test" if entry.image.key in test_keys else "train", objects)
            yield from dataset_report.annotation_rows(entry, objects)

    csv_schemas.load("annotations").write_into(output_dir, rows())
    return statistics


def _write_side(
    read: AnnotatedSet,
    entries: list[Entry],
    label_map: LabelMap,
    output_dir: pathlib.Path,
    side: str,
    num_shards: int,
    keep_ignored: bool,
) -> list[dict]:
    """Writes the shards of one side: entry i goes to shard i modulo their number.

    Args:
      keep_ignored: whether `ReadyImage.ignored` is written too.
    """
    names = _shards(side, len(entries), num_shards)
    records = []
    with progress_bar(unit="image", total=len(entries), desc=f"writing {side}.record") as bar:

        def serialized(shard: int) -> Iterator[bytes]:
            for entry in entries[shard :: len(names)]:
                ready = read.ready(entry)
                if not keep_ignored:
                    ready = dataclasses.replace(ready, ignored=[])
                yield encoder.serialize(encoder.create_tf_example(ready, label_map))
                bar.update()

        for shard, name in enumerate(names):
            digest = tfrecord.write_records(serialized(shard), output_dir / name)
            number = len(entries[shard :: len(names)])
            records.append({"file": name, "examples": number, "sha256_of_examples": digest})
    return records


def _shards(side: str, num_images: int, num_shards: int) -> list[str]:
    """Names of the record files of a side; none without images, and no more than images."""
    return tfrecord.shard_paths(f"{side}.record", min(num_shards, num_images)) if num_images else []


def _begin(output_dir: pathlib.Path, names: list[str]) -> None:
    """Says in dataset_report.json that the set is not finished, then removes shards and data page of an earlier one."""
    earlier = _earlier_shards(output_dir)
    record_set.begin(output_dir, sorted({*earlier, *names}))
    data_page.remove_data_page(output_dir)
    for name in earlier:
        (output_dir / name).unlink()


def _earlier_shards(output_dir: pathlib.Path) -> list[str]:
    """Names of the shards of an earlier run: they would be read with the new ones, or test what now trains.

    Raises:
      AnnotatedSetError: a shard of such a name that no dataset_report.json lists, so that this program cannot know it.
    """
    listed = record_set.listed_files(output_dir)
    found = [path.name for path in output_dir.iterdir() if _SHARD.fullmatch(path.name)]
    foreign = sorted(set(found) - set(listed))
    if foreign:
        raise AnnotatedSetError(
            f"{output_dir / foreign[0]}: is not listed in a {record_set.REPORT} of this folder, so it is not removed, "
            "but it would be read together with the new records; move it away, or give another --output_dir."
        )
    return found


def create_csf_tf_record(options: RecordOptions, problems: ProblemLog) -> DatasetStatistics:
    """Makes train and test records and writes, beside them, label_map.pbtxt, annotations.csv, split.csv,
    dataset_report.json and problems.csv.

    Raises:
      UserError: of any step; one sentence that names the file, value or flag.
    """
    _refuse_foreign_files(options)
    read = read_set(options, problems)
    test_keys = _test_keys(options, read)
    return write_sides(
        options, read, test_keys, problems, "change --test_set" if options.test_set else "try another seed"
    )


def _refuse_foreign_files(options: RecordOptions) -> None:
    """Refuses an output folder of somebody else's that holds files with names that are written."""
    output_dir = pathlib.Path(options.output_dir)
    if (output_dir / record_set.REPORT).exists():
        return
    for name in ("label_map.pbtxt", "annotations.csv", "split.csv", PROBLEMS):
        path = output_dir / name
        if path.exists() and not _is_given_label_map(options, path) and not csv_schemas.is_table("problems", path):
            raise AnnotatedSetError(
                f"{path}: lies in the output folder, which has no {record_set.REPORT}, so it is not known whose it is; "
                "it would be replaced: give another --output_dir, or move it away."
            )


def _is_given_label_map(options: RecordOptions, path: pathlib.Path) -> bool:
    given = options.label_map_path
    return bool(given) and path.exists() and os.path.exists(given) and os.path.samefile(given, path)


def read_set(options: RecordOptions, problems: ProblemLog) -> ReadSet:
    """Reads and checks all images; writes problems.csv into the output folder.

    Raises:
      UserError: as `create_csf_tf_record`.
    """
    label_map, class_map = load_classes(options.label_map_path, options.class_map)
    files = find_pairs(options.images_dir, options.annotations_dir, problems, options.manifest, options.patient_pattern)
    keys = [file.image.key for file in files]
    groups = augmented_copies.kept_together(options.images_dir, keys, problems)
    if options.keep_together:
        groups += dataset_split.read_keep_together(options.keep_together, keys, problems)
    elif options.split_by == "image" and (options.test_fraction or options.test_set):
        augmented_copies.note_likely_copies(options.images_dir, keys, problems)
    reading = ReadingOptions(
        label_map, class_map, options.ignore_difficult_instances, options.rescale_boxes, options.exif
    )
    problems_path = pathlib.Path(options.output_dir) / PROBLEMS
    images = read_files(files, reading, problems, problems_path, options.num_processes, options.max_skipped_fraction)
    _note_identical_files(images.entries, problems)
    patient_of = {file.image.key: file.image.patient_id for file in files}
    return ReadSet(images, patient_of, label_map, class_map, groups)


def _test_keys(options: RecordOptions, read: ReadSet) -> set[str]:
    """Keys of the test side, chosen or as the user gave it."""
    images = read.for_split()
    if options.test_set:
        given = given_split.read_test_set(options.test_set, read.found)
        return given_split.split_as_given(images, given, options.split_by, read.groups)
    return dataset_split.split(images, options.test_fraction, options.split_by, options.seed, read.groups)


def write_sides(
    options: RecordOptions, read: ReadSet, test_keys: set[str], problems: ProblemLog, remedy: str
) -> DatasetStatistics:
    """Writes records and tables of a set that was read.

    Args:
      test_keys: keys of the usable images that test; all others train.
      remedy: what can be done when a side lacks a class, besides labeling more.

    Raises:
      UserError: an image has changed since it was read, or records in the folder are not of this program.
    """
    output_dir = pathlib.Path(options.output_dir)
    by_key = {entry.image.key: entry for entry in read.images.entries}
    sides = {"train": by_key.keys() - test_keys, "test": test_keys}
    output_dir.mkdir(parents=True, exist_ok=True)
    _begin(output_dir, [name for side, keys in sides.items() for name in _shards(side, len(keys), options.num_shards)])
    statistics = _statistics(read.images, test_keys, read.label_map, output_dir)
    for name, side in statistics.one_sided_classes() if options.test_fraction or options.test_set else []:
        problems.noted(options.images_dir, f"no {name} on the {side} side", f"Label more of them, or {remedy}.")
    records = []
    for side, keys in sides.items():
        if keys:
            entries = [by_key[key] for key in dataset_split.seeded_order(keys, options.seed)]
            keep_ignored = options.other_objects == "pass_over"
            records += _write_side(
                read.images, entries, read.label_map, output_dir, side, options.num_shards, keep_ignored
            )
    if not _is_given_label_map(options, output_dir / "label_map.pbtxt"):
        label_maps.save_label_map(read.label_map, output_dir / "label_map.pbtxt")
    dataset_report.write_split_csv(output_dir / "split.csv", read.images.entries, test_keys)
    problems.write_csv(output_dir / PROBLEMS)
    atomic_write.write_json(output_dir / record_set.REPORT, _report(options, read, statistics, records, problems))
    return statistics


def _report(
    options: RecordOptions,
    read: ReadSet,
    statistics: DatasetStatistics,
    records: list[dict],
    problems: ProblemLog,
) -> dict:
    # Without paths and the number of processes the same images give the same report anywhere.
    paths = ("images_dir", "output_dir", "annotations_dir", "label_map_path", "keep_together", "manifest", "test_set")
    settings = dataclasses.asdict(options)
    settings = {name: value for name, value in settings.items() if name not in (*paths, "num_processes")}
    if options.test_set:
        settings["test_fraction"] = None
    return {
        "version": __version__,
        "settings": settings | {"class_map": read.class_map, "jpeg_quality_of_reencoded": image_io.JPEG_QUALITY},
        "classes": [{"id": item.id, "name": item.name} for item in read.label_map.items],
        **statistics.as_dict(),
        "records": records,
        "problems": [{"action": a, "reason": reason, "count": count} for a, reason, count in problems.reasons()],
    }
