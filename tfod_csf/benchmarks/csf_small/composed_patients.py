"""Percentages of patients composed of held-out images, against the percentages of their labels.

A patient is images with one labeled white cell each, of one of the three classes, in the mixture of a patient of the
paper's Table 2 or an even one. Everything that counts as a cell on these images is counted as batch_infer counts it, so
that missed, false and unknown cells have their effect.

Shape shorthand in this module:
  I: images.  U: units.  B: bootstrap samples.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tfod_csf.benchmarks.csf_small import held_out
from tfod_csf.benchmarks.csf_small.held_out import ExaminedImage, Figure, HeldOutSet
from tfod_csf.benchmarks.csf_small.source_images import NOT_SURE
from tfod_csf.cell_classes import UNKNOWN, WHITE_CELLS, canonical_name
from tfod_csf.cytology.studies.method_comparison import Estimate
from tfod_csf.wording import plural

# Shares of lymphocytes, monocytes and neutrophils: the hospital's percentages of the paper's patients 1 to 4.
MIXTURES = {
    "5/3/92": (5, 3, 92),
    "1/7/91": (1, 7, 91),
    "18/23/59": (18, 23, 59),
    "87/6/7": (87, 6, 7),
    "even": (1, 1, 1),
}
EVERY = "mean of the mixtures"
PAPER_POINTS = 5.3  # the paper's own mean over its four patients and three classes
NAME, LARGEST = "mean difference of percentages, points", "largest difference of a percentage, points"
APART, AS_PREDICTED = "unknown cells apart", "as predicted"
_READINGS = (APART, AS_PREDICTED)


@dataclasses.dataclass(frozen=True)
class CompositionSettings:
    """How patients are composed.

    Attributes:
      sizes: white cells of a patient.
      patients: of each mixture and size.
      samples: of the images, for the intervals.
      seed: of all random choices.
    """

    sizes: Sequence[int] = (100, 300)
    patients: int = 20
    samples: int = 200
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class SingleCells:
    """Images with one labeled white cell.

    Attributes:
      label: int [I], its place in WHITE_CELLS.
      counts: int [2, I, 3] cells that the machine counts on the image under each class, in both readings.
      units: int [I], 0 .. U - 1.
    """

    label: np.ndarray
    counts: np.ndarray
    units: np.ndarray


def single_cells(held: HeldOutSet) -> SingleCells:
    """The images that patients are composed of, each picture once."""
    chosen = [one for one in held.distinct if _white_label(one) is not None]
    return SingleCells(
        np.array([WHITE_CELLS.index(str(_white_label(one))) for one in chosen], int),
        np.array([[_counts(one, reading) for one in chosen] for reading in _READINGS], int).reshape(2, -1, 3),
        held_out.units_of(chosen),
    )


def images_of_class(held: HeldOutSet) -> dict[str, int]:
    """{class: images that patients can be composed of}."""
    number = np.bincount(single_cells(held).label, minlength=len(WHITE_CELLS))
    return dict(zip(WHITE_CELLS, number.tolist(), strict=True))


def _white_label(one: ExaminedImage) -> str | None:
    """The class of the image's only white cell; None where there are several, none, or one of no known class."""
    white = [label.name for label in one.image.objects if label.name in (*WHITE_CELLS, UNKNOWN, NOT_SURE)]
    return white[0] if len(white) == 1 and white[0] in WHITE_CELLS else None


def _counts(one: ExaminedImage, reading: str) -> list[int]:
    """[3] cells counted under each class."""
    given = one.cells.counted_as if reading == APART else one.cells.predicted_class
    names = [canonical_name(name) for name in given]
    return [names.count(name) for name in WHITE_CELLS]


def cells_of_mixture(mixture: Sequence[float], size: int) -> np.ndarray:
    """int [3] cells of each class that add up to `size`; the largest remainders are rounded up, of like ones the first.

    >>> cells_of_mixture((1, 7, 91), 100).tolist(), cells_of_mixture((1, 1, 1), 100).tolist()
    ([1, 7, 92], [34, 33, 33])
    """
    exact = np.round(size * np.array(mixture, float) / sum(mixture), 9)
    cells = np.floor(exact).astype(int)
    cells[np.argsort(np.round(cells - exact, 9), kind="stable")[: size - cells.sum()]] += 1
    return cells


