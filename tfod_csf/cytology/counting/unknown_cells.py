"""Unknown cells: what they most likely are, both ways of counting them, and how far they could carry a percentage.

A cell is undecided while the model's score is too low (or its class is `unknown`, or two reviewers dispute it) and no
person has decided. Undecided cells are not missing by chance: a class the model finds hard is among them more often.
So three things are said whatever way the run counts them:

* The share of unknown cells among the white cells. An undecided cell may be white unless the model finds erythrocyte
  most likely; cells whose most likely class is `unknown` or a class outside the study count as possibly white, because
  nothing says they are not. Erythrocytes are in neither part of the share, so a bloody tap does not make it smaller.
* Both readings of every percentage: apart (decided cells alone) and as predicted (each undecided cell as its most
  likely class).
* The worst case of every percentage: none, or all, of the possibly white undecided cells are of that class.

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
class UndecidedCells:
    """A patient's cells, split by whether they are decided, per model.

    Attributes:
      decided: {model: {class: cells}} as they are counted.
      undecided: {model: {most likely class: cells}}.
    """

    decided: CountsByModel
    undecided: CountsByModel

    @classmethod
    def of_counts(cls, counts_by_model: CountsByModel) -> "UndecidedCells":
        """From counts alone: those under `unknown` are undecided, and nothing says what they most likely are."""
        decided, undecided = {}, {}
        for model, counts in counts_by_model.items():
            is_unknown = {name: cell_classes.canonical_name(name) == cell_classes.UNKNOWN for name in counts}
            decided[model] = {name: count for name, count in counts.items() if not is_unknown[name]}
            undecided[model] = {name: count for name, count in counts.items() if is_unknown[name]}
        return cls(decided, undecided)


@dataclasses.dataclass(frozen=True)
class Readings:
    """The percentage of one white-cell class, read in other ways; None where a reading has too few white cells.

    Attributes:
      apart: of the decided cells.
      as_predicted: with every undecided cell counted under its most likely class.
      worst_low, worst_high: with none and with all of the possibly white undecided cells of this class.
    """

    apart: float | None = None
    as_predicted: float | None = None
    worst_low: float | None = None
    worst_high: float | None = None


@dataclasses.dataclass(frozen=True)
class UnknownCells:
    """What the undecided cells mean for a differential.

    Attributes:
      likely: {class of `LIKELY_CLASSES`: undecided cells}.
      white_cells: decided white cells.
      readings: {white-cell class: `Readings`}.
    """

    likely: Mapping[str, float]
    white_cells: float
    readings: Mapping[str, Readings]

    @property
    def maybe_white(self) -> float:
        """Undecided cells that may be white: all but the likely erythrocytes."""
        return sum(count for name, count in self.likely.items() if name != cell_classes.ERYTHROCYTE)

    @property
    def white_percent(self) -> float | None:
        """Undecided cells that may be white, in percent of them and the decided white cells; None without any."""
        both = self.maybe_white + self.white_cells
        return 100 * self.maybe_white / both if both else None


def unknown_cells(cells: UndecidedCells, min_white_cells: float) -> UnknownCells:
    """Counts the undecided cells and reads the percentages in every way.

    Args:
      cells: per model.
      min_white_cells: white cells below which a reading has no percentages.
    """
    models = list(cells.decided)
    decided = np.array([_in_order(cells.decided[model], cell_classes.WHITE_CELLS) for model in models])
    likely = np.array([_likely(cells.undecided.get(model, {})) for model in models])
    if not models:
        return UnknownCells(dict.fromkeys(LIKELY_CLASSES, 0.0), 0.0, _no_readings())
    white = slice(0, len(cell_classes.WHITE_CELLS))
    maybe = likely.sum(axis=1) - likely[:, LIKELY_CLASSES.index(cell_classes.ERYTHROCYTE)]
    predicted = decided + likely[:, white]
    largest = (decided.sum(axis=1) + maybe)[:, None]
    return UnknownCells(
        likely=dict(zip(LIKELY_CLASSES, likely.mean(axis=0).tolist(), strict=True)),
        white_cells=float(decided.sum(axis=1).mean()),
        readings=_readings(
            _percentages(decided, decided.sum(axis=1)[:, None], min_white_cells),
            _percentages(predicted, predicted.sum(axis=1)[:, None], min_white_cells),
            _percentages(decided, largest, min_white_cells),
            _percentages(decided + maybe[:, None], largest, min_white_cells),
        ),
    )


def _in_order(counts: Mapping[str, int], names: tuple[str, ...]) -> list[float]:
    found = dict.fromkeys(names, 0.0)
    for name, count in counts.items():
        name = cell_classes.canonical_name(name)
        if name in found:
            found[name] += count
    return list(found.values())


def _likely(undecided: Mapping[str, int]) -> list[float]:
    """[5] undecided cells by most likely class, in the order of `LIKELY_CLASSES`."""
    study = _in_order(undecided, cell_classes.STUDY_CLASSES)
    return [*study, sum(undecided.values()) - sum(study)]


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
