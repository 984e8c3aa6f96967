"""The differential of a patient: counts to percentages with intervals, marks, case and remarks.

Everything starts from counts per model and class; percentages are computed once, at the end, from unrounded counts.
With several models (the paper: "predictions were averaged across all models and all cell images") each model's
percentages are computed from its own counts and then averaged, counts are averaged too, and the smallest and largest
percentage of the models are given with the mean. Averaging adds no cells: the interval uses the mean number of
white cells, not the sum, and of these the effective ones (see clustering.py).

    counts = {"model_a": {"lymphocyte": 77, "monocyte": 66, "neutrophil": 50}}
    result = differential("patient_1", counts, images_used=9, image_counts=[[9, 7, 5], [12, 8, 4], ...])
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfod_csf import cell_classes
from tfod_csf.cytology.counting import certain_marks, intervals
from tfod_csf.cytology.counting.cases import CaseRules, assign_case
from tfod_csf.cytology.counting.clustering import Clustering, measure_clustering
from tfod_csf.cytology.counting.corrected_differential import CorrectedDifferential
from tfod_csf.cytology.counting.enough_cells import NO, YES, EnoughCells, enough_cells
from tfod_csf.cytology.counting.reference_ranges import WHITE_CELLS_PER_UL, ReferenceRange
from tfod_csf.cytology.counting.unknown_cells import Readings, UnknownCells, UnnamedCells, unknown_cells
from tfod_csf.cytology.domain_flags import DomainFlags
from tfod_csf.wording import plural


@dataclasses.dataclass(frozen=True)
class DifferentialRules:
    """Numbers a laboratory may want to change.

    Attributes:
      min_white_cells: under this many white cells only counts are given, no percentages.
      alpha: the intervals hold for all three classes at once with probability 1 - alpha.
      tolerance_points: `enough_cells` asks whether no interval reaches farther than this many percentage points from
        its percentage; 10 is the swing the paper calls clinically acceptable.
      max_unknown_percent: beyond this share of unknown cells among the white cells nothing is called enough.
      cases: numbers of the rules for the study's five cases.
    """

    min_white_cells: int = 30
    alpha: float = 0.05
    tolerance_points: float = 10.0
    max_unknown_percent: float = 10.0
    cases: CaseRules = dataclasses.field(default_factory=CaseRules)


@dataclasses.dataclass(frozen=True)
class Share:
    """Percentage of one white-cell class; all numbers in percent of white cells.

    Attributes:
      ci_low, ci_high: simultaneous interval.
      models_low, models_high: smallest and largest percentage among the models; None with one model.
      reference: the reference range the percentage is compared with; None where the table has none, or where there
        are more white cells per uL than normal (see reference_ranges.py).
      readings: the percentage read in other ways.
      is_certain: whether interval, confidence sequence and worst case of the unknown cells lie outside the range, not
        too many white cells are unknown, and the patient's images are not unlike those of the training.
    """

    percent: float
    ci_low: float
    ci_high: float
    models_low: float | None
    models_high: float | None
    reference: ReferenceRange | None
    readings: Readings = dataclasses.field(default_factory=Readings)
    is_certain: bool = False

    @property
    def mark(self) -> str:
        """ "high", "low" or "" against the reference range."""
        return self.reference.mark(self.percent) if self.reference else ""

    @property
    def mark_certain(self) -> bool | None:
        """Whether the mark is certain (see certain_marks.py); None without a mark."""
        return self.is_certain if self.mark else None


@dataclasses.dataclass(frozen=True)
class Differential:
    """The differential of one patient.

    Attributes:
      counts: {class: cells}, means over the models; the four study classes and `unknown` are always there.
      shares: {white-cell class: Share}, empty where there are too few white cells for percentages.
      unknown: the undecided cells and what they could change.
      clustering: how cells lie together, from means of the models' counts per image.
      interval_method: "goodman" or "clopper_pearson", "" without percentages.
      effective_cells: white cells that the intervals are computed for; None without percentages.
      half_width_points, reach_points: half the widest interval, and the farthest end from its percentage.
      enough: whether enough white cells were counted, and how many are needed.
      note: remarks, "" when there are none.
      skipped_models: which models failed on images that another one examined, in words; their cells are not in
      `counts`.
      corrected: percentages corrected for the detector's mistakes; None where the run has no confusion matrix.
      unknown_beyond_limit: whether so many white cells are unknown (`DifferentialRules.max_unknown_percent`) that the
        percentages are not to be relied on; None without percentages.
      absent_classes: white-cell classes that no model has and nobody has named a cell.
      domain: which images are unlike those of the training; nothing is counted otherwise because of it, but no mark of
        a patient who is unlike the training is certain.
      tables_sha256: `run_folder.digest_of` the tables that it was counted from; "" where it was not counted from files.
    """

    patient_id: str
    models: tuple[str, ...]
    images_used: int
    images_failed: int
    counts: Mapping[str, float]
    shares: Mapping[str, Share]
    references: Mapping[str, ReferenceRange]
    unknown: UnknownCells
    clustering: Clustering
    interval_method: str
    effective_cells: float | None
    half_width_points: float | None
    reach_points: float | None
    enough: EnoughCells
    cells_per_ul: float | None
    case: str | None
    case_rule: str
    note: str
    skipped_models: tuple[str, ...] = ()
    corrected: CorrectedDifferential | None = None
    unknown_beyond_limit: bool | None = None
    absent_classes: tuple[str, ...] = ()
    tables_sha256: str = ""
    domain: DomainFlags = dataclasses.field(default_factory=DomainFlags)

    def with_domain(self, domain: DomainFlags) -> "Differential":
        """With the domain guards' flags, and the remark on images that are unlike those of the training.

        On such images a model can be wrong with high scores, which no interval shows: the marks of a patient who is
        unlike the training are not certain.
        """
        shares = self.shares
        if domain.in_domain is False:
            shares = {name: dataclasses.replace(share, is_certain=False) for name, share in shares.items()}
        note = "; ".join(filter(None, [self.note, domain.note]))
        return dataclasses.replace(self, shares=shares, domain=domain, note=note)

    def with_corrected(self, corrected: CorrectedDifferential) -> "Differential":
        """With corrected percentages, and the remark on pictures that are unlike the validation's."""
        note = "; ".join(filter(None, [self.note, corrected.remark]))
        return dataclasses.replace(self, corrected=corrected, note=note)

    @property
    def white_cells(self) -> float:
        """Lymphocytes + monocytes + neutrophils."""
        return sum(self.counts[name] for name in cell_classes.WHITE_CELLS)

    @property
    def all_cells(self) -> float:
        """Every cell found, unknown ones included."""
        return sum(self.counts.values())

    @property
    def other_cells(self) -> float:
        """Cells of classes that the study does not have."""
        known = (*cell_classes.STUDY_CLASSES, cell_classes.UNKNOWN)
        return sum(count for name, count in self.counts.items() if name not in known)

    @property
    def unknown_percent(self) -> float | None:
        """Share of all cells that are unknown; None without cells."""
        return 100 * self.counts[cell_classes.UNKNOWN] / self.all_cells if self.all_cells else None

    @property
    def enough_cells(self) -> bool:
        """Whether enough white cells were counted; a "not known" is not a yes."""
        return self.enough.answer == YES

    @property
    def is_settled(self) -> bool | None:
        """`enough.answer` as a flag; None where it is not known."""
        return {YES: True, NO: False}.get(self.enough.answer)

    @property
    def n_sat(self) -> int | None:
        """White cells from which on there were enough; None where there are not, or it is not known."""
        return self.enough.cells_needed if self.enough_cells else None

    @property
    def cells_needed(self) -> int | None:
        """White cells for a yes at these percentages; None as in `EnoughCells`."""
        return self.enough.cells_needed

    @property
    def pleocytosis(self) -> bool | None:
        """Whether there are more white cells per uL than the reference range allows; None where not known."""
        return _has_pleocytosis(self.cells_per_ul, self.references)

    @property
    def models_range_points(self) -> float | None:
        """Largest disagreement between two models on a class, in percentage points; None with one model."""
        ends = [(s.models_low, s.models_high) for s in self.shares.values()]
        ranges = [high - low for low, high in ends if low is not None and high is not None]
        return max(ranges, default=None)

    def per_100_white_cells(self, name: str) -> float | None:
        """Cells of a class outside the percentages, per 100 white cells; None without white cells."""
        return 100 * self.counts.get(name, 0) / self.white_cells if self.white_cells else None


