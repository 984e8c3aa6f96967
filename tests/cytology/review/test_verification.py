import dataclasses

import pytest

from tests.support import examined_study
from tests.support.review_desk import Desk, edit, nothing, rename
from tfod_csf.commands import command_line
from tfod_csf.cytology.review import sidecar
from tfod_csf.cytology.review.revisions import RevisionError
from tfod_csf.cytology.review.verification import Verification, read_verification
from tfod_csf.cytology.run_tables import Thresholds

SURE = ("lymphocyte", 0.95, (1.0, 2.0, 11.0, 12.0))
WHITE = ("monocyte", 0.6, (20.0, 5.0, 30.0, 15.0))
RED = ("erythrocyte", 0.7, (40.0, 10.0, 52.0, 22.0))
NAMES = [str(number) for number in range(12)]
IMAGES = {f"{name}.jpg": [SURE] for name in NAMES}


@pytest.fixture
def desk(tmp_path):
    patients = {"p": {**IMAGES, "w.jpg": [SURE, WHITE, RED]}, "none": {"a.jpg": []}}
    return Desk(examined_study.write_study(tmp_path, patients), tmp_path)


def _found(desk, patient="p", thresholds=None):
    return read_verification(desk.output / "patients" / patient, thresholds)


def _verify(review, *names, change=nothing):
    for name in names:
        edit(review / "p" / f"p__{name}.xml", change, verified=True)


def test_nobody_has_reviewed(desk):
    found = read_verification(desk.study.patient("p"))
    assert (found.reviewers, found.images_used, found.images_verified, found.images_sampled) == ((), 13, 0, 0)
    # The unsure monocyte, not the unsure erythrocyte.
    assert (found.undecided_white_cells, found.undecided_images) == (1, 1)
    assert (found.is_verified_by_rule, found.is_complete, found.wrong_images_at_most) == (False, False, None)
    empty = read_verification(desk.study.patient("none"))
    assert (empty.images_used, empty.undecided_white_cells, empty.is_complete) == (1, 0, False)


def test_the_thresholds_of_a_page_decide_what_is_undecided(desk):
    patient = desk.study.patient("p")
    assert read_verification(patient, Thresholds(0.5, 0.5)).undecided_white_cells == 0
    assert read_verification(patient, Thresholds(0.5, 0.99)).undecided_white_cells == 14
    assert read_verification(patient, Thresholds(0.7, 0.99)).undecided_white_cells == 13


def test_several_models_do_not_add_up(tmp_path):
    study = examined_study.write_study(tmp_path, {"p": {"a.jpg": [WHITE, SURE]}}, models=("m", "n"))
    assert read_verification(study.patient("p")).undecided_white_cells == 1


def test_all_images_have_to_be_verified_without_a_sample(desk):
    review = desk.export()
    _verify(review, *NAMES[:-1], "w")
    assert desk.take(review) == 0
    found = _found(desk)
    assert (found.reviewers, found.images_verified, found.is_complete) == (("Li",), 12, False)
    assert found.rule == "12 of 13 images verified"
    _verify(review, NAMES[-1])
    assert desk.take(review) == 0
    found = _found(desk)
    # The white cell was left unknown on a verified image: a person could not name it either.
    assert (found.undecided_white_cells, found.is_complete) == (0, True)
    assert found.rule == "all 13 images verified"


def test_a_disputed_cell_is_undecided_whatever_the_machine_said(desk):
    first, second = desk.export("first"), desk.export("second")
    _verify(first, "w", change=rename(2, "lymphocyte"))
    _verify(second, "w", change=rename(2, "monocyte"))
    assert desk.take(first, reviewer="A") == 0
    assert desk.take(second, "--disagreements=unknown", reviewer="B") == 0
    assert (_found(desk).reviewers, _found(desk).undecided_white_cells) == (("A", "B"), 1)


