"""Folds of whole patients, or of whole laboratories, of which each tests once and trains otherwise.

Shape shorthand in this module: U units (patients, or groups of them that stay together), C quantities (images, images
without cells, cells of each class), F folds.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tfod_csf.data.annotated.dataset_split import SplitError, SplitImage, counts_of, seeded_order, units_of
from tfod_csf.wording import listed, named, plural


def assign_folds(counts: np.ndarray, num_folds: int) -> np.ndarray:
    """Folds of units in random order, each with its share of everything as far as whole units allow.

    Units go one by one, the largest first, to the fold where the sum over folds and quantities of the squared distances
    of the shares from 1 / F rises least (scikit-learn's StratifiedGroupKFold does so with the shares of classes). The
    number of images weighs as much as all the others together. No fold stays empty.

    Args:
      counts: int [U, C]; column 0 is the number of images; U >= F.

    Returns:
      int [U], 0 .. F - 1.
    """
    weights = np.ones(counts.shape[1])
    weights[0] = max(counts.shape[1] - 1, 1)
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    folds, sums = np.full(len(counts), -1), np.zeros((num_folds, counts.shape[1]))
    for done, unit in enumerate(np.argsort(-np.round(shares @ weights, 9), kind="stable")):
        away = sums - 1 / num_folds
        rises = np.round((((away + shares[unit]) ** 2 - away**2) @ weights), 9)
        is_empty = ~np.isin(np.arange(num_folds), folds)
        if is_empty.sum() == len(counts) - done:
            rises[~is_empty] = np.inf
        folds[unit] = np.argmin(rises)
        sums[folds[unit]] += shares[unit]
    return folds


def divide(
    images: Sequence[SplitImage], num_folds: int, seed: int = 0, keep_together: Iterable[Sequence[str]] = ()
) -> list[set[str]]:
    """Folds of whole patients; every image is in one of them.

    Args:
      images: with the laboratory in the place of the patient where folds are of laboratories.
      num_folds: 2 or more.
      seed: another seed, other folds; the same seed and images, the same folds.
      keep_together: groups of keys whose patients stay in one fold.

    Returns:
      Keys of each fold.

    Raises:
      SplitError: fewer patients than folds, or one fold.
    """
    if num_folds < 2:
        raise SplitError(f"--num_folds is {num_folds}; expected 2 or more.")
    units = units_of(images, "patient", keep_together)
    if len(units) < num_folds:
        raise SplitError(
            f"{len(units)} patients (or laboratories, or groups of them that stay together) among {len(images)} images "
            f"cannot be divided into {num_folds} folds; give more of them, or a smaller --num_folds."
        )
    names = seeded_order(units, seed)
    chosen = assign_folds(counts_of([units[name] for name in names]), num_folds)
    return [
        {image.key for name, fold in zip(names, chosen, strict=True) if fold == number for image in units[name]}
        for number in range(num_folds)
    ]


def check_laboratories(images: Iterable[SplitImage], laboratory_of: Mapping[str, str]) -> list[str]:
    """The laboratories of a set, each patient in one of them.

    Args:
      laboratory_of: {key: laboratory, "" where the pattern does not fit}.

    Returns:
      Names, sorted.

    Raises:
      SplitError: an image without a laboratory, or a patient with images of several.
    """
    unknown: list[str] = []
    of_patient: dict[str, set[str]] = defaultdict(set)
    for image in images:
        if not laboratory_of[image.key]:
            unknown.append(image.key)
        of_patient[image.patient_id].add(laboratory_of[image.key])
    if unknown:
        raise SplitError(
            f"--laboratory_pattern does not fit {plural(len(unknown), 'image')} ({named(unknown)}), so it is not known "
            "whose they are; change the pattern, or move them away."
        )
    for patient, laboratories in of_patient.items():
        if len(laboratories) > 1:
            raise SplitError(
                f"patient {patient!r} has images of {len(laboratories)} laboratories ({listed(sorted(laboratories))}), "
                "so that these cannot test separately; give the patients of each laboratory names of their own."
            )
    return sorted(set().union(*of_patient.values()))
