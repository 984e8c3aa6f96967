import pytest

from tfod_csf.wording import number, plural


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (-3, "-3"), (1.0, "1"), (0.96, "1.0"), (2.5, "2.5"), (1e15, "1000000000000000")]
)
def test_numbers(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 pages"), (1, "1 page"), (1.0, "1 page"), (1.5, "1.5 pages"), (2, "2 pages")]
)
def test_one_and_several(count, text):
    assert plural(count, "page") == text


def test_irregular_nouns():
    assert (plural(1, "box", "boxes"), plural(3, "box", "boxes")) == ("1 box", "3 boxes")
