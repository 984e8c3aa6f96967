"""How far an image is from the images that a model was trained on, and in what it differs.

How it works: training images are of a few kinds (laboratories, stains, cameras), found by k-means on their statistics.
A kind has a center; the spread around centers is one covariance for each aspect of an image (light, stain, size, ...),
shrunk to its diagonal. The distance of an image from a kind in an aspect is the Mahalanobis distance divided by the
square root of the number of statistics that could be measured, so that it is about 1 for the images of that kind
themselves. It is divided by the limit of the aspect. The largest of these ratios over the aspects, for the kind for
which that is smallest, is the image's distance: above 1 it is unlike the training images, in the aspects above 1.

The limits are not those of the images that centers and covariances are from, to which every image is nearer than to
others: training images are dealt into folds by patients, and those of each fold are measured by a domain made of the
others. The limit of an aspect is the 99 % quantile of these distances (`_limit`), or the one that three images exceed
where that is lower; then all limits are multiplied by the 98 % quantile of the largest ratio. Of a kind that varies
more than the others, so that clearly more than 2 % of its images are beyond, the limits are wider by its own quantile
(Mondrian conformal prediction: Vovk, Gammerman and Shafer 2005, section 4.5), at most by half.

Shape shorthand in this module: N training images, K kinds, S statistics in the order of `STATISTICS`.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfod_csf.domain.picture_statistics import ASPECTS, CLIPPED, STATISTICS
from tfod_csf.errors import UserError

QUANTILE = 0.98  # of the training images are within all limits
_OF_ASPECT = 0.99
_BEYOND = 3  # images at least are beyond the limit of an aspect, or the share of all aspects would have no say
_TYPICAL = 0.95
MIN_IMAGES = 50
NUM_FOLDS = 5
_MAX_KINDS = 8
_IMAGES_PER_KIND = 50
_SMALLEST_KIND = 0.02  # of the images; fewer are outliers, and no kind of their own
_MIN_MEASURED = 20  # images; a statistic that fewer have is not used
_SHRINKAGE = 0.2
_FARTHEST = 5.0  # robust deviations; what is farther counts as so far, for kinds and covariances
_WIDEST = 1.5  # times the limits of all kinds; more would let other laboratories in
_CLEARLY = 3.0  # standard errors of a share
_LEAST_LIMIT = 1.5  # spreads; what is nearer is never unlike, however alike the training images are
_FORMAT = 1
_DIGITS = 4
_SAME = 1e-6  # the limit of images that are all the same
_SEED = 20220124
_COLUMNS = {
    aspect: np.array([STATISTICS.index(name) for name in names], dtype=int) for aspect, names in ASPECTS.items()
}
_CLIPPED = STATISTICS.index(CLIPPED)
_LEAST = np.array([least for names in ASPECTS.values() for least in names.values()])


class TrainingDomainError(UserError):
    """Images that are too few for a domain, or a stored one that cannot be read."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """An aspect in which an image is unlike the training images.

    Attributes:
      aspect: a key of `ASPECTS`.
      ratio: its distance divided by its limit, above 1.
      statistic: the one that differs most.
      points: by how much, in the unit of the statistic: octaves, or Delta E of a color.
    """

    aspect: str
    ratio: float
    statistic: str
    points: float


@dataclasses.dataclass(frozen=True)
class Judgment:
    """An image compared with the training images.

    Attributes:
      distance: above 1 it is unlike them.
      differences: in what, the largest first; empty where it is not.
    """

    distance: float
    differences: tuple[Difference, ...] = ()

    @property
    def in_domain(self) -> bool:
        """Whether the image is like those of the training."""
        return self.distance <= 1


@dataclasses.dataclass(frozen=True)
class TrainingDomain:
    """What a model's training images look like.

    Attributes:
      centers: float [K, S], NaN where a kind has nothing to measure a statistic on.
      covariances: {aspect: [s, s]}, s the number of its statistics; NaN on the diagonal where one is not used.
      limits: {aspect: distance in it from which an image is unlike}; without the aspects that too few images have.
      widths: float [K], by which the limits are multiplied for the images of each kind, at least 1.
      images: N.
      groups: patients they are of.
      grouped: whether folds were of whole patients; False where the records name none, or a single one.
    """

    centers: np.ndarray
    covariances: Mapping[str, np.ndarray]
    limits: Mapping[str, float]
    widths: np.ndarray
    images: int
    groups: int
    grouped: bool

    def judge(self, statistics: np.ndarray) -> Judgment:
        """Compares an image with the training images.

        Args:
          statistics: [S] of `picture_statistics.measure`.
        """
        ratios = _ratios(self.distances(statistics[None]), self.limits)[:, 0] / self.widths
        kind = int(ratios.max(axis=0).argmin())
        found = dict(zip(self.limits, ratios[:, kind].tolist(), strict=True))
        unlike = sorted((name for name, ratio in found.items() if ratio > 1), key=lambda name: -found[name])
        differences = (self._difference(statistics, kind, name, found[name]) for name in unlike)
        return Judgment(max(found.values()), tuple(differences))

    def distances(self, statistics: np.ndarray) -> dict[str, np.ndarray]:
        """{aspect: [N, K] distances in it of N images from each kind}; NaN where nothing of it was measured.

        Args:
          statistics: [N, S].
        """
        apart = _apart(statistics[:, None, :], self.centers)
        found = {}
        for name, columns in _COLUMNS.items():
            covariance, points = self.covariances[name], apart[:, :, columns]
            is_known = np.isfinite(points) & np.isfinite(np.diag(covariance))
            distances = np.full(points.shape[:2], np.nan)
            for known in np.unique(is_known.reshape(-1, len(columns)), axis=0):
                rows = (is_known == known).all(axis=2)
                if known.any():
                    own = points[rows][:, known]
                    solved = np.linalg.solve(covariance[np.ix_(known, known)], own.T).T
                    distances[rows] = np.sqrt(np.mean(own * solved, axis=1))
            found[name] = distances
        return found

    def _difference(self, statistics: np.ndarray, kind: int, aspect: str, ratio: float) -> Difference:
        columns = _COLUMNS[aspect]
        points = _apart(statistics, self.centers[kind])[columns]
        deviations = np.abs(points) / np.sqrt(np.diag(self.covariances[aspect]))
        largest = int(np.nanargmax(deviations))
        return Difference(aspect, ratio, STATISTICS[columns[largest]], float(points[largest]))

    def as_json(self) -> dict[str, Any]:
        """For model.json; a few kilobytes."""
        return {
            "format": _FORMAT,
            "images": self.images,
            "groups": self.groups,
            "grouped": self.grouped,
            "quantile": QUANTILE,
            "statistics": list(STATISTICS),
            "centers": [_rounded(center) for center in self.centers],
            "covariances": {name: [_rounded(row) for row in rows] for name, rows in self.covariances.items()},
            "limits": {name: float(f"{limit:.{_DIGITS}g}") for name, limit in self.limits.items()},
            "widths": _rounded(self.widths),
        }

    @classmethod
    def of_json(cls, stored: Any, path: str) -> "TrainingDomain":
        """The inverse of `as_json`.

        Args:
          path: of the file, for messages.

        Raises:
          TrainingDomainError: it is not what `as_json` writes, or of another version's statistics.
        """
        try:
            if stored["format"] != _FORMAT or stored["statistics"] != list(STATISTICS):
                raise ValueError("it is of another version of the statistics")
            centers = np.array(stored["centers"], float).reshape(-1, len(STATISTICS))
            found = cls(
                centers,
                {name: np.array(stored["covariances"][name], float) for name in ASPECTS},
                {name: float(stored["limits"][name]) for name in ASPECTS if name in stored["limits"]},
                np.array(stored.get("widths", [1.0] * len(centers)), float),  # older models have one width
                int(stored["images"]),
                int(stored["groups"]),
                bool(stored["grouped"]),
            )
            for name, names in ASPECTS.items():
                if found.covariances[name].shape != (len(names), len(names)) or not found.limits.get(name, 1) > 0:
                    raise ValueError(f"the numbers of {name} make no sense")
            if not len(found.centers) or not found.limits:
                raise ValueError("there are no centers or no limits")
            if found.widths.shape != (len(found.centers),) or not (found.widths >= 1).all():
                raise ValueError("the widths make no sense")
        except (KeyError, TypeError, ValueError) as error:
            raise TrainingDomainError(
                f"{path}: training_domain is not what this version writes ({error}); run describe_domain again."
            ) from error
        return found


def describe(statistics: np.ndarray, groups: Sequence[str]) -> TrainingDomain:
    """The domain of some training images.

    Args:
      statistics: [N, S] of `picture_statistics.measure`.
      groups: whose each image is; "" where nobody knows.

    Raises:
      TrainingDomainError: fewer than MIN_IMAGES, or nothing that was measured on enough of them.
    """
    if len(statistics) < MIN_IMAGES:
        raise TrainingDomainError(
            f"{len(statistics)} images are too few to say what training images look like; {MIN_IMAGES} are needed."
        )
    folds, grouped = _folds(groups)
    held_out = [
        _domain(statistics[folds != fold]).distances(statistics[folds == fold]) for fold in range(folds.max() + 1)
    ]
    nearest = [_nearest(distances) for distances in held_out]
    limits = {}
    for name in ASPECTS:
        found = np.concatenate([distances[name] for distances in nearest])
        found = found[np.isfinite(found)]
        if len(found) >= _MIN_MEASURED:
            limits[name] = max(_limit(found, min(_OF_ASPECT, 1 - _BEYOND / len(found))), _SAME)
    if not limits:
        raise TrainingDomainError(
            f"of {len(statistics)} images fewer than {_MIN_MEASURED} have anything to measure: are they empty?"
        )
    ratios = np.empty(len(statistics))
    for fold, distances in enumerate(held_out):
        ratios[folds == fold] = _ratios(distances, limits).max(axis=0).min(axis=1)
    domain = _domain(statistics)
    kinds = _ratios(domain.distances(statistics), limits).max(axis=0).argmin(axis=1)
    of_all = max(_limit(ratios, QUANTILE), _SAME)
    return dataclasses.replace(
        domain,
        limits={name: max(limit * of_all, _LEAST_LIMIT) for name, limit in limits.items()},
        widths=_widths(ratios / of_all, kinds, len(domain.centers)),
        groups=len(set(groups) - {""}),
        grouped=grouped,
    )


def _widths(ratios: np.ndarray, kinds: np.ndarray, number: int) -> np.ndarray:
    """[K] of the kinds 0 to `number` - 1, from held-out images' largest ratios to the limits of all kinds."""
    found = np.ones(number)
    for kind in range(number):
        own = ratios[kinds == kind]
        expected = (1 - QUANTILE) * len(own)
        if np.sum(own > 1) > expected + _CLEARLY * np.sqrt(QUANTILE * expected):
            found[kind] = min(_limit(own, QUANTILE), _WIDEST)
    return found


