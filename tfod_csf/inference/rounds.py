"""The same images several times through the same models: does the machine repeat itself (the paper's Table 1)?"""

import pathlib
from collections.abc import Sequence

from tfod_csf import run_folder
from tfod_csf.inference import batch
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.problems import ProblemLog
from tfod_csf.study.patients import ImageFile, folder_names


def round_dir(output_dir: pathlib.Path, number: int) -> pathlib.Path:
    """Folder of a round: the output folder itself for the first, OUT/rounds/<number> for the others."""
    return output_dir if number == 1 else output_dir / run_folder.ROUNDS_DIR / str(number)


def run_further_rounds(
    num_rounds: int,
    images: Sequence[ImageFile],
    detectors: Sequence[ImageDetector],
    thresholds: ScoreThresholds,
    output_dir: pathlib.Path,
) -> list[str]:
    """Runs rounds 2, 3, ... without pictures and compares each with the first, which is in `output_dir` already.

    Returns:
      Patients whose cells.csv differs in any byte between two rounds.
    """
    names = folder_names([image.patient_id for image in images])
    differing = set()
    for number in range(2, num_rounds + 1):
        # Their problems are those of the first round, which reported them.
        batch.run(images, detectors, thresholds, round_dir(output_dir, number), ProblemLog(quiet=True), draw=False)
        for patient_id, name in names.items():
            patient = pathlib.Path(run_folder.PATIENTS_DIR, name, "cells.csv")
            first, other = (round_dir(output_dir, n) / patient for n in (1, number))
            if first.read_bytes() != other.read_bytes():
                differing.add(patient_id)
    return sorted(differing)
