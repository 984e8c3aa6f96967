"""A test side that the user has chosen: read from a table, and refused where what belongs together is on both sides."""

import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tfod_csf.data.annotated.dataset_split import SplitError, SplitImage, keys_by_name, units_of
from tfod_csf.errors import UserError
from tfod_csf.files import csv_tables, given_tables
from tfod_csf.study.patient_ids import composed

_COLUMNS = ("image", "patient_id")
_SIDES = ("train", "test")


def read_test_set(path: str | os.PathLike, patient_of: Mapping[str, str]) -> set[str]:
    """The test side from a CSV with a column `image` or `patient_id`.

    An image is given by its path below the images folder, its file name, or its name without ending. Where there is a
    column `side`, only its rows `test` count, so that the split.csv of an earlier set repeats its split.

    Args:
      patient_of: {key of an image that was found: its patient}.

    Returns:
      Keys of the test side.

    Raises:
      UserError: the file cannot be read, has neither column or both, or names an image or patient that is not there,
        which would otherwise train.
    """
    table = given_tables.read(path, (*_COLUMNS, "side"))
    columns = [name for name in _COLUMNS if name in table.header]
    if len(columns) != 1:
        found = ", ".join(table.header) or "none"
        raise UserError(f"{path}: the columns are {found}; expected one of image and patient_id.")
    csv_tables.check_columns(path, table.header, columns)
    by_name = keys_by_name(patient_of) if columns == ["image"] else _keys_by_patient(patient_of)
    keys: set[str] = set()
    for line, name in _test_rows(path, table, columns[0]):
        fitting = by_name.get(composed(name), [])
        if not fitting:
            what = "image with annotations" if columns == ["image"] else "patient with annotated images"
            raise UserError(f"{path}, line {line}: there is no {what} {name!r}; correct or delete the line.")
        if columns == ["image"] and len(fitting) > 1:
            raise UserError(f"{path}, line {line}: {name!r} is several images; give the path below the images folder.")
        keys.update(fitting)
    return keys


def _keys_by_patient(patient_of: Mapping[str, str]) -> dict[str, list[str]]:
    by_patient: dict[str, list[str]] = defaultdict(list)
    for key, patient in patient_of.items():
        by_patient[composed(patient)].append(key)
    return by_patient


def _test_rows(path: str | os.PathLike, table: given_tables.GivenTable, column: str) -> Iterator[tuple[int, str]]:
    """(line, name in the column) of the rows that are for testing."""
    for line, cells in table.lines:
        row = dict(zip(table.header, map(given_tables.text, cells), strict=True))
        side = row.get("side", "test")
        if side.casefold() not in _SIDES:
            raise UserError(f"{path}, line {line}: side is {side!r}; expected train or test.")
        name = row[column].replace("\\", "/") if column == "image" else row[column]
        if name and side.casefold() == "test":
            yield line, name


def split_as_given(
    images: Sequence[SplitImage],
    test_keys: Iterable[str],
    split_by: str = "image",
    keep_together: Iterable[Sequence[str]] = (),
) -> set[str]:
    """The test side that a user has chosen.

    Args:
      test_keys: of the test side; keys that are not among the images are ignored.
      split_by, keep_together: see `dataset_split.split`.

    Returns:
      Keys of the test side.

    Raises:
      SplitError: a side is empty, or a patient (with split_by="patient"), copies of a file or a group of images is on
        both sides.
    """
    chosen = set(test_keys) & {image.key for image in images}
    if not chosen or len(chosen) == len(images):
        missing = "train" if chosen else "test"
        raise SplitError(f"--test_set: none of {len(images)} usable images is left to {missing} with; change the list.")
    for members in units_of(images, split_by, keep_together).values():
        testing = [image for image in members if image.key in chosen]
        if testing and len(testing) < len(members):
            _refuse(testing, [image for image in members if image.key not in chosen], split_by)
    return chosen


def _refuse(testing: Sequence[SplitImage], training: Sequence[SplitImage], split_by: str) -> None:
    """Names two images of one unit on both sides, and why they belong together.

    Raises:
      SplitError: always.
    """
    pairs = itertools.product(testing, training)
    ranked = ((one.sha256 != other.sha256, one.patient_id != other.patient_id, one, other) for one, other in pairs)
    are_other_files, are_other_patients, one, other = min(ranked, key=lambda pair: pair[:2])
    reason = "images that belong together join them (--keep_together, names of exported versions, or the same file)"
    if not are_other_files:
        reason = "they are the same file"
    elif split_by == "patient" and not are_other_patients:
        reason = f"they are of one patient, {one.patient_id!r}"
    raise SplitError(
        f"--test_set: {one.key} would test and {other.key} would train, but {reason}; list both or neither."
    )
