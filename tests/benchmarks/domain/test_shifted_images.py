"""The benchmark of the domain guard on drawn fields."""

import re

import numpy as np
import pytest

from tests.support.drawn_records import field
from tfod_csf.benchmarks.domain import shifted_images
from tfod_csf.benchmarks.domain.shifted_images import CHANGES, Picture, magnified
from tfod_csf.domain.picture_statistics import CellBoxes
from tfod_csf.study import labelimg
from tfod_csf.study.labelimg import Annotation, LabeledObject


def save(folder, seed, **how):
    folder.mkdir(parents=True, exist_ok=True)
    picture, boxes = field(seed, **how)
    picture.save(folder / f"{seed}.png")
    objects = [LabeledObject("lymphocyte", *(round(side) for side in box)) for box in boxes]
    path = folder / f"{seed}.xml"
    labelimg.write_annotation(Annotation(path, f"{seed}.png", picture.width, picture.height, objects), path)


def test_own_images_are_seldom_flagged_others_are_and_strong_changes_more_often(tmp_path, capsys):
    for seed in range(70):
        save(tmp_path / "own" / f"p{seed % 7}", seed, blur=1.0)
    for seed in range(5):
        save(tmp_path / "other" / "p1", seed, blur=1.0, paper=(180, 190, 250))
    folders = [f"--images_dir={tmp_path / 'own'}", f"--other={tmp_path / 'other'}"]
    shifted_images.main([*folders, "--min_dimension=120", "--max_dimension=160", "--changed=4"])
    own, other, *changed = capsys.readouterr().out.splitlines()
    assert own.startswith("own, 70 images of 7 patients: ")
    assert float(re.search(r"([\d.]+) flagged", own)[1]) < 0.2
    assert other.endswith("other, 5 images: 1.00 (1.00) flagged")
    assert [line.partition(":")[0] for line in changed] == list(CHANGES)
    assert "0.6: 1.00 (1.00)" in changed[list(CHANGES).index("brightness x")]


@pytest.mark.parametrize(("factor", "sides"), [(2, [40, 40]), (0.5, [10, 10])])
def test_cells_are_magnified_with_their_boxes(factor, sides):
    pixels = np.full((100, 120, 3), 200, np.uint8)
    pixels[40:60, 50:70] = 50
    boxes = np.array([[40.0, 50, 60, 70], [0, 0, 20, 20]])
    found = magnified(Picture(pixels, CellBoxes(boxes, boxes[:0]), "p"), factor)
    assert found.pixels.shape == (100, 120, 3)
    (ymin, xmin, ymax, xmax), *others = found.cells.white.round().astype(int).tolist()
    assert [ymax - ymin, xmax - xmin] == sides
    assert found.pixels[ymin + 2 : ymax - 2, xmin + 2 : xmax - 2].max() == 50
    assert len(others) == (factor < 1)  # what is enlarged out of the image is gone
