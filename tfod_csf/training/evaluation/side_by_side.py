"""Pictures of evaluated images for TensorBoard: detections left, ground truth right, as in TFOD.

Boxes are [N, 4] (ymin, xmin, ymax, xmax), normalized to the picture.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfod_csf.cell_classes import ink_of, rgb_of, whole_percent

_MIN_TEXT_PX = 9
_MIN_SIDE_PX = 400


@dataclasses.dataclass(frozen=True)
class DrawingSettings:
    """Fields of eval_config that decide which detections are drawn; names and defaults are TFOD's.

    Attributes:
      min_score_threshold: detections with a lower score are not drawn.
      max_num_boxes_to_visualize: at most so many of the rest are drawn, those with the highest scores.
    """

    min_score_threshold: float = 0.5
    max_num_boxes_to_visualize: int = 20


def draw_side_by_side(
    pixels: np.ndarray,
    detections: Mapping[str, np.ndarray],
    groundtruth: Mapping[str, np.ndarray],
    names: Mapping[int, str],
    settings: DrawingSettings,
) -> np.ndarray:
    """Draws detections on one copy of an image and ground truth on another.

    Args:
      pixels: uint8 [H, W, 3] RGB.
      detections: boxes [N, 4], classes [N] from 1, scores [N] in descending order.
      groundtruth: boxes [M, 4], classes [M] from 1.
      names: class id to name.
      settings: which detections are drawn.

    Returns:
      uint8 [s H, 2 s W, 3]; s is the smallest integer that makes the shorter side at least 400 px, because in a smaller
      picture readable labels would cover the cells.
    """
    keep = np.flatnonzero(detections["scores"] >= settings.min_score_threshold)[: settings.max_num_boxes_to_visualize]
    left = [
        (box, (name := str(names.get(class_id, class_id))), f"{name}: {whole_percent(score)}%")
        for box, class_id, score in zip(
            detections["boxes"][keep], detections["classes"][keep].tolist(), detections["scores"][keep].tolist()
        )
    ]
    right = [
        (box, (name := str(names.get(class_id, class_id))), name)
        for box, class_id in zip(groundtruth["boxes"], groundtruth["classes"].tolist())
    ]
    return np.concatenate([_draw(pixels, left), _draw(pixels, right)], axis=1)


def _draw(pixels: np.ndarray, labeled: list) -> np.ndarray:
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    scale = -(-_MIN_SIDE_PX // min(picture.size))
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    shorter = min(picture.size)
    width = max(1, round(shorter / 250))
    font = ImageFont.load_default(max(_MIN_TEXT_PX, shorter // 40))
    for box, name, text in labeled:
        xmin, ymin, xmax, ymax = box[[1, 0, 3, 2]] * np.array([*picture.size, *picture.size])
        if xmax <= xmin or ymax <= ymin:
            continue
        color = rgb_of(name)
        draw.rectangle((xmin, ymin, xmax, ymax), outline=color, width=width)
        _, _, right, bottom = draw.textbbox((0, 0), text, font=font)
        top = ymin - bottom - 2 if ymin >= bottom + 2 else ymin
        draw.rectangle((xmin, top, xmin + right + 3, top + bottom + 2), fill=color)
        draw.text((xmin + 2, top), text, fill=ink_of(name), font=font)
    return np.asarray(picture)
