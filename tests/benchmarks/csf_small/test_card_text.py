"""The Markdown of a set, whose numbers were worked out in the tests of the figures."""

import math

from tests.support.held_out_images import held
from tfod_csf.benchmarks.csf_small import (
    card_text,
    cell_types,
    composed_patients,
    detection_precision,
    score_reliability,
)
from tfod_csf.benchmarks.csf_small.card_text import SetFigures
from tfod_csf.benchmarks.csf_small.composed_patients import CompositionSettings
from tfod_csf.cytology.studies.method_comparison import Estimate

COMPOSITION = CompositionSettings(sizes=(10,), patients=2, samples=5)


def section(*images, laboratory="pbc", **thresholds):
    found = held(*images, **thresholds)
    rows = [
        *detection_precision.figures(found, replicates=20),
        *cell_types.figures(found, replicates=20),
        *score_reliability.figures(found),
        *composed_patients.figures(found, COMPOSITION),
    ]
    return card_text.section(SetFigures(found, laboratory, ["`abc` on fold 0"], rows))


def cell(label, found=None):
    return [(label, 0)], [(found or label, 0.9, 0)]


RIGHT = [cell("lymphocyte"), cell("monocyte"), cell("neutrophil")]


def table_row(text, first):
    """The cells of the first line of a table that begins with a word."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [part.strip() for part in line.strip("|").split("|")]


def test_a_value_has_its_interval_and_decimals():
    assert card_text.estimate_text(Estimate(0.91, 0.8, 0.951)) == "0.910 (0.800 to 0.951)"
    assert card_text.estimate_text(Estimate(5.04, math.nan, math.nan), 1) == "5.0"
    assert card_text.estimate_text(Estimate(math.nan, math.nan, math.nan)) == "n/a"
    assert card_text.estimate_text(None) == "n/a"


def test_a_section_of_right_cells():
    red = ([("erythrocyte", 0), ("erythrocyte", 100)], [("erythrocyte", 0.9, 0)], {"folder": "pbc_dense"})
    text = section(*RIGHT * 10, cell("unknown", "neutrophil"), red)
    assert text.startswith("### by hand\n\n32 pictures (1 images with every red cell labeled: 2); white cells: ")
    assert "lymphocyte 10, monocyte 10, neutrophil 10, unknown 1, and 0 that nobody is sure of" in text
    assert "Intervals sample images (the donors are not known). Tested: `abc` on fold 0." in text
    lymphocyte = table_row(text, "lymphocyte")
    assert lymphocyte[:3] == ["lymphocyte", "10", "1.000 (1.000 to 1.000)"]
    assert lymphocyte[4].startswith("1.000 (0.6")  # Clopper and Pearson of 10 of 10: 0.69
    assert table_row(text, "erythrocyte")[2:] == ["0.500", "0.500", "n/a", "n/a"]
    assert table_row(text, "unknown")[2:] == ["n/a", "0.000", "n/a", "1.000"]
    matrix = text.partition("by predicted class (score of 0.5 or more):")[2]
    assert table_row(matrix, "labeled")[1:] == [*cell_types.COLUMNS]
    assert table_row(matrix, "unknown") == ["unknown", "0", "0", "1", "0", "0", "0"]
    assert "(below 0.8 unknown)" in text
    assert "lymphocyte 10, monocyte 10, neutrophil 10. \\*: images of a class are used several times" in text
    assert table_row(text, "87/6/7, 10 cells")[1:] == ["0.0 (0.0 to 0.0)", "0.0", "0.0 (0.0 to 0.0)", "0.0"]
    assert "- all samples are alike; the interval says nothing: average precision (lymphocyte), " in text


def test_repeated_images_are_marked_and_units_of_the_other_laboratory_named():
    text = section(*RIGHT * 5, laboratory="bccd", min_score=0.4, unknown_below=0.7)
    assert table_row(text, "5/3/92, 10 cells\\*")[1] == "0.0 (0.0 to 0.0)"
    assert table_row(text, "even, 10 cells")
    assert "sample groups of overlapping pseudo-patients" in text
    assert "(score of 0.4 or more)" in text
    assert "(below 0.7 unknown)" in text


def test_a_set_without_patients_says_why():
    text = section(*RIGHT[:1])
    assert "Composed patients: no patients: no image has one white cell that is a monocyte or a neutrophil." in text
    assert "- no interval: too few units with such cells: average precision (lymphocyte)" in text
    assert "a class has no cell that was found: balanced accuracy (unknown is wrong)" in text
