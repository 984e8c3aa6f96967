"""Days as people write them: one day is one label, and dates in several spellings are refused."""

import os
import re
import unicodedata
from collections.abc import Sequence

from tfod_csf.files.csv_tables import TableError

_TIME = re.compile(r"(?: ?t ?| )\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[ap]m)? ?(?:z|[+-]\d{2}:?\d{2})?")
# Two or three numbers, or a number, a word and a year, with separators.
_DATE = re.compile(r"\d{1,4}([-/. ]+)\d{1,2}(?:[-/. ]+\d{1,4})?\.?|\d{1,2}[-/. ]*[^\W\d]{3,}[-/., ]*\d{2,4}")
_WORD_FIRST = re.compile(r"[^\W\d]{3,}[-/. ]+\d{1,2}(?:[a-z]{2})?[-/., ]+\d{4}")
_WHOLE_NUMBER = re.compile(r"(?:19|20)\d{6}|[3-6]\d{4}")  # 20240105, and the numbers that spreadsheets keep for days
_YEAR_LAST = re.compile(r"(\d{1,2})[-/. ]+(\d{1,2})[-/. ]+\d{2,4}")
_MAX_SHOWN = 3


def day_labels(path: str | os.PathLike, days: Sequence[str]) -> tuple[str, ...]:
    """The days of a table's rows, each as it is first written: times, leading zeros and capitals make no other day.

    Args:
      path: of the table, for the error.
      days: as written; empty where there is none.

    Raises:
      TableError: dates in several spellings, which would count as different days.

    >>> day_labels("t.csv", ["2024-01-05", "2024-1-05 08:30", "", "Day 1", "day  1"])
    ('2024-01-05', '2024-01-05', '', 'Day 1', 'Day 1')
    """
    labels = [_label(day) for day in days]
    first_of: dict[str, str] = {}
    for day, label in zip(days, labels, strict=True):
        first_of.setdefault(_shape(label), day)
    first_of.pop("", None)
    if len(first_of) > 1 and any(_says_a_whole_date(shape) for shape in first_of):
        shown = ", ".join(map(repr, list(first_of.values())[:_MAX_SHOWN]))
        raise TableError(f"{path}: days are written in several ways ({shown}); write all of them as 2024-01-31.")
    orders = [match.groups() for label in set(labels) if (match := _YEAR_LAST.fullmatch(label))]
    if any(int(first) > 12 for first, _ in orders) and any(int(second) > 12 for _, second in orders):
        raise TableError(
            f"{path}: some days have the day first, others the month (a spreadsheet may have changed them); write all "
            "of them as 2024-01-31."
        )
    spelling: dict[str, str] = {}
    return tuple(spelling.setdefault(label, day.strip()) for day, label in zip(days, labels, strict=True))


def _label(day: str) -> str:
    text = " ".join(unicodedata.normalize("NFKC", day).casefold().split())
    plain = _TIME.sub("", text)
    return re.sub(r"(?<!\d)0+(?=\d)", "", plain if _shape(plain) else text)


def _shape(label: str) -> str:
    """How a date is written: its separators, where the year is, a word for the month; "" for what is not a date."""
    if _WHOLE_NUMBER.fullmatch(label):
        return "number"
    if not (_DATE.fullmatch(label) or _WORD_FIRST.fullmatch(label)):
        return ""
    return re.sub(r"\d{1,2}", "#", re.sub(r"\d{4}", "year", re.sub(r"[^\W\d]+", "word", label)))


def _says_a_whole_date(shape: str) -> bool:
    return "year" in shape or "word" in shape or shape.count("#") == 3
