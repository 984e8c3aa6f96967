"""A study of two patients, one of them with cells a person has to decide on."""

import pytest

from tests.support import examined_study
from tests.support.review_desk import Desk

SURE = ("lymphocyte", 0.95, (1.0, 2.0, 11.0, 12.0))
UNSURE = ("monocyte", 0.6, (20.0, 5.0, 30.0, 15.0))
RED = ("erythrocyte", 0.6, (40.0, 5.0, 50.0, 15.0))


@pytest.fixture
def desk(tmp_path):
    patients = {"王伟": {"a.jpg": [SURE, UNSURE, RED], "b.jpg": [SURE]}, "p2": {"a.jpg": [SURE]}}
    return Desk(examined_study.write_study(tmp_path, patients), tmp_path)
