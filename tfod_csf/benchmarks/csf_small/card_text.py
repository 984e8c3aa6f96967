"""The figures as MODEL_CARD.md shows them: a section of Markdown for each set of held-out images."""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

from tfod_csf.benchmarks.csf_small import cell_types, composed_patients, detection_precision, score_reliability
from tfod_csf.benchmarks.csf_small.cell_types import ANY_CLASS, COUNTED_AS, PREDICTED, THREE_CLASSES
from tfod_csf.benchmarks.csf_small.held_out import Figure, HeldOutSet
from tfod_csf.benchmarks.csf_small.source_images import BCCD, NOT_SURE
from tfod_csf.cell_classes import STUDY_CLASSES, UNKNOWN
from tfod_csf.cytology.studies.method_comparison import Estimate
from tfod_csf.wording import plural

_UNITS = {True: "groups of overlapping pseudo-patients", False: "images (the donors are not known)"}
_REPEATED = "\\*"  # behind a mixture
_AVERAGE_PRECISIONS = {
    "AP@0.5, unknown ignored": detection_precision.IGNORED,
    "AP@0.5, unknown counted": detection_precision.COUNTED,
}


@dataclasses.dataclass(frozen=True)
class SetFigures:
    """A set of held-out images with its figures.

    Attributes:
      held: the images.
      laboratory: of `source_images`.
      models: which models were tested with it, each with its folds.
      rows: all figures.
    """

    held: HeldOutSet
    laboratory: str
    models: Sequence[str]
    rows: Sequence[Figure]

    def find(self, name: str, reading: str, class_name: str = "") -> Figure | None:
        """The figure of that name; None where there is none."""
        wanted = (name, reading, class_name)
        return next((row for row in self.rows if (row.name, row.reading, row.class_name) == wanted), None)


def estimate_text(estimate: Estimate | None, decimals: int = 3) -> str:
    """A value with its interval where there is one; "n/a" without a value.

    >>> estimate_text(Estimate(0.91, 0.8, 0.95)), estimate_text(Estimate(5.0, math.nan, math.nan), 1)
    ('0.910 (0.800 to 0.950)', '5.0')
    """
    if estimate is None or math.isnan(estimate.value):
        return "n/a"
    value = f"{estimate.value:.{decimals}f}"
    if math.isnan(estimate.low):
        return value
    return f"{value} ({estimate.low:.{decimals}f} to {estimate.high:.{decimals}f})"


