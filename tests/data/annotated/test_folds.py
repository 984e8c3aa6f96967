import collections

import numpy as np
import pytest

from tfod_csf.data.annotated.dataset_split import SplitError, SplitImage
from tfod_csf.data.annotated.folds import assign_folds, check_laboratories, divide


def study(num_patients=12, per_patient=5):
    """Every image has two lymphocytes; one patient in four has a rare cell on each image."""
    return [
        SplitImage(f"P{p:02}/{i}.jpg", f"P{p:02}", f"sha{p},{i}", {"lymphocyte": 2, "rare": int(p % 4 == 0)})
        for p in range(num_patients)
        for i in range(per_patient)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_each_patient_is_in_one_fold_and_each_fold_has_its_share(seed):
    images = study()
    folds = divide(images, 3, seed)
    assert sorted(key for fold in folds for key in fold) == sorted(image.key for image in images)
    rare = collections.Counter()
    for number, fold in enumerate(folds):
        patients = {key[:3] for key in fold}
        assert fold == {image.key for image in images if image.patient_id in patients}
        assert len(patients) == 4
        rare[number] = sum(image.class_counts["rare"] for image in images if image.key in fold)
    assert rare == {0: 5, 1: 5, 2: 5}  # 3 patients have it, one in each fold


def test_seed_and_nothing_else_decides():
    images = study()
    assert divide(images, 4, seed=1) == divide(images[::-1], 4, seed=1)
    assert len({frozenset(map(frozenset, divide(images, 4, seed))) for seed in range(5)}) == 5


def test_patients_with_a_common_file_or_group_stay_in_one_fold():
    images = [*study(6), SplitImage("P98/a.jpg", "P98", "twin", {}), SplitImage("P99/a.jpg", "P99", "twin", {})]
    for seed in range(5):
        fold_of = {
            key[:3]: number
            for number, f in enumerate(divide(images, 3, seed, [["P00/1.jpg", "P03/2.jpg"]]))
            for key in f
        }
        assert fold_of["P98"] == fold_of["P99"]
        assert fold_of["P00"] == fold_of["P03"]


def test_as_many_folds_as_patients_leave_out_one_each_however_large():
    images = [*study(3, 2), *(SplitImage(f"large/{i}", "large", "", {}) for i in range(50))]
    folds = divide(images, 4)
    assert sorted(map(len, folds)) == [2, 2, 2, 50]


def test_no_fold_stays_empty_beside_a_unit_that_holds_nearly_all():
    assert sorted(assign_folds(np.array([[100, 9], [1, 0], [1, 0]]), 3)) == [0, 1, 2]


def test_the_smallest_sum_of_squares_decides():
    """Images 4, 3, 3, 2 into two folds of 6: 4, then 3 to the empty fold, 3 (7 and 3, or 4 and 6), and 2 to the 4."""
    assert assign_folds(np.array([[4], [3], [3], [2]]), 2).tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(("num_folds", "words"), [(1, "--num_folds is 1"), (13, "12 patients .* into 13 folds")])
def test_what_cannot_be_divided_is_one_sentence(num_folds, words):
    with pytest.raises(SplitError, match=words):
        divide(study(), num_folds)
    with pytest.raises(SplitError, match="0 patients"):
        divide([], 2)


def test_laboratories_have_patients_of_their_own_and_every_image_has_one():
    images = study(2, 2)
    by_patient = {image.key: f"lab {image.patient_id}" for image in images}
    assert check_laboratories(images, by_patient) == ["lab P00", "lab P01"]
    with pytest.raises(SplitError, match=r"does not fit 1 image \('P01/1.jpg'\)"):
        check_laboratories(images, {**by_patient, "P01/1.jpg": ""})
    with pytest.raises(SplitError, match=r"'P01' has images of 2 laboratories \(lab P00, lab P01\)"):
        check_laboratories(images, {**by_patient, "P01/1.jpg": "lab P00"})
