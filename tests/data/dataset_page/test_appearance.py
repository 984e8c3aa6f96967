"""Which groups look unlike the others."""

import dataclasses

import pytest

from tfod_csf.data.dataset_page import appearance
from tfod_csf.data.dataset_page.appearance import LaboratoryPatternError
from tfod_csf.data.dataset_page.record_survey import ImageFacts

IMAGE = ImageFacts(
    side="train",
    name="P1/a.jpg",
    patient_id="P1",
    digest=b"",
    width=100,
    height=80,
    cells={},
    ignored=0,
    at_edge={},
    background=(200.0, 200.0, 200.0),
    nucleus=(80.0, 40.0, 120.0),
    edge_width=2.0,
)


def image(patient, **changes):
    return dataclasses.replace(IMAGE, patient_id=patient, name=f"{patient}/a.jpg", **changes)


def groups(images):
    return appearance.appearances(images, appearance.PATIENT, lambda one: one.patient_id)


def test_a_group_of_another_color_comes_first():
    pink = image("C", background=(200.0, 120.0, 160.0))
    found = groups([image("A"), image("B"), image("B", side="test"), pink, image("D")])
    assert [group.name for group in found] == ["C", "A", "B", "D"]
    assert found[0].background_distance > appearance.OTHER_COLOR
    assert [group.background_distance for group in found[1:]] == [0, 0, 0]
    assert [(group.train, group.test) for group in found] == [(1, 0), (1, 0), (1, 1), (1, 0)]
    assert found[0].nucleus_distance == 0


def test_distance_is_that_of_cie_1976():
    # Grays differ in L* alone: 200 is L* 80.60, 119 is 50.03.
    found = groups([image("A"), image("B"), image("C", background=(119.0, 119.0, 119.0))])
    assert found[0].background_distance == pytest.approx(80.60 - 50.03, abs=0.05)


def test_groups_without_white_cells_or_edges():
    [one] = groups([image("A", nucleus=None, edge_width=None)])
    assert (one.nucleus, one.nucleus_distance, one.edge_width, one.blurred) == (None, None, None, 0)
    assert groups([image("")]) == []


def test_blurred_images_are_more_than_twice_as_wide_as_the_median_of_all():
    widths = [2.0, 2.0, 2.0, 4.0, 4.1, None]
    images = [image(f"{number}", edge_width=width) for number, width in enumerate(widths)]
    assert appearance.typical_edge_width(images) == 2.0
    assert [appearance.is_blurred(one, 2.0) for one in images] == [False, False, False, False, True, False]
    assert [group.name for group in groups(images) if group.blurred] == ["4"]
    assert not appearance.is_blurred(images[4], None)


def test_laboratories_by_pattern():
    laboratory = appearance.laboratory_reader("^(?P<laboratory>[A-Z]+)?-?[0-9]")
    assert [laboratory(name) for name in ("HH-12/a.jpg", "12/a.jpg", "x/a.jpg")] == ["HH", "", ""]


@pytest.mark.parametrize(
    ("pattern", "words"), [("(", "write a regular expression"), ("^([A-Z]+)", "has no group"), ("a", "has no group")]
)
def test_patterns_that_cannot_be_used(pattern, words):
    with pytest.raises(LaboratoryPatternError, match=words):
        appearance.laboratory_reader(pattern)
