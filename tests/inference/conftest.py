"""Drawn patients on which the hand-made model's cells can be worked out."""

import pytest

from tests.support.hand_made_model import save_gray


@pytest.fixture
def images_dir(tmp_path):
    """Patients "p1" (a black and a light image) and "王=1" (one light image)."""
    folder = tmp_path / "images"
    save_gray(folder / "p1" / "a.png", 0)
    save_gray(folder / "p1" / "day2" / "b.png", 200)
    save_gray(folder / "王=1" / "a.png", 201)
    return folder