def differential(
    patient_id: str,
    counts_by_model: Mapping[str, Mapping[str, int]],
    images_used: int = 0,
    images_failed: int = 0,
    images_limited: int = 0,
    cells_per_ul: float | None = None,
    references: Mapping[str, ReferenceRange] | None = None,
    rules: DifferentialRules = DifferentialRules(),
    image_counts: Sequence[Sequence[float]] | np.ndarray = (),
    undecided: UnnamedCells | None = None,
    model_classes: Sequence[str] = (),
) -> Differential:
    """Computes the differential of one patient.

    Args:
      counts_by_model: {model: {class: cells}}; a model that found nothing is there with an empty mapping; empty when
        no image could be examined. The class is the one a cell is counted under (`cell_classes.counted_as`).
      images_used: images examined.
      images_failed: images that could not be used.
      images_limited: images on which a model reached its detection limit; named in the note.
      cells_per_ul: white cells per microliter, from a patient table.
      references: `reference_ranges.load_reference_ranges()`; without it nothing is marked.
      rules: numbers of the rules.
      image_counts: [images, 3] white cells per image and class, means over the models; empty where not known, which
        leaves the clustering not known.
      undecided: the cells split by whether they are decided; None takes those counted as unknown for undecided.
      model_classes: the models' classes; () where they are not known.

    >>> d = differential("1", {"m": {"lymphocyte": 77, "monocyte": 66, "neutrophil": 50, "erythrocyte": 28}})
    >>> round(d.shares["lymphocyte"].percent, 2), round(d.per_100_white_cells("erythrocyte"), 2)
    (39.9, 14.51)
    """
    references = references or {}
    counts = _mean_counts(counts_by_model)
    white = sum(counts[name] for name in cell_classes.WHITE_CELLS)
    image_counts = np.asarray(image_counts, dtype=float).reshape(-1, len(cell_classes.WHITE_CELLS))
    clustering = measure_clustering(image_counts)
    unknown = unknown_cells(undecided or UnnamedCells.of_counts(counts_by_model), rules.min_white_cells)
    notes = _image_notes(counts_by_model, images_failed, images_limited)
    percentages: dict[str, Any] = {
        "shares": {},
        "interval_method": "",
        "effective_cells": None,
        "half_width_points": None,
        "reach_points": None,
        "enough": EnoughCells(NO),
    }
    absent = tuple(name for name in cell_classes.white_cells_without_class(model_classes) if not counts[name])
    if absent and white:
        notes.append(f"none of the model's classes is {' or '.join(absent)}")
    if absent == cell_classes.WHITE_CELLS:
        notes.append("none of the model's classes is lymphocyte, monocyte or neutrophil: no percentages")
    elif white < rules.min_white_cells or not white:
        notes.append(f"fewer than {max(rules.min_white_cells, 1)} white cells: counts only")
    else:
        compared = {} if _has_pleocytosis(cells_per_ul, references) else references
        percentages, more = _percentages(
            patient_id, counts_by_model, white, image_counts, clustering, unknown, compared, rules
        )
        notes += more
    shares = percentages["shares"]
    neutrophil = shares[cell_classes.NEUTROPHIL].percent if shares else None
    case, case_rule = assign_case(white, counts[cell_classes.ERYTHROCYTE], neutrophil, cells_per_ul, rules.cases)
    return Differential(
        patient_id=patient_id,
        models=tuple(counts_by_model),
        images_used=images_used,
        images_failed=images_failed,
        counts=counts,
        references=references,
        unknown=unknown,
        clustering=clustering,
        cells_per_ul=cells_per_ul,
        case=case,
        case_rule=case_rule,
        note="; ".join(notes),
        absent_classes=absent,
        **percentages,
    )


