"""Flags that hold lists or pieces of text, of which absl would keep the last one given or take commas for text."""

from collections.abc import Sequence
from typing import Any

from absl import flags


class ListFlag(flags.MultiFlag):
    """A list that may be written with commas, by repeating the flag, or both: --name=a,b --name=c is [a, b, c]."""

    def _parse(self, arguments: Any) -> list[Any]:
        return [item for items in super()._parse(arguments) for item in items]


class JoinedTextFlag(flags.Flag):
    """A text whose pieces may be given one after the other; they are lines of its value. absl's own keeps the last."""

    value: Any

    def parse(self, argument: str) -> None:
        """Adds a piece."""
        earlier = [self.value] if self.present and self.value else []
        super().parse(argument)
        self.value = "\n".join([*earlier, self.value])


class ListParser(flags.ListParser):
    """Comma-separated words; those of `choices` alone where there are any."""

    def __init__(self, choices: Sequence[str] = ()):
        super().__init__()
        self._choices = choices

    def parse(self, argument: str) -> list[str]:
        """The words; ValueError for one that is not allowed."""
        items = super().parse(argument)
        wrong = [item for item in items if self._choices and item not in self._choices]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is unknown; use some of {','.join(self._choices)}")
        return items


class NumbersParser(flags.ListParser):
    """Comma-separated numbers above 0 and up to `upper_bound`."""

    def __init__(self, upper_bound: float):
        super().__init__()
        self._upper_bound = upper_bound

    def parse(self, argument: str | float) -> list[float]:
        """The numbers; ValueError for what is none of them."""
        items = super().parse(str(argument))
        for item in items:
            try:
                fits = 0 < float(item) <= self._upper_bound
            except ValueError:
                fits = False
            if not fits:
                raise ValueError(f"{item!r} is not a number above 0 and up to {self._upper_bound:g}")
        return [float(item) for item in items]

    def flag_type(self) -> str:
        """For the help."""
        return "comma separated list of numbers"
