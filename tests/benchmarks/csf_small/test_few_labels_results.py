"""Figures of trainings with few labels, from images that can be worked out on paper, as a table and as a figure."""

import csv
import math

import pytest

from tests.support.held_out_images import LABEL_MAP, detections, source
from tfod_csf.benchmarks.csf_small import few_labels_results
from tfod_csf.benchmarks.csf_small.source_images import NOT_SURE


def figures(*images):
    found = []
    for number, (labels, cells, folder) in enumerate(images):
        image = source(f"image_{number}", labels, folder)
        found.append((image, detections(image.key, cells)))
    return few_labels_results.figures_of(LABEL_MAP, found)


def test_classes_with_enough_cells_are_in_the_mean():
    lymphocytes = [("lymphocyte", 30 * i) for i in range(8)]
    half = [("lymphocyte", 0.9, 30 * i) for i in range(4)]
    seven = [("neutrophil", 30 * i) for i in range(7)]
    # 8 red cells with complete boxes, all found; those of the other folder do not count.
    red = [("erythrocyte", 30 * i) for i in range(8)]
    found = figures(
        (lymphocytes, half, "bccd_dense"),
        (seven, [("neutrophil", 0.9, 30 * i) for i in range(7)], "bccd_dense"),
        (red, [("erythrocyte", 0.9, 30 * i) for i in range(8)], "bccd_dense"),
        (red, [], "bccd_differential"),
    )
    assert found["lymphocyte"] == {"ap": 0.5, "cells": 8}
    assert found["neutrophil"] == {"ap": 1.0, "cells": 7}
    assert found["monocyte"] == {"ap": None, "cells": 0}
    assert found["erythrocyte"] == {"ap": 1.0, "cells": 8}
    assert found["white cell"]["cells"] == 15
    assert found["white cell"]["ap"] == pytest.approx(11 / 15)
    assert found["mean"] == {"ap": 0.75, "cells": 2}
    assert few_labels_results.classes_in_mean(found) == ["lymphocyte", "erythrocyte"]


def test_a_cell_of_another_class_is_found_as_a_white_cell_and_one_that_nobody_is_sure_of_is_ignored():
    found = figures(
        ([("monocyte", 0), (NOT_SURE, 100)], [("neutrophil", 0.9, 0), ("monocyte", 0.8, 100)], "bccd_dense")
    )
    assert found["monocyte"] == {"ap": 0.0, "cells": 1}
    assert found["white cell"] == {"ap": 1.0, "cells": 1}
    assert found["mean"] == {"ap": None, "cells": 0}


def record(images, start, minutes, mean, **more):
    of_class = {name: {"ap": mean, "cells": 9} for name in ("lymphocyte", "neutrophil", "erythrocyte", "white cell")}
    of_class |= {"monocyte": {"ap": None, "cells": 0}, "mean": {"ap": mean, "cells": 3}}
    settings = {
        "images": images,
        "with_complete_boxes": images - 1,
        "start": start,
        "minutes": minutes,
        "seed": 1,
        "batch_size": 4,
        "learning_rate": 0.001,
        "optimizer": "rms_prop",
        "labeled_images": f"f{images}",
        "test_images": "t",
        "network": "n",
        "model": "m",
        "labeled_cells": dict.fromkeys(LABEL_MAP.names, 3),
    }
    done = {"steps": 1200, "cpu_seconds": 60.0 * minutes, "date": "2026-01-01", "processor": "a processor"}
    return {"settings": settings, **done, "figures": of_class} | more


RECORDS = [
    record(100, "model", 5, 0.75),
    record(50, "scratch", 15, 0.5),
    record(50, "scratch", 5, 0.25),
    record(50, "model", 5, 0.7),
    record(0, "model", 0, 0.6),
]


@pytest.fixture
def written(tmp_path, saved_figures):
    few_labels_results.write(tmp_path, [few_labels_results.row_of(one) for one in RECORDS], ["200 images"])
    return tmp_path, saved_figures[0]


def test_the_table(written):
    lines = (written[0] / "few_labels.md").read_text().splitlines()
    assert lines[2] == "| 0 | the model as it is | 0.0 | 1,200 | 0.600 | 0.600 | n/a | 0.600 | 0.600 | 0.600 |"
    assert lines[3] == "| 50 (49) | from the model | 5.0 | 1,200 | 0.700 | 0.700 | n/a | 0.700 | 0.700 | 0.700 |"
    assert [line.split(" | ")[:3] for line in lines[4:7]] == [
        ["| 50 (49)", "from scratch", "5.0"],
        ["| 50 (49)", "from scratch", "15.0"],
        ["| 100 (99)", "from the model", "5.0"],
    ]
    text = "\n".join(lines)
    assert "Test cells: 9 lymphocytes, 0 monocytes, 9 neutrophils, 9 erythrocytes; 9 white cells" in text
    assert "mAP@0.5 is the mean of lymphocyte, neutrophil, erythrocyte." in text
    assert "Labeled images `f50`, `f100`, test images `t`, network `n`, seed 1; a processor." in text
    assert lines[-1] == "Not there yet: 200 images."


def test_the_csv_holds_every_column(written):
    with open(written[0] / "few_labels.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["images"], row["minutes"], row["start"]) for row in rows] == [
        ("0", "0", "model"),
        ("50", "5", "model"),
        ("50", "5", "scratch"),
        ("50", "15", "scratch"),
        ("100", "5", "model"),
    ]
    assert rows[3]["cpu_seconds"] == "900.0"
    assert rows[3]["white_cell_ap"] == "0.5"
    assert rows[3]["monocyte_ap"] == ""
    assert (rows[3]["monocyte_test_cells"], rows[3]["monocyte_labeled"]) == ("0", "3")


def test_the_figure_has_a_line_for_each_start_and_one_for_the_model_as_it_is(written):
    figure = written[1]
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["50 labeled images", "100 labeled images", "", ""]
    first, second = figure.axes[:2]
    lines = {line.get_label(): line.get_xydata().tolist() for line in first.lines}
    assert lines["from scratch"] == [[5, 0.25], [15, 0.5]]
    assert lines["from the model"] == [[5, 0.7]]
    assert [line.get_ydata()[0] for line in second.lines if line.get_label() != "from the model"] == [0.6]
    assert math.isclose(first.get_xlim()[1], 21)


def test_a_figure_of_the_model_as_it_is_alone(tmp_path, saved_figures):
    few_labels_results.write(tmp_path, [few_labels_results.row_of(RECORDS[-1])], [])
    assert (tmp_path / "few_labels.png").is_file()
    assert "Not there yet" not in (tmp_path / "few_labels.md").read_text()
