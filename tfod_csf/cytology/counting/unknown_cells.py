"""Unknown cells: what they most likely are, both ways of counting them, and how far they could carry a percentage.

A cell is undecided while the model's score is too low (or its class is `unknown`, or two reviewers dispute it) and no
person has decided. A person may also look at a cell and leave it unknown: because it is of a rarer class, or because it
cannot be named. Neither kind is missing by chance: a class that is hard to name is among them more often. So three
things are said whatever way the run counts them:

* The share of unknown cells among the white cells. An unknown cell may be white unless the model finds erythrocyte most
  likely and nobody contradicts; cells whose most likely class is `unknown` or a class outside the study count as
  possibly white, because nothing says they are not. Erythrocytes are in neither part of the share, so a bloody tap does
  not make it smaller.
* Both readings of every percentage: apart (named cells alone) and as predicted (each undecided cell as its most likely
  class; a cell that a person left unknown is not given the class that the person did not give it).
* The worst case of every percentage: none, or all, of the possibly white unknown cells are of that class.

With several models counts are means of the models' counts, and percentages are computed per model and then averaged.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from tfod_csf import cell_classes

CountsByModel = Mapping[str, Mapping[str, int]]

# Most likely classes the tables tell apart; `other` is every further class, `unknown` included.
OTHER = "other"
LIKELY_CLASSES = (*cell_classes.STUDY_CLASSES, OTHER)


@dataclasses.dataclass(frozen=True)
class UnnamedCells:
    """A patient's cells, split by whether they have a name, per model.

    Attributes:
      named: {model: {class: cells}} as they are counted.
      undecided: {model: {most likely class: cells}}.
      left_unknown: {model: {erythrocyte or unknown: cells}} that a person looked at and left unknown.
    """

    named: CountsByModel
    undecided: CountsByModel
    left_unknown: CountsByModel = dataclasses.field(default_factory=dict)

    @classmethod
    def of_counts(cls, counts_by_model: CountsByModel) -> "UnnamedCells":
        """From counts alone: those under `unknown` are undecided, and nothing says what they most likely are."""
        named, undecided = {}, {}
        for model, counts in counts_by_model.items():
            is_unknown = {name: cell_classes.canonical_name(name) == cell_classes.UNKNOWN for name in counts}
            named[model] = {name: count for name, count in counts.items() if not is_unknown[name]}
            undecided[model] = {name: count for name, count in counts.items() if is_unknown[name]}
        return cls(named, undecided)


@dataclasses.dataclass(frozen=True)
class Readings:
    """The percentage of one white-cell class, read in other ways; None where a reading has too few white cells.

    Attributes:
      apart: of the named cells.
      as_predicted: with every undecided cell counted under its most likely class.
      worst_low, worst_high: with none and with all of the possibly white unknown cells of this class.
    """

    apart: float | None = None
    as_predicted: float | None = None
    worst_low: float | None = None
    worst_high: float | None = None


@dataclasses.dataclass(frozen=True)
class UnknownCells:
    """What the unknown cells mean for a differential.

    Attributes:
      likely: {class of `LIKELY_CLASSES`: unknown cells}.
      white_cells: named white cells.
      readings: {white-cell class: `Readings`}.
      left_unknown: those of `maybe_white` that a person looked at and left unknown.
    """

    likely: Mapping[str, float]
    white_cells: float
    readings: Mapping[str, Readings]
    left_unknown: float = 0.0

    @property
    def maybe_white(self) -> float:
        """Unknown cells that may be white: all but the likely erythrocytes."""
        return sum(count for name, count in self.likely.items() if name != cell_classes.ERYTHROCYTE)

    @property
    def white_percent(self) -> float | None:
        """Unknown cells that may be white, in percent of them and the named white cells; None without any."""
        both = self.maybe_white + self.white_cells
        return 100 * self.maybe_white / both if both else None

    def exceeds(self, max_unknown_percent: float) -> bool:
        """Whether so many white cells are unknown that percentages are not to be relied on."""
        return (self.white_percent or 0) > max_unknown_percent


def unknown_cells(cells: UnnamedCells, min_white_cells: float) -> UnknownCells:
    """Counts the unknown cells and reads the percentages in every way.

    Args:
      cells: per model.
      min_white_cells: white cells below which a reading has no percentages.
    """
    models = list(cells.named)
    if not models:
        return UnknownCells(dict.fromkeys(LIKELY_CLASSES, 0.0), 0.0, _no_readings())
    named = np.array([_in_order(cells.named[model], cell_classes.WHITE_CELLS) for model in models])
    left = np.array([_likely(cells.left_unknown.get(model, {})) for model in models])
    likely = np.array([_likely(cells.undecided.get(model, {})) for model in models]) + left
    white, erythrocyte = slice(0, len(cell_classes.WHITE_CELLS)), LIKELY_CLASSES.index(cell_classes.ERYTHROCYTE)
    maybe = likely.sum(axis=1) - likely[:, erythrocyte]
    predicted = named + likely[:, white]
    largest = (named.sum(axis=1) + maybe)[:, None]
    return UnknownCells(
        likely=dict(zip(LIKELY_CLASSES, likely.mean(axis=0).tolist(), strict=True)),
        white_cells=float(named.sum(axis=1).mean()),
        readings=_readings(
            _percentages(named, named.sum(axis=1)[:, None], min_white_cells),
            _percentages(predicted, predicted.sum(axis=1)[:, None], min_white_cells),
            _percentages(named, largest, min_white_cells),
            _percentages(named + maybe[:, None], largest, min_white_cells),
        ),
        left_unknown=float((left.sum(axis=1) - left[:, erythrocyte]).mean()),
    )


def _in_order(counts: Mapping[str, int], names: tuple[str, ...]) -> list[float]:
    found = dict.fromkeys(names, 0.0)
    for name, count in counts.items():
        name = cell_classes.canonical_name(name)
        if name in found:
            found[name] += count
    return list(found.values())


def _likely(unknown: Mapping[str, int]) -> list[float]:
    """[5] unknown cells by most likely class, in the order of `LIKELY_CLASSES`."""
    study = _in_order(unknown, cell_classes.STUDY_CLASSES)
    return [*study, sum(unknown.values()) - sum(study)]


def _percentages(cells: np.ndarray, total: np.ndarray, min_white_cells: float) -> np.ndarray | None:
    """[3] percentages of [M, 3] cells per model in [M, 1] cells, averaged over the models that have cells."""
    if total.mean() < min_white_cells or not total.any():
        return None
    found = total[:, 0] > 0
    return (100 * cells[found] / total[found]).mean(axis=0)


def _readings(*percentages: np.ndarray | None) -> dict[str, Readings]:
    return {
        name: Readings(*(None if values is None else float(values[k]) for values in percentages))
        for k, name in enumerate(cell_classes.WHITE_CELLS)
    }


def _no_readings() -> dict[str, Readings]:
    return dict.fromkeys(cell_classes.WHITE_CELLS, Readings())