@pytest.fixture
def sampled(desk):
    """An export of which ten images are to be verified, and their names."""
    review = desk.export("sampled", "--sample_images=10", "--patient=p")
    names = [image.partition(".")[0] for image in sidecar.read_sidecar(review / "p" / "cells.json").sampled]
    assert len(names) == 10
    return review, names


def test_a_verified_sample_without_a_wrong_white_cell_is_enough(desk, sampled):
    review, names = sampled
    text = (review / "p" / "TO_VERIFY.txt").read_text(encoding="utf-8")
    assert all(f"p__{name}.jpg" in text.partition("Decide")[0] for name in names)
    assert "p__w.jpg (1 that may be white cells)" in text or "w" in names
    edit(review / "p" / "p__w.xml", rename(1, "monocyte"), verified="w" in names)
    assert desk.take(review) == 0
    assert (_found(desk).images_sampled, _found(desk).undecided_white_cells) == (10, 0)
    assert not _found(desk).is_complete
    assert _found(desk).wrong_images_at_most is None
    _verify(review, *(name for name in names if name != "w"))
    assert desk.take(review) == 0
    found = _found(desk)
    assert (found.sampled_verified, found.sampled_wrong, found.images_verified) == (10, 0, 10)
    assert (found.is_verified_by_rule, found.is_complete) == (True, True)
    # 10 of 13 looked at: 1 may be wrong (C(12,10) / C(13,10) = 66/286), but not 2 (11/286 < 0.05).
    assert found.wrong_images_at_most == 1
    assert found.rule.endswith("none with a wrong white cell (95 % limit: 1 of 13 images)")


def test_a_wrong_white_cell_in_the_sample_asks_for_all_images(desk, sampled):
    review, names = sampled
    edit(review / "p" / "p__w.xml", rename(1, "monocyte"), verified=True)
    _verify(review, *(name for name in names if name != "w"), change=rename(0, "neutrophil"))
    assert desk.take(review) == 0
    found = _found(desk)
    assert (found.undecided_white_cells, found.sampled_verified) == (0, 10)
    assert found.sampled_wrong == len([name for name in names if name != "w"])
    assert (found.is_verified_by_rule, found.is_complete) == (False, False)
    assert "so all 13 must be verified" in found.rule
    _verify(review, *(name for name in NAMES if name not in names))
    assert desk.take(review) == 0
    assert _found(desk).is_complete


def test_a_sample_that_proves_next_to_nothing_is_not_enough(desk, capsys):
    arguments = [f"--inference_dir={desk.study.inference_dir}", f"--output_dir={desk.root / 'few'}"]
    assert command_line.main(["review_export", *arguments, "--sample_images=9"]) != 0
    assert "sample_images" in capsys.readouterr().err
    few = Verification(("Li",), 60, 9, 9, 9, 0, 0, 0)
    assert not few.is_verified_by_rule
    assert dataclasses.replace(few, images_verified=10, images_sampled=10, sampled_verified=10).is_verified_by_rule
    # A patient with fewer images has all of them in the sample.
    assert dataclasses.replace(few, images_used=9).is_verified_by_rule


def test_an_erythrocyte_that_was_none_does_not_make_an_image_wrong(desk, sampled):
    review, names = sampled

    def without_red(annotation):
        annotation.objects = [labeled for labeled in annotation.objects if labeled.name != "erythrocyte"]

    _verify(review, *names, change=without_red)
    assert desk.take(review) == 0
    assert _found(desk).sampled_wrong == 0


def test_a_table_that_is_not_the_newest_revisions_is_refused(desk):
    review = desk.export()
    _verify(review, "w")
    assert desk.take(review) == 0
    cells = desk.output / "patients" / "p" / "cells.csv"
    good = cells.read_bytes()
    cells.write_bytes(good.replace(b"lymphocyte", b"neutrophil", 1))
    with pytest.raises(RevisionError, match=r"cells.csv: not that of the newest revision \(1\)"):
        _found(desk)
    assert desk.take(review) == 0, "an import puts the table back"
    assert cells.read_bytes() == good
    assert _found(desk).images_verified == 1
