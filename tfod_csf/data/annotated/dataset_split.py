"""Which images train and which test: seeded, stratified by class, related images on the same side.

Shape shorthand in this module: U units (images, or patients, or groups of them that stay together), C quantities
(images, images without cells, cells of each class).
"""

import dataclasses
import hashlib
import os
import pathlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tfod_csf.errors import UserError
from tfod_csf.files import csv_tables, given_tables
from tfod_csf.problems import ProblemLog
from tfod_csf.study.patient_ids import composed

SPLIT_BY = ("image", "patient")
_IMAGES, _WITHOUT_CELLS = " images", " without cells"  # the blank distinguishes them from class names
_MAX_MOVES = 300
_MAX_SWAPPED_UNITS = (100, 500)  # units of the test and of the train side that are tried for a swap
_LEAST_GAIN = 1e-7
_IMAGE_COLUMN = re.compile(r"image(_?\d+)?", re.IGNORECASE)


class SplitError(UserError):
    """A set that cannot be divided as asked."""


@dataclasses.dataclass(frozen=True)
class SplitImage:
    """What the split needs to know about an image.

    Attributes:
      key: unique name of the image.
      patient_id: whose image it is.
      sha256: of the file; images with the same one stay together. "" when unknown.
      class_counts: cells of each class.
    """

    key: str
    patient_id: str
    sha256: str
    class_counts: Mapping[str, int]


def seeded_order(keys: Iterable[str], seed: int) -> list[str]:
    """The keys in an order that depends on the seed alone, not on their first order or on NumPy's version."""
    return sorted(keys, key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest())


class _Groups:
    """Names joined into groups (union-find)."""

    def __init__(self):
        self._parent: dict[str, str] = {}

    def find(self, name: str) -> str:
        """The name that represents the group."""
        parent = self._parent.setdefault(name, name)
        while parent != self._parent[parent]:
            self._parent[name] = self._parent[parent]
            name, parent = parent, self._parent[parent]
        return parent

    def join(self, first: str, second: str) -> None:
        """Puts two names into one group."""
        self._parent[self.find(first)] = self.find(second)


def units_of(
    images: Sequence[SplitImage], split_by: str, keep_together: Iterable[Sequence[str]]
) -> dict[str, list[SplitImage]]:
    """Images that go to one side as a whole, by the name of their unit; arguments as of `split`."""
    patient_of = {image.key: image.patient_id for image in images}
    unit_of = {key: f"patient {patient}" if split_by == "patient" else key for key, patient in patient_of.items()}
    groups = _Groups()
    by_content: dict[str, list[str]] = defaultdict(list)
    for image in images:
        if image.sha256:
            by_content[image.sha256].append(image.key)
    for group in [*keep_together, *by_content.values()]:
        usable = [unit_of[key] for key in group if key in unit_of]
        for unit in usable[1:]:
            groups.join(usable[0], unit)
    units: dict[str, list[SplitImage]] = defaultdict(list)
    for image in images:
        units[groups.find(unit_of[image.key])].append(image)
    return {min(image.key for image in members): members for members in units.values()}


def _quantities(members: Sequence[SplitImage]) -> Counter:
    counts = Counter({_IMAGES: len(members), _WITHOUT_CELLS: sum(not any(m.class_counts.values()) for m in members)})
    for member in members:
        counts.update(member.class_counts)
    return counts


def counts_of(units: Sequence[Sequence[SplitImage]]) -> np.ndarray:
    """int [U, C] quantities of units; column 0 is the number of images."""
    quantities = [_quantities(members) for members in units]
    columns = [_IMAGES, *sorted(set().union(*quantities) - {_IMAGES})]
    return np.array([[quantity[column] for column in columns] for quantity in quantities], dtype=np.int64)


