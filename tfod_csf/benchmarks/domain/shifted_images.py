"""How many images does a domain guard flag: of its own laboratory, of another one, and of pictures changed on purpose?

    python -m tfod_csf.benchmarks.domain.shifted_images --images_dir=own,own_2 --other=laboratory_b,laboratory_c

Folders hold images annotated in LabelImg, in a folder per patient. No model takes part: the boxes of white cells and
erythrocytes are those that people have drawn; in brackets is what is flagged when no cell is found at all.

Own images: patients are dealt into five folds; those of each are judged by a guard made of the others. Others are
judged by the guard of all own images. Changed are images of the first fold, judged by the guard of the others.
"""

import argparse
import dataclasses
import io
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from tfod_csf.cell_classes import STUDY_CLASSES
from tfod_csf.domain import training_domain
from tfod_csf.domain.input_scale import input_scale
from tfod_csf.domain.picture_statistics import NO_CELLS, CellBoxes, measure
from tfod_csf.domain.training_domain import TrainingDomain
from tfod_csf.inference.labeled import ground_truth
from tfod_csf.label_map import label_map_from_names
from tfod_csf.problems import ProblemLog
from tfod_csf.study import patients

NUM_FOLDS = 5
_LABEL_MAP = label_map_from_names(STUDY_CLASSES)


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image with its cells.

    Attributes:
      pixels: uint8 [H, W, 3].
      cells: boxes in its pixels.
      group: whose it is.
    """

    pixels: np.ndarray
    cells: CellBoxes
    group: str

    def statistics(self, info: dict, with_cells: bool = True) -> np.ndarray:
        """[S] of the image to a network with this model.json."""
        height, width = self.pixels.shape[:2]
        return measure(self.pixels, self.cells if with_cells else NO_CELLS, input_scale(info, width, height))


def magnified(picture: Picture, factor: float) -> Picture:
    """Cells so many times as large on an image of the same size: its middle, or a smaller copy with mirrored rims."""
    height, width = picture.pixels.shape[:2]
    image = Image.fromarray(picture.pixels)
    if factor > 1:
        top, left = (height - height / factor) / 2, (width - width / factor) / 2
        box = (left, top, width - left, height - top)
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=box))
        moved = [(boxes - [top, left, top, left]) * factor for boxes in picture.cells]
        shown = [np.clip(boxes, 0, [height, width, height, width]) for boxes in moved]
        whole = [_areas(part) > 0.6 * _areas(boxes) for part, boxes in zip(shown, moved, strict=True)]
        return dataclasses.replace(
            picture, pixels=pixels, cells=CellBoxes(*(part[kept] for part, kept in zip(shown, whole, strict=True)))
        )
    small = np.asarray(image.resize((round(width * factor), round(height * factor)), Image.Resampling.BOX))
    missing = (0, height - small.shape[0]), (0, width - small.shape[1]), (0, 0)
    cells = CellBoxes(*(boxes * factor for boxes in picture.cells))
    return dataclasses.replace(picture, pixels=np.pad(small, missing, mode="symmetric"), cells=cells)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)


def _of_image(change: Callable[[Image.Image, float], Image.Image]) -> Callable[[Picture, float], Picture]:
    def changed(picture: Picture, strength: float) -> Picture:
        pixels = np.asarray(change(Image.fromarray(picture.pixels), strength).convert("RGB"))
        return dataclasses.replace(picture, pixels=pixels)

    return changed


def _of_pixels(change: Callable[[np.ndarray, float], np.ndarray]) -> Callable[[Picture, float], Picture]:
    def changed(picture: Picture, strength: float) -> Picture:
        pixels = np.clip(change(picture.pixels.astype(np.float32), strength), 0, 255).astype(np.uint8)
        return dataclasses.replace(picture, pixels=pixels)

    return changed


def _jpeg(image: Image.Image, quality: float) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(quality))
    return Image.open(buffer)


def _stain(pixels: np.ndarray, factor: float) -> np.ndarray:
    """Optical densities times a factor."""
    background = np.maximum(np.percentile(pixels.reshape(-1, 3), 90, axis=0), 1)
    return background * np.clip(pixels / background, 1 / 255, 1.5) ** factor


def _noise(pixels: np.ndarray, gray_levels: float) -> np.ndarray:
    return pixels + np.random.default_rng(0).normal(0, gray_levels, pixels.shape)


# {what is changed: (how, strengths)}
CHANGES: dict[str, tuple[Callable[[Picture, float], Picture], tuple[float, ...]]] = {
    "nothing": (lambda picture, _: picture, (0,)),
    "size of the cells x": (magnified, (0.5, 0.7, 0.85, 1.2, 1.5, 2)),
    "blur (sigma in pixels)": (
        _of_image(lambda image, sigma: image.filter(ImageFilter.GaussianBlur(sigma))),
        (1, 1.5, 2, 3, 4),
    ),
    "blue x": (_of_pixels(lambda pixels, factor: pixels * [1, 1, factor]), (0.8, 0.9, 0.95, 1.05)),
    "brightness x": (_of_pixels(lambda pixels, factor: pixels * factor), (0.6, 0.75, 0.9, 1.1, 1.25)),
    "stain x": (_of_pixels(_stain), (0.5, 0.7, 0.85, 1.2, 1.5)),
    "saturation x": (
        _of_image(lambda image, factor: ImageEnhance.Color(image).enhance(factor)),
        (0, 0.5, 0.75, 1.3),
    ),
    "JPEG quality": (_of_image(_jpeg), (50, 20, 10, 5)),
    "noise (gray levels)": (_of_pixels(_noise), (3, 6, 12)),
}


def pictures(folders: Sequence[str]) -> Iterator[Picture]:
    """Annotated images of folders, one in memory at a time; the patients of two folders are different ones."""
    for folder in folders:
        problems = ProblemLog(quiet=True)
        pairs = patients.find_pairs(folder, None, problems)
        for image in ground_truth.read_labeled_folder(pairs, _LABEL_MAP, problems, None):
            named = ~image.is_ignored
            names = [_LABEL_MAP.name_of(int(class_id)) for class_id in image.classes[named]]
            yield Picture(image.pixels, CellBoxes.of(image.boxes[named], names), f"{folder}/{image.patient_id}")


def flagged(domain: TrainingDomain, statistics: Sequence[np.ndarray]) -> float:
    """Share of images that are out of a domain."""
    return float(np.mean([not domain.judge(one).in_domain for one in statistics]))


def fold_of(groups: Sequence[str]) -> np.ndarray:
    """[N] fold of each image; patients are dealt in their order."""
    order = {group: number for number, group in enumerate(sorted(set(groups)))}
    return np.array([order[group] % NUM_FOLDS for group in groups])


def without_fold(statistics: np.ndarray, groups: Sequence[str], fold: int) -> TrainingDomain:
    """The domain of the images of all other folds."""
    others = fold_of(groups) != fold
    return training_domain.describe(statistics[others], [group for group, kept in zip(groups, others) if kept])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tfod_csf.benchmarks.domain.shifted_images", description=__doc__)
    parser.add_argument("--images_dir", required=True, help="folders of the own laboratory, separated by commas")
    parser.add_argument("--other", default="", help="folders of other laboratories, each on its own")
    parser.add_argument("--min_dimension", type=int, default=480, help="of the network's input")
    parser.add_argument("--max_dimension", type=int, default=640, help="of the network's input")
    parser.add_argument("--changed", type=int, default=60, help="images that are changed")
    options = parser.parse_args(arguments)
    info = {"input_size": {"min_dimension": options.min_dimension, "max_dimension": options.max_dimension}}
    own_folders = options.images_dir.split(",")
    measured = [(picture.statistics(info), picture.group) for picture in pictures(own_folders)]
    statistics, groups = np.array([one for one, _ in measured]), [group for _, group in measured]
    folds = fold_of(groups)
    own = [flagged(without_fold(statistics, groups, fold), statistics[folds == fold]) for fold in range(NUM_FOLDS)]
    sizes = np.bincount(folds, minlength=NUM_FOLDS)
    print(f"own, {len(groups)} images of {len(set(groups))} patients: {np.average(own, weights=sizes):.3f} flagged")
    domain = training_domain.describe(statistics, groups)
    for folder in filter(None, options.other.split(",")):
        found = [(one.statistics(info), one.statistics(info, with_cells=False)) for one in pictures([folder])]
        print(f"{folder}, {len(found)} images: {_both(domain, found)} flagged", flush=True)
    wanted = np.flatnonzero(folds == 0)
    wanted = set(wanted[:: max(1, len(wanted) // options.changed)].tolist())
    chosen = [picture for number, picture in enumerate(pictures(own_folders)) if number in wanted]
    guard = without_fold(statistics, groups, 0)
    for name, (change, strengths) in CHANGES.items():
        cells = []
        for strength in strengths:
            changed = [change(picture, strength) for picture in chosen]
            found = [(one.statistics(info), one.statistics(info, with_cells=False)) for one in changed]
            cells.append(f"{strength:g}: {_both(guard, found)}")
        print(f"{name}: {', '.join(cells)}", flush=True)


def _both(domain: TrainingDomain, found: Sequence[tuple[np.ndarray, np.ndarray]]) -> str:
    with_cells, without = (flagged(domain, part) for part in zip(*found, strict=True))
    return f"{with_cells:.2f} ({without:.2f})"


if __name__ == "__main__":
    main()
