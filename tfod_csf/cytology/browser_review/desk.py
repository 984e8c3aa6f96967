"""One reviewer's work on an exported folder: takes decisions, keeps them in the journal, and knows how far it is.

    with desk.open_desk(review_dir, "Dr Li") as one:
        one.decide("p1", {"action": "name", "image": "p1__a.jpg", "cell": 3, "name": "monocyte"}, seen=0, request="...")

A decision is on the disk when `decide` returns. Every request has an id of its own, so that one whose answer was lost
can be sent again and counts once. All methods may be called from several threads.
"""

import contextlib
import pathlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from tfod_csf import provenance
from tfod_csf.cytology.browser_review import review_times
from tfod_csf.cytology.browser_review.journal import FILE_NAME as JOURNAL
from tfod_csf.cytology.browser_review.journal import Entry, Journal
from tfod_csf.cytology.browser_review.marked_images import DECISIONS, UNDO, MarkedPatient, RefusedDecisionError
from tfod_csf.cytology.browser_review.review_times import ACTIVE, OPEN, SIGNED_OFF, ReviewClock
from tfod_csf.cytology.review import revisions
from tfod_csf.cytology.review.sidecar import FILE_NAME, ReviewError, Sidecar, read_sidecar
from tfod_csf.files import folder_lock, given_files
from tfod_csf.study import folder_names

TIMES = "review_times.csv"
_BEGIN, _WRITE = "begin", "write"
_MAX_LOADED = 8  # patients in memory at a time, beside their entries


