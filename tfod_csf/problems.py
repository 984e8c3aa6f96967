"""The one policy for imperfect inputs: nothing is skipped or mended in silence.

An unusable item is skipped, a repairable one is used in changed form (action `mended`). Both leave a row here, a line
in the log, a count in the closing summary and a line in `problems.csv`. `strict` makes the first row an error.
When more than `max_skipped_fraction` of the items were skipped the run is refused, because a half-read folder gives a
wrong differential.
"""

import collections
import dataclasses
import errno
import logging
import os
import re
from collections.abc import Iterable

from tfod_csf.errors import UserError
from tfod_csf.files import csv_schemas
from tfod_csf.wording import plural, visible

SKIPPED = "skipped"
MENDED = "mended"
NOTED = "noted"

_NUMBER = re.compile(r"(?<![\w'])[-+]?\d+(,\d{3})*(\.\d+)?(?![\w'])")
_log = logging.getLogger("tfod_csf")


class StrictProblemError(UserError):
    """The first problem of a run with `strict`."""


class TooManySkippedError(UserError):
    """More items were skipped than the user allows."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """One row of problems.csv.

    Attributes:
      file: the file as the user knows it (path as found).
      item: what in the file, for example "object 3 (lymphocyte)"; "" when the whole file is meant.
      action: "skipped", "mended" or "noted" (used as it is, but worth knowing).
      reason: what is wrong, with the value.
      remedy: what the user can do about it.
      count: how many objects of the file it happened to.
    """

    file: str
    item: str
    action: str
    reason: str
    remedy: str
    count: int = 1

    def __str__(self) -> str:
        where = f"{self.file}, {self.item}" if self.item else self.file
        times = f"{self.count} times: " if self.count > 1 else ""
        return visible(f"{where}: {self.action}: {times}{self.reason}. {self.remedy}".rstrip())


def _strict_error(problem: Problem) -> StrictProblemError:
    return StrictProblemError(f"{problem} (--strict: the first problem ends the run)")


class ProblemLog:
    """Collects problems in the order they were found.

    Args:
      strict: raise `StrictProblemError` at the first skipped or mended item (most "noted" rows do not stop a run).
      quiet: no log lines; for a worker process, whose rows the main process adds to its own log.
    """

    def __init__(self, strict: bool = False, quiet: bool = False):
        self.strict = strict
        self.quiet = quiet
        self.problems: list[Problem] = []

    def skipped(self, file: str | os.PathLike, reason: str, remedy: str, item: str = "", count: int = 1) -> None:
        """Records something skipped."""
        self.add(Problem(str(file), item, SKIPPED, reason, remedy, count))

    def mended(self, file: str | os.PathLike, reason: str, remedy: str = "", item: str = "", count: int = 1) -> None:
        """Records something used in changed form."""
        self.add(Problem(str(file), item, MENDED, reason, remedy, count))

    def noted(
        self,
        file: str | os.PathLike,
        reason: str,
        remedy: str = "",
        item: str = "",
        count: int = 1,
        is_allowed_when_strict: bool = True,
    ) -> None:
        """Records something used unchanged that a person should know of.

        Raises:
          StrictProblemError: with `strict`, unless `is_allowed_when_strict`.
        """
        problem = Problem(str(file), item, NOTED, reason, remedy, count)
        self.add(problem)
        if self.strict and not is_allowed_when_strict:
            raise _strict_error(problem)

    def unlisted_folder(self, error: OSError) -> None:
        """Records a folder that cannot be listed; an `on_error` of `given_files.files_below`."""
        shown = os.fsencode(error.filename).decode("utf-8", "backslashreplace")
        if error.errno == errno.EISDIR:
            self.skipped(shown, f"it {error.strerror}", "Rename it; files in it are used like those of any folder.")
        else:
            reason = f"the folder cannot be listed ({error.strerror}); what is in it is missing"
            self.skipped(shown, reason, "Check its rights and the connection, then run again.")

    def add(self, problem: Problem) -> None:
        """Records a problem, for example one found by a worker process."""
        self.problems.append(problem)
        if self.strict and problem.action != NOTED:
            raise _strict_error(problem)
        if not self.quiet:
            _log.warning("%s", problem)

    def extend(self, problems: Iterable[Problem]) -> None:
        """Records several problems, in their order."""
        for problem in problems:
            self.add(problem)

    def skipped_files(self) -> set[str]:
        """Files skipped as a whole (a skipped object of a file that is used does not count)."""
        return {problem.file for problem in self.problems if problem.action == SKIPPED and not problem.item}

    def count(self, action: str) -> int:
        """Number of rows with this action."""
        return sum(problem.action == action for problem in self.problems)

    def check_skipped_files(
        self, num_skipped: int, num_files: int, max_skipped_fraction: float, flag: str, what: str = "files"
    ) -> None:
        """Refuses a run that lost too many files.

        Args:
          what: what is counted, where it is not files.

        Raises:
          TooManySkippedError: num_skipped / num_files > max_skipped_fraction; names `flag`, which allows more.
        """
        if num_files and num_skipped > max_skipped_fraction * num_files:
            raise TooManySkippedError(
                f"{num_skipped} of {num_files} {what} were skipped ({100 * num_skipped / num_files:.0f} %), more than "
                f"the {100 * max_skipped_fraction:g} % that {flag} allows; see the reasons in problems.csv, repair the "
                f"{what} or raise {flag}."
            )

    def summary(self) -> str:
        """One line, for example "3 problems: 2 skipped, 1 mended" or "no problems"."""
        if not self.problems:
            return "no problems"
        counts = collections.Counter(problem.action for problem in self.problems)
        parts = [f"{counts[action]} {action}" for action in (SKIPPED, MENDED, NOTED) if counts[action]]
        return f"{plural(len(self.problems), 'problem')}: {', '.join(parts)}"

    def reasons(self) -> list[tuple[str, str, int]]:
        """(action, reason, number of objects), skipped and frequent ones first; numbers in a reason are "#"."""
        counts: collections.Counter = collections.Counter()
        for problem in self.problems:
            counts[problem.action, _NUMBER.sub("#", problem.reason)] += problem.count
        order = (SKIPPED, MENDED, NOTED)
        rows = [(action, reason, count) for (action, reason), count in counts.items()]
        return sorted(rows, key=lambda row: (order.index(row[0]), -row[2], row[1]))

    def table(self, max_rows: int = 20) -> str:
        """What was skipped, mended or noted and why: `reasons`, a line each."""
        rows = self.reasons()
        lines = [f"{action:<8}{count:>7}  {reason}" for action, reason, count in rows[:max_rows]]
        if len(rows) > max_rows:
            lines.append(f"... and {len(rows) - max_rows} more reasons, see problems.csv")
        return "\n".join(lines) if lines else "nothing was skipped or mended"

    def read_csv(self, path: str | os.PathLike) -> None:
        """Takes the rows of a problems.csv, as `write_csv` shows them; a file that is not there has none.

        Raises:
          TableError: it is damaged.
        """
        if os.path.exists(path):
            self.extend(Problem(**row) for row in csv_schemas.load("problems").read(path))

    def write_csv(self, path: str | os.PathLike) -> None:
        """Writes problems.csv (also when there are none: an empty table is an answer)."""
        rows = (dataclasses.asdict(problem) for problem in self.problems)
        shown = ({name: visible(v) if isinstance(v, str) else v for name, v in row.items()} for row in rows)
        csv_schemas.load("problems").write(path, shown)
