"""Ids of patients and paths of images from several sources, compared in one way.

Systems store an accent with its letter or separately (macOS), and people type blanks; neither makes another patient.
Capitals, leading zeros and what a spreadsheet made of a number do not decide either way: such ids are not matched, and
messages name them.
"""

import dataclasses
import re
import unicodedata
from collections.abc import Collection, Iterable

from tfod_csf.errors import UserError
from tfod_csf.wording import MAX_NAMED

_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")


class PatientsError(UserError):
    """Folders, a manifest or a pattern that identify no images or patients."""


class PatientIdError(UserError):
    """Ids that cannot be compared with those of a run."""


def composed(text: str) -> str:
    """A path or id with accents composed (Unicode's form NFC)."""
    return unicodedata.normalize("NFC", text)


def loose(text: str) -> str:
    """A name as file systems may compare it: accents composed, capitals folded."""
    return composed(text).casefold()


def tidy(patient_id: str) -> str:
    """An id as it is compared: accents composed, single blanks.

    >>> tidy("Mu\u0308ller  1 ") == "M\u00fcller 1"
    True
    """
    return " ".join(composed(patient_id).split())


def alike_key(patient_id: str) -> str:
    """Equal for ids of which one may be a spelling of the other: capitals, blanks, leading zeros, a decimal of 0.

    >>> alike_key("P 007") == alike_key("p7.0"), alike_key("P10") == alike_key("P1")
    (True, False)
    """
    plain = re.sub(r"(?<=\d)\.0+$", "", tidy(patient_id).casefold())
    plain = _LEADING_ZEROS.sub("", re.sub(r"[\s_-]+", "-", plain))
    return re.sub(r"(?<=[^\W\d])-(?=\d)", "", plain)  # "P-7" and "P7", but not "1-1" and "11"


@dataclasses.dataclass(frozen=True)
class Matched:
    """Ids of a table beside those of a run.

    Attributes:
      run_ids: {id of the table: id of the run}, in the order of the table.
      only_given: ids of the table that are not in the run, in its order.
      only_known: ids of the run that are not in the table, sorted.
    """

    run_ids: dict[str, str]
    only_given: list[str]
    only_known: list[str]

    @property
    def hint(self) -> str:
        """A clause that names ids which may be spellings of one, or ""."""
        known = {alike_key(name): name for name in self.only_known}
        pairs = [(name, known[alike_key(name)]) for name in self.only_given if alike_key(name) in known]
        if not pairs:
            return ""
        shown = ", ".join(f"{given!r} may be {name!r}" for given, name in pairs[:MAX_NAMED])
        return f"; {shown}{', ...' if len(pairs) > MAX_NAMED else ''}: write them the same way"


def match(given: Iterable[str], known: Collection[str]) -> Matched:
    """Finds the ids of a table among those of a run: letter by letter, else the only one with the same `tidy` form.

    Raises:
      PatientIdError: two ids of the table are one patient of the run.
    """
    given = list(given)
    by_tidy: dict[str, list[str]] = {}
    for name in known:
        by_tidy.setdefault(tidy(name), []).append(name)
    run_ids: dict[str, str] = {}
    for name in given:
        candidates = [name] if name in known else by_tidy.get(tidy(name), [])
        if len(candidates) == 1:
            run_ids[name] = candidates[0]
    given_for: dict[str, str] = {}
    for name, run_id in run_ids.items():
        if given_for.setdefault(run_id, name) != name:
            raise PatientIdError(
                f"patient {run_id!r} is there twice, as {given_for[run_id]!a} and as {name!a}; keep one row."
            )
    only_given = [name for name in given if name not in run_ids]
    return Matched(run_ids, only_given, sorted(set(known) - set(run_ids.values())))
