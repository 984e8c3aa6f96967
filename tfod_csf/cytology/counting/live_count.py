"""Counting while images still arrive: were enough white cells counted, asked again after every image.

A question that is asked after every image has many chances to be answered with a yes too early. Two things keep the
answer honest:

* `enough_cells` looks at how long the intervals are, not at which side of anything they lie, so that a percentage that
  happens to look interesting stops nothing.
* The length depends on the design effect, which is found in the same images and is at times too small by chance; the
  first yes comes more often at such a moment. So one yes is not the answer: it has to be a yes after each of the last
  `LOOKS` images that hold white cells.

The rule is a function of the images and their order alone: a command that is killed and started again answers the same.
benchmarks/counting/stopping_coverage.py measures the error at the stop; docs/COUNTING.md has its table.
"""

import dataclasses
from collections.abc import Iterator

from tfod_csf import cell_classes
from tfod_csf.cytology.counting import cohort
from tfod_csf.cytology.counting.differential import Differential, DifferentialRules
from tfod_csf.cytology.counting.enough_cells import NO, NOT_KNOWN, YES
from tfod_csf.cytology.run_tables import PatientTables

# Images in a row after each of which the answer has to be yes.
LOOKS = 3


@dataclasses.dataclass(frozen=True)
class LiveCount:
    """A patient whose images are still arriving.

    Attributes:
      result: the differential of the images so far.
      looks: images up to the last one after each of which `result.enough` was a yes; at most `LOOKS`.
    """

    result: Differential
    looks: int

    @property
    def answer(self) -> str:
        """Whether there are enough white cells: "yes" only after `LOOKS` images in a row, else "no" or "not known"."""
        if self.result.enough.answer == NOT_KNOWN:
            return NOT_KNOWN
        return YES if self.looks >= LOOKS else NO

    @property
    def reach_points(self) -> dict[str, float]:
        """{white-cell class: percentage points from its percentage to the farther end of its interval}."""
        shares = self.result.shares.items()
        return {name: max(share.percent - share.ci_low, share.ci_high - share.percent) for name, share in shares}

    @property
    def limiting_class(self) -> str | None:
        """The class whose interval reaches farthest; None without percentages."""
        reach = self.reach_points
        return max(reach, key=lambda name: reach[name]) if reach else None


def live_count(patient: PatientTables, rules: DifferentialRules | None = None) -> LiveCount:
    """The count of the images so far.

    Args:
      patient: the images so far, in the order of their names.
      rules: numbers of the rules.
    """
    result = cohort.patient_differential(patient, rules=rules)
    looks = 0
    if result.enough.answer == YES:
        looks = 1
        for earlier in _with_fewer_images(patient):
            if cohort.patient_differential(earlier, rules=rules).enough.answer != YES:
                break
            looks += 1
    return LiveCount(result, looks)


def _with_fewer_images(patient: PatientTables) -> Iterator[PatientTables]:
    """The patient without the last image that holds white cells, without the last two, ..., as far as is asked."""
    of_models = [patient.image_counts(cell_classes.WHITE_CELLS, model) for model in patient.models]
    white = sum(counts.sum(axis=1) for counts in of_models)
    names = [name for name, cells in zip(patient.used_images, white, strict=True) if cells]
    for number in range(1, min(LOOKS, len(names))):
        is_later = patient.cells["image"].isin(names[-number:]), patient.images["image"].isin(names[-number:])
        yield dataclasses.replace(patient, cells=patient.cells[~is_later[0]], images=patient.images[~is_later[1]])
