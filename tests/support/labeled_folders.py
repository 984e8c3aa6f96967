"""Small folders of images (noise) with LabelImg XML, for tests that need real files."""

import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from tfod_csf.study import labelimg
from tfod_csf.study.labelimg import Annotation, LabeledObject

WIDTH, HEIGHT = 64, 48


def write_image(path: pathlib.Path, seed: int) -> None:
    """Noise that differs with the seed, so that no two files are the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_labeled(path: pathlib.Path, names: Sequence[str], seed: int, difficult: Sequence[int] = ()) -> None:
    """An image and, beside it, its XML with one box per name, side by side and 5 x 6 pixels in size."""
    write_image(path, seed)
    difficult = list(difficult) or [0] * len(names)
    objects = [
        LabeledObject(name, 6 * i + 1, 10, 6 * i + 6, 16, flag) for i, (name, flag) in enumerate(zip(names, difficult))
    ]
    annotation = Annotation(path, path.name, WIDTH, HEIGHT, objects, folder=path.parent.name)
    labelimg.write_annotation(annotation, path.with_suffix(".xml"))


def write_study(
    root: pathlib.Path, images_of: dict[str, Sequence[Sequence[str]]], suffix: str = ".jpg"
) -> pathlib.Path:
    """One folder per patient with images 0, 1, ...; `images_of` holds the class names of each image."""
    for number, (patient, images) in enumerate(images_of.items()):
        for index, names in enumerate(images):
            write_labeled(root / patient / f"{index}{suffix}", names, seed=1000 * number + index)
    return root