def _apart(statistics: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Differences [..., S]; fewer pixels without detail than in training are no difference."""
    apart = statistics - centers
    apart[..., _CLIPPED] = np.maximum(apart[..., _CLIPPED], 0)
    return apart


def _nearest(distances: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """{aspect: [N] distances from the kind that is nearest in all aspects together}."""
    kinds = np.sum([np.nan_to_num(of_aspect) ** 2 for of_aspect in distances.values()], axis=0).argmin(axis=1)
    return {name: of_aspect[np.arange(len(kinds)), kinds] for name, of_aspect in distances.items()}


def _ratios(distances: Mapping[str, np.ndarray], limits: Mapping[str, float]) -> np.ndarray:
    """[aspects of `limits`, N, K] distances divided by their limits; 0 where nothing was measured."""
    return np.nan_to_num(np.stack([distances[name] / limit for name, limit in limits.items()]))


def _folds(groups: Sequence[str]) -> tuple[np.ndarray, bool]:
    """([N] fold of each image, whether a group is in one fold only).

    Groups are dealt by size, each into the fold with the fewest images. Images without a group are one each; all are
    where too few images are of other groups than the largest, because there is nothing else to measure that one by.
    """
    of_others = len(groups) - max(collections.Counter(groups).values())
    grouped = of_others >= _MIN_MEASURED and "" not in groups
    names = [group if grouped else str(number) for number, group in enumerate(groups)]
    sizes = {name: names.count(name) for name in dict.fromkeys(names)} if grouped else dict.fromkeys(names, 1)
    totals = [0] * min(NUM_FOLDS, len(sizes))
    fold_of = {}
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        fold_of[name] = totals.index(min(totals))
        totals[fold_of[name]] += sizes[name]
    return np.array([fold_of[name] for name in names]), grouped


def _limit(distances: np.ndarray, share: float) -> float:
    """The distance within which a share of further images of the same kinds are, in the mean over sets of such images.

    At most twice the distance that 5 % exceed, so that a few spoiled training images do not make all spoiled ones
    acceptable.
    """
    return min(_quantile(distances, share), 2 * _quantile(distances, _TYPICAL))


def _quantile(distances: np.ndarray, share: float) -> float:
    """The order statistic of conformal prediction (Vovk, Gammerman and Shafer 2005); of few images the largest."""
    rank = min(int(np.ceil((len(distances) + 1) * share)), len(distances))
    return float(np.sort(distances)[rank - 1])


def _domain(statistics: np.ndarray) -> TrainingDomain:
    """The domain of images [N, S], without limits."""
    is_used = np.isfinite(statistics).sum(axis=0) >= _MIN_MEASURED
    used = np.where(is_used, statistics, np.nan)
    middle, spread = _robust(used)
    kinds = _kinds(np.nan_to_num((used - middle) / spread).clip(-_FARTHEST, _FARTHEST))
    centers = np.stack([_robust(used[kinds == kind])[0] for kind in np.unique(kinds)])
    centers = np.where(np.isfinite(centers), centers, middle)
    apart = used - centers[np.unique(kinds, return_inverse=True)[1]]
    spread = _robust(apart)[1]
    apart = apart.clip(-_FARTHEST * spread, _FARTHEST * spread)
    covariances = {name: _covariance(apart[:, columns], _LEAST[columns]) for name, columns in _COLUMNS.items()}
    return TrainingDomain(centers, covariances, {}, np.ones(len(centers)), len(statistics), 0, False)


def _robust(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([S] medians, [S] 1.4826 times the median absolute deviations, at least `_LEAST`); medians of nothing are NaN."""
    middle = np.full(values.shape[1], np.nan)
    spread = _LEAST.copy()
    for column, own in enumerate(values.T):
        known = own[np.isfinite(own)]
        if len(known):
            middle[column] = np.median(known)
            spread[column] = max(1.4826 * np.median(np.abs(known - middle[column])), _LEAST[column])
    return middle, spread


def _covariance(apart: np.ndarray, least: np.ndarray) -> np.ndarray:
    """[s, s] of residuals [N, s] with gaps, shrunk to the diagonal; NaN on the diagonal where there is no value."""
    known = np.isfinite(apart)
    filled, number = np.where(known, apart, 0.0), known.T.astype(float) @ known
    found = filled.T @ filled / np.maximum(number, 1) * (1 - _SHRINKAGE)
    np.fill_diagonal(found, np.maximum(np.diag(found) / (1 - _SHRINKAGE), least**2))
    values, vectors = np.linalg.eigh(found)  # gaps may make it indefinite
    found = vectors * np.maximum(values, _SHRINKAGE * np.min(least) ** 2) @ vectors.T
    unused = ~known.any(axis=0)
    found[unused, unused] = np.nan
    return found


def _kinds(points: np.ndarray) -> np.ndarray:
    """[N] kind of each point [N, S]: k-means from centers that are far apart (k-means++), the best of three."""
    wanted = min(_MAX_KINDS, max(1, len(points) // _IMAGES_PER_KIND))
    random = np.random.default_rng(_SEED)
    found = [_k_means(points, _spread_centers(points, wanted, random)) for _ in range(3)]
    return min(found, key=lambda one: one[1])[0]


def _spread_centers(points: np.ndarray, number: int, generator: np.random.Generator) -> np.ndarray:
    centers = points[[generator.integers(len(points))]]
    while len(centers) < number:
        squares = _squares(points, centers).min(axis=1)
        if not squares.sum():
            break
        centers = np.concatenate([centers, points[[generator.choice(len(points), p=squares / squares.sum())]]])
    return centers


def _k_means(points: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, float]:
    """([N] kinds, sum of squares); kinds that few images are of are dissolved."""
    for _ in range(50):
        kinds = _squares(points, centers).argmin(axis=1)
        sizes = np.bincount(kinds, minlength=len(centers))
        kept = np.flatnonzero(sizes >= _SMALLEST_KIND * len(points))
        moved = np.stack([points[kinds == kind].mean(axis=0) for kind in kept])
        if moved.shape == centers.shape and np.allclose(moved, centers):
            break
        centers = moved
    squares = _squares(points, centers)
    return squares.argmin(axis=1), float(squares.min(axis=1).sum())


def _squares(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    return ((points[:, None, :] - centers) ** 2).sum(axis=2)


def _rounded(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None for value in values]
