"""Numbers and names in messages and reports: whole numbers without decimals, nouns for one and for several, names whose
characters can be seen.
"""

import unicodedata
from collections.abc import Collection, Sequence

MAX_NAMED = 3
_MAX_LISTED = 12
# Unicode's categories of control characters, which move the cursor, color a terminal or end a line, of characters that
# turn the direction of the text or join others, of private ones, and of the halves that stand for bytes not in UTF-8.
_NOT_VISIBLE = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))


def visible(text: str) -> str:
    r"""The text with each character that is not seen, or changes how others are shown, as its escape sequence.

    Control and direction characters in the name of a folder could make one patient look like another.

    >>> print(visible("a\nb \u202ec"))
    a\nb \u202ec
    """
    return "".join(
        c.encode("unicode_escape").decode("ascii") if unicodedata.category(c) in _NOT_VISIBLE else c for c in text
    )


def number(value: float, decimals: int = 1) -> str:
    """A number as people read it: whole ones without decimals.

    >>> number(12.0), number(12.345), number(12.345, 2)
    ('12', '12.3', '12.35')
    """
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.{decimals}f}"


def plural(count: float, noun: str, several: str | None = None) -> str:
    """The count with its noun, for several of which an "s" is added unless another form is given.

    >>> plural(1, "cell"), plural(2, "cell"), plural(0, "cell"), plural(2, "box", "boxes")
    ('1 cell', '2 cells', '0 cells', '2 boxes')
    """
    return f"{number(count)} {noun if count == 1 else several or noun + 's'}"


def counted(count: int, noun: str) -> str:
    """As `plural`, with thousands apart, for pages on which numbers are long.

    >>> counted(1, "image"), counted(2349, "image")
    ('1 image', '2,349 images')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def named(names: Collection[str]) -> str:
    """The first three names, quoted, for a message.

    >>> named(["a", "b", "c", "d"])
    "'a', 'b', 'c', ..."
    """
    shown = [repr(name) for name in list(names)[:MAX_NAMED]]
    return ", ".join([*shown, "..."] if len(names) > MAX_NAMED else shown)


def listed(values: Sequence) -> str:
    """Up to twelve names or ids for a message, and how many there are in all."""
    shown = [str(value) for value in values[:_MAX_LISTED]]
    return ", ".join(shown) + (f", ... ({len(values)} in all)" if len(values) > _MAX_LISTED else "")
