"""Images of the test side that the training side holds too: a test on them says nothing about new patients.

How it works: files of equal bytes are duplicates. Images whose fingerprints (`image_measures`) are alike in any of the
eight ways to turn and mirror one of them are near-duplicates: saved again, resized, lighter, turned, augmented. Two
photographs that overlap in part are not found. Every test image is compared with every training image; of a test image
the most alike training images are kept, `MAX_PARTNERS` of them.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np

from tfod_csf.data.dataset_page.image_measures import FINGERPRINT_LENGTH, SAME_IMAGE
from tfod_csf.data.dataset_page.record_survey import Survey

DUPLICATE, NEAR_DUPLICATE = "duplicate", "near-duplicate"
MAX_PARTNERS = 5
_AT_A_TIME = 2000  # training images compared at a time, which bounds the memory


@dataclasses.dataclass(frozen=True, slots=True)
class Leak:
    """A training image and a test image, numbers in `Survey.images`, and their likeness (1: the same)."""

    test: int
    train: int
    kind: str
    likeness: float


def find_leaks(survey: Survey) -> list[Leak]:
    """Pairs across the split, those of equal bytes first, then the most alike."""
    found: dict[int, dict[int, Leak]] = defaultdict(dict)
    for leak in (*_alike(survey), *_equal_files(survey)):  # a pair of equal files is a duplicate alone
        partners = found[leak.test]
        partners[leak.train] = leak
        if len(partners) > MAX_PARTNERS:
            del partners[max(partners.values(), key=_order).train]
    return sorted((leak for partners in found.values() for leak in partners.values()), key=_order)


def _order(leak: Leak) -> tuple:
    return leak.kind != DUPLICATE, -round(leak.likeness, 3), leak.test, leak.train


def repeats_within_sides(survey: Survey) -> dict[str, int]:
    """{side: images whose file is there before}, whose cells count twice."""
    repeats = {}
    for side in ("train", "test"):
        counts = Counter(image.digest for image in survey.of_side(side))
        repeats[side] = counts.total() - len(counts)
    return repeats


def shared_patients(survey: Survey) -> list[str]:
    """Patients with images on both sides, sorted; none where all images are in one folder, which may be anything."""
    if len({image.patient_id for image in survey.images}) == 1:
        return []
    train, test = ({image.patient_id for image in survey.of_side(side)} for side in ("train", "test"))
    return sorted((train & test) - {""})


def _equal_files(survey: Survey) -> Iterator[Leak]:
    trained: dict[bytes, list[int]] = defaultdict(list)
    for number, image in enumerate(survey.images):
        if image.side == "train":
            trained[image.digest].append(number)
    for number, image in enumerate(survey.images):
        if image.side == "test":
            yield from (Leak(number, train, DUPLICATE, 1.0) for train in trained[image.digest])


def _alike(survey: Survey) -> Iterator[Leak]:
    sides = [survey.images[number].side for number in survey.fingerprints]
    tests = [number for number, side in zip(survey.fingerprints, sides, strict=True) if side == "test"]
    trains = [number for number, side in zip(survey.fingerprints, sides, strict=True) if side == "train"]
    for start in range(0, len(trains), _AT_A_TIME):
        some = trains[start : start + _AT_A_TIME]
        matrix = np.concatenate([survey.fingerprints[number] for number in some])
        for test in tests:
            likeness = (survey.fingerprints[test].reshape(-1, FINGERPRINT_LENGTH) @ matrix.T).max(axis=0)
            for index in np.flatnonzero(likeness >= SAME_IMAGE):
                yield Leak(test, some[index], NEAR_DUPLICATE, min(float(likeness[index]), 1.0))
