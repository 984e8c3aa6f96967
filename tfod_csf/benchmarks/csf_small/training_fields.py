"""Training fields of csf_small: parts of source images at random scales, beside each other, with white cells pasted in.

Every field is a square JPEG of `FIELD_PX` with LabelImg XML, which create_csf_tf_record takes as any study. Scale 1 is
that of a whole image at the network's input: `FIELD_PX` for the shorter side of a source image. One seed gives one set
of fields.

Pixel boxes in this module are float [M, 4] ymin, xmin, ymax, xmax.
"""

import dataclasses
import pathlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageFilter

from tfod_csf import cell_classes
from tfod_csf.benchmarks.csf_small.source_images import NOT_SURE, SourceImage
from tfod_csf.progress_bar import progress_bar
from tfod_csf.study import labelimg
from tfod_csf.study.labelimg import Annotation, LabeledObject

FIELD_PX = 320
_WHOLE = 0.6  # an object of which so much is in the field keeps its name
_TRACE = 0.15  # with less it is background; between, training takes no notice of it
_COVERED = 0.5  # a red cell covered so far by a pasted cell is gone
_TOUCHING = 0.1  # of a box; a cell is pasted where it covers no more of another white cell
_FEATHER_PX = 2.0
_MOST_SPARSE = 5  # white cells, and red ones, of a part that is glass
_UNEVEN, _GRAIN = 6.0, 1.5  # gray levels: how far the light of glass changes across a part, and its noise
_THUMBNAIL = 64  # px; the glass's color is that of a small copy
_MARGIN = 0.03  # of a cell's box, around the ellipse that is cut out


@dataclasses.dataclass(frozen=True)
class FieldSettings:
    """How fields are composed.

    Attributes:
      number: of fields.
      seed: of all random choices.
      scales: smallest and largest scale of a part; their logarithm is uniform.
      mosaic: share of fields that are made of 2 x 2 parts.
      pasted: largest number of white cells pasted into a part of which every red cell is boxed.
      dense: share of parts from densely boxed images.
      sparse: share of parts that are glass with a few cut-out cells, as cerebrospinal fluid has few red cells. The
        other parts are of images drawn class by class, with whatever their laboratory has boxed in them.
      stain: strength of the stain jitter: standard deviation of the logarithms of the factors that a part's optical
        densities get, color by color; 0: none.
      density: smallest and largest factor of all of a part's densities; its logarithm is uniform. A pale stain or a
        bright camera has small ones.
      blur: largest standard deviation, px, of the blur of half of the parts; other cameras are less sharp.
      changed: share of parts that stain, density and blur apply to; the others stay as they were photographed.
    """

    number: int
    seed: int = 0
    scales: tuple[float, float] = (0.6, 1.7)
    mosaic: float = 0.5
    pasted: int = 0
    dense: float = 0.4
    sparse: float = 0.0
    stain: float = 0.0
    density: tuple[float, float] = (1.0, 1.0)
    blur: float = 0.0
    changed: float = 1.0


@dataclasses.dataclass
class _Part:
    """Pixels uint8 [h, w, 3] with objects in their frame."""

    pixels: np.ndarray
    objects: list[LabeledObject]


