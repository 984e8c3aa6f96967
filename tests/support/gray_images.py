"""Images of one gray value, for tests in which what is found depends on it; loads no TensorFlow."""

import pathlib

import numpy as np
from PIL import Image


def save_gray(path: pathlib.Path, value: int, width: int = 96, height: int = 72) -> None:
    """Writes a PNG of one gray value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full([height, width, 3], value, np.uint8)).save(path)
