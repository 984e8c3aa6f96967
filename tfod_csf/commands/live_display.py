"""Shows what `batch_infer --watch` has found so far: a page in the output folder, and a line per image in the terminal.

Here inference, which finds the cells, and cytology, which counts them, meet: the tables that the one writes are read by
the other.
"""

import datetime
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tfod_csf.files import atomic_write
from tfod_csf.inference.runs import output_folder

if TYPE_CHECKING:
    from tfod_csf.cytology.counting.live_count import LiveCount
    from tfod_csf.cytology.report.live_page import LivePatient
    from tfod_csf.inference.watch.watched_patients import PatientState

SHOWN_PATIENTS = 21  # the current one and the twenty before
_REWRITE_SECONDS = 5.0  # so often the page is written again although nothing is new: a page that is not grows old


class LiveDisplay:
    """Context manager: at its end the page says that the counting has ended, and holds no numbers any more.

    Args:
      output_dir: folder of the page.
      max_unknown_percent: of `DifferentialRules`.
      say: gets the lines.

    Attributes:
      is_complete: whether the run was finished.
    """

    def __init__(
        self, output_dir: pathlib.Path, max_unknown_percent: float, say: Callable[[str], object] | None = None
    ):
        from tfod_csf.cytology.counting.differential import DifferentialRules
        from tfod_csf.progress_bar import write_line

        self.is_complete = False
        self._page = output_dir / output_folder.LIVE_PAGE
        self._rules = DifferentialRules(max_unknown_percent=max_unknown_percent)
        self._say = say or write_line
        self._counts: dict[str, tuple[int, LiveCount]] = {}
        self._shown: tuple[str, list[PatientState], int] | None = None
        self._written = float("-inf")

    def __enter__(self) -> "LiveDisplay":
        return self

    def __exit__(self, *exception: object) -> None:
        from tfod_csf.cytology.report import live_page

        if self._shown is not None:
            atomic_write.write_text(self._page, live_page.ended_html(self.is_complete))

    def show(self, states: "Sequence[PatientState]", error: str) -> None:
        """Writes the page, if there is something new or it has grown old; says what is new of each patient.

        Args:
          states: of all patients, the current one first.
          error: why counting is held up; "" when it is not.
        """
        from tfod_csf.cytology.report import live_page

        if self._shown is None:
            self._say(f"Waiting for images; open {self._page} in a browser. Ctrl-C ends the counting.")
        state = (error, list(states[:SHOWN_PATIENTS]), len(states))
        if state == self._shown and time.monotonic() - self._written < _REWRITE_SECONDS:
            return
        if error and (self._shown is None or error != self._shown[0]):
            self._say(f"Counting is held up: {error}")
        self._shown = state
        patients = [self._patient(of_patient) for of_patient in states[:SHOWN_PATIENTS]]
        now = datetime.datetime.now().astimezone()
        html = live_page.live_html(patients, len(states), self._rules, now.timestamp(), f"{now:%H:%M:%S}", error)
        atomic_write.write_text(self._page, html)
        self._written = time.monotonic()

    def _patient(self, state: "PatientState") -> "LivePatient":
        from tfod_csf.cytology.report import live_page

        count = self._count(state)
        patient = live_page.LivePatient(
            state.patient_id, count, state.images, state.waiting, state.unusable, state.error
        )
        version, _ = self._counts.get(state.patient_id, (None, None))
        if count is not None and version != state.version:
            self._say(live_page.live_line(patient, self._rules))
            self._counts[state.patient_id] = state.version, count
        return patient

    def _count(self, state: "PatientState") -> "LiveCount | None":
        """The patient's count, computed again when the tables are others."""
        from tfod_csf.cytology import run_tables
        from tfod_csf.cytology.counting.live_count import live_count

        if state.folder is None:
            return None
        version, count = self._counts.get(state.patient_id, (None, None))
        return count if version == state.version else live_count(run_tables.read_patient(state.folder), self._rules)
