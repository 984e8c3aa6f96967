"""Every image of train and test records looked at once, on several cores, without TensorFlow.

Of an image some hundred bytes and its fingerprint stay in memory; of its cells only their counts and sizes, and where
those are that the page shows.
"""

import dataclasses
import functools
import hashlib
import heapq
import io
import itertools
import types
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfod_csf import cell_classes, worker_pool
from tfod_csf.data.dataset_page import image_measures
from tfod_csf.data.records.record_statistics import class_names, image_digest
from tfod_csf.domain import cell_measures
from tfod_csf.files import record_set
from tfod_csf.files.tf_example import Features
from tfod_csf.problems import Problem, ProblemLog
from tfod_csf.progress_bar import progress_bar
from tfod_csf.study import image_limits
from tfod_csf.study.image_limits import ImageLimitError
from tfod_csf.study.record_patients import RecordPatients

SIDES = ("train", "test")
AT_EDGE_PX = 1.0  # a box that is nearer to the edge of its image is taken to be cut
FEW_IMAGES = 24  # looking at so few takes less time than starting processes
_AS_WRITTEN: Mapping[str, str] = types.MappingProxyType({})
_WRITE_AGAIN = "Write the records again with create_csf_tf_record."


@dataclasses.dataclass(frozen=True, slots=True)
class ImageFacts:
    """What stays in memory of an image.

    Attributes:
      name: the record's source_id, or file and number of the record.
      patient_id: of `RecordPatients`; "" where nothing says whose it is.
      digest: equal for equal files.
      cells: objects of each class.
      ignored: boxes of weight 0, which training takes neither for a class nor for background.
      at_edge: objects cut at an edge of the image, of each class.
      background, nucleus: RGB 0 .. 255; nucleus is None without a white cell.
      edge_width: see `cell_measures.edge_width`.
    """

    side: str
    name: str
    patient_id: str
    digest: bytes
    width: int
    height: int
    cells: Mapping[str, int]
    ignored: int
    at_edge: Mapping[str, int]
    background: tuple[float, ...]
    nucleus: tuple[float, ...] | None
    edge_width: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """One labeled cell: number of its image in `Survey.images`, and its box [ymin, xmin, ymax, xmax] in pixels."""

    image: int
    box: tuple[float, ...]
    class_name: str


@dataclasses.dataclass(frozen=True, slots=True)
class LabeledRecord:
    """One Example, decoded.

    Attributes:
      image: mode RGB.
      boxes: float32 [M, 4] ymin, xmin, ymax, xmax in pixels.
      classes: [M] class names.
      ignored: float32 [I, 4], boxes of weight 0, each once.
    """

    name: str
    digest: bytes
    image: Image.Image
    boxes: np.ndarray
    classes: list[str]
    ignored: np.ndarray


class UndecodableImageError(Exception):
    """Why the image of a record cannot be used, and the remedy."""


def decode(record: bytes, where: str, spellings: Mapping[str, str] = _AS_WRITTEN) -> LabeledRecord:
    """An Example as training takes it.

    Args:
      spellings: {class as `record_statistics.class_names` gives it: the label map's name}; others stay as they are.

    Raises:
      TFRecordError: it has no image, or boxes that are not whole.
      UndecodableImageError: its image cannot be decoded.
    """
    features = Features(record, where)
    encoded = features.encoded_image()
    image = _decoded(encoded)
    classes = [spellings.get(name, name) for name in class_names(features)]
    features.check_kinds(len(classes))
    boxes = features.boxes(len(classes)) * np.array([image.height, image.width] * 2, np.float32)
    weights = np.array(features.floats("image/object/weight") or [1.0] * len(classes))
    is_used = weights > 0
    name = features.image_name or where
    return LabeledRecord(
        name=name,
        digest=image_digest(encoded),
        image=image,
        boxes=boxes[is_used],
        classes=[one for one, used in zip(classes, is_used, strict=True) if used],
        ignored=np.unique(boxes[~is_used], axis=0),
    )


def _decoded(encoded: bytes) -> Image.Image:
    try:
        image_limits.check_encoded(encoded)
        with Image.open(io.BytesIO(encoded), formats=image_limits.RECORD_FORMATS) as image:
            if image.mode.startswith("I;16"):  # of 16 bits the higher 8, as TensorFlow takes them
                return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
            return image.convert("RGB")
    except ImageLimitError as error:
        raise UndecodableImageError(*error.args) from None
    except UnidentifiedImageError:  # its message holds an address in memory
        raise UndecodableImageError("the image cannot be decoded", _WRITE_AGAIN) from None
    except (OSError, ValueError, SyntaxError) as error:
        raise UndecodableImageError(f"the image cannot be decoded ({error})", _WRITE_AGAIN) from None


