"""The same images several times through the same models: does the machine repeat itself (the paper's Table 1)?"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tfod_csf import provenance, run_folder
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.inference.runs import batch, inference_record
from tfod_csf.inference.runs.image_workers import IN_TURN, WorkerLimits
from tfod_csf.problems import ProblemLog
from tfod_csf.study.folder_names import folder_names
from tfod_csf.study.patients import ImageFile
from tfod_csf.study.tile_grid import TileSettings


def round_dir(output_dir: pathlib.Path, number: int) -> pathlib.Path:
    """Folder of a round: the output folder itself for the first, OUT/rounds/<number> for the others."""
    return output_dir if number == 1 else output_dir / run_folder.ROUNDS_DIR / str(number)


def run_further_rounds(
    num_rounds: int,
    images: Sequence[ImageFile],
    detectors: Sequence[ImageDetector],
    thresholds: ScoreThresholds,
    output_dir: pathlib.Path,
    at_start: Mapping[str, Any],
    computed_by: Mapping[str, Any],
    limits: WorkerLimits = IN_TURN,
    tiles: TileSettings | None = None,
) -> list[str]:
    """Runs rounds 2, 3, ... without pictures and compares each with the first, which is in `output_dir` already.

    Args:
      at_start: of `inference_record.record_at_start`; each round is a run with a run.json of its own.
      computed_by: of `Examination`; a round computed in another way is not kept.
      limits: what may be used beside the network.
      tiles: how large images are cut.

    Returns:
      Patients whose cells.csv differs in any byte between two rounds.
    """
    names = folder_names([image.patient_id for image in images])
    differing = set()
    for number in range(2, num_rounds + 1):
        # Their problems are those of the first round, which reported them.
        folder, problems = round_dir(output_dir, number), ProblemLog(quiet=True)
        of_round = {**at_start, "started": provenance.now(), "round": number}
        run_folder.begin(folder, of_round)
        result = batch.run(
            images,
            detectors,
            thresholds,
            folder,
            problems,
            draw=False,
            limits=limits,
            tiles=tiles,
            computed_by=computed_by,
            is_compared=True,
        )
        run_folder.finish(folder, inference_record.make_record(of_round, result, problems), result.tables)
        for patient_id, name in names.items():
            patient = pathlib.Path(run_folder.PATIENTS_DIR, name, "cells.csv")
            first, other = (round_dir(output_dir, n) / patient for n in (1, number))
            if first.read_bytes() != other.read_bytes():
                differing.add(patient_id)
    return sorted(differing)
