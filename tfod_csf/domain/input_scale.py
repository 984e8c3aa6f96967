"""How a network scales the images that it is given, by what model.json says of its input."""

from collections.abc import Mapping
from typing import Any


def input_scale(info: Mapping[str, Any], width: int, height: int) -> tuple[float, float]:
    """(along x, along y): pixels of the network's input per pixel of an image of this size.

    Args:
      info: contents of model.json; `input_size` as `export.model_info.input_size` writes it.

    >>> input_scale({"input_size": {"min_dimension": 600, "max_dimension": 1024}}, 2592, 1944)[0]  # 600 / 1944
    0.30864197530864196
    >>> input_scale({"input_size": {"width": 640, "height": 640}}, 1280, 640)
    (0.5, 1.0)
    """
    size = info.get("input_size") or {}
    if size.get("min_dimension"):
        scale = size["min_dimension"] / min(width, height)
        if size.get("max_dimension"):
            scale = min(scale, size["max_dimension"] / max(width, height))
        return scale, scale
    if size.get("width") and size.get("height"):
        return size["width"] / width, size["height"] / height
    return 1.0, 1.0
