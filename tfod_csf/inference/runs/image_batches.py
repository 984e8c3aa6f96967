"""Consecutive images of one size that a model takes at a time; which they are depends on the images alone."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tfod_csf.detections import Detections, DetectionsError
from tfod_csf.inference.image_detector import BatchDetector, DetectionFailedError, ImageDetector
from tfod_csf.inference.runs import image_cells
from tfod_csf.inference.runs.image_reading import ReadImage
from tfod_csf.inference.runs.image_workers import ImageWorkers
from tfod_csf.study.image_io import LoadedImage
from tfod_csf.study.patients import ImageFile
from tfod_csf.study.tile_grid import TileSettings


class Given(NamedTuple):
    """What a model gave for an image in a batch, and the image's share of the time in seconds."""

    detections: Detections
    seconds: float


class BatchedImage(NamedTuple):
    """An image whose turn it is.

    Attributes:
      read: the image.
      ticket: of `ImageWorkers.read`.
      given: {model: what it gave}, of the models that had this image in a batch.
    """

    read: ReadImage
    ticket: int
    given: Mapping[str, Given]


def batched(
    images: Sequence[ImageFile],
    detectors: Sequence[ImageDetector],
    workers: ImageWorkers,
    refused: Mapping[str, str],
    tiles: TileSettings | None,
) -> Iterator[BatchedImage]:
    """The images in their order, those of one size that lie behind each other after the models had them in a batch.

    Args:
      refused: {image: reason} of images that are not to be opened.
      tiles: how images that are larger than a tile are cut; these are in no batch.
    """
    limit = min((d.max_batch for d in detectors if isinstance(d, BatchDetector) and d.max_batch > 1), default=1)
    waiting: list[tuple[ReadImage, int]] = []
    for image in images:
        read, ticket = workers.read(image, refused.get(image.name, ""), holds_others=bool(waiting))
        if waiting and (len(waiting) == limit or _size(read, tiles) != _size(waiting[0][0], tiles)):
            yield from _examined(waiting, detectors)
            waiting = []
        if limit > 1 and _size(read, tiles) is not None:
            waiting.append((read, ticket))
        else:
            yield BatchedImage(read, ticket, {})
    yield from _examined(waiting, detectors)


def _size(read: ReadImage, tiles: TileSettings | None) -> tuple[int, int] | None:
    """Width and height of an image that may be in a batch; None of another."""
    loaded = read.loaded
    if not isinstance(loaded, LoadedImage) or image_cells.grid_of(tiles, loaded) is not None:
        return None
    return loaded.width, loaded.height


def _examined(waiting: Sequence[tuple[ReadImage, int]], detectors: Sequence[ImageDetector]) -> Iterator[BatchedImage]:
    """Gives the images to the models that take several."""
    given: list[dict[str, Given]] = [{} for _ in waiting]
    if len(waiting) > 1:
        pixels = [read.loaded.pixels for read, _ in waiting if isinstance(read.loaded, LoadedImage)]
        names = [read.image.name for read, _ in waiting]
        for detector in detectors:
            for of_image, found in zip(given, _detect(detector, pixels, names)):
                of_image[detector.name] = found
    for (read, ticket), of_image in zip(waiting, given):
        yield BatchedImage(read, ticket, of_image)


def _detect(detector: ImageDetector, pixels: Sequence, names: Sequence[str]) -> list[Given]:
    """What a model gave for a batch; nothing where it takes no batch, or failed: then it gets each image alone."""
    if not isinstance(detector, BatchDetector) or detector.max_batch == 1:
        return []
    started = time.perf_counter()
    try:
        found = detector.detect_batch(pixels, names)
    except (DetectionFailedError, DetectionsError):
        return []
    seconds = (time.perf_counter() - started) / len(names)
    return [Given(detections, seconds) for detections in found]
