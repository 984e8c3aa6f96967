"""In what an image is unlike the training images, in words for tables and pages.

An example: "light: background yellower than in the training images; size: white cells 1.8 times as large".
"""

import re
from collections.abc import Sequence

from tfod_csf.domain.picture_statistics import CLIPPED, CROWDING, DETAIL, FOCUS, LIGHT, SIZE, STAIN
from tfod_csf.domain.training_domain import Difference

SEPARATOR = "; "
# {what a statistic ends with: (more of it, less of it)}, of L*a*b*.
_COLOR_WORDS = {"_lightness": ("lighter", "darker"), "_red": ("redder", "greener"), "_yellow": ("yellower", "bluer")}
_COLORED = {"background": "background", "nucleus": "nuclei", "pale": "erythrocytes and other pale parts"}
_SIZED = {"white_cell_size": "white cells", "erythrocyte_size": "erythrocytes", "stained_size": "stained parts"}
COMPARED = " than in the training images"
_FACTOR = re.compile(r"(\d+\.\d) times")


def unlike_words(differences: Sequence[Difference]) -> str:
    """All differences, the largest first; "" without any.

    >>> unlike_words([Difference("size", 1.9, "white_cell_size", 1.0), Difference("light", 1.2, "clipped", 2.0)])
    'size: white cells 2.0 times as large; light: more pixels without detail, white or black'
    """
    return SEPARATOR.join(f"{one.aspect}: {_words(one)}" for one in differences)


def aspects_in(words: str) -> list[str]:
    """The parts of `unlike_words`, one per aspect."""
    return words.split(SEPARATOR) if words else []


def factor_in(part: str) -> float:
    """The factor that a part of `unlike_words` names; 1 where it names none.

    >>> factor_in("size: white cells 0.6 times as large")
    0.6
    """
    found = _FACTOR.search(part)
    return float(found[1]) if found else 1.0


def same_words(part: str) -> str:
    """What parts of `unlike_words` have in common that say the same of several images, in the same direction.

    >>> same_words("size: white cells 0.6 times as large") == same_words("size: white cells 0.4 times as large")
    True
    >>> same_words("size: white cells 0.6 times as large") == same_words("size: white cells 1.9 times as large")
    False
    """
    return _FACTOR.sub("more times" if factor_in(part) > 1 else "fewer times", part)


def _words(one: Difference) -> str:
    is_more, factor = one.points > 0, 2.0**one.points
    if one.aspect == SIZE:
        return f"{_SIZED[one.statistic]} {factor:.1f} times as large"
    if one.aspect == FOCUS:
        return f"edges of white cells {factor:.1f} times as wide, {'less' if is_more else 'more'} sharp"
    if one.aspect == CROWDING:
        return f"{'more' if is_more else 'less'} of the image is stained{COMPARED}"
    if one.statistic == CLIPPED:
        return "more pixels without detail, white or black"
    if one.aspect in (LIGHT, STAIN):
        part, _, side = one.statistic.rpartition("_")
        return f"{_COLORED[part]} {_COLOR_WORDS[f'_{side}'][not is_more]}{COMPARED}"
    if one.aspect == DETAIL:
        why = "noise, sharpening or smaller cells" if is_more else "blur or larger cells"
        return f"{'more' if is_more else 'less'} fine detail{COMPARED}, as of {why}"
    if one.statistic == "contrast":
        return f"{'more' if is_more else 'less'} contrast{COMPARED}"
    return f"{'finer' if is_more else 'coarser'} structure{COMPARED}, as of {'smaller' if is_more else 'larger'} cells"
