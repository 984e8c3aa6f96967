"""How well the anchors of a config fit the labeled boxes, without TensorFlow.

The first stage learns an anchor as a cell from an IoU of `GOOD` on; a cell without such an anchor is learned from its
best one alone. Box and anchor are compared as if they had the same center, so what the distance of the anchors' centers
takes away is not in these numbers.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tfod_csf.config.detection_limits import input_scales
from tfod_csf.config.pipeline_config import ConfigError
from tfod_csf.config.protos import anchor_generator_pb2, faster_rcnn_pb2, image_resizer_pb2
from tfod_csf.wording import listed

_RESIZERS = ("keep_aspect_ratio_resizer", "fixed_shape_resizer", "identity_resizer")
GOOD, POOR = 0.7, 0.5  # TFOD's thresholds of the first stage's targets are 0.7 and 0.3; half is a poor start


@dataclasses.dataclass(frozen=True)
class Anchors:
    """Shapes of a config's anchors.

    Attributes:
      sizes: float64 [A, 2] width, height in pixels of the network's input.
      resizer: of the config; says what becomes of an image.
      is_of_model: the config starts from a whole model, whose weights fit its own anchors only.
    """

    sizes: np.ndarray
    resizer: image_resizer_pb2.ImageResizer
    is_of_model: bool = False

    def scales(self, width: int, height: int) -> tuple[float, float]:
        """Factors (x, y) from pixels of an image to pixels of the network's input, see `input_scales`."""
        return input_scales(self.resizer, width, height)


@dataclasses.dataclass(frozen=True)
class ClassSizes:
    """Boxes of one class.

    Attributes:
      sides: float64 [B] sqrt(width * height) of the different boxes, in pixels of the network's input, or of the image
        where there is no config.
      counts: int64 [B] how many there are of each.
      widths, heights: (5 %, median, 95 %) in pixels of the original images.
      best: float64 [B] IoU with the best anchor; None without a config.
    """

    sides: np.ndarray
    counts: np.ndarray
    widths: tuple[int, int, int]
    heights: tuple[int, int, int]
    best: np.ndarray | None

    @property
    def total(self) -> int:
        """Number of boxes."""
        return int(self.counts.sum())

    def share_of(self, is_meant: np.ndarray) -> float:
        """Share of the boxes, 0 .. 1, for which is_meant [B] holds."""
        return float(self.counts[is_meant].sum() / self.counts.sum())

    @property
    def good(self) -> float | None:
        """Share of the boxes with an anchor of IoU `GOOD` or more; None without a config."""
        return None if self.best is None else self.share_of(self.best >= GOOD)

    @property
    def poor(self) -> float | None:
        """Share of the boxes without an anchor of IoU `POOR`; None without a config."""
        return None if self.best is None else self.share_of(self.best < POOR)


def anchors_of(model: faster_rcnn_pb2.FasterRcnn) -> Anchors:
    """The anchors that a config's first stage has.

    Raises:
      ConfigError: a kind of anchors or of resizer that this program does not train with, or no anchor.
    """
    generator = model.first_stage_anchor_generator
    kind = generator.WhichOneof("anchor_generator_oneof")
    if kind == "grid_anchor_generator":
        grid = generator.grid_anchor_generator
        sizes = _sizes(grid.scales, grid.aspect_ratios, grid.width, grid.height)
    elif kind == "multiscale_anchor_generator":
        sizes = _pyramid_sizes(generator)
    else:
        raise ConfigError(
            f"model.faster_rcnn.first_stage_anchor_generator: {kind or 'is not given'}; expected grid_anchor_generator "
            "or multiscale_anchor_generator."
        )
    if not len(sizes):
        raise ConfigError(f"model.faster_rcnn.first_stage_anchor_generator.{kind}: needs scales and aspect_ratios.")
    resizer = model.image_resizer.WhichOneof("image_resizer_oneof")
    if resizer not in _RESIZERS:
        raise ConfigError(
            f"model.faster_rcnn.image_resizer: {resizer or 'is not given'}; expected {listed(_RESIZERS)}."
        )
    return Anchors(sizes, model.image_resizer)


def _pyramid_sizes(generator: anchor_generator_pb2.AnchorGenerator) -> np.ndarray:
    pyramid = generator.multiscale_anchor_generator
    scales = [2 ** (octave / pyramid.scales_per_octave) for octave in range(pyramid.scales_per_octave)]
    sides = [pyramid.anchor_scale * 2**level for level in range(pyramid.min_level, pyramid.max_level + 1)]
    return np.concatenate([_sizes(scales, pyramid.aspect_ratios, side, side) for side in sides])


def _sizes(scales: Iterable[float], ratios: Iterable[float], width: float, height: float) -> np.ndarray:
    """[A, 2] width, height of every scale with every aspect ratio, width divided by height."""
    return np.array([(s * r**0.5 * width, s / r**0.5 * height) for r in ratios for s in scales], np.float64)


def best_iou(sizes: np.ndarray, anchor_sizes: np.ndarray) -> np.ndarray:
    """[B] largest IoU of boxes [B, 2] with anchors [A, 2] (width, height) of the same center.

    >>> best_iou(np.array([[10.0, 10.0], [20.0, 5.0]]), np.array([[10.0, 10.0], [20.0, 20.0]])).round(3).tolist()
    [1.0, 0.333]
    """
    shared = np.minimum(sizes[:, np.newaxis], anchor_sizes).prod(axis=-1)
    together = sizes.prod(axis=-1)[:, np.newaxis] + anchor_sizes.prod(axis=-1) - shared
    return (shared / together).max(axis=1)


def class_sizes(box_sizes: Mapping[tuple, int], names: Sequence[str], anchors: Anchors | None) -> dict[str, ClassSizes]:
    """Sizes of each class's boxes, and their best anchors.

    Args:
      box_sizes: `Survey.box_sizes`.
      names: classes in the order in which they are shown.
    """
    by_class: dict[str, list[tuple]] = defaultdict(list)
    for (name, *numbers), count in sorted(box_sizes.items()):
        by_class[name].append((*numbers, count))
    return {name: _sizes_of_class(by_class[name], anchors) for name in names if by_class[name]}


def _sizes_of_class(rows: Sequence[tuple], anchors: Anchors | None) -> ClassSizes:
    table = np.array(rows, np.float64)  # image width, image height, box width, box height, count
    sizes, counts = np.maximum(table[:, 2:4], 1), table[:, 4].astype(np.int64)
    widths, heights = (_quantiles(table[:, column], counts) for column in (2, 3))
    best = None
    if anchors is not None:
        images, image_of = np.unique(table[:, :2], axis=0, return_inverse=True)
        factors = np.array([anchors.scales(int(width), int(height)) for width, height in images])
        sizes = sizes * factors[image_of.ravel()]
        best = best_iou(sizes, anchors.sizes)
    return ClassSizes(np.sqrt(sizes.prod(axis=1)), counts, widths, heights, best)


def _quantiles(lengths: np.ndarray, counts: np.ndarray) -> tuple[int, int, int]:
    order = np.argsort(lengths)
    upto = np.cumsum(counts[order])
    low, middle, high = (int(lengths[order][np.searchsorted(upto, q * upto[-1])]) for q in (0.05, 0.5, 0.95))
    return low, middle, high
