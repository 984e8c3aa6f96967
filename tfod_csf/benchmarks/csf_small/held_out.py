"""Held-out images with what a model found in them that had not seen them, and figures with intervals over them.

Shape shorthand in this module:
  I: images.
  U: units, what an interval samples: of pbc the images, whose donors are not known; of bccd the groups of overlapping
    pseudo-patients.
  B: bootstrap samples.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from tfod_csf import cell_classes
from tfod_csf.benchmarks.csf_small.source_images import SourceImage
from tfod_csf.cytology.studies.cell_agreement import MIN_GROUPS, proportion, quantiles_for
from tfod_csf.cytology.studies.method_comparison import Estimate
from tfod_csf.detections import Detections
from tfod_csf.errors import UserError
from tfod_csf.inference.cell_selection import Cells, ScoreThresholds, select_cells
from tfod_csf.label_map import LabelMap

CLASSES = (*cell_classes.STUDY_CLASSES, cell_classes.UNKNOWN)
_MAX_UNDEFINED = 0.05  # as of `cell_agreement.bootstrap`


class HeldOutError(UserError):
    """Models or images that figures cannot be made of."""


@dataclasses.dataclass(frozen=True)
class Figure:
    """A number of the model card.

    Attributes:
      name: what it is.
      reading: what was counted, or how; "" where there is one way.
      class_name: of the cells; "" of all.
      estimate: with its 95 % interval; NaN ends where there is none.
      units: those with such cells, which the interval samples.
      cells: labeled cells, or what else the note says.
      note: why there is no interval, or what else has to be known.
    """

    name: str
    reading: str
    class_name: str
    estimate: Estimate
    units: int
    cells: int
    note: str = ""


@dataclasses.dataclass(frozen=True)
class ExaminedImage:
    """One held-out image: what people labeled, what was detected, and which detections count as cells."""

    image: SourceImage
    detections: Detections
    cells: Cells

    @property
    def unit(self) -> str:
        """What an interval samples."""
        return self.image.group or self.image.key


@dataclasses.dataclass(frozen=True)
class HeldOutSet:
    """The images of one laboratory that one or more models had not seen.

    Attributes:
      title: what it measures, in a few words.
      label_map: of all of the models.
      thresholds: what counts as a cell.
      examined: every image once.
    """

    title: str
    label_map: LabelMap
    thresholds: ScoreThresholds
    examined: Sequence[ExaminedImage]

    @functools.cached_property
    def distinct(self) -> list[ExaminedImage]:
        """Without images that repeat an earlier one: in pbc_dense are pictures of pbc_mgg."""
        keys = {one.image.key for one in self.examined}
        return [one for one in self.examined if one.image.repeats not in keys]

    @functools.cached_property
    def dense(self) -> list[ExaminedImage]:
        """Those of which every red cell is labeled."""
        return [one for one in self.examined if one.image.is_dense]


def examine(
    title: str,
    label_map: LabelMap,
    thresholds: ScoreThresholds,
    found: Sequence[tuple[SourceImage, Detections]],
) -> HeldOutSet:
    """Selects the cells as batch_infer does.

    Raises:
      HeldOutError: there is no image, one is there twice, or the model has other classes than csf_small.
    """
    if not found:
        raise HeldOutError(f"{title}: there is no image in these folds.")
    other = [name for name in label_map.names if cell_classes.canonical_name(name) not in CLASSES]
    if other:
        raise HeldOutError(f"the model has the class {other[0]!r}; expected {', '.join(CLASSES)}.")
    seen: set[str] = set()
    for image, _ in found:
        if image.key in seen:
            raise HeldOutError(f"{image.key}: two models are to be tested with it; give each its own folds.")
        seen.add(image.key)
    examined = [
        ExaminedImage(image, detections, select_cells(detections, label_map, thresholds)) for image, detections in found
    ]
    return HeldOutSet(title, label_map, thresholds, examined)


def units_of(examined: Sequence[ExaminedImage]) -> np.ndarray:
    """int [I]: each image's unit, 0 .. U - 1."""
    names = [one.unit for one in examined]
    return np.unique(names, return_inverse=True)[1] if names else np.zeros(0, int)


def often_sampled(num_units: int, replicates: int, seed: int) -> np.ndarray:
    """int [B, U]: how often each unit is in a sample of as many units."""
    return np.random.default_rng(seed).multinomial(num_units, np.full(num_units, 1 / num_units), replicates)


def interval(value: float, again: np.ndarray, num_units: int) -> Estimate:
    """A value with the percentile interval of bootstrap samples, widened for few units (`quantiles_for`).

    Args:
      again: [B] the value of each sample; NaN where it is not defined.

    Returns:
      No interval with fewer than `MIN_GROUPS` units, or where more than 5 % of the samples leave it undefined.
    """
    defined = again[np.isfinite(again)]
    if math.isnan(value) or num_units < MIN_GROUPS or len(defined) < (1 - _MAX_UNDEFINED) * len(again):
        return Estimate(value, math.nan, math.nan)
    low, high = np.quantile(defined, quantiles_for(num_units))
    return Estimate(value, float(low), float(high))


def share(name: str, reading: str, class_name: str, parts: np.ndarray, wholes: np.ndarray, seed: int = 0) -> Figure:
    """The share of summed parts in summed wholes.

    Args:
      parts, wholes: int [U] cells of each unit.
      seed: of the samples of its interval, 2,000.
    """
    found = proportion(parts, wholes, seed)
    note = note_of(found.value, found.cells)
    if found.note and not math.isnan(found.value.low):
        note = "all samples are alike; the interval takes cells as independent"
    return Figure(name, reading, class_name, found.value, int(np.count_nonzero(wholes)), found.cells, note)


def sums_of_units(values: np.ndarray, units: np.ndarray, num_units: int) -> np.ndarray:
    """[U, ...] sums over the rows of each unit.

    Args:
      values: [N, ...].
      units: int [N], 0 .. U - 1.
    """
    sums = np.zeros((num_units, *values.shape[1:]), values.dtype)
    np.add.at(sums, units, values)
    return sums


def note_of(estimate: Estimate, cells: int) -> str:
    """Why a figure has no interval, or one that says nothing."""
    if not cells:
        return "no such cell"
    if math.isnan(estimate.low):
        return "no interval: too few units with such cells"
    if estimate.low == estimate.high:
        return "all samples are alike; the interval says nothing"
    return ""
