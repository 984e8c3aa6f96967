"""What `Detector` needs of the network that is run, whichever library runs it: an image in, named arrays out."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from tfod_csf.errors import UserError


class DetectorError(UserError):
    """A network that is not TFOD's detection model, or cannot be loaded."""


@dataclasses.dataclass(frozen=True)
class OutputSpec:
    """What a network says about one of its outputs before it has run.

    Attributes:
      dtype: name of the number format, for messages.
      is_number: whether its values are numbers.
      shape: None where even the number of dimensions is open; a dimension is None where it is open.
    """

    dtype: str
    is_number: bool
    shape: tuple[int | None, ...] | None


class Network(Protocol):
    """A loaded network.

    Attributes:
      path: the folder with its files, for messages.
      outputs: what it gives, by TFOD's names.
    """

    path: pathlib.Path
    outputs: Mapping[str, OutputSpec]

    def run(self, pixels: np.ndarray, jpeg: bytes | None = None) -> dict[str, np.ndarray]:
        """The outputs for one image, by TFOD's names.

        Args:
          pixels: uint8 [H, W, 3] RGB, decoded as in training.
          jpeg: the JPEG file that was decoded, where there is one; networks that take encoded images are given it.

        Raises:
          DetectionFailedError: the network cannot handle this image.
        """


@runtime_checkable
class BatchNetwork(Network, Protocol):
    """A network that may take several images at a time.

    Attributes:
      takes_batches: whether it does.
    """

    takes_batches: bool

    def run_batch(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs for uint8 [B, H, W, 3], each with B rows; raises as `run`."""


def first_line(error: Exception) -> str:
    """The first line of what a library says, for a message of one sentence."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
