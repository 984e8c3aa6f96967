"""Progress bars on standard error: on a terminal only, so that a log or a pipe holds no control characters."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

from tqdm import tqdm


def progress_bar(
    items: Iterable[Any] | None = None, unit: str = "item", total: int | None = None, quiet: bool = False, **layout: Any
) -> tqdm:
    """A bar over the items, or one that is moved by hand with `update`.

    Args:
      items: what is iterated over; None for a bar that is moved by hand.
      unit: what one item is, in the singular.
      total: number of items, where `items` has no length; None when it is not known.
      quiet: show nothing, on a terminal neither.
      **layout: tqdm's own options (desc, leave, initial, bar_format, ...).
    """
    return tqdm(items, unit=unit, total=total, disable=True if quiet else None, **layout)


def bar_over(unit: str) -> Callable[[Iterable[Any]], Iterable[Any]]:
    """A bar for functions that take an argument `progress`: it wraps their items.

    >>> list(bar_over("patient")(["a", "b"]))
    ['a', 'b']
    """
    return functools.partial(progress_bar, unit=unit)


def write_line(text: str) -> None:
    """Prints a line on standard output without tearing a bar that is shown."""
    tqdm.write(text)
