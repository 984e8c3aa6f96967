"""Reviews in a patient's report: who decided when, what changed, and the differential before and after."""

import dataclasses
import pathlib
from collections import Counter
from collections.abc import Mapping

from tfod_csf import cell_classes, wording
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.counting import cohort
from tfod_csf.cytology.counting.differential import Differential, DifferentialRules
from tfod_csf.cytology.report import page_template, sentences
from tfod_csf.cytology.review import revisions
from tfod_csf.wording import plural


@dataclasses.dataclass(frozen=True)
class Review:
    """The reviews since the newest version of the machine.

    Attributes:
      reviewers: in the order of their first review.
      last: time of the last review.
      count: number of reviews.
      changes: {kept, relabelled, moved, deleted, added, verified, ...: number}, over all reviews.
      images_verified: images a person has marked as checked.
      comments: (reviewer, comment) of the reviews that have one.
      sha256: checksum of the newest revision, which covers all earlier ones too.
      before: differential of the machine's version, counted as the current one.
    """

    reviewers: tuple[str, ...]
    last: str
    count: int
    changes: Mapping[str, int]
    images_verified: int
    comments: tuple[tuple[str, str], ...]
    sha256: str
    before: Differential


def read_review(
    patient_folder: pathlib.Path, facts: page_template.RunFacts, cells_per_ul: float | None = None
) -> Review | None:
    """The reviews of a patient; None when there is none.

    Raises:
      RevisionError: the history is broken, or the patient's tables are not those of the newest revision.
    """
    chain = revisions.read_revisions(patient_folder)
    revisions.check_is_current(patient_folder, chain)
    if not chain or chain[-1].kind == revisions.MACHINE:
        return None
    machine = revisions.machine_revision(chain)
    reviews = chain[machine.number + 1 :]
    patient = run_tables.read_patient(machine.folder)
    if facts.changed:
        patient = patient.counted_with(facts.thresholds)
    changes: Counter[str] = Counter()
    for review in reviews:
        changes.update(review.changes)
    return Review(
        reviewers=tuple(dict.fromkeys(review.reviewer for review in reviews)),
        last=reviews[-1].when,
        count=len(reviews),
        changes=dict(changes),
        images_verified=len(reviews[-1].record.get("images_verified", {})),
        comments=tuple((r.reviewer, r.record["comment"]) for r in reviews if r.record.get("comment")),
        sha256=reviews[-1].sha256,
        before=cohort.patient_differential(patient, cells_per_ul, facts.references, facts.rules),
    )


def comparison_rows(
    review: Review, after: Differential, rules: DifferentialRules
) -> list[tuple[str, float, float, str, str, str]]:
    """(class, count before, count after, percentage before, after, difference in points) of every class.

    Percentages are "" where the page gives none as the result (`sentences.shown_shares`).
    """
    shares_before, shares_after = (sentences.shown_shares(found, rules) for found in (review.before, after))
    rows: list[tuple[str, float, float, str, str, str]] = []
    for name in dict.fromkeys((*after.counts, *review.before.counts)):
        first, last = shares_before.get(name), shares_after.get(name)
        difference = f"{last.percent - first.percent:+.1f}".replace("-", "−") if first and last else ""
        earlier, later = ("" if share is None else f"{share.percent:.1f}" for share in (first, last))
        counts = review.before.counts.get(name, 0), after.counts.get(name, 0)
        rows.append((name, *counts, earlier, later, difference))
    return sorted(rows, key=lambda row: row[0] not in cell_classes.WHITE_CELLS)


def review_words(review: Review, images_used: int) -> str:
    """Who reviewed, how often, and what changed, in a sentence or two."""
    people = ", ".join(wording.visible(name) for name in review.reviewers)
    silent = ("kept", "verified")
    changes = [f"{count} {kind}" for kind, count in review.changes.items() if count and kind not in silent]
    times = "once" if review.count == 1 else f"{review.count} times"
    images = plural(images_used, "image")
    return (
        f"Reviewed {times} by {people}; {review.images_verified} of {images} marked as checked. "
        f"Cells changed: {', '.join(changes) or 'none'}."
    )