class _Balance:
    """How far a test side is from a fair share of everything.

    How it works: for each quantity the share that lies on the test side should be `test_fraction`; the cost is the
    sum of the squared differences. The number of images weighs as much as all the others together, so that 9:1 stays
    9:1. A quantity that at least two units have and that one side lacks costs 1 more, which outweighs all the rest: a
    rare class is on both sides where possible.
    """

    def __init__(self, counts: np.ndarray, test_fraction: float):
        self._totals = counts.sum(axis=0)
        self._fraction = test_fraction
        self._weights = np.ones(counts.shape[1])
        self._weights[0] = max(counts.shape[1] - 1, 1)
        self._can_be_on_both_sides = (counts > 0).sum(axis=0) >= 2

    def cost(self, test_counts: np.ndarray) -> np.ndarray:
        """Costs [...] of test sides [..., C]; rounded, so that the last bit of a sum does not decide."""
        shares = test_counts / np.maximum(self._totals, 1)
        lacking = ((test_counts == 0) | (test_counts == self._totals)) & self._can_be_on_both_sides
        return np.round((self._weights * (shares - self._fraction) ** 2 + lacking).sum(axis=-1), 9)


def _best_move(counts: np.ndarray, is_test: np.ndarray, balance: _Balance) -> tuple[float, list[int]]:
    """The cheapest test side after one unit changes sides or two units are swapped: (cost, units that change)."""
    test_counts = counts[is_test].sum(axis=0)
    moved = test_counts + np.where(is_test[:, None], -counts, counts)  # [U, C]
    costs = balance.cost(moved)
    best = int(np.argmin(costs))
    best_cost, change = float(costs[best]), [best]
    inside = np.flatnonzero(is_test)[: _MAX_SWAPPED_UNITS[0]]
    outside = np.flatnonzero(~is_test)[: _MAX_SWAPPED_UNITS[1]]
    if len(inside) and len(outside):
        costs = balance.cost(test_counts - counts[inside][:, None, :] + counts[outside][None, :, :])
        first, second = np.unravel_index(np.argmin(costs), costs.shape)
        if costs[first, second] < best_cost:
            best_cost, change = float(costs[first, second]), [int(inside[first]), int(outside[second])]
    return best_cost, change


def choose_test_units(counts: np.ndarray, test_fraction: float) -> np.ndarray:
    """Test side of units in random order.

    Takes units from the front until the share of images is reached, then makes the best single move or swap until
    none helps (see `_Balance`).

    Args:
      counts: int [U, C]; column 0 is the number of images.

    Returns:
      bool [U].
    """
    so_far = np.cumsum(counts[:, 0]) - counts[:, 0] / 2
    is_test = so_far < test_fraction * counts[:, 0].sum()
    balance = _Balance(counts, test_fraction)
    cost = float(balance.cost(counts[is_test].sum(axis=0)))
    for _ in range(_MAX_MOVES):
        new_cost, change = _best_move(counts, is_test, balance)
        if new_cost >= cost - _LEAST_GAIN:
            break
        is_test[change] ^= True
        cost = new_cost
    return is_test


def split(
    images: Sequence[SplitImage],
    test_fraction: float,
    split_by: str = "image",
    seed: int = 0,
    keep_together: Iterable[Sequence[str]] = (),
) -> set[str]:
    """Chooses the test images.

    Args:
      test_fraction: share of images to test with, 0 <= share < 1.
      split_by: "image" (the paper's way; a person can be on both sides) or "patient" (a person is on one side).
      seed: another seed, another split; the same seed and images, the same split.
      keep_together: groups of keys that stay on one side; with split_by="patient" their patients do. Keys that are not
        among the images are ignored.

    Returns:
      Keys of the test side; all others are for training.

    Raises:
      SplitError: the share is not in 0..1, or there are not two units to divide.
    """
    if split_by not in SPLIT_BY:
        raise SplitError(f"--split_by is {split_by!r}; expected image or patient.")
    if not 0 <= test_fraction < 1:
        raise SplitError(f"--test_fraction is {test_fraction:g}; expected 0 or more and less than 1, for example 0.1.")
    if test_fraction == 0:
        return set()
    units = units_of(images, split_by, keep_together)
    if len(units) < 2:
        what = {"image": "image (or group of images kept together)", "patient": "patient (or group of patients)"}
        raise SplitError(
            f"only {len(units)} {what[split_by]} among {len(images)} images cannot be divided; give more images, "
            f"{'--split_by=image, ' if split_by == 'patient' else ''}or --test_fraction=0 to test on nothing."
        )
    names = seeded_order(units, seed)
    is_test = choose_test_units(counts_of([units[name] for name in names]), test_fraction)
    return {image.key for name, chosen in zip(names, is_test) if chosen for image in units[name]}


