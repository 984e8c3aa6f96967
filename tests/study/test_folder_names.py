import collections
import os

import pytest

from tfod_csf.study import folder_names
from tfod_csf.study.patient_ids import PatientsError


@pytest.mark.parametrize(
    ("patient_id", "folder"),
    [
        ("患者 甲=1+2,x", "患者 甲=1+2,x"),
        ("../etc", "%2E.%2Fetc"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("a.", "a%2E"),
        (" a ", "%20a%20"),
        ("100%", "100%25"),
        ("%2E", "%252E"),
        ("CON", "%43ON"),
        ("nul.txt", "%6Eul.txt"),
        ('a<>:"/\\|?*b', "a%3C%3E%3A%22%2F%5C%7C%3F%2Ab"),
        ("a\tb\n", "a%09b%0A"),
    ],
)
def test_folder_names_are_safe_and_give_the_id_back(patient_id, folder):
    assert folder_names.safe_folder_name(patient_id) == folder
    assert folder_names.patient_id_of(folder) == patient_id


def test_ids_that_differ_in_capitals_get_folders_that_differ_everywhere():
    names = folder_names.folder_names(["b", "A", "a", "B", "a%~2"])
    assert names == {"A": "A", "a": "a%~2", "a%~2": "a%25~2", "B": "B", "b": "b%~2"}
    assert len({name.casefold() for name in names.values()}) == 5
    assert all(folder_names.patient_id_of(folder) == patient_id for patient_id, folder in names.items())


@pytest.mark.parametrize("patient_id", ["", "x" * 300])
def test_impossible_ids(patient_id):
    with pytest.raises(PatientsError):
        folder_names.safe_folder_name(patient_id)


@pytest.mark.parametrize(
    ("image", "picture"),
    [
        ("day1/IMG_1.jpg", "day1/IMG_1.jpg"),
        ("IMG_1.a.jpg", "IMG_1.a.jpg"),
        ("scan.tif", "scan.tif.jpg"),
        ("scan.tif.jpg", "scan.tif.jpg.jpg"),
        ("scan.TIF.jpg", "scan.TIF.jpg.jpg"),
        ("IMG_1.png", "IMG_1.png.jpg"),
        ("IMG_1.png.jpg", "IMG_1.png.jpg.jpg"),
        ("IMG_1.JPG", "IMG_1.jpg"),
        ("IMG_1.jpeg", "IMG_1.jpg"),
        ("IMG_1.jpeg.jpg", "IMG_1.jpeg.jpg.jpg"),
        ("IMG_1.jpg.jpg", "IMG_1.jpg.jpg.jpg"),
    ],
)
def test_each_image_has_a_labeled_picture_of_its_own(image, picture):
    assert str(folder_names.picture_name(image)) == picture


def test_no_two_images_with_different_stems_share_a_labeled_picture():
    suffixes = (".jpg", ".JPG", ".jpeg", ".png", ".PNG", ".tif", ".bmp")
    images = [f"scan{ending}" for ending in suffixes]
    images += [f"{image}{suffix}" for image in images for suffix in suffixes]
    stems_of = collections.defaultdict(set)
    for image in images:
        stems_of[folder_names.picture_name(image)].add(os.path.splitext(image)[0])
    assert {len(stems) for stems in stems_of.values()} == {1}
