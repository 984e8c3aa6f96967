"""Images of the user's own for the ranges of int8: pixels as the network sees them, one in memory at a time."""

import hashlib
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from tfod_csf.errors import UserError
from tfod_csf.files import record_set, tfrecord
from tfod_csf.inference import jpeg_decoding
from tfod_csf.inference.labeled import record_reader
from tfod_csf.label_map import LabelMap
from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_io, patients


class CalibrationError(UserError):
    """Images that cannot be used for calibration."""


class CalibrationImages:
    """Images spread evenly over a TFRecord or a folder; each pass reads them again.

    Args:
      source: where they are from, for messages: a flag and its value.
      records: TFRecord files; or
      paths: image files.
      label_map: of the model, for the records.
      max_images: how many are taken.
      problems: gets what cannot be read, once.

    Raises:
      CalibrationError: no image can be used.
    """

    def __init__(
        self,
        source: str,
        label_map: LabelMap,
        max_images: int,
        problems: ProblemLog,
        records: Sequence[str] = (),
        paths: Sequence[pathlib.Path] = (),
    ):
        self._label_map, self._records = label_map, list(records)
        number = len(paths) or sum(1 for _ in record_set.numbered_records(self._records))
        chosen = sorted({index * number // max_images for index in range(max_images)} if number else set())
        self._paths, self._chosen = [paths[index] for index in chosen] if paths else [], set(chosen)
        digest = hashlib.sha256()
        self.num_images = 0
        for image in self._read(problems):
            digest.update(f"{image.shape}\0".encode())
            digest.update(np.ascontiguousarray(image))
            self.num_images += 1
        if not self.num_images:
            raise CalibrationError(f"{source}: no image can be used ({problems.summary()}); give images of training.")
        self.fingerprint = digest.hexdigest()

    def __iter__(self) -> Iterator[np.ndarray]:
        """The images, uint8 [H, W, 3] RGB."""
        return self._read(ProblemLog(quiet=True))

    def first(self, number: int) -> tuple[np.ndarray, ...]:
        """The first images."""
        return tuple(image for image, _ in zip(self, range(number)))

    def _read(self, problems: ProblemLog) -> Iterator[np.ndarray]:
        for path in self._paths:
            loaded, _ = image_io.read_image(path, problems, decode_jpeg=jpeg_decoding.decode)
            if loaded is not None:
                yield loaded.pixels
        labeled = record_reader.read_records(self._records, self._label_map, problems, jpeg_decoding.decode)
        yield from (image.pixels for index, image in enumerate(labeled) if index in self._chosen)


def of_records(pattern: str, label_map: LabelMap, max_images: int, problems: ProblemLog) -> CalibrationImages:
    """Images of the records of --calibration_input_path.

    Raises:
      CalibrationError: no such file, or no image can be used.
      TFRecordError: a file that is not whole.
    """
    source = f"--calibration_input_path={pattern}"
    shards = tfrecord.find_files(pattern)
    if not shards:
        raise CalibrationError(f"{source}: no such file; give the training record of create_csf_tf_record.")
    return CalibrationImages(source, label_map, max_images, problems, records=shards)


def of_folder(images_dir: str, label_map: LabelMap, max_images: int, problems: ProblemLog) -> CalibrationImages:
    """Images of the folder --calibration_images_dir and its subfolders.

    Raises:
      CalibrationError: no image can be used.
      PatientsError: no such folder, or no image in it.
    """
    paths = [image.path for image in patients.find_images(images_dir, problems)]
    return CalibrationImages(f"--calibration_images_dir={images_dir}", label_map, max_images, problems, paths=paths)
