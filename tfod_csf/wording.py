"""Numbers and names in messages and reports: whole numbers without decimals, nouns for one and for several, names whose
characters can be seen.
"""

import re

# Control characters, which move the cursor or color a terminal, end a line, or turn the direction of the text, and the
# halves that stand for bytes that are not UTF-8.
_NOT_VISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""The text with each character that changes how others are shown written as its escape sequence.

    >>> print(visible("a\nb \u202ec"))
    a\nb \u202ec
    """
    return _NOT_VISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


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
