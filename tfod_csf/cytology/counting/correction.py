"""The differential corrected for what the detector confuses, does not dare to name, and misses.

Raw percentages are of the cells that were counted. When neutrophils are taken for monocytes, or end as unknown more
often than others, they are wrong in the same direction in every patient, however many cells are counted. What became of
annotated cells (`classification.Classification`) tells how often which class ends as which outcome; the composition
under which the patient's outcomes are most likely is the corrected differential.

How it works. Let mu_i be the number of cells of true class i on the patient's images, p_ij the probability that such a
cell ends as outcome j, f_j the false detections of outcome j per image, I the images. The cells found as outcome j are
Poisson with mean e_j = sum_i mu_i p_ij + I f_j. The mu >= 0 that maximize the likelihood are found by EM (Shepp and
Vardi 1982; with the shares as unknown priors it is the method of Saerens et al. 2002); without constraint it is the
classical matrix correction (Rogan and Gladen 1978; Buonaccorsi 2010, chapter 2). "Missed" is the outcome that nobody
sees: row i of the observed outcomes adds up to 1 - P(missed | i).

The interval of a share is a score interval: all t with (estimate - t)^2 <= A Var(t), A the chi-square quantile (1 df)
at 1 - alpha / 3, so that the three hold at once. With a detector without mistakes it is Goodman's (1965). Var(t) is the
delta method's at the composition with share t, and has three parts:
  cells       Fisher information of the Poisson model, times max(1, design effect): cells of one kind lie together on
              images. The design effect is measured as for the raw percentages (`clustering`), on the corrected cells
              that each image stands for, and widened as there when the images are few.
  validation  the matrix was estimated: covariance of its rows with the patient as the sampling unit.
  patients    this patient's stain and camera are one more sample from those of the validation: the rates' variance
              between validation patients, beyond chance, is added.

Shape shorthand in this module:
  I: images.
  T: true classes with a row, `classification.NAMED`.
  J: observed outcomes: `classification.OUTCOMES` without "missed".
"""

import dataclasses

import numpy as np
from scipy import stats

from tfod_csf import classification
from tfod_csf.cell_classes import WHITE_CELLS
from tfod_csf.classification import NAMED, OUTCOMES, Classification
from tfod_csf.cytology.counting.clustering import Clustering, measure_clustering

OBSERVED = OUTCOMES[:-1]
_WHITE = [NAMED.index(name) for name in WHITE_CELLS]
_MAX_STEPS = 5000
_TOLERANCE_CELLS = 1e-7  # EM stops when no number of cells moves more
_BISECTIONS = 30
_LEAST_EXPECTED = 1e-9  # cells; an outcome that no class ends as has rate 0 and expects none


@dataclasses.dataclass(frozen=True)
class OutcomeRates:
    """What the validation says about a model.

    Attributes:
      rates: [T, J] probability of each observed outcome; a row adds up to 1 - P(missed).
      variance_factors: [T] times (diag(p) - p p') is the covariance of a row: of its estimate, and between patients.
      false_per_image: [J] false detections.
      false_covariance: [J, J] of a patient's own false detections per image.
    """

    rates: np.ndarray
    variance_factors: np.ndarray
    false_per_image: np.ndarray
    false_covariance: np.ndarray


def outcome_rates(found: Classification) -> OutcomeRates:
    """Rates and their uncertainty from the validation patients.

    A row of n cells is (counts + prior) / (n + 1): the prior is one cell, half of it under the class's own name, so
    that an outcome that was never seen is unlikely and not impossible. The variance of a row is that of n independent
    cells times max(1, d), d from the patients' residuals (linearized ratio); d = 1 + (m - 1) tau with m the cells of a
    class per patient (weighted by cells) gives tau, the correlation of outcomes within patients.
    """
    counts = found.counts.astype(float)  # [P, T + 1, J + 1]
    of_cells, of_none = counts[:, :-1], counts[:, -1, :-1]
    pooled = of_cells.sum(axis=0) + _prior()
    totals = pooled.sum(axis=1, keepdims=True)
    rates = pooled / totals
    factors = np.array([_variance_factor(of_cells[:, t], rates[t], float(totals[t, 0])) for t in range(len(NAMED))])
    images = np.array([patient.images for patient in found.patients], float)
    false_per_image = of_none.sum(axis=0) / images.sum()
    own = of_none / images[:, None] - false_per_image
    covariance = own.T @ own / max(len(own) - 1, 1) * (1 + 1 / len(own))
    return OutcomeRates(rates[:, :-1], factors, false_per_image, covariance)


