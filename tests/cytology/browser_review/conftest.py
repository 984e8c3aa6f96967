"""A study of two patients with an export for Dr Li."""

import pytest

from tests.support import examined_study
from tests.support.browser_review import BrowserDesk

SURE = ("lymphocyte", 0.95, (1.0, 2.0, 11.0, 12.0))
UNSURE = ("monocyte", 0.6, (20.0, 5.0, 30.0, 15.0))
NEUTROPHIL = ("neutrophil", 0.9, (40.0, 10.0, 52.0, 22.0))


@pytest.fixture
def study(tmp_path):
    patients = {"=王": {"day1/a.jpg": [SURE, UNSURE, NEUTROPHIL], "b.jpg": []}, "p2": {"a.jpg": [UNSURE]}}
    return BrowserDesk(examined_study.write_study(tmp_path, patients), tmp_path)