def section(found: SetFigures) -> str:
    """The Markdown of one set."""
    parts = [
        f"### {found.held.title}",
        _images(found),
        "Average precision and types, with 95 % intervals.",
        _classes_table(found),
        _sentences(found),
        f"Labeled white cells by predicted class (score of {found.held.thresholds.min_score:g} or more):",
        _matrix_table(found, PREDICTED),
        f"The same as they are counted (below {found.held.thresholds.unknown_below:g} unknown):",
        _matrix_table(found, COUNTED_AS),
        _patients_table(found),
        _notes(found),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _images(found: SetFigures) -> str:
    held = found.held
    cells = Counter(label.name for one in held.distinct for label in one.image.objects)
    named = ", ".join(f"{name} {cells[name]:,}" for name in (*STUDY_CLASSES[:3], UNKNOWN))
    red = sum(label.name == STUDY_CLASSES[3] for one in held.dense for label in one.image.objects)
    return (
        f"{plural(len(held.distinct), 'picture')} ({len(held.dense)} images with every red cell labeled: {red:,}); "
        f"white cells: {named}, and {cells[NOT_SURE]:,} that nobody is sure of, which count neither way. Intervals "
        f"sample {_UNITS[found.laboratory == BCCD]}. Tested: {'; '.join(found.models)}."
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _classes_table(found: SetFigures) -> str:
    header = [
        "class",
        "labeled cells",
        *_AVERAGE_PRECISIONS,
        "given its class, of those found",
        "counted as a wrong one",
    ]
    rows = []
    for name in (*STUDY_CLASSES, UNKNOWN):
        both = [found.find(detection_precision.NAME, reading, name) for reading in _AVERAGE_PRECISIONS.values()]
        recall = found.find(cell_types.RECALL, ANY_CLASS, name)
        wrong = found.find(cell_types.DECIDED_WRONGLY, COUNTED_AS, name)
        cells = next((str(row.cells) for row in both if row is not None), "")
        figures = [estimate_text(row.estimate if row else None) for row in (*both, recall, wrong)]
        rows.append([name, cells, *figures])
    return _table(header, rows)


def _sentences(found: SetFigures) -> str:
    def text(name: str, reading: str, class_name: str = "", decimals: int = 3) -> str:
        row = found.find(name, reading, class_name)
        return estimate_text(row.estimate if row else None, decimals)

    white = detection_precision.WHITE_CELL
    at = score_reliability.at_threshold(found.held.thresholds.unknown_below)
    calibration = score_reliability.ALL_SCORES
    lines = [
        f"White cells found, as one class: average precision {text(detection_precision.NAME, white, white)}.",
        f"Balanced accuracy of the type, of those found: {text(cell_types.BALANCED_ACCURACY, ANY_CLASS)} where "
        f"`unknown` is wrong, {text(cell_types.BALANCED_ACCURACY, THREE_CLASSES)} among those given one of the three.",
        f"Scores of cells taken for one of the three: expected calibration error "
        f"{text(score_reliability.CALIBRATION_ERROR, calibration)}; accuracy "
        f"{text(score_reliability.ACCURACY, calibration)}.",
        f"With a {at}: coverage (share of these cells) {text(score_reliability.COVERAGE, at)}, accuracy "
        f"{text(score_reliability.ACCURACY, at)}.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _matrix_table(found: SetFigures, reading: str) -> str:
    matrix = cell_types.matrix_of(found.rows, reading)
    rows = [[label, *(str(matrix[label][given]) for given in cell_types.COLUMNS)] for label in cell_types.ROWS]
    return _table(["labeled", *cell_types.COLUMNS], rows)


def _patients_table(found: SetFigures) -> str:
    means = [row for row in found.rows if row.name == composed_patients.NAME]
    if math.isnan(means[0].estimate.value):
        return f"Composed patients: {means[0].note}."
    rows = []
    for class_name in dict.fromkeys(row.class_name for row in means):
        cells = []
        for reading in (composed_patients.APART, composed_patients.AS_PREDICTED):
            for name in (composed_patients.NAME, composed_patients.LARGEST):
                row = found.find(name, reading, class_name)
                cells.append(estimate_text(row.estimate if row else None, 1))
        is_repeated = any(row.note for row in means if row.class_name == class_name)
        rows.append([class_name + (_REPEATED if is_repeated else ""), *cells])
    header = ["composed patients", "unknown apart: mean", "largest", "as predicted: mean", "largest"]
    images = ", ".join(f"{name} {number}" for name, number in composed_patients.images_of_class(found.held).items())
    return (
        "Patients composed of these images in the mixtures of the paper's patients 1 to 4 (percent of lymphocytes, "
        "monocytes and neutrophils) and in an even one: difference of a white-cell percentage from the labels', in "
        "points, mean over classes and patients, and the largest of one (mean of the paper's four patients: "
        f"{composed_patients.PAPER_POINTS}). Unknown cells are counted apart, as batch_infer does, or under the class "
        f"that the network gave them (--count_unknown=as_predicted). Images with one white cell: {images}. "
        f"{_REPEATED}: images of a class are used several times, because there are too few. The intervals lean "
        "upwards: the chance of a sample of images adds to every difference.\n\n" + _table(header, rows)
    )


def _notes(found: SetFigures) -> str:
    """What has to be known of a figure, each once with the classes that it is of; the tables say the rest."""
    of_note: dict[str, list[str]] = {}
    said = (composed_patients.NAME, composed_patients.LARGEST, score_reliability.BIN_ACCURACY)
    said += (score_reliability.CALIBRATION_ERROR,)
    for row in found.rows:
        if row.note and row.name not in said:
            of_note.setdefault(row.note, []).append(f"{row.name} ({row.class_name or row.reading})")
    return "\n".join(f"- {note}: {', '.join(dict.fromkeys(names))}." for note, names in of_note.items())
