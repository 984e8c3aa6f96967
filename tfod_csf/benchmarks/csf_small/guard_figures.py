"""How many images does csf_small's domain guard flag, with the cells that csf_small finds, and what does it miss?

    python -m tfod_csf.benchmarks.csf_small.guard_figures --data_dir=DATA --images_dir=DRAWN --model=csf_small --fold=0

Judged are the images of a fold that the model was not trained on, by laboratory; the images of other folders, such as
slides drawn by synthesize; and images of the fold changed on purpose: one white cell each, of the three classes as
often. Of these the table says too how many of the labeled cells are counted under a wrong class, and how many of those
are on an image that is not flagged: mistakes that nothing announces.
"""

import argparse
import dataclasses
import functools
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from tfod_csf import cell_classes, np_box_ops
from tfod_csf.benchmarks.csf_small import source_images
from tfod_csf.benchmarks.csf_small.source_images import SourceImage
from tfod_csf.benchmarks.domain import shifted_images
from tfod_csf.benchmarks.domain.shifted_images import Picture
from tfod_csf.domain.picture_statistics import CellBoxes
from tfod_csf.domain.training_domain import Judgment
from tfod_csf.errors import UserError
from tfod_csf.inference import domain_guard
from tfod_csf.inference.cell_selection import Cells, ScoreThresholds, select_cells
from tfod_csf.inference.detector import Detector
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.model_folder import ModelFolder
from tfod_csf.problems import ProblemLog
from tfod_csf.progress_bar import progress_bar
from tfod_csf.study import image_io, patients
from tfod_csf.study.labelimg import LabeledObject

_Item = TypeVar("_Item")
_SAME_CELL = 0.5  # IoU of a labeled cell and a found one


class GuardFiguresError(UserError):
    """A model without a guard, or images that are not there."""


