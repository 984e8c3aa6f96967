import itertools
from math import comb

import pytest

from tfod_csf.cytology.review.sampling import sampled_images, wrong_images_at_most

CHECKSUMS = {f"{number:02d}.jpg": f"{number * 7919:064x}" for number in range(30)}


def test_a_sample_is_the_same_every_time_and_part_of_every_larger_one():
    samples = [set(sampled_images("p", CHECKSUMS, size)) for size in range(31)]
    assert [len(sample) for sample in samples] == list(range(31))
    assert all(small < large for small, large in itertools.pairwise(samples))
    turned = dict(reversed(CHECKSUMS.items()))
    assert sampled_images("p", turned, 10) == sampled_images("p", CHECKSUMS, 10) == tuple(sorted(samples[10]))


def test_a_sample_depends_on_patient_and_pictures_not_on_names():
    assert sampled_images("p", CHECKSUMS, 10) != sampled_images("q", CHECKSUMS, 10)
    renamed = {f"x{image}": checksum for image, checksum in CHECKSUMS.items()}
    assert sampled_images("p", renamed, 10) == tuple(f"x{image}" for image in sampled_images("p", CHECKSUMS, 10))


def test_every_image_is_sampled_about_as_often():
    times = dict.fromkeys(CHECKSUMS, 0)
    for patient in range(600):
        for image in sampled_images(str(patient), CHECKSUMS, 10):
            times[image] += 1
    # Each 600 / 3 = 200 times, standard deviation sqrt(600 * 1/3 * 2/3) = 11.5.
    assert all(abs(count - 200) < 4.5 * 11.5 for count in times.values())


def test_fewer_images_than_wanted_and_none():
    assert sampled_images("p", {"a.jpg": "1", "b.jpg": "2"}, 5) == ("a.jpg", "b.jpg")
    assert sampled_images("p", {}, 5) == ()


@pytest.mark.parametrize(("images", "sampled"), [(60, 20), (12, 10), (200, 59), (7, 1), (30, 30)])
def test_the_limit_by_counting_all_samples(images, sampled):
    """0 wrong in the sample: C(images - wrong, sampled) of C(images, sampled) samples have none."""
    possible = [d for d in range(images + 1) if comb(images - d, sampled) / comb(images, sampled) >= 0.05]
    assert wrong_images_at_most(images, sampled) == max(possible)


def test_the_rule_of_three_for_a_small_part_of_many_images():
    for sampled in (30, 60, 100):
        assert wrong_images_at_most(100_000, sampled) / 100_000 == pytest.approx(3 / sampled, rel=0.06)


def test_wrong_images_in_the_sample_raise_the_limit():
    # Of 4 images 2 were looked at and 1 was wrong: the other two may both be wrong (C(3,1)C(1,1)/C(4,2) = 1/2 >= 0.05).
    assert wrong_images_at_most(4, 2, 1) == 3
    assert wrong_images_at_most(1, 1, 1) == 1
