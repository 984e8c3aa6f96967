"""Records of drawn fields."""

import functools

import pytest

from tests.support import drawn_records


@pytest.fixture
def write_records(tmp_path):
    """Function ({side: images}) that writes records and a label map into a folder and returns it."""
    return functools.partial(drawn_records.write, tmp_path / "records")