def _prior() -> np.ndarray:
    """[T, J + 1], each row one cell."""
    prior = np.full((len(NAMED), len(OUTCOMES)), 0.5 / len(OUTCOMES))
    for t, name in enumerate(NAMED):
        for own in (name, f"{classification.UNKNOWN}: {name}"):
            prior[t, OUTCOMES.index(own)] += 0.25
    return prior


def _variance_factor(counts: np.ndarray, rates: np.ndarray, total: float) -> float:
    """Variance of a row over that of one cell: of the estimate, plus between patients; see `outcome_rates`."""
    of_patient = counts.sum(axis=1)  # [P]
    present = of_patient > 0
    num_patients = int(present.sum())
    independent = float((rates * (1 - rates)).sum())
    if num_patients < 2 or independent <= 0:
        return 1 / total + 1.0  # nothing is known about how patients differ
    residuals = (counts - of_patient[:, None] * rates)[present]
    scatter = float((residuals**2).sum()) * num_patients / (num_patients - 1)
    effect = max(1.0, scatter / (independent * of_patient.sum()))
    per_patient = float((of_patient**2).sum() / of_patient.sum())
    between = min(1.0, (effect - 1) / (per_patient - 1)) if per_patient > 1 else 0.0
    return effect / total + between


@dataclasses.dataclass(frozen=True)
class CorrectedShares:
    """Corrected shares of `WHITE_CELLS`, fractions.

    Attributes:
      shares: [3], adding up to 1.
      low, high: [3] ends of the simultaneous interval.
      design_effect: of the corrected shares; None where it is not known (`clustering.Clustering`).
    """

    shares: np.ndarray
    low: np.ndarray
    high: np.ndarray
    design_effect: float | None


def most_likely_cells(counts: np.ndarray, images: int, rates: OutcomeRates) -> np.ndarray:
    """[T] true cells on the images under which [J] observed outcomes are most likely (EM)."""
    matrix, background = rates.rates, images * rates.false_per_image
    found = matrix.sum(axis=1)
    cells = np.full(len(matrix), max(counts.sum(), 1.0) / len(matrix))
    for _ in range(_MAX_STEPS):
        expected = cells @ matrix + background
        new = cells * (matrix @ (counts / np.maximum(expected, 1e-300))) / found
        moved = np.abs(new - cells).max()
        cells = new
        if moved < _TOLERANCE_CELLS:
            break
    return cells


def corrected_shares(image_counts: np.ndarray, rates: OutcomeRates, alpha: float = 0.05) -> CorrectedShares | None:
    """The corrected differential of one patient and model.

    Args:
      image_counts: int [I, J] cells of each examined image by observed outcome.
      rates: of `outcome_rates`.
      alpha: probability that at least one of the three intervals misses its share.

    Returns:
      None where no white cell is left (nothing found, or everything is more likely something else).
    """
    counts = np.asarray(image_counts, float)
    cells = most_likely_cells(counts.sum(axis=0), len(counts), rates)
    white = cells[_WHITE].sum()
    if white < 0.5:
        return None
    shares = cells[_WHITE] / white
    clustering, scale = _clustering(counts, cells, rates)
    effect = max(1.0, scale * white / clustering.effective_cells(white, alpha))
    low, high = _score_interval(cells, len(counts), rates, effect, alpha)
    known = clustering.design_effect
    return CorrectedShares(shares, low, high, None if known is None else scale * known)


def _smoothed(cells: np.ndarray) -> np.ndarray:
    """Half a cell of each class more: at a share of exactly 0 the delta method would know no variance."""
    return cells + 0.5