def _percentages(
    patient_id: str,
    counts_by_model: Mapping[str, Mapping[str, int]],
    white: float,
    image_counts: np.ndarray,
    clustering: Clustering,
    unknown: UnknownCells,
    references: Mapping[str, ReferenceRange],
    rules: DifferentialRules,
) -> tuple[dict[str, Any], list[str]]:
    """({field of `Differential` that depends on the percentages: its value}, notes).

    Args:
      white: white cells, the mean over the models; above 0.
      references: those that the percentages are compared with.
    """
    by_model = _percentages_by_model(counts_by_model)
    fractions = by_model.mean(axis=0) / 100
    effective = clustering.effective_cells(white, rules.alpha)
    bounds, method = intervals.simultaneous_intervals(fractions * effective, rules.alpha)
    enough = enough_cells(
        patient_id,
        white,
        fractions,
        image_counts,
        clustering,
        unknown.white_percent or 0,
        min_white_cells=rules.min_white_cells,
        tolerance_points=rules.tolerance_points,
        max_unknown_percent=rules.max_unknown_percent,
        alpha=rules.alpha,
    )
    notes = []
    if len(by_model) < len(counts_by_model):
        notes.append(f"{len(counts_by_model) - len(by_model)} of {len(counts_by_model)} models found no white cell")
    if clustering.design_effect is None:
        notes.append("clustering not known")
    beyond_limit = unknown.exceeds(rules.max_unknown_percent)
    if beyond_limit:
        share = f"unknown cells are {unknown.white_percent:.1f} % of the white cells"
        notes.append(f"{share}: too many to rely on the percentages")
    return {
        "shares": _shares(fractions, bounds, by_model, references, unknown, clustering, effective, rules),
        "interval_method": method,
        "effective_cells": effective,
        "half_width_points": intervals.half_width_points(bounds),
        "reach_points": intervals.reach_points(fractions, bounds),
        "enough": enough,
        "unknown_beyond_limit": beyond_limit,
    }, notes


