import shutil

import pytest

from tests.support import labeled_folders
from tfod_csf.label_map import label_map_from_names, parse_class_map
from tfod_csf.problems import ProblemLog
from tfod_csf.study.annotated_images import read_annotated_image
from tfod_csf.study.patients import find_pairs

LABEL_MAP = label_map_from_names(["lymphocyte", "monocyte"])


@pytest.fixture
def folder(tmp_path):
    labeled_folders.write_labeled(tmp_path / "P" / "a.jpg", ["lymphocyte", "unknown", "platelet"], seed=1)
    return tmp_path


def read_all(folder, **arguments):
    problems = ProblemLog(quiet=True)
    pairs = find_pairs(folder, None, problems)
    return [read_annotated_image(pair, problems, LABEL_MAP, **arguments) for pair in pairs], problems


def test_pixels_and_boxes_come_together(folder):
    (read,), problems = read_all(folder, class_map=parse_class_map(["platelet="]))
    assert read.loaded.pixels.shape == (labeled_folders.HEIGHT, labeled_folders.WIDTH, 3)
    assert read.image.key == "P/a.jpg"
    assert [o.name for o in read.annotation.objects] == ["lymphocyte"]
    assert [o.name for o in read.ignored] == ["unknown"]
    assert problems.problems == []


def test_a_renamed_pair_is_used_and_said(folder):
    for suffix in (".jpg", ".xml"):
        (folder / "P" / f"a{suffix}").rename(folder / "P" / f"b{suffix}")
    (read,), problems = read_all(folder)
    assert read is not None
    assert problems.problems[0].reason == "<filename> is 'a.jpg'; paired with b.jpg by name"


def test_a_copied_xml_is_not_used(folder):
    labeled_folders.write_image(folder / "P" / "b.jpg", seed=2)
    shutil.copy(folder / "P" / "a.xml", folder / "P" / "b.xml")
    (first, second), problems = read_all(folder)
    assert first is not None
    assert second is None
    assert str(folder / "P" / "b.xml") in problems.skipped_files()


def test_a_file_without_a_usable_object_is_reported(folder):
    xml = folder / "P" / "a.xml"
    xml.write_text(xml.read_text(encoding="utf-8").replace("<bndbox>", "<polygon>").replace("</bndbox>", "</polygon>"))
    (read,), problems = read_all(folder)
    assert read.annotation.objects == []
    assert ("noted", "none of its 3 objects can be used: it counts as an image without cells") in [
        (problem.action, problem.reason) for problem in problems.problems
    ]


def test_a_resized_image_needs_permission_to_scale_its_boxes(folder):
    from PIL import Image

    path = folder / "P" / "a.jpg"
    with Image.open(path) as image:
        image.resize((32, 24)).save(path)
    assert read_all(folder)[0] == [None]
    (read,), _ = read_all(folder, rescale_boxes=True)
    assert (read.annotation.width, read.annotation.height) == (32, 24)
    assert [getattr(read.annotation.objects[0], side) for side in ("xmin", "ymin", "xmax", "ymax")] == [0.5, 5, 3, 8]
