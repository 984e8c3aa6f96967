import dataclasses

import pytest

from tests.support.evaluated_images import FACTS
from tfod_csf.evaluation.error_gallery import error_page
from tfod_csf.evaluation.error_gallery.error_page import CellPicture, ErrorPage, FieldPicture
from tfod_csf.evaluation.error_gallery.error_types import ERROR_TYPES


@pytest.mark.parametrize(
    ("label", "predicted", "score", "short", "words"),
    [
        ("band", "band", 0.796, "band 79 %", "found: band (79 %); labeled: band; image i"),
        ("band", "blast", 0.8, "blast 80 %, is band", "found: blast (80 %); labeled: band; image i"),
        ("", "blast", 1.0, "blast 100 %", "found: blast (100 %); labeled: nothing; image i"),
        ("blast", "", None, "blast", "not found; labeled: blast; image i"),
    ],
)  # fmt: skip
def test_words_of_a_cell(label, predicted, score, short, words):
    cell = CellPicture("i", label, predicted, score, "data:,")
    assert (cell.short, cell.words) == (short, words)


def test_words_of_a_field():
    counts = {"labeled": 5, "right": 3, "confused": 0, "missed": 2, "spurious": 1}
    assert FieldPicture("i", counts, "data:,").words == "2 missed, 1 spurious (3 of 5 right)"


def page(counts, gain=0.25):
    names = ["lymphocyte", "monocyte"]
    pictures = {(row, column): [] for row in range(3) for column in range(3) if counts[row][column]}
    return ErrorPage(
        row_names=[*names, "spurious"],
        column_names=[*names, "missed"],
        counts=counts,
        pictures=pictures,
        types=[{"error": kind, "cells": 2, "mean_ap_gain": gain} for kind in ERROR_TYPES],
        of_types={kind: [] for kind in ERROR_TYPES},
        max_of_type=16,
        mean_ap=0.5,
        fields=[],
        num_images=3,
        num_images_with_errors=0,
        num_ignored=0,
        iou_threshold=0.5,
        background_iou=0.1,
    )


def test_the_summary_counts_what_became_of_the_labels():
    html = error_page.errors_html(page([[5, 1, 2], [0, 2, 0], [4, 0, 0]]), FACTS)
    assert (
        "Of 10 labeled cells on 3 images: 7 found and rightly named (70.0\u00a0%), 1 confused, 2 missed. "
        "Found where nothing is labeled: 4." in html
    )
    assert 'aria-label="2: lymphocyte missed"' in html
    assert 'aria-label="1: lymphocyte taken for monocyte"' in html
    assert 'aria-label="4: lymphocyte found where nothing is labeled"' in html
    # 5 of 8 lymphocytes are 62.5 %: shade 4 of 5; 2 of 2 monocytes: 5. Spurious cells have no share.
    assert '<td class="n shade4 right"><a href="#m-0-0"' in html
    assert '<td class="n shade5 right"><a href="#m-1-1"' in html
    assert '<td class="n shade0"><a href="#m-2-0"' in html
    assert "25.0" in html


def test_thousands_stand_apart():
    shown = page([[2349, 0, 1000], [0, 1, 0], [1234, 0, 0]])
    shown = dataclasses.replace(shown, num_images=4000, num_ignored=1500)
    html = error_page.errors_html(shown, FACTS)
    assert "Of 3,350 labeled cells on 4,000 images: 2,350 found and rightly named" in html
    assert "0 confused, 1,000 missed. Found where nothing is labeled: 1,234." in html
    assert 'aria-label="2,349: lymphocyte rightly named">2,349</a>' in html
    assert '<span class="count">2,349; the 0 with the lowest scores are shown</span>' in html
    assert "1,500 more lie on labels that do not count" in html


def test_without_labels_nothing_has_a_cost():
    html = error_page.errors_html(page([[0, 0, 0], [0, 0, 0], [4, 0, 0]], gain=None), FACTS)
    assert "No cell is labeled on 3 images; found: 4." in html
    assert "costs-t" not in html
