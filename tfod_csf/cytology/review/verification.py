"""How far people vouch for a patient's result: what a report needs to call itself preliminary, reviewed or final.

found = read_verification(patient_folder)
found.is_complete       # no undecided white cell, and all images verified or sampled by the rule of `sampling`
"""

import dataclasses
import os
import pathlib
from collections import Counter
from collections.abc import Iterable

from tfod_csf import cell_classes, run_folder
from tfod_csf.cytology import cell_rows
from tfod_csf.cytology.cell_rows import Cell
from tfod_csf.cytology.review import merge, revisions, sampling
from tfod_csf.cytology.review.revisions import Revision
from tfod_csf.cytology.run_tables import Thresholds


@dataclasses.dataclass(frozen=True)
class Verification:
    """What people have checked of a patient, since the machine examined it last.

    Attributes:
      reviewers: in the order of their first review; empty without any review, and then nothing is verified.
      images_used: images that were examined.
      images_verified: those that at least one person vouches for.
      images_sampled: those that the rule of `sampling` chose (`review_export --sample_images`); 0 without a sample.
      sampled_verified: of these, the verified ones.
      sampled_wrong: of these, the ones on which a white cell that the machine had counted was wrong or missing.
      undecided_white_cells: cells nobody has decided on: unknown ones, unless they are most likely erythrocytes, and
        those that two people dispute. With several models and no review, of the model that has most.
      undecided_images: images that such cells are on.
    """

    reviewers: tuple[str, ...]
    images_used: int
    images_verified: int
    images_sampled: int
    sampled_verified: int
    sampled_wrong: int
    undecided_white_cells: int
    undecided_images: int

    @property
    def is_verified_by_rule(self) -> bool:
        """Whether every image is verified, or all of a sample of at least 10 are and none had a wrong white cell."""
        if not self.reviewers or not self.images_used:
            return False
        is_sampled = sampling.MIN_SAMPLE <= self.images_sampled == self.sampled_verified and not self.sampled_wrong
        return self.images_verified == self.images_used or is_sampled

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to check: no undecided white cell, and verified by the rule."""
        return self.is_verified_by_rule and not self.undecided_white_cells

    @property
    def wrong_images_at_most(self) -> int | None:
        """Upper 95 % limit of the images with a wrong white cell, all images counted; None without a checked sample."""
        if not self.images_sampled or self.sampled_verified < self.images_sampled:
            return None
        return sampling.wrong_images_at_most(self.images_used, self.images_sampled, self.sampled_wrong)

    @property
    def rule(self) -> str:
        """What was checked, as a clause for a page: `all 12 images verified`, or how many and by which rule."""
        verified = f"{self.images_verified} of {self.images_used} images verified"
        if self.images_used and self.images_verified == self.images_used:
            return f"all {self.images_used} images verified"
        if not self.images_sampled:
            return verified
        sample = f"{self.sampled_verified} of the {self.images_sampled} sampled images verified"
        if self.sampled_wrong:
            wrong = f"{self.sampled_wrong} of them had a wrong white cell, so all {self.images_used} must be verified"
            return f"{verified}; {sample}, {wrong}"
        limit = self.wrong_images_at_most
        if limit is None:
            return f"{verified}; {sample}"
        return f"{verified}; {sample}, none with a wrong white cell (95 % limit: {limit} of {self.images_used} images)"


def read_verification(patient_folder: str | os.PathLike, thresholds: Thresholds | None = None) -> Verification:
    """What people have checked of a patient.

    Args:
      patient_folder: of the output of review_import or batch_infer; in the latter nobody has checked anything.
      thresholds: with which cells that nobody decided on are counted again; None takes the run's.

    Raises:
      RevisionError: the history is broken, or the patient's tables are not those of the newest revision.
      TableError: cells.csv or images.csv cannot be read.
    """
    folder = pathlib.Path(patient_folder)
    chain = revisions.read_revisions(folder)
    revisions.check_is_current(folder, chain)
    cells = cell_rows.read_cells(folder / "cells.csv").cells
    rows = cell_rows.read_images(folder / "images.csv")
    used = {row["image"] for row in rows if row["status"] == run_folder.OK}
    undecided = [cell for cell in cells if _is_undecided(cell, thresholds)]
    by_model = Counter(cell.model for cell in undecided)
    reviews = revisions.reviews_since_machine(chain)
    verified = used & set(reviews[-1].record.get("images_verified", {})) if reviews else set()
    sampled = {image for review in reviews for image in review.record.get("images_sampled", ())}
    wrong = _images_with_wrong_white_cells(chain, cells) if sampled else set()
    return Verification(
        reviewers=revisions.reviewers_of(reviews),
        images_used=len(used),
        images_verified=len(verified),
        images_sampled=len(sampled),
        sampled_verified=len(sampled & verified),
        sampled_wrong=len(sampled & wrong),
        undecided_white_cells=max(by_model.values(), default=0),
        undecided_images=len({cell.image for cell in undecided}),
    )


def _is_undecided(cell: Cell, thresholds: Thresholds | None) -> bool:
    """Whether it may be a white cell and nobody has decided on it."""
    if cell.status == merge.DISPUTED:
        return True
    if cell.is_decided or cell_classes.canonical_name(cell.predicted_class) == cell_classes.ERYTHROCYTE:
        return False
    if cell.label == cell_classes.UNKNOWN and cell.status != cell_classes.UNKNOWN:
        return True  # a model's own class `unknown`, however high its score
    if thresholds is None or cell.score is None:
        return cell.status == cell_classes.UNKNOWN
    raw_score = cell.score if cell.raw_score is None else cell.raw_score  # before the model's temperature
    return raw_score >= thresholds.min_score and cell.score < thresholds.unknown_below


def _images_with_wrong_white_cells(chain: tuple[Revision, ...], cells: Iterable[Cell]) -> set[str]:
    """Images on which people changed, removed or added a white cell that the machine had not left undecided."""
    model = chain[-1].record["model"]
    machine = cell_rows.read_cells(revisions.machine_revision(chain).folder / "cells.csv").of_model(model).cells
    before = {(cell.image, cell.cell_id): cell.label for cell in machine}
    wrong = set()
    for cell in cells:
        first, last = before.get((cell.image, cell.cell_id), ""), cell.label
        is_white = not {first, last} <= {"", cell_classes.ERYTHROCYTE}
        if first != last and first != cell_classes.UNKNOWN and is_white:
            wrong.add(cell.image)
    return wrong
