import pytest

from tfod_csf.data.annotated import augmented_copies
from tfod_csf.problems import ProblemLog

HASHES = ("96a3be3cf272e017046d1b2674a52bd3", "a2ef406e2c2351e0b9e80029c909242d")


def test_exported_versions_of_a_field_stay_together():
    keys = [f"{folder}/{stem}_jpg.rf.{digits}.jpg" for folder in "AB" for stem in ("f0", "f1") for digits in HASHES]
    problems = ProblemLog(quiet=True)
    groups = augmented_copies.kept_together("slides", [*keys, "A/f0.jpg", "A/f.rf.1.jpg"], problems)
    assert groups == [keys[:2], keys[2:4], keys[4:6], keys[6:]]
    assert problems.problems[0].reason.startswith("8 images are versions of 4 fields, by their names with .rf.")
    assert augmented_copies.kept_together("slides", ["A/1.jpg", "A/2.jpg", keys[0]], problems) == []


@pytest.mark.parametrize(
    "names",
    [
        ("f.jpg", "f_aug_0.jpg", "f_aug_1.jpg"),
        ("f_aug0.png", "f_aug1.png"),
        ("f.jpg", "f_flip.jpg"),
        ("f.jpg", "f_hflip_rot90.jpg"),
        ("f.jpg", "f (1).jpg"),
        ("f.jpg", "f - Copy.jpg", "f - Copy (2).jpg"),
        ("f.jpg", "f - Kopie.jpg"),
        ("f_bright.jpg", "f_dark.jpg"),
    ],
)
def test_likely_copies_are_noted(names):
    problems = ProblemLog(quiet=True)
    augmented_copies.note_likely_copies("slides", [f"A/{name}" for name in (*names, "g.jpg", "h.jpg")], problems)
    (problem,) = problems.problems
    assert problem.action == "noted"
    assert problem.reason.startswith(f"{len(names)} images look like copies of 1 field by their names")


@pytest.mark.parametrize("names", [("s (1).jpg", "s (2).jpg"), ("f_1.jpg", "f_2.jpg"), ("copy1.jpg", "noise2.jpg")])
def test_numbered_photographs_are_not_copies(names):
    problems = ProblemLog(quiet=True)
    augmented_copies.note_likely_copies("slides", [f"A/{name}" for name in names], problems)
    assert problems.problems == []
