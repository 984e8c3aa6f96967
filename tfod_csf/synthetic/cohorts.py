"""Simulated cohorts with known truth: what a detector of known mistakes would report of patients of known composition.

No pixels are made: counts are simulated, thousands of patients in seconds, so that the coverage of an interval is
measured instead of hoped for (`benchmarks/coverage.py`). `cohort_folder` writes them as batch_infer writes a run.

How a patient is made:
  1. the shares of lymphocyte, monocyte and neutrophil are sampled from a Dirichlet distribution;
  2. each image has its own shares around them, Dirichlet with alpha0 = (1 - rho) / rho, so that two cells of one image
     are correlated by rho (Dirichlet-multinomial; Mosimann 1962); rho = 0 gives independent cells;
  3. each cell gets an outcome by its true class: counted under a class, unknown with a most likely class, or missed.
     Unknown cells are not missing at random: how many there are depends on the true class.

Shape shorthand in this module:
  I: images of a patient.
  T: true classes, `TRUE_CLASSES`; the last row is no cell at all: false detections.
  J: outcomes, `OUTCOMES`.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from tfod_csf import cell_classes
from tfod_csf.cell_classes import ERYTHROCYTE, LYMPHOCYTE, MONOCYTE, NEUTROPHIL, STUDY_CLASSES, WHITE_CELLS
from tfod_csf.errors import UserError

NO_CELL = "no_cell"
TRUE_CLASSES = (*STUDY_CLASSES, NO_CELL)


class Outcome(NamedTuple):
    """What became of a cell: its most likely class ("" when it was missed) and `counted`, `unknown` or "missed"."""

    predicted: str
    status: str


MISSED = Outcome("", "missed")
OUTCOMES = (
    *(Outcome(name, cell_classes.COUNTED) for name in STUDY_CLASSES),
    *(Outcome(name, cell_classes.UNKNOWN) for name in STUDY_CLASSES),
    MISSED,
)
Rates = Mapping[str, Mapping[Outcome, float]]


def _rates(counted: Mapping[str, float], unknown: Mapping[str, float], missed: float) -> dict[Outcome, float]:
    rates = {Outcome(name, cell_classes.COUNTED): rate for name, rate in counted.items()}
    return rates | {Outcome(name, cell_classes.UNKNOWN): rate for name, rate in unknown.items()} | {MISSED: missed}


# Makes the mistakes the paper describes: neutrophils look like monocytes and are the least certain.
MADE_UP_DETECTOR: Rates = {
    LYMPHOCYTE: _rates({LYMPHOCYTE: 0.80, MONOCYTE: 0.02}, {LYMPHOCYTE: 0.10, MONOCYTE: 0.05}, 0.03),
    MONOCYTE: _rates(
        {LYMPHOCYTE: 0.03, MONOCYTE: 0.80, NEUTROPHIL: 0.02}, {LYMPHOCYTE: 0.03, MONOCYTE: 0.07, NEUTROPHIL: 0.02}, 0.03
    ),
    NEUTROPHIL: _rates({LYMPHOCYTE: 0.01, MONOCYTE: 0.12, NEUTROPHIL: 0.52}, {MONOCYTE: 0.14, NEUTROPHIL: 0.18}, 0.03),
    ERYTHROCYTE: _rates({ERYTHROCYTE: 0.93}, {ERYTHROCYTE: 0.03, LYMPHOCYTE: 0.01}, 0.03),
    NO_CELL: _rates({}, {LYMPHOCYTE: 0.5, MONOCYTE: 0.3, ERYTHROCYTE: 0.2}, 0.0),
}
PERFECT_DETECTOR: Rates = {
    **{name: _rates({name: 1.0}, {}, 0.0) for name in STUDY_CLASSES},
    NO_CELL: _rates({}, {LYMPHOCYTE: 1.0}, 0.0),
}


@dataclasses.dataclass(frozen=True)
class CohortSettings:
    """What a cohort is like.

    Attributes:
      patients: number of patients.
      images_per_patient: I.
      white_cells_per_image: mean of a Poisson distribution.
      erythrocytes_per_image: mean of another one.
      false_per_image: mean number of detections where there is no cell.
      composition: Dirichlet parameters of lymphocyte, monocyte, neutrophil.
      correlation: rho, 0 to below 1, between two white cells of one image.
      rates: {true class: {outcome: probability}}; each class's probabilities add up to 1.
      rate_correlation: 0 to below 1: how much the detector's rates differ between patients (another stain, another
        camera); the outcomes of two cells of a class in one patient are correlated by it.
      seed: each patient has random numbers of its own, so that a larger cohort begins with the smaller one.
    """

    patients: int = 40
    images_per_patient: int = 15
    white_cells_per_image: float = 20.0
    erythrocytes_per_image: float = 0.0
    false_per_image: float = 0.0
    composition: tuple[float, float, float] = (3.0, 1.5, 1.5)
    correlation: float = 0.0
    rates: Rates = dataclasses.field(default_factory=lambda: MADE_UP_DETECTOR)
    rate_correlation: float = 0.0
    seed: int = 0

    def __post_init__(self):
        for name in ("correlation", "rate_correlation"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name):g}; give a number from 0 to below 1.")
        if self.patients < 1 or self.images_per_patient < 1:
            raise UserError(f"{self.patients} patients x {self.images_per_patient} images: at least 1 each is needed.")
        for name in TRUE_CLASSES:
            total = math.fsum(self.rates.get(name, {}).values())
            if not math.isclose(total, 1, abs_tol=1e-9):
                raise UserError(f"the rates of {name} add up to {total:g}; they must add up to 1.")


@dataclasses.dataclass(frozen=True)
class SimulatedPatient:
    """A patient with known truth.

    Attributes:
      shares: [3] true shares of `WHITE_CELLS`; what an interval has to cover.
      cells: int [I, T, J] cells of each image by true class and outcome.
    """

    patient_id: str
    shares: np.ndarray
    cells: np.ndarray

    def counts(self, status: str) -> np.ndarray:
        """int [I, 4]: cells of each image by predicted class (`STUDY_CLASSES`) that were `counted` or `unknown`."""
        columns = [OUTCOMES.index(Outcome(name, status)) for name in STUDY_CLASSES]
        return self.cells.sum(axis=1)[:, columns]

    @property
    def true_counts(self) -> np.ndarray:
        """int [I, 4]: cells that are on each image by true class (`STUDY_CLASSES`), missed ones included."""
        return self.cells.sum(axis=2)[:, : len(STUDY_CLASSES)]


def simulate_patient(settings: CohortSettings, number: int) -> SimulatedPatient:
    """Patient `number` (from 0) of a cohort."""
    rng = np.random.default_rng([settings.seed, number])
    shares = rng.dirichlet(settings.composition)
    num_images = settings.images_per_patient
    totals = rng.poisson(settings.white_cells_per_image, num_images)
    of_image = np.broadcast_to(shares, (num_images, len(WHITE_CELLS)))
    if settings.correlation:
        # A share of exactly 0 has no Dirichlet distribution; such a class stays absent up to a negligible chance.
        alpha = np.maximum(shares, 1e-12) * (1 - settings.correlation) / settings.correlation
        of_image = rng.dirichlet(alpha, num_images)
    true = np.zeros((num_images, len(TRUE_CLASSES)), int)
    true[:, : len(WHITE_CELLS)] = rng.multinomial(totals, of_image)
    true[:, TRUE_CLASSES.index(ERYTHROCYTE)] = rng.poisson(settings.erythrocytes_per_image, num_images)
    true[:, TRUE_CLASSES.index(NO_CELL)] = rng.poisson(settings.false_per_image, num_images)
    cells = np.stack([rng.multinomial(true[:, t], row) for t, row in enumerate(_patient_rates(settings, rng))], axis=1)
    return SimulatedPatient(f"sim_{number + 1:04d}", shares, cells)


def _patient_rates(settings: CohortSettings, rng: np.random.Generator) -> np.ndarray:
    """[T, J] rates of one patient, which differ from the cohort's where `rate_correlation` is not 0."""
    rates = np.array([[settings.rates[name].get(outcome, 0.0) for outcome in OUTCOMES] for name in TRUE_CLASSES])
    if settings.rate_correlation:
        alpha0 = (1 - settings.rate_correlation) / settings.rate_correlation
        for row in rates:
            row[row > 0] = rng.dirichlet(row[row > 0] * alpha0)
    return rates / rates.sum(axis=1, keepdims=True)


def simulate(settings: CohortSettings) -> Iterator[SimulatedPatient]:
    """All patients of a cohort, one in memory at a time."""
    return (simulate_patient(settings, number) for number in range(settings.patients))
