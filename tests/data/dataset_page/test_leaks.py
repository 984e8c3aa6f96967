"""Images that both sides hold."""

import numpy as np
from PIL import Image

from tests.support.drawn_records import HEIGHT, WIDTH, drawn, field, jpeg, ready
from tfod_csf.data.dataset_page import leaks, record_survey
from tfod_csf.data.dataset_page.data_page import files_of
from tfod_csf.problems import ProblemLog


def seen(folder):
    return record_survey.survey(files_of(folder), ProblemLog(), 1)


def copy(key, seed, change, quality=80):
    """A changed copy of a drawn field, without boxes."""
    return ready(key, jpeg(change(field(seed)[0]), quality), [], [])


def test_duplicates_and_near_duplicates_across_the_split(write_records):
    train = [drawn(f"A/{seed}.jpg", seed) for seed in range(8)]
    test = [
        drawn("B/same.jpg", 2),
        copy("B/turned.jpg", 5, lambda picture: picture.rotate(180)),
        copy("B/small.jpg", 6, lambda picture: picture.resize((80, 60))),
        *(drawn(f"B/{seed}.jpg", seed) for seed in range(20, 26)),
    ]
    survey = seen(write_records({"train": train, "test": test}))
    found = leaks.find_leaks(survey)
    names = {(survey.images[leak.test].name, survey.images[leak.train].name): leak.kind for leak in found}
    assert names == {
        ("B/same.jpg", "A/2.jpg"): "duplicate",
        ("B/turned.jpg", "A/5.jpg"): "near-duplicate",
        ("B/small.jpg", "A/6.jpg"): "near-duplicate",
    }
    assert found[0].kind == "duplicate"
    assert found[0].likeness == 1


def test_no_more_than_so_many_partners_of_a_test_image_are_kept(write_records):
    same = [copy(f"A/{number}.jpg", 1, lambda picture: picture, quality=50 + number) for number in range(9)]
    exact = copy("A/exact.jpg", 1, lambda picture: picture)
    survey = seen(write_records({"train": [*same, exact], "test": [copy("B/x.jpg", 1, lambda picture: picture)]}))
    found = leaks.find_leaks(survey)
    assert len(found) == leaks.MAX_PARTNERS
    assert survey.images[found[0].train].name == "A/exact.jpg"
    assert [leak.kind for leak in found] == ["duplicate"] + ["near-duplicate"] * 4


def test_empty_fields_are_not_compared_unless_their_files_are_equal(write_records):
    def empty(key, paper):
        return ready(key, jpeg(field(0, paper=paper, cells=0)[0]), [], [])

    train = [empty("A/1.jpg", (230, 230, 230)), empty("A/2.jpg", (220, 220, 220))]
    survey = seen(write_records({"train": train, "test": [empty("B/1.jpg", (220, 220, 220))]}))
    [leak] = leaks.find_leaks(survey)
    assert (leak.kind, survey.images[leak.train].name) == ("duplicate", "A/2.jpg")
    assert survey.fingerprints == {}


def test_two_fields_of_one_cell_are_not_one_picture(write_records):
    """Their cells are at the same place by chance, in one of them mirrored, and under the same uneven light."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]

    def one_cell(key, center, radius):
        gray = 230 - 20 * ((x - WIDTH / 2) / WIDTH) ** 2 - 90 * np.exp(-((x - center) ** 2 + (y - 50) ** 2) / radius**2)
        picture = Image.fromarray(gray.astype(np.uint8)).convert("RGB")
        box = (center - radius, 50 - radius, center + radius, 50 + radius)
        return ready(key, jpeg(picture), [box], ["lymphocyte"])

    images = {"train": [one_cell("A/1.jpg", 40, 8)], "test": [one_cell("B/1.jpg", WIDTH - 40, 9)]}
    survey = seen(write_records(images))
    assert leaks.find_leaks(survey) == []
    assert survey.fingerprints == {}


def test_repeats_on_a_side_and_patients_on_both(write_records):
    train = [drawn("A/1.jpg", 1), drawn("A/2.jpg", 1), drawn("B/1.jpg", 1), drawn("3.jpg", 3)]
    test = [drawn("B/4.jpg", 4), drawn("C/5.jpg", 5), drawn("6.jpg", 6)]
    survey = seen(write_records({"train": train, "test": test}))
    assert leaks.repeats_within_sides(survey) == {"train": 2, "test": 0}
    assert leaks.shared_patients(survey) == ["B"]  # images without a folder have no patient
