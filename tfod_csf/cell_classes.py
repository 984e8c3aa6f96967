"""The study's cell classes: names, which of them are white cells, how a cell is counted, and how a class looks.

Percentages are shares of lymphocyte + monocyte + neutrophil. Erythrocytes, unknown cells and every further class of a
label map (eosinophil, plasma cell, mitosis, ...) are counted separately and never enter a percentage.
"""

from collections.abc import Iterable, Sequence

LYMPHOCYTE = "lymphocyte"
MONOCYTE = "monocyte"
NEUTROPHIL = "neutrophil"
ERYTHROCYTE = "erythrocyte"

WHITE_CELLS = (LYMPHOCYTE, MONOCYTE, NEUTROPHIL)
STUDY_CLASSES = (*WHITE_CELLS, ERYTHROCYTE)

# A class (cells that nobody could name) and a status in cells.csv (cells that a person has to look at).
UNKNOWN = "unknown"
COUNTED = "counted"
# What the machine decided may be decided again with other thresholds; any other status is a person's decision.
MACHINE_STATUS = (COUNTED, UNKNOWN)
# Two reviewers have decided differently, so that nobody has.
CONFIRMED, DISPUTED = "confirmed", "disputed"
UNDECIDED_STATUS = (UNKNOWN, DISPUTED)

# What is made of cells below the threshold unknown_below: `counted_as`.
APART = "apart"
AS_PREDICTED = "as_predicted"

# Groups of rows in differential.csv.
GROUP_WHITE_CELLS = "white_cells"
GROUP_APART = "apart"
GROUP_TOTAL = "total"

# Okabe and Ito's palette (2008), distinguishable with every common color vision deficiency; all plots use it.
BLUE, GREEN, PURPLE = "#0072B2", "#009E73", "#CC79A7"
VERMILION, ORANGE, SKY_BLUE = "#D55E00", "#E69F00", "#56B4E9"

_COLORS = {
    LYMPHOCYTE: BLUE,
    MONOCYTE: GREEN,
    NEUTROPHIL: PURPLE,
    ERYTHROCYTE: VERMILION,
    UNKNOWN: ORANGE,  # as the "unknown" box in the paper
}
_OTHER_COLORS = (SKY_BLUE, "#8C6D31", "#7F7F7F")

# A second sign beside the color, so that a gray print can still be read.
LINE_STYLES = {LYMPHOCYTE: "-", MONOCYTE: "--", NEUTROPHIL: "-.", ERYTHROCYTE: ":", UNKNOWN: (0, (1, 2))}
MARKERS = {LYMPHOCYTE: "o", MONOCYTE: "s", NEUTROPHIL: "^", ERYTHROCYTE: "D", UNKNOWN: "x"}


def canonical_name(name: str) -> str:
    """The study's spelling of a class name: spaces around it and capitals do not make another class.

    >>> canonical_name(" Lymphocyte ")
    'lymphocyte'
    >>> canonical_name("Plasma cell")
    'Plasma cell'
    """
    name = name.strip()
    folded = name.casefold()
    return folded if folded in (*STUDY_CLASSES, UNKNOWN) else name


def group_of(name: str) -> str:
    """`white_cells` for the three classes of the differential, `apart` for everything else."""
    return GROUP_WHITE_CELLS if name in WHITE_CELLS else GROUP_APART


def white_cells_without_class(classes: Iterable[str]) -> tuple[str, ...]:
    """White-cell classes that a model does not have; () where its classes are not known.

    >>> white_cells_without_class(["Lymphocyte", "monocytes", "erythrocyte"])
    ('monocyte', 'neutrophil')
    """
    known = {canonical_name(name) for name in classes}
    return tuple(name for name in WHITE_CELLS if name not in known) if known else ()


def classes_remark(classes: Sequence[str]) -> str:
    """What a model's classes mean for percentages, in a sentence; "" where they are as the study has them.

    >>> classes_remark(WHITE_CELLS)
    ''
    """
    missing, named = white_cells_without_class(classes), ", ".join(classes)
    if not missing:
        return ""
    if missing == WHITE_CELLS:
        return (
            f"none of the model's classes ({named}) is lymphocyte, monocyte or neutrophil, so there are no "
            "percentages; rename them in label_map.pbtxt (or give them these as display_name)."
        )
    return (
        f"none of the model's classes ({named}) is {' or '.join(missing)}, so percentages are of "
        f"{' + '.join(name for name in WHITE_CELLS if name not in missing)} only; if one of the classes is meant, "
        "rename it in label_map.pbtxt."
    )


def color_of(name: str) -> str:
    """Color of a class in every picture and plot, "#RRGGBB"; further classes share three, the same on every run.

    >>> color_of("Lymphocyte")
    '#0072B2'
    """
    name = canonical_name(name).casefold()
    return _COLORS.get(name) or _OTHER_COLORS[sum(name.encode()) % len(_OTHER_COLORS)]


def rgb_of(name: str) -> tuple[int, int, int]:
    """`color_of` as red, green, blue in 0 .. 255.

    >>> rgb_of("unknown")
    (230, 159, 0)
    """
    red, green, blue = bytes.fromhex(color_of(name).removeprefix("#"))
    return red, green, blue


def ink_of(name: str) -> tuple[int, int, int]:
    """RGB of letters that can be read on the class's color: black on a light one, white on a dark one.

    >>> ink_of("unknown"), ink_of("lymphocyte")
    ((0, 0, 0), (255, 255, 255))
    """
    red, green, blue = rgb_of(name)
    is_light = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    return (0, 0, 0) if is_light else (255, 255, 255)


def counted_as(predicted_class: str, score: float, unknown_below: float, count_unknown: str = APART) -> str:
    """The class a detected cell is counted under, in the study's spelling.

    Args:
      predicted_class: class with the highest score.
      score: that score, 0 .. 1.
      unknown_below: a score below this makes the cell unknown until a person decides.
      count_unknown: "apart" counts such a cell as unknown; "as_predicted" counts it under its predicted class. A cell
        whose predicted class is `unknown` (the label map's class of rare cells) is unknown in both readings.

    >>> counted_as("monocyte", 0.79, unknown_below=0.8)
    'unknown'
    >>> counted_as("monocyte", 0.80, unknown_below=0.8)
    'monocyte'
    """
    name = canonical_name(predicted_class)
    return UNKNOWN if count_unknown != AS_PREDICTED and score < unknown_below else name


def whole_percent(score: float) -> int:
    """A score 0 .. 1 in whole percent, rounded down: a cell below the threshold never shows the threshold.

    >>> whole_percent(0.796), whole_percent(0.8)
    (79, 80)
    """
    return int(score * 100 + 1e-4)
