"""Which size the tiles of a run have, and whether the models see cells in them as large as in training.

A network scales what it gets to its own input size. A cell that is 120 pixels wide on a training image of 2592 x 1944
reaches a network with min_dimension 600 as 37 pixels; from a tile of 1024 x 1024 it would reach it as 70. So a tile
must be about as large as the training images were, at the same magnification. `model.json` says how large they were
(`training_images`) where the model was exported from records that could be read.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from tfod_csf.domain.input_scale import input_scale
from tfod_csf.model_folder import TRAINING_IMAGES
from tfod_csf.study.tile_grid import TileError, TileSettings, parse_tile_size

OF_THE_MODEL = "model"
_OVERLAP_SHARE = 8  # without better knowledge, tiles overlap by an eighth of their shorter side
_TOLERATED = 1.15  # cells this much larger or smaller than in training are within what training's augmentation shows


@dataclasses.dataclass(frozen=True)
class TrainingImages:
    """`training_images` of a model.json.

    Attributes:
      width, height: pixels of most of the training images.
      largest_box: longer side of the largest annotated cell, in pixels of its image; 0 where not known.
    """

    width: int
    height: int
    largest_box: int = 0

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> "TrainingImages | None":
        """What a model.json says; None where it says nothing that can be used."""
        found = info.get(TRAINING_IMAGES)
        try:
            return cls(int(found["width"]), int(found["height"]), int(found.get("largest_box") or 0)) if found else None
        except (TypeError, ValueError, KeyError, AttributeError):
            return None

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def choose(
    tile_size: str | None, tile_overlap: int | None, models: Mapping[str, Mapping[str, Any]]
) -> TileSettings | None:
    """The tiles that --tile_size and --tile_overlap ask for; None where images are examined as a whole.

    Args:
      tile_size: "model", "2592x1944", "1944", or None.
      tile_overlap: pixels; None takes what the largest annotated cell of the training needs, at least an eighth of the
        tile's shorter side.
      models: {name: contents of its model.json}.

    Raises:
      TileError: flags that make no sense, or "model" where the models do not say, or differ.
    """
    if tile_size is None:
        if tile_overlap is not None:
            raise TileError("--tile_overlap is of use with --tile_size only; give both, or neither.")
        return None
    trained = {name: TrainingImages.of(info) for name, info in models.items()}
    if tile_size.strip().lower() == OF_THE_MODEL:
        tile_size = _size_of_models(trained)
    width, height = parse_tile_size(tile_size)
    if tile_overlap is None:
        shorter = min(width, height)
        largest = max((images.largest_box for images in trained.values() if images), default=0)
        tile_overlap = min(max(-(-shorter // _OVERLAP_SHARE), largest), shorter // 2)
    return TileSettings(width, height, tile_overlap)


def _size_of_models(trained: Mapping[str, TrainingImages | None]) -> str:
    unknown = [name for name, images in trained.items() if images is None]
    if unknown:
        raise TileError(
            f"--tile_size=model: the model.json of {unknown[0]} does not say how large its training images were; give "
            "--tile_size=WIDTHxHEIGHT of these."
        )
    sizes = {name: str(images) for name, images in trained.items()}
    if len(set(sizes.values())) != 1:
        listed = ", ".join(f"{name}: {size}" for name, size in sizes.items())
        raise TileError(f"--tile_size=model: the models were trained on images of several sizes ({listed}); give one.")
    return next(iter(sizes.values()))


def notices(tiles: TileSettings, models: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """(model, what may be wrong with these tiles, remedy) of each model whose cells would not look as in training.

    Args:
      models: {name: contents of its model.json}.
    """
    for name, info in models.items():
        images = TrainingImages.of(info)
        if images is None:
            reason = (
                "model.json does not say how large the training images were, nor the largest cell in them; whether "
                f"cells in tiles of {tiles} are as large as in training, and no larger than the overlap of "
                f"{tiles.overlap} pixels, is not known"
            )
            yield (
                name,
                reason,
                "Give the --tile_size that its card says, or that of the training images, and compare pictures.",
            )
            continue
        size, in_training = (input_scale(info, side.width, side.height) for side in (tiles, images))
        factors = [now / then for now, then in zip(size, in_training)]
        if max(factors) > _TOLERATED or min(factors) < 1 / _TOLERATED:
            factor = max(factors, key=lambda value: max(value, 1 / value))
            reason = (
                f"in tiles of {tiles} cells reach the model {factor:.2g} times as large as in training, on images of "
                f"{images}, and it may miss or confuse them"
            )
            yield name, reason, f"Give --tile_size={images}, or tiles that show as much of the slide."
        if images.largest_box > tiles.overlap:
            reason = (
                f"the largest annotated cell of the training is {images.largest_box} pixels long, and tiles overlap by "
                f"{tiles.overlap}; a cell larger than the overlap may be counted twice or by a part of it"
            )
            yield name, reason, f"Give --tile_overlap={images.largest_box} or more."
