"""Folders of images whose names or places say that they may not be patients, although they were taken for patients."""

import pathlib
import re
from collections import defaultdict
from collections.abc import Iterable

from tfod_csf.problems import ProblemLog
from tfod_csf.wording import named, plural

# Parts of a data set, as tutorials and labeling services name them.
_PARTS_OF_DATA_SETS = re.compile(
    r"(x[_-])?(train(ing)?|tests?(ing)?|val(id(ation)?)?|eval(uation)?|dev|images?|imgs?|jpegimages)([_-]?(set|images?|data|20\d\d))?"
    r"|(训练|验证|测试)(集|数据)?",
    re.IGNORECASE,
)
# What lies in a patient's folder as docs/DATA.md shows it: days, slides and the like.
_PARTS_OF_PATIENTS = re.compile(
    r"(day|date|slide|slice|field|series|session|visit|sample|scan|tag|part)[\s_.-]*\w{0,3}"
    r"|(19|20)\d\d[-_.]?\d\d?[-_.]?\d\d?|\d\d?[-_.]\d\d?[-_.](19|20)\d\d",
    re.IGNORECASE,
)
_PATTERN = "--patient_pattern='/(?P<patient>[^/]+)/'"


def note_arrangement(folder: pathlib.Path, keys: Iterable[str], problems: ProblemLog) -> None:
    """Notes top folders that may be parts of a data set, days or wards, of which each was taken for one patient.

    Args:
      folder: of the images.
      keys: paths of the images below it, with "/".
    """
    children: dict[str, set[str]] = defaultdict(set)
    for key in keys:
        top, _, rest = key.partition("/")
        if rest:
            children[top].add(rest.rpartition("/")[0])
    parts = sorted(filter(_PARTS_OF_DATA_SETS.fullmatch, children))
    if parts:
        reason = f"folders whose names are those of parts of a data set were taken for patients ({named(parts)})"
        remedy = f"If they are not patients, give --manifest or {_PATTERN}, or one folder at a time."
        problems.noted(folder, reason, remedy)
    _note_patients_one_level_deeper(folder, children, problems)


def _note_patients_one_level_deeper(folder: pathlib.Path, children: dict[str, set[str]], problems: ProblemLog) -> None:
    deeper = {top: sorted(below) for top, below in sorted(children.items()) if len(below) > 1 and "" not in below}
    deeper = {top: below for top, below in deeper.items() if not all(map(_PARTS_OF_PATIENTS.fullmatch, below))}
    if not deeper:
        return
    top, below = next(iter(deeper.items()))
    reason = f"taken as patient {top!r} with the sub-folders {named(below)} and no image of its own"
    if len(deeper) > 1:
        reason += f"; {plural(len(deeper) - 1, 'other patient')} likewise"
    again = [name for name in below if any(name in names for other, names in children.items() if other != top)]
    if again:
        reason += f"; {named(again)} comes again below another patient"
    problems.noted(folder, reason, f"If the sub-folders are the patients, give {_PATTERN} or a manifest.")
