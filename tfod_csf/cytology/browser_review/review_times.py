"""Minutes a reviewer spent on each patient, from the times of the entries in the journal.

The time from one entry to the next belongs to the patient of the first of the two. Entries are decisions, opened
patients, and a sign of life every half minute in which somebody used the keyboard or the mouse. So a gap longer than
`LONGEST_GAP` is a pause, of which only that much counts; after a sign-off nothing counts.
"""

import dataclasses
import datetime
import pathlib
from collections.abc import Iterable

from tfod_csf.cytology.browser_review.journal import Entry
from tfod_csf.cytology.browser_review.marked_images import DECISIONS
from tfod_csf.files import csv_schemas

OPEN, ACTIVE, SIGNED_OFF = "open", "active", "signed_off"
LONGEST_GAP = 60.0  # s: twice the distance of signs of life


@dataclasses.dataclass
class PatientTime:
    """A reviewer's time for a patient.

    Attributes:
      decisions: entries that decide something, undone ones too.
      first, last: ISO times of the first and the last entry.
    """

    first: str
    last: str
    seconds: float = 0.0
    decisions: int = 0


class ReviewClock:
    """Adds up the times; entries come in the order of the journal."""

    def __init__(self, entries: Iterable[Entry] = ()):
        self.patients: dict[str, PatientTime] = {}
        self._previous: tuple[str, datetime.datetime] | None = None
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """Takes the next entry; one without a patient counts nothing."""
        patient = entry.get("patient")
        if patient is None:
            return
        when = datetime.datetime.fromisoformat(entry["when"])
        if self._previous is not None:
            gap = (when - self._previous[1]).total_seconds()
            # A clock that was set back measures nothing.
            self.patients[self._previous[0]].seconds += min(max(gap, 0.0), LONGEST_GAP)
        time = self.patients.setdefault(patient, PatientTime(entry["when"], entry["when"]))
        time.last = entry["when"]
        time.decisions += entry["action"] in DECISIONS
        self._previous = None if entry["action"] == SIGNED_OFF else (patient, when)


def write_times(path: pathlib.Path, reviewer: str, times: dict[str, PatientTime]) -> None:
    """Writes review_times.csv.

    Args:
      times: {patient id: time}.
    """
    rows = (
        {
            "patient_id": patient_id,
            "review_minutes": time.seconds / 60,
            "reviewer": reviewer,
            "decisions": time.decisions,
            "first": time.first,
            "last": time.last,
        }
        for patient_id, time in sorted(times.items())
    )
    csv_schemas.load("review_times").write(path, rows)
