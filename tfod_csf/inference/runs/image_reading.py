"""One image file of a patient, read and decoded once: its checksum, its pixels, and what was found out on the way."""

import dataclasses
from collections.abc import Callable, Sequence

from tfod_csf.inference import drawing
from tfod_csf.problems import Problem, ProblemLog
from tfod_csf.study import image_io
from tfod_csf.study.image_limits import ImageLimitError
from tfod_csf.study.large_tiff import LargeTiff
from tfod_csf.study.patients import ImageFile

_ROWS_IN_MEMORY = 2500  # of a large TIFF: a row of tiles, and a block of the file more


@dataclasses.dataclass(frozen=True)
class ReadImage:
    """An image file that was read.

    Attributes:
      image: the file.
      sha256: hex digest of the file; None where it cannot be read.
      loaded: the image, or an open file of one that is read by rectangles; None when it cannot be used.
      problems: why it cannot be used, or what was repaired.
    """

    image: ImageFile
    sha256: str | None
    loaded: image_io.LoadedImage | LargeTiff | None
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
    in_tiles: bool = False,
) -> ReadImage:
    """Reads an image file; a picture that batch_infer has drawn is not used.

    Args:
      decode_jpeg: of the detectors that will see the image.
      in_tiles: whether large images are cut into tiles, so that a TIFF may be too large for memory.
      refused: why the image is not to be opened; only its checksum is computed then.
      on_header: see `image_io.read_image`; of a TIFF that is read by rectangles, with the rows that are in memory.
    """
    found = ProblemLog(quiet=True)
    if refused:
        found.skipped(image.path, refused, "Look at the file with another program, and replace or remove it.")
        return ReadImage(image, image_io.file_sha256(image.path), None, found.problems)
    if in_tiles and image_io.needs_tiles(image.path):
        return _open_large(image, found, on_header)
    loaded, sha256 = image_io.read_image(image.path, found, decode_jpeg=decode_jpeg, on_header=on_header)
    if loaded is not None and drawing.is_drawn(loaded.file_bytes):
        reason = "a picture in which batch_infer has drawn cells, not an image of the microscope"
        found.skipped(image.path, reason, "Move it out of --images_dir.")
        loaded = None
    if loaded is not None:
        _ = loaded.pixels  # copied here and not where the network waits for them
    return ReadImage(image, sha256, loaded, found.problems)


def _open_large(image: ImageFile, found: ProblemLog, on_header: Callable[[int, int, int], object]) -> ReadImage:
    """A TIFF that is read by rectangles."""
    try:
        large = LargeTiff(image.path, found)
    except ImageLimitError as error:
        found.skipped(image.path, *error.args)
    except OSError as error:
        found.skipped(image.path, f"the file cannot be read ({error.strerror})", "Check the disk and the permissions.")
    else:
        on_header(large.width, min(large.height, _ROWS_IN_MEMORY), 0)
        return ReadImage(image, large.sha256, large, found.problems)
    return ReadImage(image, image_io.file_sha256(image.path), None, found.problems)
