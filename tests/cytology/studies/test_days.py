import pytest

from tfod_csf.cytology.studies.days import day_labels
from tfod_csf.files.csv_tables import TableError


@pytest.mark.parametrize(
    ("days", "number"),
    [
        (["2024-01-05", "2024-1-5", "2024-01-06"], 2),
        (["05.01.2024", "5.1.2024", "06.01.2024 "], 2),
        (["2024-01-05 08:30", "2024-01-05T14:00:00Z", "2024-01-05"], 1),
        (["1/5/2024 8:30 AM", "1/5/2024 2:00 PM"], 1),
        (["5 Jan 2024", "5 jan 2024", "6 Jan 2024"], 2),
        (["45296", "45297"], 2),
        (["1", "2", "01"], 2),
        (["Day 1", "day  1", "day 2", "Monday"], 3),
        (["", "2024-01-05", ""], 2),
    ],
)
def test_one_day_is_one_label(days, number):
    labels = day_labels("t.csv", days)
    assert len(set(labels)) == number
    assert labels[0] == days[0]


@pytest.mark.parametrize(
    "days",
    [
        ["2024-01-05", "2024/1/5", "05.01.2024"],
        ["2024-01-05", "45296"],
        ["20240105", "2024-01-05"],
        ["5 Jan 2024", "05.01.2024"],
        ["January 5, 2024", "2024-01-05"],
        ["05.01.24", "05.01.2024"],
        ["05-Jan-24", "2024-01-05"],
    ],
)
def test_dates_in_several_spellings_are_refused(days):
    with pytest.raises(TableError, match=rf"t\.csv: days are written in several ways .*'{days[0]}', '{days[1]}'"):
        day_labels("t.csv", days)


def test_a_month_in_the_place_of_a_day_is_refused():
    with pytest.raises(TableError, match="some days have the day first, others the month"):
        day_labels("t.csv", ["13/01/2024", "02/01/2024", "01/31/2024"])
