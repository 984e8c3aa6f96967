"""Labels spoiled on purpose, and rows that are about them."""

from collections import Counter

import pytest

from tests.support import labeled_folders
from tfod_csf.benchmarks.label_quality import spoiled_labels
from tfod_csf.benchmarks.label_quality.spoiled_labels import Spoiled
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg


def objects_of(path):
    return labelimg.read_annotation(path, ProblemLog(quiet=True)).objects


def test_all_labels_are_spoiled_in_four_ways(tmp_path):
    labeled_folders.write_study(tmp_path, {f"P{number}": [["lymphocyte"] * 5 + ["unknown"]] for number in range(40)})
    spoiled = spoiled_labels.spoil(tmp_path, 1.0, seed=0)
    kinds = Counter(one.kind for one in spoiled)
    assert kinds.total() == 200  # those without a name are not spoiled
    assert min(kinds.values()) > 30
    names = Counter(o.name for path in tmp_path.rglob("*.xml") for o in objects_of(path))
    assert names["unknown"] == 40
    renamed = names["monocyte"] + names["neutrophil"] + names["erythrocyte"]
    assert renamed == kinds["swapped"]
    # A doubled box that lies exactly on the first is one for the reader.
    assert (
        kinds["badly placed"] + kinds["doubled"] <= names["lymphocyte"] <= kinds["badly placed"] + 2 * kinds["doubled"]
    )


def test_no_label_is_spoiled(tmp_path):
    labeled_folders.write_study(tmp_path, {"P": [["lymphocyte"] * 3]})
    before = (tmp_path / "P" / "0.xml").read_bytes()
    assert spoiled_labels.spoil(tmp_path, 0.0, seed=0) == []
    assert (tmp_path / "P" / "0.xml").read_bytes() == before


@pytest.mark.parametrize(
    ("xmin", "image", "is_hit"), [(3.0, "a.jpg", True), (4.0, "a.jpg", False), (3.0, "b.jpg", False)]
)
def test_a_row_is_about_a_spoiled_label_where_the_boxes_overlap_by_half(xmin, image, is_hit):
    # Moved by 3 of 10 px: overlap 7 / 13; by 4: 6 / 14.
    spoiled = [Spoiled("a.jpg", "overlooked", (0, 0, 10, 10), (0, 0, 10, 10))]
    sides = {"ymin": 0.0, "xmin": xmin, "ymax": 10.0, "xmax": xmin + 10}
    row = {"image": image, **{f"suggested_{s}": v for s, v in sides.items()}, **{f"label_{s}": None for s in sides}}
    assert (spoiled_labels.is_spoiled(row, spoiled) is not None) == is_hit
