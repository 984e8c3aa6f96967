import numpy as np
import pytest

from tfod_csf.classification import ValidationPatient
from tfod_csf.cytology.counting.unlike_pictures import unlike_pictures


def validation(**features):
    """Patients with the listed values of each feature."""
    rows = zip(*features.values(), strict=True)
    return [ValidationPatient(1, np.zeros((6, 11), int), dict(zip(features, row, strict=True))) for row in rows]


def test_what_lies_among_the_validation_patients_is_not_unlike():
    known = validation(**{"cells per image": [10, 12, 20, 25]})
    assert unlike_pictures({"cells per image": 10}, known) == []
    assert unlike_pictures({"cells per image": 27}, known) == []  # outside, and not far


def test_what_is_far_outside_is_named_with_both_values():
    known = validation(**{"cells per image": [10, 12, 20, 25]})
    # Logarithms: median of (10, 12, 20, 25) is 2.74, deviation 1.4826 * 0.37 = 0.54; 4 of them end at 135.
    assert unlike_pictures({"cells per image": 120}, known) == []
    assert unlike_pictures({"cells per image": 150}, known) == ["cells per image 150, in the validation 10 to 25"]


@pytest.mark.parametrize(
    ("name", "like", "unlike"),
    [
        ("image width (pixels)", 1900, 2900),  # 1.1 ** 4 = 1.46 times 1280 is 1874
        ("median score", 0.85, 0.70),
        ("unknown cells among those most likely monocyte (%)", 25, 45),
    ],
)
def test_validation_patients_that_are_all_alike_leave_a_least_spread(name, like, unlike):
    value = {"image": 1300, "median": 0.9, "unknown": 10}[name.split()[0]]
    known = validation(**{name: [value] * 5})
    assert unlike_pictures({name: like}, known) == []
    assert unlike_pictures({name: unlike}, known) == [f"{name} {unlike:.4g}, in the validation {value:.4g}"]


def test_too_few_patients_with_a_feature_say_nothing():
    assert unlike_pictures({"median score": 0.1}, validation(**{"median score": [0.9, 0.9]})) == []
    assert unlike_pictures({"another": 5}, validation(**{"median score": [0.9] * 5})) == []
    assert unlike_pictures({}, []) == []