class Desk:
    """See the module's docstring.

    Attributes:
      folder: that review_export wrote.
      reviewer: as the name was first given.
      patients: names of the patients' folders in it, sorted.
      cut_bytes: of a decision that had not been acknowledged when the server was killed.
    """

    def __init__(self, folder: pathlib.Path, reviewer: str):
        """Reads the journal; see `open_desk`, which also keeps other processes out."""
        self.folder = folder
        self.patients = tuple(path.name for path in given_files.folders_with(folder, FILE_NAME))
        if not self.patients:
            raise ReviewError(f"{folder}: no patient in it; give a folder that review_export wrote.")
        self._lock = threading.RLock()
        self._loaded: OrderedDict[str, MarkedPatient] = OrderedDict()
        self._entries: dict[str, list[Entry]] = {}
        self._signed_off: dict[str, Entry] = {}
        self._written: set[str] = set()
        self._requests: set[str] = set()
        self._clock = ReviewClock()
        self._number = 0
        self._journal = Journal(folder / JOURNAL)
        self.cut_bytes = self._journal.cut_bytes
        try:
            for entry in self._journal.read():
                self._note(entry)
            self.reviewer = self._check_reviewer(reviewer)
        except BaseException:
            self.close()
            raise

    def _check_reviewer(self, reviewer: str) -> str:
        """The reviewer's name as it was first given; the first one makes the folder his own.

        Raises:
          ReviewError: the folder is another person's, whose decisions this one must not see.
        """
        if not self._number:
            self._add({"action": _BEGIN, "reviewer": reviewer}, request="")
            return reviewer
        first = self._journal.read()[0].get("reviewer", reviewer)
        if revisions.reviewer_key(first) != revisions.reviewer_key(reviewer):
            raise ReviewError(
                f"{self.folder}: is the review of {first}; every reviewer needs a folder of his own, so that nobody "
                f"sees what a colleague decided. Give another --review_dir for {reviewer}."
            )
        return first

    def close(self) -> None:
        """Closes the journal when what is being written is on the disk."""
        with self._lock:
            self._journal.close()

    def write_times(self) -> None:
        """Writes the minutes of patients who were signed off; those of others would lower a mean, being unfinished."""
        with self._lock:
            of_signed = {name: time for name, time in self._clock.patients.items() if name in self._signed_off}
            times = {folder_names.patient_id_of(name): time for name, time in of_signed.items()}
            review_times.write_times(self.folder / TIMES, self.reviewer, times)

    def patient(self, name: str) -> MarkedPatient:
        """A patient as the reviewer sees it now; only for reading, and only inside `reading`.

        Raises:
          RefusedDecisionError: there is no such patient.
          ReviewError: cells.json is damaged, or is not that of the export on which the decisions were made.
        """
        if name in self._loaded:
            self._loaded.move_to_end(name)
            return self._loaded[name]
        sidecar = self.sidecar(name)
        kept = [entry for entry in self._entries.get(name, ()) if entry["action"] in (*DECISIONS, UNDO)]
        if any(entry.get("export") != sidecar.export_id for entry in kept):
            raise ReviewError(
                f"{self.folder / name}: was exported again after decisions in {JOURNAL} were made; these are about "
                "other cells. Put the earlier folder back, or give another --review_dir."
            )
        patient = self._loaded[name] = MarkedPatient(sidecar, kept)
        if len(self._loaded) > _MAX_LOADED:
            self._loaded.popitem(last=False)
        return patient

    def sidecar(self, name: str) -> Sidecar:
        """What was exported for a patient.

        Raises:
          RefusedDecisionError: there is no such patient.
          ReviewError: cells.json is damaged, or the folder has not the name that it was exported under.
        """
        if name not in self.patients:
            raise RefusedDecisionError("There is no such patient.")
        sidecar = read_sidecar(self.folder / name / FILE_NAME)
        if sidecar.folder != name:
            raise ReviewError(f"{self.folder / name}: was renamed or copied; it was exported as {sidecar.folder!r}.")
        return sidecar

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Nothing is decided in this block."""
        with self._lock:
            yield

    def decide(self, name: str, entry: Mapping[str, Any], seen: int, request: str) -> int:
        """Takes a decision or an undo about a patient.

        Args:
          entry: of `marked_images`, without its number; of an undo only the action.
          seen: version that was on the screen, see `MarkedPatient.check`.
          request: id of the request.

        Returns:
          The patient's version before the decision: another than the sender knew means that another window decided too.

        Raises:
          RefusedDecisionError: it cannot be taken; nothing has changed.
          JournalError: it could not be written; nothing has changed.
        """
        with self._lock:
            patient = self.patient(name)
            before = patient.version
            if request in self._requests:
                return -1  # taken before; whoever sent it again reads the state again
            patient.check(entry, seen)
            whole = {**entry, "patient": name, "export": patient.sidecar.export_id}
            if entry["action"] == UNDO:
                last = patient.last_decision
                assert last is not None, "checked"
                whole["undoes"] = last["number"]
            patient.apply(self._add(whole, request))
            return before

    def note_work(self, name: str, action: str, request: str) -> None:
        """Records for the times that a patient was opened (`open`), or that somebody is at work on it (`active`).

        Raises:
          RefusedDecisionError: another action, or no such patient.
          JournalError: it could not be written.
        """
        if action not in (OPEN, ACTIVE):
            raise RefusedDecisionError(f"There is no action {action!r}.")
        if name not in self.patients:
            raise RefusedDecisionError("There is no such patient.")
        with self._lock:
            if request not in self._requests:
                self._add({"action": action, "patient": name}, request)

    def note_written(self, name: str, xml: Mapping[str, str]) -> None:
        """Records the checksums {file: SHA-256} of XML before it is written into a patient's folder."""
        with self._lock:
            self._add({"action": _WRITE, "patient": name, "xml": dict(xml)}, request="")

    def note_signed_off(self, name: str, version: int, revision: Mapping[str, Any]) -> None:
        """Records that a patient was imported as it was at a version."""
        with self._lock:
            self._add({"action": SIGNED_OFF, "patient": name, "version": version, **revision}, request="")
            self.write_times()

    def signed_off(self, name: str) -> Entry | None:
        """The newest sign-off of a patient: `version`, and `revision` and `sha256` of the import."""
        return self._signed_off.get(name)

    def was_written(self, sha256: str) -> bool:
        """Whether XML with this checksum was written by a sign-off of this desk."""
        return sha256 in self._written

    def decisions(self, name: str) -> int:
        """How often the reviewer decided something about a patient, undone decisions too."""
        time = self._clock.patients.get(name)
        return time.decisions if time else 0

    def last_version(self, name: str) -> int:
        """The patient's version, without loading the patient."""
        kept = (e["number"] for e in reversed(self._entries.get(name, ())) if e["action"] in (*DECISIONS, UNDO))
        return next(kept, 0)

    def _add(self, entry: Mapping[str, Any], request: str) -> Entry:
        whole = {"number": self._number + 1, "when": provenance.now(), **entry}
        if request:
            whole["request"] = request
        self._journal.append(whole)
        self._note(whole)
        return whole

    def _note(self, entry: Entry) -> None:
        """Keeps what an entry of the journal says."""
        self._number = entry["number"]
        self._clock.add(entry)
        if entry.get("request"):
            self._requests.add(entry["request"])
        action, patient = entry["action"], entry.get("patient", "")
        if action in (*DECISIONS, UNDO):
            self._entries.setdefault(patient, []).append(entry)
        elif action == SIGNED_OFF:
            self._signed_off[patient] = entry
        elif action == _WRITE:
            self._written.update(entry["xml"].values())


@contextlib.contextmanager
def open_desk(folder: pathlib.Path, reviewer: str) -> Iterator[Desk]:
    """A reviewer's desk that no other process has; at the end review_times.csv is written.

    Raises:
      FolderInUseError: another server is running on the folder.
      ReviewError: no patient in it, or another person's review.
      JournalError: the journal is damaged.
    """
    with folder_lock.only_writer(folder):
        desk = Desk(folder, reviewer)
        try:
            yield desk
            desk.write_times()
        finally:
            desk.close()
