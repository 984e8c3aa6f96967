"""One image file of a patient, read and decoded once: its checksum, its pixels, and what was found out on the way."""

import dataclasses
from collections.abc import Callable, Sequence

from tfod_csf.inference import drawing
from tfod_csf.problems import Problem, ProblemLog
from tfod_csf.study import image_io
from tfod_csf.study.patients import ImageFile


@dataclasses.dataclass(frozen=True)
class ReadImage:
    """An image file that was read.

    Attributes:
      image: the file.
      sha256: hex digest of the file; None where it cannot be read.
      loaded: the image; None when it cannot be used.
      problems: why it cannot be used, or what was repaired.
    """

    image: ImageFile
    sha256: str | None
    loaded: image_io.LoadedImage | None
    problems: Sequence[Problem]

    @property
    def reason(self) -> str:
        """Why the image cannot be used, in one line; "" when it can."""
        return "" if self.loaded else "; ".join(problem.reason for problem in self.problems)


def read(
    image: ImageFile,
    decode_jpeg: image_io.JpegDecoder,
    refused: str = "",
    on_header: Callable[[int, int, int], object] = lambda width, height, file_bytes: None,
) -> ReadImage:
    """Reads an image file; a picture that batch_infer has drawn is not used.

    Args:
      decode_jpeg: of the detectors that will see the image.
      refused: why the image is not to be opened; only its checksum is computed then.
      on_header: see `image_io.read_image`.
    """
    found = ProblemLog(quiet=True)
    if refused:
        found.skipped(image.path, refused, "Look at the file with another program, and replace or remove it.")
        return ReadImage(image, image_io.file_sha256(image.path), None, found.problems)
    loaded, sha256 = image_io.read_image(image.path, found, decode_jpeg=decode_jpeg, on_header=on_header)
    if loaded is not None and drawing.is_drawn(loaded.file_bytes):
        reason = "a picture in which batch_infer has drawn cells, not an image of the microscope"
        found.skipped(image.path, reason, "Move it out of --images_dir.")
        loaded = None
    if loaded is not None:
        _ = loaded.pixels  # copied here and not where the network waits for them
    return ReadImage(image, sha256, loaded, found.problems)
