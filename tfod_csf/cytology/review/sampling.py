"""Which images a reviewer checks when not all of them are checked, and what such a sample can prove.

The images are chosen by a hash of the patient's id and the image's checksum: nobody chooses them, every export of a
patient has the same ones, and a larger sample contains the smaller one.

The rule is an acceptance sample with acceptance number 0 (Schilling and Neubauer, Acceptance Sampling in Quality
Control, 2017, chapter 5): when no image of the sample has a wrong white cell, the images that were not looked at are
accepted, else all images have to be checked. With 0 wrong of n the upper 95 % limit of the share of wrong images is
about 3 / n (Hanley and Lippman-Hand, JAMA 1983;249:1743), less where n is a large part of all images.
"""

import bisect
import hashlib
from collections.abc import Mapping

from scipy import stats

# Smaller samples are not accepted: with 0 wrong of 10 up to a quarter of many images may be wrong.
MIN_SAMPLE = 10


def sampled_images(patient_id: str, checksums: Mapping[str, str], size: int) -> tuple[str, ...]:
    """The sample of a patient's images, sorted by name.

    Args:
      checksums: {image: SHA-256 of its file} of all images that were examined.
      size: images wanted; all of them when there are not so many.
    """

    def rank(image: str) -> tuple[str, str]:
        return hashlib.sha256(f"{patient_id}\0{checksums[image]}".encode()).hexdigest(), image

    return tuple(sorted(sorted(checksums, key=rank)[:size]))


def wrong_images_at_most(images: int, sampled: int, wrong: int = 0, alpha: float = 0.05) -> int:
    """Upper limit, at confidence 1 - alpha, of the number of wrong images among all (hypergeometric, so exact).

    Args:
      images: all images of the patient.
      sampled: images that were looked at.
      wrong: those of them that were wrong.

    >>> wrong_images_at_most(60, 20), wrong_images_at_most(10_000, 100), wrong_images_at_most(5, 5)
    (6, 293, 0)
    """
    totals = range(wrong, images - sampled + wrong + 1)

    def is_impossible(total: int) -> bool:
        return bool(stats.hypergeom.cdf(wrong, images, total, sampled) < alpha)

    # The more images are wrong, the less likely is it that so few of the sample are.
    return totals[bisect.bisect_left(totals, True, key=is_impossible) - 1]
