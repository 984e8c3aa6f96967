from tests.support.evaluated_images import CATEGORIES, CLASSES, EMPTY, MIXED, RIGHT, examined
from tfod_csf.evaluation.class_counts import KINDS, ClassCounts
from tfod_csf.files import csv_schemas


def written(folder, *images, unknown_below=0.8):
    counts = ClassCounts(CATEGORIES, unknown_below)
    for image in images:
        counts.add_image(image.name, "p", image.groundtruth, image.cells)
    counts.write(folder)
    assert csv_schemas.load("class_counts").check(folder / "class_counts.csv", CLASSES) == len(images)
    rows = csv_schemas.load("class_counts").read(folder / "class_counts.csv")
    return [{kind: [row[f"{kind}_{name}"] for name in CLASSES] for kind in KINDS} for row in rows]


def test_every_label_and_every_cell_is_counted_once(tmp_path):
    """In MIXED a lymphocyte is right, a monocyte is taken for one, a neutrophil lies beside its label, a monocyte is
    invented; the neutrophil of 0.3 is no cell. 0.7 and, in RIGHT, 0.6 are below 0.8: unknown."""
    assert written(tmp_path, MIXED, RIGHT, EMPTY) == [
        {"labeled": [1, 1, 2], "right": [1, 0, 0], "predicted": [2, 1, 1], "decided": [2, 0, 1]},
        {"labeled": [1, 1, 0], "right": [1, 1, 0], "predicted": [1, 1, 0], "decided": [1, 0, 0]},
        {"labeled": [0, 0, 0], "right": [0, 0, 0], "predicted": [0, 0, 0], "decided": [0, 0, 0]},
    ]


def test_difficult_labels_and_the_cells_on_them_are_in_no_count(tmp_path):
    image = examined("a", difficult=[("L", 5, 5)], found=[("L", 5, 5, 0.9)])
    assert set(map(tuple, written(tmp_path, image)[0].values())) == {(0, 0, 0)}


def test_a_score_at_unknown_below_is_decided_and_no_image_gives_an_empty_table(tmp_path):
    image = examined("a", found=[("N", 5, 5, 0.75)])
    assert written(tmp_path, image, unknown_below=0.75)[0]["decided"] == [0, 0, 1]
    assert written(tmp_path) == []