@dataclasses.dataclass(frozen=True, slots=True)
class _Looked:
    """What a worker gives back of an image.

    Attributes:
      fingerprints: float32 [8 or 0, FINGERPRINT_LENGTH]; of training images only the first is needed.
    """

    facts: ImageFacts
    boxes: np.ndarray
    classes: list[str]
    fingerprints: np.ndarray


def _look_at(spellings: dict[str, str], item: tuple[str, str, bytes]) -> _Looked | Problem:
    """Worker: measures one image of (side, file and number of the record, record)."""
    side, where, record = item
    try:
        labeled = decode(record, where, spellings)
    except UndecodableImageError as error:
        return _skipped(where, error)
    pixels = np.asarray(labeled.image)
    boxes, every_box = labeled.boxes, np.concatenate([labeled.boxes, labeled.ignored])
    is_red = np.array([cell_classes.canonical_name(name) == cell_classes.ERYTHROCYTE for name in labeled.classes], bool)
    nucleus = cell_measures.nucleus_color(pixels, boxes[~is_red])
    at_edge = np.flatnonzero(is_at_edge(boxes, labeled.image.width, labeled.image.height))
    prints = image_measures.turned_fingerprints(labeled.image, len(every_box))
    facts = ImageFacts(
        side=side,
        name=labeled.name,
        patient_id="",
        digest=labeled.digest,
        width=labeled.image.width,
        height=labeled.image.height,
        cells=dict(Counter(labeled.classes)),
        ignored=len(labeled.ignored),
        at_edge=dict(Counter(labeled.classes[index] for index in at_edge)),
        background=tuple(cell_measures.background_color(pixels, every_box).tolist()),
        nucleus=None if nucleus is None else tuple(nucleus.tolist()),
        edge_width=cell_measures.edge_width(pixels, boxes),
    )
    # A copy, because a part of an array keeps the whole one in memory.
    return _Looked(facts, boxes, labeled.classes, prints if side == "test" else prints[:1].copy())


def _skipped(where: str, error: UndecodableImageError) -> Problem:
    problems = ProblemLog(quiet=True)
    reason, remedy = error.args
    problems.skipped(where, reason, remedy)
    return problems.problems[0]


