"""How often the printed intervals hold the truth, measured on simulated cohorts with the functions every command uses.

    python -m tfod_csf.benchmarks.coverage                 # 400 patients per line, a few minutes
    python -m tfod_csf.benchmarks.coverage --patients=100

Raw: percentages and intervals as they are counted, for a detector without mistakes and for the made-up one, which the
raw interval knows nothing of. Corrected: those corrected with the confusion matrix of other simulated patients.

An interval "holds" for a patient when all three classes' true shares lie in their intervals at once.
"""

import argparse
import dataclasses
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from tfod_csf import cell_classes, run_folder
from tfod_csf.cell_classes import NEUTROPHIL, STUDY_CLASSES, WHITE_CELLS
from tfod_csf.cytology.counting import cohort
from tfod_csf.cytology.counting.corrected_differential import Corrections, corrected_differential
from tfod_csf.cytology.run_tables import PatientTables
from tfod_csf.synthetic import cohort_folder, cohorts
from tfod_csf.synthetic.cohorts import CohortSettings, SimulatedPatient

CORRELATIONS = (0.0, 0.05, 0.1, 0.2)
_SCORES = {cell_classes.COUNTED: 0.9, cell_classes.UNKNOWN: 0.65}


def patient_tables(patient: SimulatedPatient) -> PatientTables:
    """A simulated patient as `run_tables.read_patient` reads one; every score is in the middle of its side."""
    images = [f"{index + 1:03d}.jpg" for index in range(len(patient.cells))]
    same = {"patient_id": patient.patient_id, "model": cohort_folder.MODEL}
    parts = []
    for status, score in _SCORES.items():
        counts = patient.counts(status)
        rows, columns = np.divmod(np.repeat(np.arange(counts.size), counts.ravel()), len(STUDY_CLASSES))
        predicted = np.array(STUDY_CLASSES, object)[columns]
        counted_as = predicted if status == cell_classes.COUNTED else cell_classes.UNKNOWN
        parts.append(
            pd.DataFrame({"image": np.array(images, object)[rows], "predicted_class": predicted})
            .assign(**same, score=score, raw_score=score, status=status)
            .assign(counted_as=counted_as)
        )
    table = pd.DataFrame({"image": images, "status": run_folder.OK, "seconds": 0.0, "limit_reached": False})
    cells = sum(patient.counts(status).sum(axis=1) for status in _SCORES)
    return PatientTables(
        patient.patient_id, pathlib.Path(), pd.concat(parts, ignore_index=True), table.assign(**same, cells=cells)
    )


@dataclasses.dataclass(frozen=True)
class Coverage:
    """What was measured on a cohort.

    Attributes:
      patients: patients with percentages; the others have no interval.
      holds: fraction of them whose three true shares lie in their intervals at once.
      neutrophil_error: mean absolute error of the neutrophils, percentage points.
      width: mean width of the neutrophils' interval, percentage points.
    """

    patients: int
    holds: float
    neutrophil_error: float
    width: float


def measure_raw(patients: Iterable[SimulatedPatient]) -> Coverage:
    """Coverage of the percentages as they are counted, without correction."""
    truth, percent, low, high = [], [], [], []
    for patient in patients:
        shares = cohort.patient_differential(patient_tables(patient)).shares
        if shares:
            truth.append(100 * patient.shares)
            percent.append([shares[name].percent for name in WHITE_CELLS])
            low.append([shares[name].ci_low for name in WHITE_CELLS])
            high.append([shares[name].ci_high for name in WHITE_CELLS])
    return _coverage(*map(np.array, (truth, percent, low, high)))


def measure_corrected(patients: Iterable[SimulatedPatient], validation: Iterable[SimulatedPatient]) -> Coverage:
    """Coverage of the percentages corrected with the confusion matrix of other patients."""
    matrix = cohort_folder.classification_of(validation)
    corrections = Corrections.of({cohort_folder.MODEL: matrix})
    truth, percent, low, high = [], [], [], []
    for patient in patients:
        shares = corrected_differential(patient_tables(patient), corrections, has_percentages=True).shares
        truth.append(100 * patient.shares)
        percent.append([shares[name].percent for name in WHITE_CELLS])
        low.append([shares[name].ci_low for name in WHITE_CELLS])
        high.append([shares[name].ci_high for name in WHITE_CELLS])
    return _coverage(*map(np.array, (truth, percent, low, high)))


def _coverage(truth: np.ndarray, percent: np.ndarray, low: np.ndarray, high: np.ndarray) -> Coverage:
    """From [patients, 3] each, in percent."""
    neutrophil = WHITE_CELLS.index(NEUTROPHIL)
    return Coverage(
        patients=len(truth),
        holds=float(((low <= truth) & (truth <= high)).all(axis=1).mean()),
        neutrophil_error=float(np.abs(percent - truth)[:, neutrophil].mean()),
        width=float((high - low)[:, neutrophil].mean()),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tfod_csf.benchmarks.coverage", description=__doc__)
    parser.add_argument("--patients", type=int, default=400, help="patients of each line")
    parser.add_argument("--images", type=int, default=15, help="images of each patient")
    parser.add_argument("--cells", type=float, default=20, help="mean number of white cells on an image")
    parser.add_argument("--validation_patients", type=int, default=30, help="patients behind the confusion matrix")
    parser.add_argument("--seed", type=int, default=1, help="seed of the cohorts")
    options = parser.parse_args(arguments)
    print(f"{options.patients} patients x {options.images} images, seed {options.seed}; points: percentage points")
    print("detector  interval    rho   patients  holds  neutrophil error  width")
    for correlation in CORRELATIONS:
        settings = CohortSettings(
            patients=options.patients,
            images_per_patient=options.images,
            white_cells_per_image=options.cells,
            correlation=correlation,
            seed=options.seed,
        )
        perfect = dataclasses.replace(settings, rates=cohorts.PERFECT_DETECTOR)
        validation = dataclasses.replace(settings, patients=options.validation_patients, seed=options.seed + 1)
        measured = (
            ("perfect", "raw", measure_raw(cohorts.simulate(perfect))),
            ("made-up", "raw", measure_raw(cohorts.simulate(settings))),
            ("made-up", "corrected", measure_corrected(cohorts.simulate(settings), cohorts.simulate(validation))),
        )
        for detector, interval, found in measured:
            print(_line(detector, interval, correlation, found), flush=True)


def _line(detector: str, interval: str, correlation: float, found: Coverage) -> str:
    return (
        f"{detector:<9} {interval:<10} {correlation:4.2f}   {found.patients:8d}  {found.holds:.3f}  "
        f"{found.neutrophil_error:16.2f}  {found.width:5.1f}"
    )


if __name__ == "__main__":
    main()
