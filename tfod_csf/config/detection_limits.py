"""Settings that follow from the records: detection limits wide enough for crowded fields, anchors of the cells' size.

TFOD's limits (100 boxes per image, 100 detections per class, 100 or 300 in all) silently lose cells when a field of
erythrocytes holds more. The limits here allow for half as many cells again as the most crowded labeled image.
"""

import collections
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tfod_csf.config.box_statistics import BoxStatistics
from tfod_csf.config.protos import anchor_generator_pb2, faster_rcnn_pb2, image_resizer_pb2

# TFOD's zoo models: anchors of 64, 128, 256 and 512 pixels at ratio 1.
ZOO_ANCHOR_SCALES = (0.25, 0.5, 1.0, 2.0)
ANCHOR_BASE_PX = 256.0


@dataclass(frozen=True)
class DetectionLimits:
    """Upper limits per image.

    Attributes:
      max_number_of_boxes: ground truth boxes that are kept of an image in training and evaluation.
      max_detections: detections that leave the second stage, of one class and in all.
      first_stage_max_proposals: proposals that enter the second stage.
    """

    max_number_of_boxes: int
    max_detections: int
    first_stage_max_proposals: int


def limits_for(max_boxes_per_image: int, at_least: int = 300) -> DetectionLimits:
    """Limits for records whose most crowded image holds `max_boxes_per_image` boxes.

    Detections: 1.5 times that; proposals: twice, because several proposals compete for one cell. All limits
    are rounded up to 50 and are `at_least`, the zoo models' 300 unless the network is meant to be small.
    """
    return DetectionLimits(
        max_number_of_boxes=max(at_least, _round_up(max_boxes_per_image, 50)),
        max_detections=max(at_least, _round_up(1.5 * max_boxes_per_image, 50)),
        first_stage_max_proposals=max(at_least, _round_up(2 * max_boxes_per_image, 50)),
    )


def _round_up(value: float, multiple: int) -> int:
    return math.ceil(value / multiple) * multiple


@dataclass(frozen=True)
class BoxSides:
    """Sides of the boxes (sqrt of their area) in pixels of the network's input.

    Attributes:
      small_px: least 5 % quantile of a class.
      median_px: of all boxes.
      large_px: greatest 95 % quantile of a class. By class, so that a hundred erythrocytes do not leave the few
        monocytes without anchors.
    """

    small_px: float
    median_px: float
    large_px: float


def input_scales(resizer: image_resizer_pb2.ImageResizer, width: float, height: float) -> tuple[float, float]:
    """Factors (x, y) from pixels of an image to pixels of the network's input; the input's rounding is ignored.

    Args:
      resizer: keeps the aspect ratio, stretches to a fixed shape, or (any other) leaves the image as it is.
      width: of the image, in pixels.
      height: of the image, in pixels.
    """
    kind = resizer.WhichOneof("image_resizer_oneof")
    if kind == "fixed_shape_resizer":
        return resizer.fixed_shape_resizer.width / width, resizer.fixed_shape_resizer.height / height
    if kind == "keep_aspect_ratio_resizer":
        kept = resizer.keep_aspect_ratio_resizer
        scale = min(kept.min_dimension / min(width, height), kept.max_dimension / max(width, height))
        return scale, scale
    return 1.0, 1.0


def box_sides(statistics: BoxStatistics, resizer: image_resizer_pb2.ImageResizer) -> BoxSides:
    """Sizes that the anchors have to meet.

    Args:
      statistics: holds at least one box with an area.
      resizer: of the config.
    """
    sides: dict[str, list[float]] = collections.defaultdict(list)
    for side, width, height, class_name in statistics.box_sizes:
        sides[class_name].append(side * math.sqrt(math.prod(input_scales(resizer, width, height))))
    every_side = [side for of_class in sides.values() for side in of_class]
    return BoxSides(
        small_px=min(_quantile(of_class, 0.05) for of_class in sides.values()),
        median_px=_quantile(every_side, 0.5),
        large_px=max(_quantile(of_class, 0.95) for of_class in sides.values()),
    )


def anchor_sides(generator: anchor_generator_pb2.AnchorGenerator) -> list[float]:
    """Sides of the square anchors in pixels of the network's input, ascending; none of a kind that is not supported.

    Aspect ratios leave the area of an anchor as it is, so that all of one scale have its square's side (sqrt of area).
    """
    if generator.HasField("grid_anchor_generator"):
        grid = generator.grid_anchor_generator
        return sorted(scale * math.sqrt(grid.width * grid.height) for scale in grid.scales)
    if generator.HasField("multiscale_anchor_generator"):
        pyramid = generator.multiscale_anchor_generator
        octaves = [octave / pyramid.scales_per_octave for octave in range(pyramid.scales_per_octave)]
        levels = range(pyramid.min_level, pyramid.max_level + 1)
        return [pyramid.anchor_scale * 2 ** (level + octave) for level in levels for octave in octaves]
    return []


def anchor_remark(
    network: faster_rcnn_pb2.FasterRcnn, statistics: BoxStatistics | None, whose: str, remedy: str
) -> str:
    """The anchors of a config whose anchors were not made for the cells, and whether the cells are among them.

    Args:
      network: `model.faster_rcnn` of the config.
      statistics: of the cells; None where they are not known.
      whose: anchors they are, as part of a sentence.
      remedy: what to do about cells outside of the anchors, as part of a sentence.
    """
    sides = anchor_sides(network.first_stage_anchor_generator)
    remark = f"anchors: {whose}"
    if not sides:
        return remark
    remark += f", sides of {', '.join(f'{side:.0f}' for side in sides)} px"
    if statistics is None or not statistics.box_sizes:
        return remark
    cells = box_sides(statistics, network.image_resizer)
    remark += f"; {sizes_text(cells)}"
    # A box whose side differs by a factor of 1.2 from an anchor's has an IoU of 0.7 with it.
    if cells.small_px < sides[0] / 1.2 or cells.large_px > sides[-1] * 1.2:
        remark += f"; cells outside of the anchors are found badly: {remedy}"
    return remark


def sizes_text(cells: BoxSides) -> str:
    """The sides as part of a sentence."""
    return (
        f"cells are {cells.small_px:.0f} to {cells.large_px:.0f} px (5 % of the smallest class to 95 % of the "
        f"largest, median of all {cells.median_px:.0f}) at the network's input"
    )


def _quantile(values: Sequence[float], fraction: float) -> float:
    return sorted(values)[min(int(fraction * len(values)), len(values) - 1)]


def anchor_scales_for(smallest_px: float, largest_px: float) -> tuple[float, ...]:
    """Four to six scales, of 256 pixels, in equal ratios from the small to the large cells.

    How it works: a box and an anchor of the same center whose sides differ by a factor r have an IoU of 1/r^2, so steps
    up to 1.42 leave every box within r = 1.2, IoU 0.7. Cells of nearly one size still get a range of a factor 2, as
    a new patient's cells need not have the size of the labeled ones; above a factor of 5.8 the steps grow.
    """
    middle = math.sqrt(smallest_px * largest_px)
    half_range = max(math.sqrt(largest_px / smallest_px), math.sqrt(2.0))
    first, last = middle / half_range, middle * half_range
    num_scales = min(max(4, 1 + math.ceil(math.log(last / first, 1.42))), 6)
    step = (last / first) ** (1 / (num_scales - 1))
    return tuple(float(f"{first * step**index / ANCHOR_BASE_PX:.3g}") for index in range(num_scales))
