import pytest

from tfod_csf.files.inner_paths import is_plain_name, leads_out

# Written by hand: what leads out of a folder on Linux, macOS or Windows.
OUTSIDE = [
    "../a",
    "a/../../b",
    "/a",
    "//host/a",
    "\\a",
    "\\\\host\\a",
    "..\\a",
    "a\\..\\b",
    "C:\\a",
    "c:a",
    "..",
    "",
    "a\0b",
]
INSIDE = [
    "a.jpg",
    "day 1/a.jpg",
    "..a/b..",
    "a..b",
    "...",
    "王/細胞.jpg",
    "=a",
    "a\\b.jpg",
    "12:30.jpg",
    "./a",
    "-a",
    "a\nb",
]
# Of these, the ones that are more than a name.
PATHS = {"day 1/a.jpg", "..a/b..", "王/細胞.jpg", "a\\b.jpg", "./a"}


@pytest.mark.parametrize("path", OUTSIDE)
def test_paths_that_lead_out(path):
    assert leads_out(path)
    assert not is_plain_name(path)


@pytest.mark.parametrize("path", INSIDE)
def test_paths_that_stay_inside(path):
    assert not leads_out(path)
    assert is_plain_name(path) == (path not in PATHS)