class FieldComposer:
    """Composes fields from the images of one training side.

    Args:
      images: the source images; those without densely boxed red cells too.
      settings: how.
    """

    def __init__(self, images: Sequence[SourceImage], settings: FieldSettings):
        self._settings = settings
        self._of_class: Mapping[tuple[str, str], list[tuple[SourceImage, int]]] = _cells_by_class(images)
        self._dense: Mapping[str, list[SourceImage]] = _dense_by_laboratory(images)

    def field(self, number: int) -> _Part:
        """The field of this number; it does not depend on the others."""
        rng = np.random.default_rng([self._settings.seed, number])
        if rng.random() >= self._settings.mosaic:
            return self._part(rng, FIELD_PX, FIELD_PX)
        row, column = rng.integers(FIELD_PX // 3, FIELD_PX - FIELD_PX // 3, 2)
        canvas = _Part(np.zeros((FIELD_PX, FIELD_PX, 3), np.uint8), [])
        for top, bottom in ((0, row), (row, FIELD_PX)):
            for left, right in ((0, column), (column, FIELD_PX)):
                part = self._part(rng, bottom - top, right - left)
                canvas.pixels[top:bottom, left:right] = part.pixels
                canvas.objects += [_moved(one, left, top) for one in part.objects]
        return canvas

    def _part(self, rng: np.random.Generator, height: int, width: int) -> _Part:
        """A part as another laboratory's stain and camera may show it."""
        part, settings = self._plain_part(rng, height, width), self._settings
        if settings.changed < 1 and rng.random() >= settings.changed:
            return part
        if settings.stain or settings.density != (1.0, 1.0):
            part.pixels = _restained(rng, part.pixels, settings.stain, settings.density)
        if settings.blur and rng.random() < 0.5:
            blurred = Image.fromarray(part.pixels).filter(ImageFilter.GaussianBlur(rng.uniform(0, settings.blur)))
            part.pixels = np.array(blurred)
        return part

    def _plain_part(self, rng: np.random.Generator, height: int, width: int) -> _Part:
        """A part of one source image, turned, with pasted cells where its own boxes are complete."""
        scale = float(np.exp(rng.uniform(*np.log(self._settings.scales))))
        kind = rng.random()
        if kind < self._settings.dense:
            image = _choice(rng, self._dense[_choice(rng, sorted(self._dense))])
            part = _window(rng, image, None, scale, height, width)
            for _ in range(rng.integers(0, self._settings.pasted + 1)):
                self._paste(rng, part, image.laboratory, scale)
            return part
        if kind < self._settings.dense + self._settings.sparse:
            return self._sparse_part(rng, scale, height, width)
        white = sorted(key for key in self._of_class if key[1] != cell_classes.ERYTHROCYTE)
        image, target = _choice(rng, self._of_class[_choice(rng, white)])
        return _window(rng, image, image.objects[target], scale, height, width)

    def _sparse_part(self, rng: np.random.Generator, scale: float, height: int, width: int) -> _Part:
        """Glass of one image with cut-out cells of its laboratory, half of the time red cells too."""
        laboratory = _choice(rng, sorted({laboratory for laboratory, _ in self._of_class}))
        image, _ = _choice(rng, self._of_class[_choice(rng, sorted(k for k in self._of_class if k[0] == laboratory))])
        slope = rng.uniform(-_UNEVEN, _UNEVEN, (2, 1, 1, 1))
        y, x = np.linspace(-1, 1, height)[:, None, None], np.linspace(-1, 1, width)[None, :, None]
        glass = _glass_color(_pixels(image)) + slope[0] * y + slope[1] * x
        glass = glass + rng.normal(0, _GRAIN, (height, width, 1))
        part = _Part(np.clip(np.round(glass), 0, 255).astype(np.uint8), [])
        for _ in range(rng.integers(1, _MOST_SPARSE + 1)):
            self._paste(rng, part, laboratory, scale)
        if rng.random() < 0.5:
            for _ in range(rng.integers(0, _MOST_SPARSE + 1)):
                self._paste(rng, part, laboratory, scale, cell_classes.ERYTHROCYTE)
        return part

    def _paste(
        self, rng: np.random.Generator, part: _Part, laboratory: str, scale: float, name: str | None = None
    ) -> None:
        """One cell of the laboratory onto a free place, if there is one; without a name a white cell of any class."""
        white = sorted(key for key in self._of_class if key[0] == laboratory and key[1] != cell_classes.ERYTHROCYTE)
        image, target = _choice(rng, self._of_class[(laboratory, name) if name else _choice(rng, white)])
        cell = _cut_out(image, image.objects[target], scale, rng)
        height, width = cell.shape[:2]
        if height >= part.pixels.shape[0] or width >= part.pixels.shape[1]:
            return
        top = int(rng.integers(0, part.pixels.shape[0] - height))
        left = int(rng.integers(0, part.pixels.shape[1] - width))
        margin = round(_MARGIN * min(height, width))
        new = LabeledObject(
            image.objects[target].name, left + margin, top + margin, left + width - margin, top + height - margin
        )
        is_red = new.name == cell_classes.ERYTHROCYTE
        in_the_way = part.objects if is_red else [o for o in part.objects if o.name != cell_classes.ERYTHROCYTE]
        if any(max(_covered(one, new), _covered(new, one)) > _TOUCHING for one in in_the_way):
            return
        place = part.pixels[top : top + height, left : left + width]
        shift = _glass_color(Image.fromarray(part.pixels)) - _glass_color(_pixels(image))
        colors = np.clip(cell[..., :3] + shift, 0, 255)
        part.pixels[top : top + height, left : left + width] = np.round(
            colors * cell[..., 3:] + place * (1 - cell[..., 3:])
        ).astype(np.uint8)
        part.objects[:] = [one for one in part.objects if _covered(one, new) < _COVERED] + [new]


def write_fields(images: Sequence[SourceImage], settings: FieldSettings, folder: pathlib.Path) -> None:
    """Writes the fields and their XML into `folder`, a hundred to a subfolder, so that no folder is large."""
    composer = FieldComposer(images, settings)
    for number in progress_bar(range(settings.number), unit="field", total=settings.number, desc="composing"):
        part = composer.field(number)
        below = folder / f"part_{number // 100:03d}"
        below.mkdir(parents=True, exist_ok=True)
        path = below / f"field_{number:06d}.jpg"
        Image.fromarray(part.pixels).save(path, quality=92)
        labelimg.write_annotation(
            Annotation(path, path.name, FIELD_PX, FIELD_PX, part.objects, folder=below.name), path.with_suffix(".xml")
        )


def _cells_by_class(images: Sequence[SourceImage]) -> dict[tuple[str, str], list[tuple[SourceImage, int]]]:
    """{(laboratory, class): [(image, number of the object)]}: white cells, and whole red cells that stand alone."""
    found = defaultdict(list)
    for image in images:
        for number, one in enumerate(image.objects):
            if one.name in (*cell_classes.WHITE_CELLS, cell_classes.UNKNOWN) or _is_red_and_alone(image, one):
                found[image.laboratory, one.name].append((image, number))
    return dict(found)


def _is_red_and_alone(image: SourceImage, one: LabeledObject) -> bool:
    if one.name != cell_classes.ERYTHROCYTE or not image.is_dense:
        return False
    if min(one.xmax - one.xmin, one.ymax - one.ymin) < 0.8 * max(one.xmax - one.xmin, one.ymax - one.ymin):
        return False  # cut by the edge, or two cells
    return all(_covered(one, other) < _TOUCHING / 5 for other in image.objects if other is not one)


def _dense_by_laboratory(images: Sequence[SourceImage]) -> dict[str, list[SourceImage]]:
    found = defaultdict(list)
    for image in images:
        if image.is_dense:
            found[image.laboratory].append(image)
    return dict(found)


def _choice(rng: np.random.Generator, some: Sequence):
    return some[int(rng.integers(len(some)))]


def _moved(one: LabeledObject, left: float, top: float) -> LabeledObject:
    return dataclasses.replace(
        one, xmin=one.xmin + left, ymin=one.ymin + top, xmax=one.xmax + left, ymax=one.ymax + top
    )


def _covered(one: LabeledObject, by: LabeledObject) -> float:
    """Share of one box that another covers."""
    height = min(one.ymax, by.ymax) - max(one.ymin, by.ymin)
    width = min(one.xmax, by.xmax) - max(one.xmin, by.xmin)
    return max(height, 0.0) * max(width, 0.0) / ((one.ymax - one.ymin) * (one.xmax - one.xmin))


def _pixels(image: SourceImage) -> Image.Image:
    with Image.open(image.path) as opened:
        return opened.convert("RGB")


def _glass_color(pixels: Image.Image) -> np.ndarray:
    """Median color [3] of the lightest third of the image: the glass between the cells."""
    colors = np.asarray(pixels.resize((_THUMBNAIL, _THUMBNAIL)), float).reshape(-1, 3)
    gray = colors.sum(axis=1)
    return np.median(colors[gray >= np.percentile(gray, 67)], axis=0)


def _restained(
    rng: np.random.Generator, pixels: np.ndarray, strength: float, density: tuple[float, float]
) -> np.ndarray:
    """The part [h, w, 3] as if another laboratory had stained it and lit it otherwise.

    A stain absorbs a share of the light (Beer and Lambert), so what changes are optical densities, against the glass:
    all of them by a factor within `density`, those of every color by one of their own, and a little of one color goes
    over into another. The glass gets another tint and brightness.
    """
    glass = _glass_color(Image.fromarray(pixels)) + 1
    densities = -np.log((pixels + 1.0) / glass)
    factors = np.exp(rng.uniform(*np.log(density)) + rng.normal(0, strength, 3))
    mixing = np.diag(factors) + rng.normal(0, strength / 2, (3, 3)) * (1 - np.eye(3)) * factors.mean()
    light = np.minimum(glass * np.exp(rng.normal(0, strength / 2) + rng.normal(0, strength / 4, 3)), 256)
    return np.clip(np.round(light * np.exp(-densities @ mixing) - 1), 0, 255).astype(np.uint8)


def _window(
    rng: np.random.Generator, image: SourceImage, target: LabeledObject | None, scale: float, height: int, width: int
) -> _Part:
    """A window of the image at this scale, turned by a multiple of 90 degrees and perhaps mirrored.

    Args:
      target: an object whose center is in the window; None: anywhere.
      height, width: of the part, px. Where the image does not reach, it is filled with the image's median color.
    """
    pixels = _pixels(image)
    factor = scale * FIELD_PX / min(pixels.size)  # part's pixels per image pixel
    times, mirror = int(rng.integers(4)), bool(rng.integers(2))
    window = np.array([height, width] if times % 2 == 0 else [width, height]) / factor
    low = _low_corner(rng, np.array(pixels.size[::-1]), window, target)
    box = (low[1], low[0], low[1] + window[1], low[0] + window[0])
    size = tuple(round(side * factor) for side in window[::-1])
    array = _filled_crop(pixels, box, size, _glass_color(pixels))
    objects = [_scaled(one, low, factor) for one in image.objects]
    objects = [kept for one in objects if (kept := _within(one, *array.shape[:2])) is not None]
    return _turned(_Part(array, objects), times, mirror)


def _low_corner(rng: np.random.Generator, size: np.ndarray, window: np.ndarray, target: LabeledObject | None):
    """Top and left of the window, px of the image: inside the image as far as it fits, the target's center inside."""
    low, high = np.minimum(0, size - window), np.maximum(0, size - window)
    if target is not None:
        center = np.array([target.ymin + target.ymax, target.xmin + target.xmax]) / 2
        low, high = np.maximum(low, center - 0.8 * window), np.minimum(high, center - 0.2 * window)
        low = np.minimum(low, high)
    return rng.uniform(low, high)


def _filled_crop(pixels: Image.Image, box: tuple, size: tuple[int, int], fill: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 3]: the box of the image, resized, with `fill` where it reaches beyond the image."""
    left, top = max(box[0], 0.0), max(box[1], 0.0)
    right, bottom = min(box[2], pixels.width), min(box[3], pixels.height)
    x_factor, y_factor = size[0] / (box[2] - box[0]), size[1] / (box[3] - box[1])
    x, y = round((left - box[0]) * x_factor), round((top - box[1]) * y_factor)
    inner = (max(round((right - left) * x_factor), 1), max(round((bottom - top) * y_factor), 1))
    canvas = np.empty((size[1], size[0], 3), np.uint8)
    canvas[:] = np.round(fill)
    resized = np.asarray(pixels.resize(inner, Image.Resampling.BILINEAR, (left, top, right, bottom)))
    canvas[y : y + inner[1], x : x + inner[0]] = resized[: size[1] - y, : size[0] - x]
    return canvas


def _scaled(one: LabeledObject, low: np.ndarray, factor: float) -> LabeledObject:
    moved = _moved(one, -low[1], -low[0])
    return dataclasses.replace(
        moved, xmin=moved.xmin * factor, ymin=moved.ymin * factor, xmax=moved.xmax * factor, ymax=moved.ymax * factor
    )


def _within(one: LabeledObject, height: int, width: int) -> LabeledObject | None:
    """The object clipped to the part; `NOT_SURE` where little of it is left, None where next to nothing is."""
    clipped = dataclasses.replace(
        one, xmin=max(one.xmin, 0), ymin=max(one.ymin, 0), xmax=min(one.xmax, width), ymax=min(one.ymax, height)
    )
    if clipped.xmax - clipped.xmin < 2 or clipped.ymax - clipped.ymin < 2:
        return None
    share = _covered(one, clipped)
    if share < _TRACE:
        return None
    return clipped if share >= _WHOLE else dataclasses.replace(clipped, name=NOT_SURE)


def _turned(part: _Part, times: int, mirror: bool) -> _Part:
    """Mirrored left to right if so, then turned counterclockwise `times` times by 90 degrees."""
    pixels, objects = part.pixels, part.objects
    if mirror:
        width = pixels.shape[1]
        pixels = pixels[:, ::-1]
        objects = [dataclasses.replace(one, xmin=width - one.xmax, xmax=width - one.xmin) for one in objects]
    for _ in range(times):
        width = pixels.shape[1]
        pixels = np.rot90(pixels)
        objects = [
            dataclasses.replace(one, ymin=width - one.xmax, ymax=width - one.xmin, xmin=one.ymin, xmax=one.ymax)
            for one in objects
        ]
    return _Part(np.ascontiguousarray(pixels), list(objects))


def _cut_out(image: SourceImage, one: LabeledObject, scale: float, rng: np.random.Generator) -> np.ndarray:
    """float [h, w, 4]: the cell's colors 0 .. 255 and its opacity 0 .. 1, an ellipse with a soft rim, turned."""
    pixels = _pixels(image)
    factor = scale * FIELD_PX / min(pixels.size)
    x_margin, y_margin = _MARGIN * (one.xmax - one.xmin), _MARGIN * (one.ymax - one.ymin)
    box = (one.xmin - x_margin, one.ymin - y_margin, one.xmax + x_margin, one.ymax + y_margin)
    size = tuple(max(8, round(side * factor)) for side in (box[2] - box[0], box[3] - box[1]))
    colors = _filled_crop(pixels, box, size, _glass_color(pixels))
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    inside = ((2 * x / size[0] - 1) ** 2 + (2 * y / size[1] - 1) ** 2 <= 0.95).astype(np.uint8) * 255
    opacity = np.asarray(Image.fromarray(inside).filter(ImageFilter.GaussianBlur(_FEATHER_PX))) / 255
    cell = np.dstack([colors.astype(float), opacity])
    return np.rot90(cell[:, ::-1] if rng.integers(2) else cell, int(rng.integers(4)))
