"""Paths and names that a file brings along (a table, JSON) and that must not lead out of the folder they belong in.

They are checked as both systems read them: a table that was written on Linux may be opened on Windows, where a
backslash separates folders and `C:` names a drive. A letter with a colon therefore leads out everywhere.
"""

import re

_SEPARATORS = re.compile(r"[/\\]")
_DRIVE = re.compile(r"[A-Za-z]:")


def leads_out(path: str) -> bool:
    r"""Whether a relative path with "/" is none: absolute, with a drive, with "..", empty, or with a NUL.

    >>> [leads_out(path) for path in ("day1/a.jpg", "../a.jpg", "/a.jpg", "C:a.jpg", "a\\..\\..\\b.jpg", "")]
    [False, True, True, True, True, True]
    """
    parts = _SEPARATORS.split(path)
    return not parts[0] or ".." in parts or "\0" in path or _DRIVE.match(path) is not None


def is_plain_name(name: str) -> bool:
    r"""Whether a text names a file or folder in a folder, not one elsewhere.

    >>> [is_plain_name(name) for name in ("p 1", "a/b", "a\\b", "..", ".", "C:")]
    [True, False, False, False, False, False]
    """
    return name != "." and len(_SEPARATORS.split(name)) == 1 and not leads_out(name)