def composed(rng: np.random.Generator, of_class: Sequence[np.ndarray], cells: np.ndarray) -> np.ndarray:
    """int [N]: images of one patient.

    Args:
      of_class: images of each class.
      cells: int [3] that are needed; of a class with fewer images some are there several times.
    """
    return np.concatenate(
        [
            rng.choice(images, needed, replace=needed > len(images))
            for images, needed in zip(of_class, cells, strict=True)
        ]
    )


def differences(
    single: SingleCells, chosen: np.ndarray, mixture: Sequence[float], size: int, patients: int, seed: Sequence[int]
) -> np.ndarray:
    """float [2, patients, 3]: |percentage of the machine - true percentage|, points, in both readings.

    NaN where a class of the mixture has no image.

    Args:
      chosen: images that patients are composed of; one may be there several times.
    """
    cells = cells_of_mixture(mixture, size)
    of_class = [chosen[single.label[chosen] == place] for place in range(len(WHITE_CELLS))]
    if any(needed and not len(images) for images, needed in zip(of_class, cells, strict=True)):
        return np.full((2, patients, 3), np.nan)
    rng = np.random.default_rng(seed)
    images = np.stack([composed(rng, of_class, cells) for _ in range(patients)])
    counts = single.counts[:, images].sum(axis=2)
    shares = 100 * counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return np.abs(shares - 100 * cells / size)


def figures(held: HeldOutSet, settings: CompositionSettings | None = None) -> list[Figure]:
    """Rows of every mixture and size and of their mean; the interval samples units of the images."""
    settings = settings or CompositionSettings()
    single = single_cells(held)
    num_units = len(np.unique(single.units))
    everything = np.arange(len(single.label))
    if len(np.unique(single.label)) < len(WHITE_CELLS):
        return _absent(single)
    often = held_out.often_sampled(num_units, settings.samples, settings.seed)[:, single.units]
    rows = []
    for size in settings.sizes:
        found = {name: _differences(single, everything, name, size, settings, 0) for name in MIXTURES}
        again = {
            name: np.stack(
                [
                    _differences(single, np.repeat(everything, weights), name, size, settings, number + 1)
                    for number, weights in enumerate(often)
                ]
            )
            for name in MIXTURES
        }
        found[EVERY] = np.concatenate(list(found.values()), axis=1)
        again[EVERY] = np.concatenate(list(again.values()), axis=2)
        for name in found:
            note = _repeated(single, [name] if name in MIXTURES else list(MIXTURES), size)
            rows += _rows(name, size, found[name], again[name], num_units, note)
    return rows


def _differences(
    single: SingleCells, chosen: np.ndarray, name: str, size: int, settings: CompositionSettings, number: int
) -> np.ndarray:
    seed = [settings.seed, size, list(MIXTURES).index(name), number]
    return differences(single, chosen, MIXTURES[name], size, settings.patients, seed)


def _rows(name: str, size: int, found: np.ndarray, again: np.ndarray, num_units: int, note: str) -> list[Figure]:
    """Figures of one mixture and size.

    Args:
      found: [2, patients, 3].
      again: [B, 2, patients, 3].
    """
    rows = []
    for place, reading in enumerate(_READINGS):
        estimate = held_out.interval(float(found[place].mean()), again[:, place].mean(axis=(1, 2)), num_units)
        of = f"{name}, {size} cells"
        rows.append(Figure(NAME, reading, of, estimate, num_units, found.shape[1] * size, note))
        largest = Estimate(float(found[place].max()), math.nan, math.nan)
        rows.append(Figure(LARGEST, reading, of, largest, num_units, found.shape[1] * size, note))
    return rows


def _repeated(single: SingleCells, mixtures: Sequence[str], size: int) -> str:
    """Of which classes images are used several times."""
    number = np.bincount(single.label, minlength=len(WHITE_CELLS))
    needed = np.max([cells_of_mixture(MIXTURES[name], size) for name in mixtures], axis=0)
    rare = [
        f"{name} ({plural(have, 'image')} for up to {plural(need, 'cell')})"
        for name, have, need in zip(WHITE_CELLS, number, needed, strict=True)
        if need > have
    ]
    return f"images are repeated: {', '.join(rare)}" if rare else ""


def _absent(single: SingleCells) -> list[Figure]:
    """The row that says why there are no patients."""
    absent = [name for place, name in enumerate(WHITE_CELLS) if place not in single.label]
    note = f"no patients: no image has one white cell that is a {' or a '.join(absent)}"
    return [Figure(NAME, APART, EVERY, Estimate(math.nan, math.nan, math.nan), 0, 0, note)]
