"""The blinding of a whole study: images and XML of all patients, the key, and the table that leads back to names."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

from tfod_csf.cytology.blinding import blind, pseudonyms
from tfod_csf.files import key_files
from tfod_csf.problems import ProblemLog
from tfod_csf.study import patients
from tfod_csf.wording import plural


@dataclasses.dataclass(frozen=True)
class BlindedStudy:
    """What a blinding did.

    Attributes:
      rows: the table, rows of earlier blindings with the same key included.
      num_images: images that were found.
      num_skipped: images of which there is no copy.
    """

    rows: list[pseudonyms.BlindedImage]
    num_images: int
    num_skipped: int

    def __str__(self) -> str:
        stripped = sum(row.written == blind.JPEG_STRIPPED for row in self.rows)
        return (
            f"{plural(len({row.pseudonym for row in self.rows}), 'patient')}, {plural(len(self.rows), 'image')}: "
            f"{stripped} JPEG with the picture byte for byte, {len(self.rows) - stripped} as PNG with the same pixels"
        )


def blind_study(
    images_dir: pathlib.Path,
    annotations_dir: str | None,
    output_dir: pathlib.Path,
    secret: blind.SecretFiles,
    reuse_key: bool,
    problems: ProblemLog,
    manifest: str | None = None,
    patient_pattern: str | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> BlindedStudy:
    """Writes the copies, and the secret files outside their folder, for their owner only.

    Args:
      images_dir, manifest, patient_pattern: which images, and whose: see `patients.find_images`.
      annotations_dir: folder of XML; None takes the XML beside the images, where there is any.
      output_dir: for the copies.
      secret: files of key, table and problems.
      reuse_key: whether to add to the blinding whose key is there.
      problems: gets what was skipped or repaired; written to `secret.problems`.
      progress: wraps the list of images.

    Raises:
      UserError: images that cannot be found, or a blinding that would overwrite or reveal something.
    """
    secret.check_apart(output_dir)
    images = patients.find_images(images_dir, problems, manifest, patient_pattern)
    annotations = blind.find_annotations(images_dir, annotations_dir, problems, manifest, patient_pattern)
    key, known = secret.open(reuse_key, output_dir)
    try:
        rows = blind.blind(images, annotations, output_dir, key, known, problems, progress)
        pseudonyms.write_mapping(secret.mapping, rows)
    finally:
        with key_files.owner_only():
            problems.write_csv(secret.problems)
    secret.finish()
    copied = {(row.patient_id, row.image) for row in rows}
    num_skipped = sum((image.patient_id, image.name) not in copied for image in images)
    return BlindedStudy(rows, len(images), num_skipped)
