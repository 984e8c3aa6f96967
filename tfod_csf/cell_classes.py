"""The study's cell classes: which are white cells, which are counted apart, and how each looks in a plot.

Percentages are shares of lymphocyte + monocyte + neutrophil. Erythrocytes, unknown cells and every further class of a
label map (eosinophil, plasma cell, mitosis, ...) are counted apart and never enter a percentage.
"""

LYMPHOCYTE = "lymphocyte"
MONOCYTE = "monocyte"
NEUTROPHIL = "neutrophil"
ERYTHROCYTE = "erythrocyte"
UNKNOWN = "unknown"

WHITE_CELLS = (LYMPHOCYTE, MONOCYTE, NEUTROPHIL)
STUDY_CLASSES = (*WHITE_CELLS, ERYTHROCYTE)

# Groups of rows in differential.csv.
GROUP_WHITE_CELLS = "white_cells"
GROUP_APART = "apart"
GROUP_TOTAL = "total"

# Okabe and Ito's palette (2008), distinguishable with every common colour vision deficiency. Unknown is orange because
# the paper draws its "unknown" box in orange.
_COLOURS = {
    LYMPHOCYTE: "#0072B2",
    MONOCYTE: "#009E73",
    NEUTROPHIL: "#CC79A7",
    ERYTHROCYTE: "#D55E00",
    UNKNOWN: "#E69F00",
}
_OTHER_COLOURS = ("#56B4E9", "#8C6D31", "#7F7F7F")

# A second sign beside the colour, so that a grey print can still be read.
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


def colour_of(name: str) -> str:
    """Colour of a class in every plot; further classes share three colours, the same on every run."""
    return _COLOURS.get(name) or _OTHER_COLOURS[sum(name.encode()) % len(_OTHER_COLOURS)]


def counted_as(predicted_class: str, score: float, unknown_below: float, count_unknown: str = "apart") -> str:
    """The class a detected cell is counted under.

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
    return UNKNOWN if count_unknown != "as_predicted" and score < unknown_below else name
