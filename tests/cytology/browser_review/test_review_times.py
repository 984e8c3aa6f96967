"""Minutes per patient, worked out by hand."""

from tfod_csf.cytology.browser_review import review_times
from tfod_csf.cytology.browser_review.review_times import ReviewClock
from tfod_csf.cytology.studies import turnaround_tables
from tfod_csf.files import csv_schemas


def entry(second, patient="p", action="name"):
    return {"when": f"2022-01-24T13:{second // 60:02}:{second % 60:02}+08:00", "patient": patient, "action": action}


def test_a_gap_belongs_to_the_patient_before_it_and_a_pause_counts_a_minute():
    entries = [
        {"when": "2022-01-24T12:00:00+08:00", "action": "begin"},
        entry(0, action="open"),
        entry(10),
        entry(200),  # a pause of 190 s: 60
        entry(205, action="write"),
        entry(215, action="signed_off"),
        entry(230, "q", "open"),  # the list of patients, after a sign-off: nobody's
        entry(250, "q", "active"),
        entry(255, "p"),  # from q's last entry
        entry(256, "p", "undo"),
    ]
    clock = ReviewClock(entries)
    assert {name: (time.seconds, time.decisions) for name, time in clock.patients.items()} == {
        "p": (10 + 60 + 5 + 10 + 1, 3),
        "q": (20 + 5, 0),
    }
    assert (clock.patients["p"].first, clock.patients["p"].last) == (entries[1]["when"], entries[-1]["when"])


def test_a_clock_that_was_set_back_takes_nothing_away():
    clock = ReviewClock([entry(100), entry(50), entry(60)])
    assert clock.patients["p"].seconds == 10


def test_the_table_fits_its_schema_and_turnaround_reads_it(tmp_path):
    clock = ReviewClock([entry(0, "王伟", "open"), entry(45, "王伟"), entry(90, "王伟", "signed_off"), entry(95, "a")])
    path = tmp_path / "review_times.csv"
    review_times.write_times(path, "Dr Li", clock.patients)
    csv_schemas.load("review_times").check(path)
    read = turnaround_tables.read_review_times(path)
    assert (read.patient_ids, list(read.minutes)) == (("a", "王伟"), [0.0, 1.5])
