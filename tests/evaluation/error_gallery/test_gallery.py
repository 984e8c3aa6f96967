import numpy as np
import pytest

from tests.support.evaluated_images import CATEGORIES, CLASSES, EMPTY, FACTS, MIXED, RIGHT, examined
from tfod_csf.evaluation.error_gallery import gallery
from tfod_csf.evaluation.error_gallery.gallery import ErrorGallery
from tfod_csf.files import csv_schemas, csv_tables


def written(folder, *images, **settings):
    made = ErrorGallery(CATEGORIES, **settings)
    for image in images:
        made.add_image(image)
    sentence = made.write(folder, FACTS)
    for name in ("errors", "error_images"):
        csv_schemas.load(name).check(folder / f"{name}.csv")
    csv_schemas.load("error_types").check(folder / "error_types.csv", CLASSES)
    return sentence, (folder / "errors.html").read_text(encoding="utf-8")


def test_every_mistake_is_in_the_table(tmp_path):
    sentence, _ = written(tmp_path, MIXED, RIGHT, EMPTY)
    rows = list(csv_schemas.load("errors").read(tmp_path / "errors.csv"))
    shown = [(row["error"], row["true_class"], row["predicted_class"], row["score"], row["iou"]) for row in rows]
    # The badly placed neutrophil has an IoU of 12 / 28 = 0.4286 with its label; the neutrophil of 0.3 is no cell.
    assert shown == [
        ("classification", "monocyte", "lymphocyte", 0.9, 1.0),
        ("localization", "neutrophil", "neutrophil", 0.8, 0.4286),
        ("background", "", "monocyte", 0.7, 0.0),
        ("missed", "neutrophil", "", None, None),
    ]
    assert [rows[3][side] for side in ("ymin", "xmin", "ymax", "xmax")] == [90, 5, 110, 25]
    assert {row["image_name"] for row in rows} == {"p/<b>mixed</b>.jpg"}
    # By overlap alone the badly placed one is spurious and its label missed: 1 confused, 2 missed, 2 spurious.
    assert sentence.startswith("5 mistakes")
    images = csv_tables.read_rows(tmp_path / "error_images.csv")
    assert [list(row.values())[1:] for row in images] == [
        ["4", "1", "1", "2", "2"],
        ["2", "2", "0", "0", "0"],
        ["0", "0", "0", "0", "0"],
    ]


def test_what_the_types_cost_is_of_all_detections(tmp_path):
    written(tmp_path, MIXED)
    rows = {row["error"]: row for row in csv_schemas.load("error_types").read(tmp_path / "error_types.csv")}
    # Lymphocytes: right, then wrong, of 1: AP 1. Monocytes: wrong, of 1: 0. Neutrophils: wrong (0.8), right (0.3), of
    # 2: 0.5 * 0.5. Repaired, the confused cell makes the monocytes 1, the badly placed one the neutrophils 1.
    assert rows["classification"]["mean_ap_gain"] == pytest.approx(1 / 3, abs=1e-6)
    assert rows["localization"]["mean_ap_gain"] == pytest.approx((1 - 0.25) / 3, abs=1e-6)
    assert rows["missed"]["mean_ap_gain"] == 0  # with everything that was detected, nothing was missed
    assert (rows["missed"]["cells"], rows["missed"]["neutrophil"]) == (1, 1)
    assert (rows["background"]["cells"], rows["background"]["monocyte"]) == (1, 1)


def test_pictures_behind_every_number_of_the_matrix(tmp_path):
    _, page = written(tmp_path, MIXED, RIGHT)
    # Lymphocyte right (2), monocyte right, taken for lymphocyte, neutrophil missed (2), two classes spurious.
    for anchor in ("m-0-0", "m-1-1", "m-1-0", "m-2-3", "m-3-1", "m-3-2"):
        assert page.count(f'href="#{anchor}"') == page.count(f'id="{anchor}"') == 1
    assert page.count("<details") == 6
    # 8 behind the matrix, 4 by type, 1 field.
    assert page.count('src="data:image/jpeg') == 8 + 4 + 1
    assert "<b>mixed" not in page
    assert "&lt;b&gt;mixed" in page
    assert "test.record: a remark." in page


@pytest.mark.parametrize(
    "images", [[], [EMPTY], [examined("x", labels=[("L", 5, 5)])], [examined("x", found=[("L", 5, 5, 0.9)])]]
)
def test_no_images_no_boxes_and_one_box(tmp_path, images):
    _, page = written(tmp_path, *images)
    num_errors = sum(
        len(image.groundtruth["groundtruth_classes"]) + len(image.cells["detection_scores"]) for image in images
    )
    assert len(csv_tables.read_rows(tmp_path / "errors.csv")) == num_errors
    assert ("No image has a mistake." in page) is not bool(num_errors)
    has_labels = any(len(image.groundtruth["groundtruth_classes"]) for image in images)
    gains = [row["mean_ap_gain"] for row in csv_schemas.load("error_types").read(tmp_path / "error_types.csv")]
    assert gains == ([0, 0, 0, 0, 0, 1] if has_labels else [None] * 6)


def test_difficult_labels_are_no_mistakes(tmp_path):
    _, page = written(tmp_path, examined("x", difficult=[("L", 5, 5), ("M", 60, 5)], found=[("M", 5, 5, 0.9)]))
    assert csv_tables.read_rows(tmp_path / "errors.csv") == []
    assert "1 more lie on labels that do not count" in page


def test_many_mistakes_say_how_many_are_shown_and_where_all_are(tmp_path, monkeypatch):
    for name, number in {"MAX_PICTURES": 4, "MAX_OF_TYPE": 2, "MAX_FIELDS": 2}.items():
        monkeypatch.setattr(gallery, name, number)
    images = [examined(f"{i}", found=[("L", 5, 5, 0.5 + i / 20)] * (i % 2 + 1)) for i in range(6)]
    _, page = written(tmp_path, *images)
    assert len(csv_tables.read_rows(tmp_path / "errors.csv")) == 9
    assert "9; those with the highest scores of each class are shown, up to 2, all are in errors.csv" in page
    assert "The 2 images with the most mistakes, of 6 with any; all are in error_images.csv." in page
    assert "9; the 4 with the highest scores are shown" in page
    assert page.index("image 5") < page.index("image 3")  # the surest first: 0.75 twice
    assert page.count('src="data:image/jpeg') == 2 + 2 + 4


def test_a_rare_class_is_shown_beside_a_frequent_one(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "MAX_OF_TYPE", 2)
    frequent = [examined(f"{i}", labels=[("L", 5, 5)] * 3) for i in range(3)]
    _, page = written(tmp_path, *frequent, examined("rare", labels=[("N", 5, 5)]))
    of_type = page[page.index('id="t-missed"') : page.index('id="fields"')]
    assert of_type.count("labeled: lymphocyte") == 2
    assert "labeled: neutrophil; image rare" in of_type


def test_pictures_do_not_grow_with_the_images(tmp_path):
    sizes = []
    for number in (30, 300):
        folder = tmp_path / f"{number}"
        images = (examined(f"{i}", found=[("L", 5, 5, float(np.sin(i) ** 2 / 2 + 0.5))]) for i in range(number))
        sizes.append(len(written(folder, *images)[1]))
    assert sizes[1] < 1.2 * sizes[0]
