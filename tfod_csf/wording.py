"""Numbers in messages and reports: whole ones without decimals, and nouns for one and for several."""


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
