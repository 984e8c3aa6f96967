import pathlib

from tfod_csf.data.annotated.annotated_set import Entry
from tfod_csf.data.annotated.dataset_report import DatasetStatistics, _Sizes, annotation_rows
from tfod_csf.label_map import label_map_from_names
from tfod_csf.study.labelimg import LabeledObject
from tfod_csf.study.patients import ImageFile

LABEL_MAP = label_map_from_names(["a", "b"])


def entry(patient: str, counts: dict, ignored: int = 0) -> Entry:
    image = ImageFile(pathlib.Path("x.jpg"), patient, "x.jpg", f"{patient}/x.jpg")
    return Entry(image, "sha", 100, 80, counts, ignored, 0, False, 0)


def boxes(name: str, *widths: float) -> list[LabeledObject]:
    return [LabeledObject(name, 0, 0, width, 10) for width in widths]


def test_quantiles_of_lengths():
    sizes = _Sizes()
    for length in range(1, 101):
        sizes.add(length)
    assert sizes.summary() == {"min": 1, "p05": 5, "median": 50, "p95": 95, "max": 100}
    one = _Sizes()
    one.add(7.4)
    assert set(one.summary().values()) == {7}


def test_counts_of_both_sides():
    statistics = DatasetStatistics(LABEL_MAP)
    statistics.add(entry("P1", {"a": 3}, ignored=2), "train", boxes("a", 5, 6, 7))
    statistics.add(entry("P1", {}), "train", [])
    statistics.add(entry("P1", {"a": 1, "b": 1}), "test", boxes("a", 8) + boxes("b", 20))
    counted = statistics.as_dict()
    assert counted["sides"]["train"] == {
        "images": 2,
        "patients": 1,
        "images_without_cells": 1,
        "cells": {"a": 3, "b": 0},
        "passed_over": 2,
        "difficult_left_out": 0,
        "max_cells_per_image": 3,
        "max_boxes_per_example": 3 + 2 * 2,  # an ignored object is there once for each of the two classes
    }
    assert counted["box_sizes"]["a"]["width_px"] == {"min": 5, "p05": 5, "median": 6, "p95": 8, "max": 8}
    assert counted["image_sizes"] == [{"width": 100, "height": 80, "images": 3}]
    assert statistics.one_sided_classes() == [("b", "train")]
    lines = [line.split() for line in statistics.table().splitlines()]
    assert ["images", "2", "1", "33.3", "%"] in lines
    assert ["a", "3", "1", "25.0", "%"] in lines
    assert ["on", "both", "sides", "1", "1"] in lines
    assert ["no", "class", "(ignored)", "2", "0", "0.0", "%"] in lines


def test_an_empty_set_has_a_table_too():
    statistics = DatasetStatistics(LABEL_MAP)
    assert statistics.box_sizes() == {}
    assert "images" in statistics.table()


def test_rows_of_annotations():
    assert annotation_rows(entry("P", {}), []) == []
    (row,) = annotation_rows(entry("P", {"a": 1}), boxes("a", 5.25))
    assert (row["filename"], row["class"], row["xmax"], row["height"]) == ("P/x.jpg", "a", 5.25, 80)
