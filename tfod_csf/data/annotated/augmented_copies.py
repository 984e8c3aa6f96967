"""Images that are copies of one field by their names: those of one field on both sides let the test measure memory."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence

from tfod_csf.problems import ProblemLog
from tfod_csf.wording import named, plural

# field_jpg.rf.6512bd43d9caa6e02c990b0a82652dca.jpg, as the labeling service Roboflow exports a version of field.jpg.
_EXPORTED = re.compile(r"(.+)\.rf\.[0-9a-zA-Z]{8,}")
# What augmentation and copying programs put after a name, perhaps several times.
_ALTERED = re.compile(
    r"[\s_-]{1,3}(?:aug(?:mented)?|[hv]?flip(?:ped)?|rot(?:ated?)?|bright(?:ness)?|dark|contrast|nois[ey]|blur(?:red)?"
    r"|mirror(?:ed)?|crop(?:ped)?|cop(?:y|ia)|kopie)(?:[\s_-]{0,3}\(?[0-9a-z]{1,3}\)?)?$",
    re.IGNORECASE,
)
_LONGEST_SUFFIX = 24
_NUMBERED = re.compile(r"(.+?) ?\(\d+\)")  # "field (1)" beside "field"


def kept_together(images_dir: str | os.PathLike, keys: Sequence[str], problems: ProblemLog) -> list[list[str]]:
    """Groups of two or more images that are exported versions of one field; notes them.

    Args:
      keys: of all images found.
    """
    groups = _groups(keys, lambda stem: match[1] if (match := _EXPORTED.fullmatch(stem)) else "")
    if groups:
        count = sum(map(len, groups))
        reason = (
            f"{plural(count, 'image')} are versions of {plural(len(groups), 'field')}, by their names with .rf., and "
            f"stay on one side ({named([key for group in groups for key in group])})"
        )
        problems.noted(images_dir, reason, "Better give the original images: training augments them itself.")
    return groups


def note_likely_copies(images_dir: str | os.PathLike, keys: Sequence[str], problems: ProblemLog) -> None:
    """Notes images whose names are those of altered copies of one field; they may be on both sides."""
    stems = {os.path.splitext(key)[0] for key in keys}

    def original(stem: str) -> str:
        match = _NUMBERED.fullmatch(stem)
        stem = match[1] if match and match[1] in stems else stem
        while match := _ALTERED.search(stem, max(0, len(stem) - _LONGEST_SUFFIX)):
            stem = stem[: match.start()]
        return stem

    groups = _groups(keys, original)
    if groups:
        count = sum(map(len, groups))
        shown = named([key for group in groups for key in group])
        reason = f"{plural(count, 'image')} look like copies of {plural(len(groups), 'field')} by their names ({shown})"
        remedy = "Copies of one field on both sides let the test measure memory: list them in --keep_together."
        problems.noted(images_dir, reason, remedy)


def _groups(keys: Sequence[str], original: Callable[[str], str]) -> list[list[str]]:
    """Groups of two or more keys whose paths without suffix have one `original`, which is "" for none."""
    groups: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        if name := original(os.path.splitext(key)[0]):
            groups[name].append(key)
    return [group for group in groups.values() if len(group) > 1]