def _has_pleocytosis(cells_per_ul: float | None, references: Mapping[str, ReferenceRange]) -> bool | None:
    limit = references.get(WHITE_CELLS_PER_UL)
    return None if cells_per_ul is None or limit is None else cells_per_ul > limit.high


def _image_notes(counts_by_model: Mapping[str, Any], images_failed: int, images_limited: int) -> list[str]:
    notes = [] if counts_by_model else ["no image could be examined"]
    if images_failed:
        notes.append(f"{plural(images_failed, 'image')} failed")
    if images_limited:
        limited = f"on {images_limited} of the images a model reached its detection limit"
        notes.append(f"{limited}, some cells may be missing")
    return notes


def _mean_counts(counts_by_model: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """{class: mean over models}: the study's classes and unknown first, then others in alphabetical order."""
    totals: dict[str, float] = dict.fromkeys((*cell_classes.STUDY_CLASSES, cell_classes.UNKNOWN), 0)
    seen = {cell_classes.canonical_name(name) for counts in counts_by_model.values() for name in counts}
    totals.update(dict.fromkeys(sorted(seen - set(totals)), 0))
    for counts in counts_by_model.values():
        for name, count in counts.items():
            totals[cell_classes.canonical_name(name)] += count
    return {name: total / max(len(counts_by_model), 1) for name, total in totals.items()}


def _percentages_by_model(counts_by_model: Mapping[str, Mapping[str, int]]) -> np.ndarray:
    """[M, 3] percentages of the white-cell classes; a model without white cells has none and no row."""
    rows = []
    for counts in counts_by_model.values():
        named = _mean_counts({"": counts})
        white = np.array([named[name] for name in cell_classes.WHITE_CELLS], dtype=float)
        if white.sum():
            rows.append(100 * white / white.sum())
    return np.array(rows)


def _shares(
    fractions: np.ndarray,
    bounds: np.ndarray,
    by_model: np.ndarray,
    references: Mapping[str, ReferenceRange],
    unknown: UnknownCells,
    clustering: Clustering,
    effective_cells: float,
    rules: DifferentialRules,
) -> dict[str, Share]:
    several = len(by_model) > 1
    # Where nothing shows how cells lie together, a mark is certain only if each image counts as one cell.
    proof = clustering.least_effective_cells if clustering.design_effect is None else effective_cells
    shares = {}
    for k, name in enumerate(cell_classes.WHITE_CELLS):
        share = Share(
            percent=float(100 * fractions[k]),
            ci_low=float(100 * bounds[k, 0]),
            ci_high=float(100 * bounds[k, 1]),
            models_low=float(by_model[:, k].min()) if several else None,
            models_high=float(by_model[:, k].max()) if several else None,
            reference=references.get(name),
            readings=unknown.readings[name],
        )
        level = rules.alpha / len(cell_classes.WHITE_CELLS)
        is_certain = not unknown.exceeds(rules.max_unknown_percent) and _is_certain(share, proof, level)
        shares[name] = dataclasses.replace(share, is_certain=is_certain)
    return shares


def _is_certain(share: Share, cells: float, alpha: float) -> bool:
    """Whether a share's mark is certain, given effective cells."""
    worst = share.readings.worst_low if share.mark == "high" else share.readings.worst_high
    if not share.reference or not share.mark or worst is None:
        return False
    interval = share.ci_low, share.ci_high
    return certain_marks.is_certain(share.mark, share.reference, interval, worst, cells, alpha)
