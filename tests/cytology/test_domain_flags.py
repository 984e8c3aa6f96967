"""Patients whose images are unlike those of the training, in tables and on the page."""

import dataclasses
import pathlib

import numpy as np
import pandas as pd
import pytest

from tfod_csf.cytology import run_tables
from tfod_csf.cytology.counting import cohort, differential_tables
from tfod_csf.cytology.counting.cohort import CohortSummary
from tfod_csf.cytology.counting.differential import differential
from tfod_csf.cytology.counting.live_count import LiveCount
from tfod_csf.cytology.counting.reference_ranges import load_reference_ranges
from tfod_csf.cytology.domain_flags import DomainFlags, domain_flags
from tfod_csf.cytology.report import sentences
from tfod_csf.cytology.report.live_page import LivePatient, live_line
from tfod_csf.cytology.run_tables import PatientTables

BLUER = "light: background bluer than in the training images"
LARGER = "size: white cells 1.8 times as large"


def patient(*rows):
    """A patient with rows (image, model, in_domain, unlike_training) of images.csv."""
    images = pd.DataFrame(rows, columns=["image", "model", "in_domain", "unlike_training"], dtype=object)
    images = images.assign(patient_id="p", status="ok", seconds=0.1, cells=0, limit_reached=False)
    cells = pd.DataFrame(columns=["image", "model", "predicted_class", "score", "raw_score", "status", "counted_as"])
    return PatientTables("p", pathlib.Path("p"), cells, images)


def test_the_share_of_images_and_what_most_of_them_have():
    flags = domain_flags(
        patient(
            ("1", "m", True, ""),
            ("2", "m", False, f"{BLUER}; {LARGER}"),
            ("3", "m", False, "size: white cells 1.7 times as large"),
            ("4", "m", False, "size: white cells 1.9 times as large"),
        )
    )
    assert (flags.num_judged, flags.unlike, flags.in_domain) == (4, ("2", "3", "4"), False)
    # The middle one of 1.7, 1.8 and 1.9.
    assert flags.differences == (f"{LARGER} on 3 images", "light: background bluer on 1 image")
    assert flags.note == (
        f"3 of 4 images are unlike the training images ({LARGER} on 3 images, light: background bluer on 1 image)"
    )


def test_what_was_said_of_one_image_is_not_said_of_another():
    """All five differ in size: white cells are smaller on two and larger on two, stained parts are larger on one."""
    sizes = ("white cells 0.6", "white cells 0.4", "stained parts 1.9", "white cells 12.0", "white cells 2.0")
    rows = [(str(number), "m", False, f"size: {words} times as large") for number, words in enumerate(sizes)]
    assert domain_flags(patient(*rows)).differences == (
        "size: white cells 0.6 times as large on 2 images",
        "size: white cells 12.0 times as large on 2 images",
        "size: stained parts 1.9 times as large on 1 image",
    )


def test_many_differences_are_counted_and_not_all_listed():
    listed = [BLUER, LARGER, "crowding: more of the image is stained", "focus: edges of white cells 2.0 times as wide"]
    assert len(domain_flags(patient(("1", "m", False, "; ".join(listed)))).differences) == 4
    more = "; ".join([*listed, "structure: less contrast", "detail: less fine detail, as of blur or larger cells"])
    flags = domain_flags(patient(("1", "m", False, more), ("2", "m", False, LARGER)))
    assert flags.differences == (
        f"{LARGER} on 2 images",
        "crowding: more of the image is stained on 1 image",
        "detail: less fine detail, as of blur or larger cells on 1 image",
        "and 3 other differences",
    )


@pytest.mark.parametrize(("unlike", "in_domain"), [(0, True), (1, True), (2, False), (4, False)])
def test_a_patient_is_unlike_if_half_of_the_images_are(unlike, in_domain):
    rows = [(str(number), "m", number >= unlike, BLUER if number < unlike else "") for number in range(4)]
    assert domain_flags(patient(*rows)).in_domain is in_domain


def test_an_image_that_is_unlike_for_one_of_two_models_is_unlike():
    flags = domain_flags(
        patient(("1", "a", True, ""), ("1", "b", False, BLUER), ("2", "a", True, ""), ("2", "b", None, ""))
    )
    assert (flags.num_judged, flags.unlike) == (2, ("1",))


