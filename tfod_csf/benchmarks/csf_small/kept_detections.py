"""What an exported model finds in source images, computed once and kept in a folder.

    FOLDER/<first 16 digits of the model's fingerprint>_temperature_<of its scores>/
      <first 2 digits>/<sha256 of the image file>.npz

A file depends on the model and on the image's bytes alone, so that other labels, folds and figures use it again, and a
stopped run resumes.
"""

import pathlib
import zipfile
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from tfod_csf.benchmarks.csf_small.source_images import SourceImage
from tfod_csf.detections import Detections, DetectionsError
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, checksums
from tfod_csf.inference.detector import Detector
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.model_folder import ModelFolder, fingerprint
from tfod_csf.problems import ProblemLog
from tfod_csf.progress_bar import progress_bar
from tfod_csf.score_temperature import temperature_of
from tfod_csf.study import image_io

_ARRAYS = ("boxes", "classes", "scores", "multiclass_scores")
_RAW = "raw_multiclass_scores"
# What reading a damaged .npz file may raise, depending on which of its bytes are damaged; RuntimeError where they say
# that it is encrypted or compressed in another way.
_DAMAGED = (ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, DetectionsError)


class KeptDetectionsError(UserError):
    """An image that cannot be read, a model without scores of every class, or a damaged file of kept detections."""


class KeptDetections:
    """Detections of one model; it is loaded when an image is asked for that is not kept yet.

    Args:
      model: the exported model.
      folder: where detections of all models are kept.
      open_detector: makes the detector of an exported model.

    Attributes:
      label_map: of the model.
      fingerprint: sha256 of its network.
    """

    def __init__(
        self,
        model: ModelFolder,
        folder: pathlib.Path,
        open_detector: Callable[[ModelFolder], ImageDetector] = Detector.open,
    ):
        self._model = model
        self._open_detector = open_detector
        self._detector: ImageDetector | None = None
        self.label_map = model.label_map
        self.fingerprint = fingerprint(model.network_dir)
        temperature = temperature_of(model.info, str(model.path / "model.json"))
        self._folder = folder / f"{self.fingerprint[:16]}_temperature_{temperature:g}"

    def of_all(self, images: Sequence[SourceImage]) -> list[Detections]:
        """Detections of each image, with a progress bar; see `of`."""
        bar = progress_bar(images, unit="image", total=len(images), desc=f"detections of {self._model.name}")
        return [self.of(image) for image in bar]

    def of(self, image: SourceImage) -> Detections:
        """Everything the model detects in an image, low scores included.

        Raises:
          KeptDetectionsError: see there.
        """
        digest = checksums.file_sha256(image.path)
        path = self._folder / digest[:2] / f"{digest}.npz"
        if not path.is_file():
            _write(path, self._detect(image))
        return _read(path, image.key)

    def _detect(self, image: SourceImage) -> Detections:
        """Reads and decodes as batch_infer does."""
        if self._detector is None:
            self._detector = self._open_detector(self._model)
        problems = ProblemLog(quiet=True)
        loaded, _ = image_io.read_image(image.path, problems, decode_jpeg=self._detector.decode_jpeg)
        if loaded is None:
            reasons = "; ".join(problem.reason for problem in problems.problems)
            raise KeptDetectionsError(f"{image.path}: cannot be read ({reasons}); copy the data again.")
        found = self._detector.detect(loaded.pixels, image.key, jpeg=loaded.jpeg)
        if found.multiclass_scores is None:
            raise KeptDetectionsError(
                f"{self._model.path}: has no output detection_multiclass_scores, which calibration needs; export it "
                "again."
            )
        return found


def _write(path: pathlib.Path, found: Detections) -> None:
    arrays = {name: getattr(found, name) for name in (*_ARRAYS, _RAW) if getattr(found, name) is not None}
    with atomic_write.replacing(path, "wb") as file:
        np.savez_compressed(file, size=[found.width, found.height], num_at_limit=found.num_at_limit, **arrays)


def _read(path: pathlib.Path, key: str) -> Detections:
    try:
        with open(path, "rb") as file, np.load(file) as stored:
            width, height = stored["size"].tolist()
            arrays = {name: stored[name] for name in (*_ARRAYS, _RAW) if name in stored}
            return Detections(key, width, height, num_at_limit=bool(stored["num_at_limit"]), **arrays)
    except _DAMAGED as error:
        raise KeptDetectionsError(f"{path}: is damaged ({error}); delete it, and it is computed again.") from error
