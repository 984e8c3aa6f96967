"""All images of a study read once, on several cores, without holding them in memory.

Each image is decoded and checked with its XML by a worker process. What the split and the report need of an image stays
in memory (about a kilobyte); its boxes, and its JPEG when the file was not one, wait in a temporary file until the
records are written.
"""

import dataclasses
import functools
import hashlib
import json
import tempfile
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import IO

from tfod_csf import worker_pool
from tfod_csf.cell_classes import UNKNOWN, canonical_name
from tfod_csf.data.annotated.dataset_split import SplitImage
from tfod_csf.data.records.ready_image import ReadyImage
from tfod_csf.errors import UserError
from tfod_csf.files import given_files
from tfod_csf.label_map import LabelMap, mapped_name
from tfod_csf.problems import Problem, ProblemLog
from tfod_csf.progress_bar import progress_bar
from tfod_csf.study import image_io
from tfod_csf.study.annotated_images import read_annotated_image
from tfod_csf.study.image_limits import MAX_FILE_BYTES
from tfod_csf.study.labelimg import LabeledObject
from tfod_csf.study.patients import AnnotatedFile, ImageFile

FEW_IMAGES = 24  # reading so few takes less time than starting processes


class AnnotatedSetError(UserError):
    """A set of images that cannot be written as records."""


@dataclasses.dataclass(frozen=True)
class ReadingOptions:
    """How images are read; see `annotated_images.read_annotated_image`.

    Attributes:
      ignore_difficult_instances: drop objects marked difficult (counted, without a row each).
    """

    label_map: LabelMap
    class_map: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ignore_difficult_instances: bool = False
    rescale_boxes: bool = False
    exif: str = image_io.TURNED


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """What stays in memory of an image.

    Attributes:
      sha256: of the image file.
      class_counts: objects of each class.
      num_ignored: number of `ReadyImage.ignored`.
      num_difficult_left_out: objects dropped because they are marked difficult.
      is_reencoded: the file is not a plain JPEG.
      place: offset in the temporary file.
      names_without_class: objects of each name that is not in the label map, after the class map and without `unknown`.
    """

    image: ImageFile
    sha256: str
    width: int
    height: int
    class_counts: Mapping[str, int]
    num_ignored: int
    num_difficult_left_out: int
    is_reencoded: bool
    place: int
    names_without_class: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def for_split(self) -> SplitImage:
        """What the split has to know."""
        return SplitImage(self.image.key, self.image.patient_id, self.sha256, self.class_counts)


def _read_one(file: AnnotatedFile, options: ReadingOptions) -> tuple[Entry | None, bytes, list[Problem]]:
    """Worker: (entry without its place or None, what goes into the temporary file, problems)."""
    problems = ProblemLog(quiet=True)
    read = read_annotated_image(
        file, problems, options.label_map, options.class_map, options.rescale_boxes, options.exif
    )
    if read is None:
        return None, b"", problems.problems
    objects = [o for o in read.annotation.objects if not (o.difficult and options.ignore_difficult_instances)]
    jpeg = None if read.loaded.is_plain_jpeg else read.loaded.jpeg_bytes()
    entry = Entry(
        image=file.image,
        sha256=read.loaded.sha256,
        width=read.loaded.width,
        height=read.loaded.height,
        class_counts=dict(Counter(o.name for o in objects)),
        num_ignored=len(read.ignored),
        num_difficult_left_out=len(read.annotation.objects) - len(objects),
        is_reencoded=jpeg is not None,
        place=0,
        names_without_class=_names_without_class(read.ignored, options.class_map),
    )
    return entry, _packed(objects, read.ignored, jpeg), problems.problems


def _names_without_class(ignored: Sequence[LabeledObject], class_map: Mapping[str, str]) -> dict[str, int]:
    """Who names a cell unknown, or renames a class so, has decided that it has no class."""
    names = Counter(mapped_name(labeled.name, class_map) for labeled in ignored)
    return {name: count for name, count in names.items() if canonical_name(name) != UNKNOWN}


def _packed(objects: list[LabeledObject], ignored: list[LabeledObject], jpeg: bytes | None) -> bytes:
    """What waits of an image: a line of JSON with the boxes, then the JPEG where there is one."""
    boxes = [[dataclasses.asdict(one) for one in some] for some in (objects, ignored)]
    return json.dumps([jpeg is not None, *boxes]).encode() + b"\n" + (jpeg or b"")


def _unpacked(content: bytes) -> tuple[list[LabeledObject], list[LabeledObject], bytes | None]:
    line, _, jpeg = content.partition(b"\n")
    has_jpeg, *boxes = json.loads(line)
    objects, ignored = ([LabeledObject(**one) for one in some] for some in boxes)
    return objects, ignored, jpeg if has_jpeg else None


class AnnotatedSet:
    """The usable images of a study, in the order of the files given; `read` makes one.

    Attributes:
      entries: one for each usable image.
    """

    def __init__(self, waiting: IO[bytes]):
        self.entries: list[Entry] = []
        self._waiting = waiting
        weakref.finalize(self, waiting.close)  # pixels of patients stay on the disk no longer than the set

    def add(self, entry: Entry, content: bytes) -> None:
        """Adds what a worker read."""
        self.entries.append(dataclasses.replace(entry, place=self._waiting.tell()))
        self._waiting.write(len(content).to_bytes(8, "little") + content)

    def _content(self, entry: Entry) -> tuple[list[LabeledObject], list[LabeledObject], bytes | None]:
        self._waiting.seek(entry.place)
        size = int.from_bytes(self._waiting.read(8), "little")
        return _unpacked(self._waiting.read(size))

    def objects(self, entry: Entry) -> list[LabeledObject]:
        """Boxes with names of the label map, as `ReadyImage.objects`."""
        return self._content(entry)[0]

    def ready(self, entry: Entry) -> ReadyImage:
        """The image itself.

        Raises:
          AnnotatedSetError: the file has changed since it was read.
        """
        objects, ignored, jpeg = self._content(entry)
        jpeg = _unchanged_file(entry) if jpeg is None else jpeg
        return ReadyImage(entry.image, entry.width, entry.height, jpeg, objects, ignored)


def _unchanged_file(entry: Entry) -> bytes:
    try:
        data = given_files.read_bytes(entry.image.path, MAX_FILE_BYTES)
    except OSError as error:
        raise AnnotatedSetError(f"{entry.image.path}: cannot be read anymore ({error.strerror or error}).") from error
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise AnnotatedSetError(f"{entry.image.path}: was changed while the records were made; run again.")
    return data


def read(
    files: Sequence[AnnotatedFile], options: ReadingOptions, problems: ProblemLog, num_processes: int, scratch_dir: str
) -> AnnotatedSet:
    """Reads and checks every image.

    Args:
      num_processes: 0 means one for each core; a few images are read in this process.
      scratch_dir: folder for the temporary file (which has no name and vanishes with the process).
    """
    num_processes = num_processes or worker_pool.available_cores()
    if len(files) <= FEW_IMAGES:
        num_processes = 1
    annotated_set = AnnotatedSet(tempfile.TemporaryFile(dir=scratch_dir))  # noqa: SIM115  (lives as long as the set)
    results = worker_pool.ordered_map(functools.partial(_read_one, options=options), files, num_processes)
    for entry, content, found in progress_bar(results, unit="image", total=len(files), desc="reading"):
        problems.extend(found)
        if entry is not None:
            annotated_set.add(entry, content)
    return annotated_set
