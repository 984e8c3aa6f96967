"""What a returned folder says, file by file, without the commands around it."""

import hashlib

import pytest
from PIL import Image

from tfod_csf.cytology.review import returned_folder
from tfod_csf.cytology.review.sidecar import ReviewError, ShownImage, Sidecar
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg
from tfod_csf.study.labelimg import Annotation, LabeledObject

NAMES = ("lymphocyte", "monocyte", "unknown")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save(folder, stem, *objects, verified=False):
    """An XML as LabelImg writes it."""
    path = folder / f"{stem}.xml"
    labelimg.write_annotation(Annotation(path, f"{stem}.jpg", 64, 48, list(objects), verified=verified), path)


@pytest.fixture
def review(tmp_path):
    """(folder, sidecar) of images a and b with one lymphocyte each, as exported."""
    folder, images = tmp_path / "p", {}
    folder.mkdir()
    for number, stem in enumerate(("a", "b")):
        Image.new("RGB", (64, 48), (number, 0, 0)).save(folder / f"{stem}.jpg")
        save(folder, stem, LabeledObject("lymphocyte", 1, 2, 11, 12))
        checksums = sha256(folder / f"{stem}.jpg"), sha256(folder / f"{stem}.xml")
        images[f"{stem}.jpg"] = ShownImage(f"day1/{stem}.jpg", checksums[0], 64, 48, checksums[1], False, ())
    return folder, Sidecar("1", "now", "p", "p", "m", NAMES, "", 0, "", {}, images)


def read(review):
    problems = ProblemLog(quiet=True)
    return returned_folder.read_folder(*review, problems), [problem.reason for problem in problems.problems]


def test_what_nobody_saved_is_not_reviewed(review):
    assert read(review) == ({}, [])


def test_a_saved_xml_comes_back_with_its_boxes(review):
    folder, _ = review
    save(folder, "a", LabeledObject("monocyte", 3, 4, 13, 14), LabeledObject("lymphocyte", 1, 2, 11, 12), verified=True)
    reviewed, reasons = read(review)
    assert (list(reviewed), reasons) == (["day1/a.jpg"], [])
    image = reviewed["day1/a.jpg"]
    assert [(o.name, o.xmin, o.ymin, o.xmax, o.ymax) for o in image.objects] == [
        ("monocyte", 3, 4, 13, 14),
        ("lymphocyte", 1, 2, 11, 12),
    ]
    assert image.verified
    assert image.xml_sha256 == sha256(folder / "a.xml")


def test_an_xml_copied_from_another_image_decides_nothing(review):
    folder, _ = review
    save(folder, "a", LabeledObject("monocyte", 3, 4, 13, 14), verified=True)
    (folder / "b.xml").write_bytes((folder / "a.xml").read_bytes())
    reviewed, reasons = read(review)
    assert list(reviewed) == ["day1/a.jpg"]
    assert reasons == [
        "a copy: its <filename> is 'a.jpg', another image of this review; the image's cells stay as they were"
    ]


@pytest.mark.parametrize("filename", ["", "B.JPG", "elsewhere.jpg"])
def test_an_odd_file_name_in_an_xml_is_no_other_image(review, filename):
    folder, _ = review
    save(folder, "b")
    xml = folder / "b.xml"
    text = xml.read_text(encoding="utf-8")
    xml.write_text(text.replace("<filename>b.jpg<", f"<filename>{filename}<"), encoding="utf-8")
    assert list(read(review)[0]) == ["day1/b.jpg"]


def test_all_boxes_deleted_is_a_decision(review):
    save(review[0], "a")
    reviewed, reasons = read(review)
    assert (reviewed["day1/a.jpg"].objects, reasons) == ((), [])


def test_the_picture_may_be_gone_but_not_another_one(review):
    folder, _ = review
    save(folder, "a")
    save(folder, "b")
    (folder / "a.jpg").unlink()
    (folder / "b.jpg").write_bytes(b"another")
    reviewed, reasons = read(review)
    assert list(reviewed) == ["day1/a.jpg"]
    assert len(reasons) == 1
    assert "not the picture the reviewer was given" in reasons[0]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.xml", b"<annotation>", "not well-formed"),
        ("a.xml", b"", "empty"),
        ("a.txt", b"0 0.5 0.5 0.1 0.1", "YOLO"),
        ("a.json", b"[]", "CreateML"),
        ("new.png", b"", "not given to the reviewer"),
        ("deeper/c.xml", b"<annotation/>", "belongs to no image"),
    ],
)
def test_what_cannot_be_read_is_no_decision_and_leaves_a_row(review, name, content, reason):
    path = review[0] / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    reviewed, reasons = read(review)
    assert reviewed == {}
    assert any(reason in found for found in reasons), reasons


def test_an_image_with_an_object_that_would_be_lost_stays_as_it_was(review):
    folder, _ = review
    save(folder, "a", LabeledObject("monocyte", 3, 4, 13, 14), LabeledObject("lymphocyte", 1, 2, 11, 12))
    text = (folder / "a.xml").read_text(encoding="utf-8")
    (folder / "a.xml").write_text(text.replace("<xmin>3</xmin>", "<xmin>three</xmin>"), encoding="utf-8")
    reviewed, reasons = read(review)
    assert reviewed == {}
    assert any("1 of its objects cannot be used" in reason for reason in reasons)


def named(review, *names):
    save(review[0], "a", *[LabeledObject(name, 6 * i, 1, 6 * i + 5, 9) for i, name in enumerate(names)])
    return read(review)[0]


def test_names_get_the_studys_spelling_and_the_class_map_renames_and_drops(review):
    reviewed = named(review, " Lymphocyte", "MONOCYTE", "platelet", "lymph")
    known = returned_folder.with_known_names(reviewed, NAMES, {"platelet": "", "lymph": "lymphocyte"})
    assert [o.name for o in known["day1/a.jpg"].objects] == ["lymphocyte", "monocyte", "lymphocyte"]


def test_unannounced_names_are_all_listed(review):
    reviewed = named(review, "lymphcyte", "blast", "lymphcyte")
    with pytest.raises(ReviewError) as error:
        returned_folder.with_known_names(reviewed, NAMES, {})
    assert "'lymphcyte' (2 cells, first in a.jpg" in str(error.value)
    assert "'blast' (1 cell, first in a.jpg)" in str(error.value)
    assert "--class_map='lymphcyte=lymphocyte'" in str(error.value)


def test_no_images():
    assert returned_folder.with_known_names({}, NAMES, {}) == {}
