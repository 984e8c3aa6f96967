"""Whether a patient's report is preliminary, reviewed or final.

preliminary  Something is left to check: nobody has reviewed the patient, a cell that may be white is undecided, or not
             every image is verified, nor a sample by the rule of `review/sampling.py`; or so many white cells are
             unknown, also those that a person left so, that no percentages are given.
reviewed     Nothing is left to check, and nobody has signed these numbers.
final        Reviewed, and the newest signature is over exactly these numbers. When anything of them changes (a cell, a
             threshold, a reference range, a row of the patient table), the report is not final any more.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tfod_csf.cytology.review.verification import Verification
from tfod_csf.cytology.signing import signed_result
from tfod_csf.cytology.signing.signatures import Signature
from tfod_csf.wording import plural

PRELIMINARY, REVIEWED, FINAL = "preliminary", "reviewed", "final"


@dataclasses.dataclass(frozen=True)
class ReportStatus:
    """The status of a report.

    Attributes:
      name: `PRELIMINARY`, `REVIEWED` or `FINAL`.
      missing: what is missing for a final report, one sentence each; empty for a final one.
      signature: over the numbers of the report; None unless it is final.
      checked: what people have checked, and by which rule, as a clause; "" without a review.
    """

    name: str
    missing: tuple[str, ...]
    signature: Signature | None = None
    checked: str = ""


def report_status(
    checked: Verification | None, signatures: Sequence[Signature], content: Mapping[str, Any] | None
) -> ReportStatus:
    """The status of a patient's report.

    Args:
      checked: what people have checked; None when the history of reviews is broken.
      signatures: of the patient.
      content: what a signature over the report would hold; None with `checked`.
    """
    if checked is None or content is None:
        return ReportStatus(PRELIMINARY, ("The history of reviews is broken.",))
    missing = _unchecked(checked) or _too_many_unknown(content)
    is_reviewed = not missing
    rule = checked.rule if checked.reviewers else ""
    newest = signatures[-1] if signatures else None
    if newest is not None and newest.content != content:
        what = ", ".join(signed_result.differences(newest.content, content))
        missing.append(
            f"Signed on {day_of(newest.signed_at)}, but other numbers: the signature does not count (changed: {what})."
        )
    elif newest is None and not missing:
        missing.append("Not signed.")
    if not missing:
        return ReportStatus(FINAL, (), newest, rule)
    return ReportStatus(REVIEWED if is_reviewed else PRELIMINARY, tuple(missing), checked=rule)


def _unchecked(checked: Verification) -> list[str]:
    """What is left to check."""
    if not checked.reviewers:
        return ["Review by a person: none."]
    missing = []
    if checked.undecided_white_cells:
        cells = plural(checked.undecided_white_cells, "undecided cell")
        missing.append(f"{cells} that may be white on {plural(checked.undecided_images, 'image')}.")
    if not checked.is_verified_by_rule:
        missing.append(f"Review by a person: not complete; {checked.rule}.")
    return missing


def _too_many_unknown(content: Mapping[str, Any]) -> list[str]:
    """The sentence for a result without percentages, because too many white cells are unknown."""
    share, limit = content["unknown_white_percent"], content["basis"]["rules"]["max_unknown_percent"]
    if share <= limit:
        return []
    return [
        f"{share:.1f} % of the white cells are unknown, more than {limit:g} %: a person has to name them, or a higher "
        "--max_unknown_percent has to be chosen on purpose."
    ]


def day_of(moment: str) -> str:
    """The date of an ISO time.

    >>> day_of("2022-01-24T13:05:00+08:00")
    '2022-01-24'
    """
    return moment.partition("T")[0]