def _linearized(cells: np.ndarray, images: int, rates: OutcomeRates) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The estimator's linear form around [..., T] cells.

    Returns:
      information inverse [..., T, T]; weights [..., T, J] of the observed counts; gradient [..., 3, T] of the shares.
    """
    matrix = rates.rates
    expected = cells @ matrix + images * rates.false_per_image  # [..., J]
    scaled = matrix / np.maximum(expected, _LEAST_EXPECTED)[..., None, :]
    inverse = np.linalg.inv(scaled @ matrix.T)
    white = cells[..., _WHITE].sum(axis=-1)
    shares = cells[..., _WHITE] / white[..., None]
    gradient = np.zeros((*cells.shape[:-1], len(_WHITE), len(matrix)))
    gradient[..., :, _WHITE] = (np.eye(len(_WHITE)) - shares[..., :, None]) / white[..., None, None]
    return inverse, inverse @ scaled, gradient


def _clustering(image_counts: np.ndarray, cells: np.ndarray, rates: OutcomeRates) -> tuple[Clustering, float]:
    """How the corrected cells lie together, from those that each image stands for.

    Returns:
      (clustering of the white cells; what its design effect is multiplied by, so that 1 stands for independent cells
      that are misnamed as the matrix says instead of independent cells that are named rightly).
    """
    inverse, weights, gradient = _linearized(_smoothed(cells), len(image_counts), rates)
    of_image = ((image_counts - rates.false_per_image) @ weights.T)[:, _WHITE]
    clustering = measure_clustering(of_image)
    shares = cells[_WHITE] / cells[_WHITE].sum()
    rightly_named = float((shares * (1 - shares)).sum()) / cells[_WHITE].sum()
    return clustering, rightly_named / float(np.trace(gradient @ inverse @ gradient.T))


def _variances(cells: np.ndarray, images: int, rates: OutcomeRates, effect: float) -> np.ndarray:
    """[..., 3] variance of each share at [..., T] cells: chance among cells, validation, patients."""
    inverse, weights, gradient = _linearized(cells, images, rates)
    of_cells = effect * np.einsum("...ki,...ij,...kj->...k", gradient, inverse, gradient)
    influence = gradient @ weights  # [..., 3, J]
    row_scales = cells**2 * rates.variance_factors  # [..., T]
    # Variance of v . x for x with covariance diag(p) - p p' is p . v^2 - (p . v)^2.
    per_row = influence**2 @ rates.rates.T - (influence @ rates.rates.T) ** 2  # [..., 3, T]
    of_rates = (per_row * row_scales[..., None, :]).sum(axis=-1)
    of_false = images**2 * np.einsum("...kj,jl,...kl->...k", influence, rates.false_covariance, influence)
    return of_cells + of_rates + of_false


def _score_interval(
    cells: np.ndarray, images: int, rates: OutcomeRates, effect: float, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """[3] ends by bisection between the estimate and 0 or 1; see the module's docstring."""
    quantile = stats.chi2.ppf(1 - alpha / len(WHITE_CELLS), 1)
    white = cells[_WHITE].sum()
    shares = cells[_WHITE] / white
    classes = np.tile(np.arange(len(WHITE_CELLS)), 2)  # three lower ends, three upper ends
    inside = shares[classes]
    outside = np.repeat([0.0, 1.0], len(WHITE_CELLS))
    rest = _smoothed(cells)[_WHITE][None] * (1 - np.eye(len(WHITE_CELLS)))[classes]  # [6, 3], own class 0
    rest /= rest.sum(axis=1, keepdims=True)
    trial = np.tile(_smoothed(cells), (len(classes), 1))  # [6, T]
    rows = np.arange(len(classes))
    for step in range(_BISECTIONS):
        t = outside if not step else (inside + outside) / 2
        white_cells = (1 - t[:, None]) * rest
        white_cells[rows, classes] = t
        trial[:, _WHITE] = np.maximum(white_cells, 1e-9) * white
        variance = _variances(trial, images, rates, effect)[rows, classes]
        holds = (shares[classes] - t) ** 2 <= quantile * variance
        if not step:
            inside = np.where(holds, outside, inside)  # the interval reaches 0 or 1
            continue
        inside, outside = np.where(holds, t, inside), np.where(holds, outside, t)
    low, high = np.split(np.clip(inside, 0, 1), 2)
    return low, high
