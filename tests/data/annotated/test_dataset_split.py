import collections

import pytest

from tfod_csf.data.annotated import dataset_split
from tfod_csf.data.annotated.dataset_split import SplitError, SplitImage, split
from tfod_csf.errors import UserError
from tfod_csf.files import csv_tables
from tfod_csf.problems import ProblemLog


def study(num_patients=10, per_patient=10) -> list[SplitImage]:
    """Every image has two lymphocytes, every other one a neutrophil, and three images of all have a rare cell."""
    images = []
    for patient in range(num_patients):
        for index in range(per_patient):
            number = patient * per_patient + index
            counts = {"lymphocyte": 2, "neutrophil": number % 2, "rare": int(number in (3, 41, 77))}
            images.append(SplitImage(f"P{patient}/{index}.jpg", f"P{patient}", f"sha{number}", counts))
    return images


def counts_of(images, keys) -> collections.Counter:
    total = collections.Counter()
    for image in images:
        if image.key in keys:
            total.update(image.class_counts)
    return total


@pytest.mark.parametrize("seed", range(5))
def test_by_image_every_class_has_its_share_and_the_rare_one_is_on_both_sides(seed):
    images = study()
    test = split(images, 0.1, seed=seed)
    assert len(test) == 10
    assert counts_of(images, test) == {"lymphocyte": 20, "neutrophil": 5, "rare": 1}


def test_seed_and_nothing_else_decides():
    images = study()
    assert split(images, 0.1, seed=1) == split(images[::-1], 0.1, seed=1)
    assert len({frozenset(split(images, 0.1, seed=seed)) for seed in range(6)}) == 6


def test_by_patient_nobody_is_on_both_sides():
    images = study()
    test = split(images, 0.2, split_by="patient")
    patients = {image.patient_id for image in images if image.key in test}
    assert len(patients) == 2
    assert test == {image.key for image in images if image.patient_id in patients}
    assert counts_of(images, test)["rare"] in (1, 2)


def test_images_kept_together_and_identical_files_are_on_one_side():
    images = study(num_patients=2)
    groups = [[f"P0/{i}.jpg", f"P0/{i + 1}.jpg"] for i in range(0, 10, 2)]
    twins = [SplitImage("P1/0.jpg", "P1", "same", {}), SplitImage("P1/1.jpg", "P1", "same", {})]
    images = [image for image in images if image.key not in ("P1/0.jpg", "P1/1.jpg")] + twins
    for seed in range(8):
        test = split(images, 0.3, seed=seed, keep_together=[*groups, ["P1/5.jpg", "no such image"]])
        for first, second in [*groups, ["P1/0.jpg", "P1/1.jpg"]]:
            assert (first in test) == (second in test)


def test_groups_across_patients_keep_whole_patients_together():
    images = study()
    groups = [["P0/0.jpg", "P1/0.jpg"], ["P1/3.jpg", "P2/3.jpg"]]
    for seed in range(8):
        test = split(images, 0.3, split_by="patient", seed=seed, keep_together=groups)
        sides = {image.patient_id: image.key in test for image in images}
        assert sides["P0"] == sides["P1"] == sides["P2"]


def test_negatives_are_shared_out_too():
    images = [SplitImage(str(i), "P", "", {"cell": int(i < 16)}) for i in range(20)]
    test = split(images, 0.25)
    assert len(test) == 5
    assert len(test - {str(i) for i in range(16)}) == 1


def test_two_images_give_one_each_and_a_fraction_of_0_gives_none():
    images = study(num_patients=1, per_patient=2)
    assert len(split(images, 0.1)) == 1
    assert len(split(images, 0.9)) == 1
    assert split(images, 0.0) == set()
    assert split(images[:1], 0.0) == set()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"test_fraction": 1.0}, "--test_fraction is 1"),
        ({"test_fraction": -0.1}, "--test_fraction is -0.1"),
        ({"test_fraction": 0.1, "split_by": "patients"}, "--split_by is 'patients'"),
        ({"test_fraction": 0.1, "split_by": "patient"}, "only 1 patient .* --split_by=image"),
    ],
)
def test_what_cannot_be_divided_is_one_sentence(arguments, words):
    with pytest.raises(SplitError, match=words):
        split(study(num_patients=1), **arguments)