def test_without_a_guard_nothing_is_judged():
    flags = domain_flags(patient(("1", "m", None, ""), ("2", "m", None, "")))
    assert flags == DomainFlags()
    assert flags.in_domain is None
    assert flags.note == ""
    without = patient(("1", "m", None, ""))
    older = dataclasses.replace(without, images=without.images.drop(columns=["in_domain", "unlike_training"]))
    assert domain_flags(older) == DomainFlags()


UNLIKE = DomainFlags(4, ("2", "3", "4"), (f"{LARGER} on 3 images",))
SOME = DomainFlags(9, ("2",), (f"{BLUER} on 1 image",))


def counted(flags):
    return differential("p", {"m": {"lymphocyte": 50, "monocyte": 30}}, images_used=4).with_domain(flags)


def test_columns_and_note_of_the_tables():
    row = differential_tables.wide_row(counted(UNLIKE))
    assert (row["images_unlike_training"], row["in_domain"]) == (3, False)
    assert row["note"].endswith(f"; 3 of 4 images are unlike the training images ({LARGER} on 3 images)")
    assert row["lymphocyte"] == 50  # counted like any other
    row = differential_tables.wide_row(counted(DomainFlags()))
    assert (row["images_unlike_training"], row["in_domain"]) == (None, None)
    assert differential_tables.wide_row(counted(DomainFlags(4)))["images_unlike_training"] == 0


def test_images_unlike_the_training_are_the_remark_of_each_percentage_and_make_its_mark_uncertain():
    counts = {"lymphocyte": 60, "monocyte": 40, "neutrophil": 500}
    images = np.tile([7.5, 5, 62.5], (8, 1))
    known = differential("p", {"m": counts}, 8, references=load_reference_ranges(), image_counts=images)
    for flags, is_certain in ((DomainFlags(4), True), (SOME, True), (UNLIKE, False), (DomainFlags(), True)):
        rows = {row["class"]: row for row in differential_tables.long_rows(known.with_domain(flags))}
        assert (rows["neutrophil"]["mark"], rows["neutrophil"]["mark_certain"]) == ("high", is_certain)
        assert {rows[name]["note"] for name in counts} == {flags.note}
        row = differential_tables.wide_row(known.with_domain(flags))
        assert (row["neutrophil_mark"], row["neutrophil_mark_certain"]) == ("high", is_certain)


def test_the_remark_of_the_page():
    assert sentences.domain_remark(counted(DomainFlags(4))) is None
    most = sentences.domain_remark(counted(UNLIKE))
    assert most.level == "look"
    assert most.text == (
        f"3 of 4 images are unlike those that the model was trained on: {LARGER} on 3 images. On such images a model "
        "can be wrong with high scores, and nothing else in this report shows it: compare with the slide."
    )
    some = sentences.domain_remark(counted(SOME))
    assert some.text.startswith("1 of 9 images is unlike those that the model was trained on: light: ")
    assert some.text.endswith("Look at what was found on them (see Images).")
    none = sentences.domain_remark(counted(DomainFlags()))
    assert none.level == "note"
    assert none.text.startswith("The model has no domain guard")


def test_the_last_line_of_a_command():
    summary = CohortSummary()
    for flags in (UNLIKE, SOME, DomainFlags(4)):
        summary.add(CohortSummary.of(counted(flags)))
    assert str(summary).endswith("; 1 with at least half of their images unlike the training's")
    summary.add(CohortSummary.of(counted(DomainFlags())))
    assert str(summary).endswith(
        "; 1 of 3 with a domain guard with at least half of their images unlike the training's"
    )
    assert str(CohortSummary.of(counted(DomainFlags()))).endswith("; no domain guard")


def test_the_line_of_a_patient_whose_images_still_arrive():
    line = live_line(LivePatient("p", LiveCount(counted(UNLIKE), 0), 4), cohort.DifferentialRules())
    assert "; 3 of 4 images are unlike the training images (size: white cells 1.8 times as large on 3 images)" in line


def test_tables_of_earlier_versions_have_no_such_columns(tmp_path, write_patient):
    write_patient(tmp_path / "p", "p", [{"lymphocyte": 40}])
    images = tmp_path / "p" / "images.csv"
    table = pd.read_csv(images, dtype=str, keep_default_na=False)
    table.drop(columns=["domain_distance", "in_domain", "unlike_training"]).to_csv(images, index=False)
    result = cohort.patient_differential(run_tables.read_patient(tmp_path / "p"))
    assert result.domain.in_domain is None
    assert result.counts["lymphocyte"] == 40