def is_at_edge(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """bool [M]: boxes [M, 4] that reach the edge of their image, so that the cell in them is most likely cut.

    >>> is_at_edge(np.array([[0.5, 20, 30, 40], [10, 20, 30, 99.5], [10, 20, 30, 40]]), 100, 80).tolist()
    [True, True, False]
    """
    return (boxes[:, :2] < AT_EDGE_PX).any(axis=1) | (boxes[:, 2:] > np.array([height, width]) - AT_EDGE_PX).any(axis=1)


class _Least:
    """The cells with the least keys; the keys of two images with one name may be equal, then the first stays."""

    def __init__(self, number: int):
        self._number = number
        self._heap: list[tuple] = []

    def add(self, key: tuple[float, ...], cell: Cell) -> None:
        """One more."""
        entry = (*(-part for part in key), -cell.image, tuple(-side for side in cell.box), cell)
        if len(self._heap) < self._number:
            heapq.heappush(self._heap, entry)
        elif entry > self._heap[0]:
            heapq.heapreplace(self._heap, entry)

    def cells(self) -> list[Cell]:
        """The one with the least key first."""
        return [entry[-1] for entry in sorted(self._heap, reverse=True)]


class ShownCells:
    """The cells of one class that the page shows: a random sample, the smallest, the largest and those at edges."""

    def __init__(self, sampled: int, others: int):
        self._parts = {name: _Least(sampled if name == "sample" else others) for name in ("sample", *_KEYS)}

    def add(self, cell: Cell, draw: float, is_cut: bool) -> None:
        """One more cell.

        Args:
          draw: a random number, by which the sample is taken.
        """
        ymin, xmin, ymax, xmax = cell.box
        area = (ymax - ymin) * (xmax - xmin)
        self._parts["sample"].add((draw,), cell)
        if is_cut:
            self._parts["cut"].add((draw,), cell)
        else:
            self._parts["smallest"].add((area,), cell)
            self._parts["largest"].add((-area,), cell)

    def cells(self, part: str) -> list[Cell]:
        """Of "sample", "smallest", "largest" (which are not at an edge) or "cut"."""
        return self._parts[part].cells()


_KEYS = ("smallest", "largest", "cut")


class Survey:
    """What was seen, filled image by image.

    Attributes:
      images: in the order of the records, train first.
      fingerprints: {number of an image: float32 [8, L] of a test image, [1, L] of a training image}, without those of
        empty fields.
      box_sizes: number of boxes by (class, image width, image height, box width, box height), whole pixels.
      shown: cells that the page shows, of each class.
      num_skipped: records whose image cannot be decoded.

    Args:
      sampled, others: see `ShownCells`.
      spellings: see `decode`.
    """

    def __init__(self, sampled: int = 36, others: int = 8, spellings: Mapping[str, str] = _AS_WRITTEN):
        self.images: list[ImageFacts] = []
        self.fingerprints: dict[int, np.ndarray] = {}
        self.box_sizes: Counter = Counter()
        self.shown: dict[str, ShownCells] = {}
        self.num_skipped = 0
        self._places: list[int] = []
        self._numbers = (sampled, others)
        self._spellings = spellings

    def add(self, looked: _Looked, place: int) -> None:
        """One more image; `place` is the number of its record, of all that were read."""
        facts, number = looked.facts, len(self.images)
        self.images.append(facts)
        self._places.append(place)
        if len(looked.fingerprints):
            self.fingerprints[number] = looked.fingerprints
        is_cut = is_at_edge(looked.boxes, facts.width, facts.height)
        draws = _draws(facts.name, len(looked.boxes))
        for box, class_name, cut, draw in zip(looked.boxes.tolist(), looked.classes, is_cut, draws, strict=True):
            ymin, xmin, ymax, xmax = box
            self.box_sizes[class_name, facts.width, facts.height, round(xmax - xmin), round(ymax - ymin)] += 1
            shown = self.shown.setdefault(class_name, ShownCells(*self._numbers))
            shown.add(Cell(number, tuple(box), class_name), draw, bool(cut))

    def of_side(self, side: str) -> Iterator[ImageFacts]:
        """Images of train or test."""
        return (image for image in self.images if image.side == side)

    def cells(self, side: str) -> Counter:
        """Cells of each class on a side."""
        total: Counter = Counter()
        for image in self.of_side(side):
            total.update(image.cells)
        return total

    def at_edge(self) -> Counter:
        """Cells of each class that are cut at an edge."""
        total: Counter = Counter()
        for image in self.images:
            total.update(image.at_edge)
        return total

    def sample_images(self, side: str, number: int) -> list[int]:
        """Numbers of images of a side, taken at random by their names."""
        of_side = [index for index, image in enumerate(self.images) if image.side == side]
        return heapq.nsmallest(number, of_side, key=lambda index: (_draws(self.images[index].name, 1)[0], index))

    def records(self, files: Mapping[str, Sequence[str]], numbers: set[int]) -> Iterator[tuple[int, LabeledRecord]]:
        """(number, the record) of some images, in order."""
        number_at = {self._places[number]: number for number in numbers}
        for place, (_, where, record) in enumerate(_records(files)):
            if place in number_at:
                yield number_at[place], decode(record, where, self._spellings)


def _draws(name: str, number: int) -> list[float]:
    """Random numbers 0 .. 1 that depend on an image's name alone."""
    seed = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8], "big")
    return np.random.default_rng(seed).random(number).tolist()


def _records(files: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str, bytes]]:
    for side in SIDES:
        for where, record in record_set.numbered_records(files.get(side, ())):
            yield side, where, record


def survey(
    files: Mapping[str, Sequence[str]],
    problems: ProblemLog,
    num_processes: int = 0,
    spellings: Mapping[str, str] = _AS_WRITTEN,
) -> Survey:
    """Looks at every image.

    Args:
      files: {"train" or "test": its record files}.
      num_processes: 0 means one for each core.
      spellings: see `decode`.

    Raises:
      TFRecordError: a file is damaged or incomplete, or a record that training would refuse.
    """
    num_processes = num_processes or worker_pool.available_cores()
    found = Survey(spellings=spellings)
    records = _records(files)
    first = list(itertools.islice(records, FEW_IMAGES + 1))
    if len(first) <= FEW_IMAGES:
        num_processes = 1
    look_at = functools.partial(_look_at, dict(spellings))
    patients = {side: RecordPatients.beside(paths[0]) for side, paths in files.items() if paths}
    results = worker_pool.ordered_map(look_at, itertools.chain(first, records), num_processes)
    for place, looked in enumerate(progress_bar(results, unit="image", desc="looking at")):
        if isinstance(looked, Problem):
            problems.add(looked)
            found.num_skipped += 1
        else:
            facts = looked.facts
            facts = dataclasses.replace(facts, patient_id=patients[facts.side].patient_of(facts.name))
            found.add(dataclasses.replace(looked, facts=facts), place)
    return found