def keys_by_name(keys: Iterable[str]) -> dict[str, list[str]]:
    """{path below the images folder, file name, or either without ending: keys of the images that it may mean}.

    A whole path means its own image alone, also where a subfolder has a file of that name.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    by_path: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        file = pathlib.PurePosixPath(key)
        by_path[composed(key)].append(key)
        for name in {file.name, file.stem, str(file.with_suffix(""))}:
            by_name[composed(name)].append(key)
    return by_name | by_path


def _check_image_columns(path: str | os.PathLike, columns: Sequence[str], by_name: Mapping[str, list[str]]) -> None:
    """Refuses a header that is none, whose images would be lost with it.

    Raises:
      UserError: a column is not called image, image_1, image_2, ..., or as an image that was found.
    """
    if not columns or not all(map(_IMAGE_COLUMN.fullmatch, columns)):
        raise UserError(
            f"{path}: columns {', '.join(columns) or 'none'}; expected group,image (one image a row) or "
            "image_1,image_2 (one group a row) as the first line."
        )
    found = next((name for name in columns if composed(name) in by_name), None)
    if found is not None:
        raise UserError(
            f"{path}: the first line names the image {found!r}; it must name the columns: add the line "
            "image_1,image_2 above it or, where images are called so, give the columns group,image (one image a row)."
        )


def read_keep_together(path: str | os.PathLike, keys: Sequence[str], problems: ProblemLog) -> list[list[str]]:
    """Groups of images that must stay on one side, from a CSV.

    Either the columns `group` and `image` (images with the same group stay together, one without a group is alone), or
    columns `image_1,image_2,...` (the images of a row stay together). An image is given by its path below the images
    folder, its file name, or its name without ending.

    Args:
      keys: of all images found.

    Returns:
      Groups of two or more keys. A name that fits no image or several is skipped with a row in `problems`.

    Raises:
      UserError: the file cannot be read, has other columns or no header, or gives no group.
    """
    by_name = keys_by_name(keys)
    table = given_tables.read(path, ("group", "image"))
    rows = [(line, list(map(given_tables.text, cells))) for line, cells in table.lines]
    columns = [name for name in table.header if name]
    is_long = {"group", "image"} <= set(columns)
    if is_long:
        csv_tables.check_columns(path, columns, ("group", "image"))
    else:
        _check_image_columns(path, columns, by_name)
    groups: dict[str, list[str]] = defaultdict(list)
    alone = []
    for number, cells in rows:
        group = cells[table.header.index("group")] if is_long else str(number)
        names = [cells[table.header.index("image")]] if is_long else cells
        if not group and any(names):
            alone.append(number)
        for name in (composed(name).replace("\\", "/") for name in names if name):
            fitting = by_name.get(name, [])
            if len(fitting) != 1:
                reason = f"{name!r} is {'several images' if fitting else 'not an image that was found'}"
                problems.skipped(path, reason, "Give the path below the images folder.", f"line {number}")
            elif group and fitting[0] not in groups[group]:
                groups[group].append(fitting[0])
    if alone:
        item = f"line{'s' if len(alone) > 1 else ''} {', '.join(map(str, alone[:3]))}{', ...' * (len(alone) > 3)}"
        remedy = "Fill in the cells where they belong to a group, also to that of the row above."
        problems.noted(path, "an image without a group is kept together with no other", remedy, item, len(alone))
    found = [group for group in groups.values() if len(group) > 1]
    if not found:
        reason = "keeps no two images together that were found"
        raise UserError(f"{path}: {reason}; give two images or more of a group, or leave out --keep_together.")
    return found
