"""Preliminary, reviewed, final: which is which."""

import dataclasses

from tfod_csf.cytology.review.verification import Verification
from tfod_csf.cytology.signing.report_status import FINAL, PRELIMINARY, REVIEWED, report_status
from tfod_csf.cytology.signing.signatures import Signature

COMPLETE = Verification(
    reviewers=("Li",),
    images_used=12,
    images_verified=12,
    images_sampled=0,
    sampled_verified=0,
    sampled_wrong=0,
    undecided_white_cells=0,
    undecided_images=0,
)
CONTENT = {
    "counts": {"lymphocyte": 60},
    "tables": {"cells.csv": "0"},
    "unknown_white_percent": 10.0,
    "basis": {"rules": {"max_unknown_percent": 10.0}},
}
SIGNED = Signature(1, "Wu", "2022-01-24T13:05:00+08:00", "", CONTENT, "1")


def test_nobody_has_looked():
    nobody = dataclasses.replace(COMPLETE, reviewers=(), images_verified=0, undecided_white_cells=82)
    found = report_status(nobody, (), CONTENT)
    assert (found.name, found.missing) == (PRELIMINARY, ("Review by a person: none.",))
    # Whatever is signed: without a review it is not final.
    assert report_status(nobody, (SIGNED,), CONTENT).name == PRELIMINARY


def test_something_is_left():
    left = dataclasses.replace(COMPLETE, undecided_white_cells=3, undecided_images=2)
    assert report_status(left, (SIGNED,), CONTENT).missing == ("3 undecided cells that may be white on 2 images.",)
    images = dataclasses.replace(COMPLETE, images_verified=11)
    found = report_status(images, (), CONTENT)
    assert found.name == PRELIMINARY
    assert found.missing[0] == "Review by a person: not complete; 11 of 12 images verified."
    assert found.signature is None


def test_reviewed_and_final():
    assert report_status(COMPLETE, (), CONTENT).name == REVIEWED
    final = report_status(COMPLETE, (SIGNED,), CONTENT)
    assert (final.name, final.missing, final.signature) == (FINAL, (), SIGNED)
    sample = dataclasses.replace(COMPLETE, images_verified=10, images_sampled=10, sampled_verified=10)
    of_sample = report_status(sample, (SIGNED,), CONTENT)
    assert of_sample.name == FINAL
    # 10 of 12 seen: with 2 wrong among the 12, a sample of 10 would show none in 1 of 66 cases.
    assert of_sample.checked == (
        "10 of 12 images verified; 10 of the 10 sampled images verified, none with a wrong white cell "
        "(95 % limit: 1 of 12 images)"
    )
    assert final.checked == "all 12 images verified"


def test_too_many_cells_left_unknown_are_not_final():
    content = {**CONTENT, "unknown_white_percent": 10.01}
    found = report_status(COMPLETE, (dataclasses.replace(SIGNED, content=content),), content)
    assert (found.name, found.signature) == (PRELIMINARY, None)
    assert found.missing[0].startswith(
        "10.0 % of the white cells are unknown, more than 10 %: a person has to name them"
    )


def test_only_the_newest_signature_over_these_numbers_counts():
    other = dataclasses.replace(SIGNED, number=2, content={**CONTENT, "counts": {"lymphocyte": 61}})
    found = report_status(COMPLETE, (SIGNED, other), CONTENT)
    assert (found.name, found.signature) == (REVIEWED, None)
    assert found.missing == (
        "Signed on 2022-01-24, but other numbers: the signature does not count (changed: counts).",
    )


def test_a_broken_history_is_preliminary():
    assert report_status(None, (SIGNED,), None).name == PRELIMINARY