KEYS = ["A/1.jpg", "A/day1/2.jpg", "B/1.jpg", "B/3.png"]


@pytest.mark.parametrize(
    "text",
    [
        "image_1,image_2\nA/1.jpg,B/1.jpg\n2,3.png\n",
        "Image1,image_2,image_3\nA/1.jpg,B/1.jpg,\nA\\day1\\2.jpg,,B/3\n",
        "group,image\nx,A/1.jpg\ny,2.jpg\nx,B/1.jpg\ny,3\n",
        "image,image\nA/1.jpg,B/1.jpg\n2,3.png\n",
        "Group ;Image\nx;A/1.jpg\n;\ny;2.jpg\nx ;B/1.jpg\ny;3\n",
    ],
)
def test_keep_together_names_images_in_several_ways(tmp_path, text):
    (tmp_path / "groups.csv").write_text(text)
    problems = ProblemLog(strict=True)
    groups = dataset_split.read_keep_together(tmp_path / "groups.csv", KEYS, problems)
    assert groups == [["A/1.jpg", "B/1.jpg"], ["A/day1/2.jpg", "B/3.png"]]


def test_names_that_fit_no_image_or_several_are_rows(tmp_path):
    rows = [{"image_1": "1.jpg", "image_2": "9.jpg"}, {"image_1": "A/1.jpg", "image_2": "B/1.jpg"}]
    csv_tables.write_rows(tmp_path / "g.csv", ("image_1", "image_2"), rows)
    problems = ProblemLog(quiet=True)
    assert dataset_split.read_keep_together(tmp_path / "g.csv", KEYS, problems) == [["A/1.jpg", "B/1.jpg"]]
    assert [(p.item, p.reason) for p in problems.problems] == [
        ("line 2", "'1.jpg' is several images"),
        ("line 2", "'9.jpg' is not an image that was found"),
    ]


def test_an_image_without_a_group_is_alone_and_noted(tmp_path):
    (tmp_path / "g.csv").write_text("group,image\n,A/1.jpg\n,A/day1/2.jpg\nx,B/1.jpg\nx,B/3.png\n")
    problems = ProblemLog(quiet=True)
    assert dataset_split.read_keep_together(tmp_path / "g.csv", KEYS, problems) == [["B/1.jpg", "B/3.png"]]
    assert [(p.action, p.item, p.count) for p in problems.problems] == [("noted", "lines 2, 3", 2)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "columns a, b; expected group,image"),
        ("imagery,image_2\nA/1.jpg,B/1.jpg\n", "columns imagery, image_2; expected group,image"),
        ("image_001.jpg,image_002.jpg\nimage_003.jpg,image_004.jpg\n", "image_001.jpg.*; expected group,image"),
        ("image_001,image_002\nimage_003,image_004\n", "the first line names the image 'image_001'"),
        ("image_001,image_002\n", "the first line names the image 'image_001'"),
        ("image\nA/1.jpg\nB/1.jpg\n", "keeps no two images together"),
        ("group,image\n", "keeps no two images together"),
        ("group,image\n,A/1.jpg\n,B/1.jpg\n", "keeps no two images together"),
        ("image_1,image_2\nA/1.jpg,A/1.jpg\n", "keeps no two images together"),
        ("image_1,image_2\nA/1.jpg,9.jpg\n", "keeps no two images together"),
    ],
)
def test_tables_that_keep_nothing_together_are_refused(tmp_path, text, words):
    (tmp_path / "g.csv").write_text(text)
    keys = [*KEYS, *(f"C/image_00{number}.jpg" for number in range(1, 5))]
    with pytest.raises(UserError, match=words):
        dataset_split.read_keep_together(tmp_path / "g.csv", keys, ProblemLog(quiet=True))


def test_images_called_as_the_columns_are_given_in_a_long_table(tmp_path):
    (tmp_path / "g.csv").write_text("group,image\nx,image_1.jpg\nx,image_2.jpg\n")
    keys = ["image_1.jpg", "image_2.jpg"]
    assert dataset_split.read_keep_together(tmp_path / "g.csv", keys, ProblemLog(strict=True)) == [keys]