@dataclasses.dataclass(frozen=True)
class JudgedImage:
    """An image with what the guard said, and what became of its labeled white cell.

    Attributes:
      judgment: of the guard.
      counted_as: a class, "unknown", or "" where no cell was found there.
      labeled: the class of the one white cell; "" where there is not one.
    """

    judgment: Judgment
    counted_as: str = ""
    labeled: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether the white cell was counted under another class than its own; unknown is none."""
        return bool(self.labeled) and self.counted_as not in ("", cell_classes.UNKNOWN, self.labeled)


def _of_image(change: Callable[[Image.Image, float], Image.Image]) -> Callable[[Picture, float], Picture]:
    def changed(picture: Picture, strength: float) -> Picture:
        return dataclasses.replace(picture, pixels=np.asarray(change(Image.fromarray(picture.pixels), strength)))

    return changed


def _hue_turned(image: Image.Image, degrees: float) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    turned = hue.point([round(level + degrees / 360 * 256) % 256 for level in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def _inverted(image: Image.Image, _: float) -> Image.Image:
    return ImageOps.invert(image)


def _as_shifted(name: str, *strengths: float) -> tuple[Callable[[Picture, float], Picture], tuple[float, ...]]:
    """A change of `shifted_images` in other strengths."""
    return shifted_images.CHANGES[name][0], strengths


# {what is changed: (how, strengths)}
CHANGES = {
    "nothing": _as_shifted("nothing", 0),
    "blur (sigma in pixels)": _as_shifted("blur (sigma in pixels)", 1, 2, 4),
    "size of the cells x": _as_shifted("size of the cells x", 0.5, 0.7, 1.5, 2),
    "hue turned by (degrees)": (_of_image(_hue_turned), (-20, 20, 180)),
    "brightness x": _as_shifted("brightness x", 0.6, 1.25, 1.5),
    "stain x": _as_shifted("stain x", 0.5, 0.7),
    "saturation x (0: gray)": _as_shifted("saturation x", 0, 0.5),
    "inverted": (_of_image(_inverted), (0,)),
    "JPEG quality": _as_shifted("JPEG quality", 20),
    "noise (gray levels)": _as_shifted("noise (gray levels)", 6),
}


class GuardFigures:
    """Judges images with the guard of a model.

    Args:
      detector: the model.
      thresholds: what counts as a cell, and as unknown.

    Raises:
      GuardFiguresError: the model has no guard.
    """

    def __init__(self, detector: ImageDetector, thresholds: ScoreThresholds):
        if not domain_guard.guards_of(detector):
            raise GuardFiguresError(f"{detector.name}: has no domain guard; run describe_domain.")
        self._detector, self._thresholds = detector, thresholds

    def of_file(self, path: pathlib.Path) -> JudgedImage:
        """An image as batch_infer reads it.

        Raises:
          GuardFiguresError: it cannot be read.
        """
        pixels, jpeg = self._read(path)
        return JudgedImage(self._judge(pixels, path.name, jpeg)[1])

    def of_changed(
        self, image: SourceImage, change: Callable[[Picture, float], Picture], strength: float
    ) -> JudgedImage:
        """A changed image with one white cell of the three classes.

        Raises:
          GuardFiguresError: it cannot be read.
        """
        pixels, _ = self._read(image.path)
        (labeled,) = white_cells(image)
        box = np.array([[labeled.ymin, labeled.xmin, labeled.ymax, labeled.xmax]], float)
        changed = change(Picture(pixels, CellBoxes.of(box, [labeled.name]), image.block), strength)
        cells, judgment = self._judge(changed.pixels, image.key)
        return JudgedImage(judgment, counted_as(cells, changed.cells.white), labeled.name)

    def _read(self, path: pathlib.Path) -> tuple[np.ndarray, bytes | None]:
        problems = ProblemLog(quiet=True)
        loaded, _ = image_io.read_image(path, problems, decode_jpeg=self._detector.decode_jpeg)
        if loaded is None:
            raise GuardFiguresError(f"{path}: cannot be read ({problems.problems[-1].reason}).")
        return loaded.pixels, loaded.jpeg

    def _judge(self, pixels: np.ndarray, name: str, jpeg: bytes | None = None) -> tuple[Cells, Judgment]:
        found = self._detector.detect(pixels, name, jpeg=jpeg)
        limit = self._detector.max_detections_per_class
        cells = select_cells(found, self._detector.label_map, self._thresholds, limit)
        judgment = domain_guard.judge(self._detector, pixels, cells.detections.boxes, cells.predicted_class)
        assert judgment is not None, "the detector has a guard"
        return cells, judgment


def white_cells(image: SourceImage) -> list[LabeledObject]:
    """The labeled white cells, those of other types and those that nobody is sure of among them."""
    return [one for one in image.objects if one.name != cell_classes.ERYTHROCYTE]


def counted_as(cells: Cells, labeled: np.ndarray) -> str:
    """Under which class the found cell is counted that lies on a labeled one.

    Args:
      labeled: [1, 4] box, or [0, 4] where it is not on the changed image any more.

    Returns:
      "" where none does.
    """
    if not len(labeled) or not len(cells.detections):
        return ""
    overlaps = np_box_ops.iou(cells.detections.boxes, labeled)[:, 0]
    return cells.counted_as[int(overlaps.argmax())] if overlaps.max() >= _SAME_CELL else ""


def with_one_white_cell(images: Iterable[SourceImage], number: int) -> list[SourceImage]:
    """Images to change: of each of the three classes as many, spread evenly over them; other cells are erythrocytes."""
    of_class: dict[str, list[SourceImage]] = {name: [] for name in cell_classes.WHITE_CELLS}
    for image in images:
        found = white_cells(image)
        if len(found) == 1 and found[0].name in of_class:
            of_class[found[0].name].append(image)
    wanted = number // len(of_class)
    return [image for own in of_class.values() for image in _spread(own, wanted)]


def _spread(items: Sequence[_Item], most: int | None) -> list[_Item]:
    """At most so many of them, at even distances; None for all."""
    if most is None or len(items) <= most:
        return list(items)
    return [items[place * len(items) // most] for place in range(most)]


def row(name: str, judged: Sequence[JudgedImage]) -> str:
    """A line of the table: images, share flagged, aspects, cells counted wrong, and those of them not flagged."""
    flagged = [one for one in judged if not one.judgment.in_domain]
    aspects = Counter(one.judgment.differences[0].aspect for one in flagged)
    first = ", ".join(f"{aspect} {number}" for aspect, number in aspects.most_common(3))
    labeled = [one for one in judged if one.labeled]
    wrong = [one for one in labeled if one.is_wrong]
    silent = sum(one.judgment.in_domain for one in wrong)
    right = sum(one.counted_as == one.labeled for one in labeled)
    outcome = f"{right} | {len(wrong)} | {silent}" if labeled else "| |"
    return f"| {name} | {len(judged)} | {len(flagged) / len(judged):.3f} | {first} | {outcome} |"


HEADER = (
    "| images | number | flagged | largest difference | white cells right | wrong | wrong and not flagged |\n"
    "|---|---|---|---|---|---|---|"
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tfod_csf.benchmarks.csf_small.guard_figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data_dir", type=pathlib.Path, required=True, help="holds pbc_mgg, pbc_dense, bccd_...")
    parser.add_argument("--model", default="csf_small", help="an exported model, or the name of one that ships")
    parser.add_argument("--fold", type=int, default=0, help="of source_images, not in the model's training")
    parser.add_argument("--images_dir", default="", help="other folders with a folder per patient, separated by commas")
    parser.add_argument("--changed", type=int, default=60, help="images that are changed")
    parser.add_argument("--most", type=int, help="of each row, spread evenly over its images; default: all")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints the table."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        model = ModelFolder.open(options.model)
        thresholds = ScoreThresholds(**model.thresholds)
        figures = GuardFigures(Detector.open(model), thresholds)
        images = [one for one in source_images.read_source_images(options.data_dir) if one.fold == options.fold]
        print(HEADER)
        for laboratory in (source_images.PBC, source_images.BCCD):
            own = [one.path for one in images if one.laboratory == laboratory and not one.repeats]
            _print_row(f"{laboratory}, fold {options.fold}", _spread(own, options.most), figures.of_file)
        for folder in filter(None, options.images_dir.split(",")):
            found = patients.find_images(folder, ProblemLog(quiet=True))
            paths = [pathlib.Path(one.path) for one in found]
            _print_row(pathlib.Path(folder).name, _spread(paths, options.most), figures.of_file)
        chosen = with_one_white_cell(
            (one for one in images if one.laboratory == source_images.PBC and not one.repeats), options.changed
        )
        for name, (change, strengths) in CHANGES.items():
            for strength in strengths:
                kind = f"{name} {strength:g}" if any(strengths) else name
                _print_row(kind, chosen, functools.partial(figures.of_changed, change=change, strength=strength))
    except UserError as error:
        parser.exit(1, f"{error}\n")


def _print_row(name: str, images: Sequence, judge: Callable) -> None:
    if not images:
        raise GuardFiguresError(f"{name}: there are no images.")
    print(row(name, [judge(one) for one in progress_bar(images, unit="image", desc=name)]), flush=True)


if __name__ == "__main__":
    main()
