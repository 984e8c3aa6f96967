import unicodedata

import pytest

from tests.support.examined_study import record_tables
from tfod_csf.commands import command_line
from tfod_csf.files import csv_schemas, csv_tables
from tfod_csf.study.labelimg import Annotation, LabeledObject, write_annotation

CLASSES = ("erythrocyte", "lymphocyte", "monocyte", "neutrophil")
PEOPLE = {"1": (13, 66, 67, 41), "2": (12, 43, 48, 40), "王": (20, 77, 70, 43), "@4": (27, 80, 73, 54)}
ROUND = dict(zip(CLASSES, (28, 77, 66, 50), strict=True))


def write_person(folder, counts, stem="p/img_00"):
    """Cell i of a class lies where every other person has cell i of that class."""
    objects = [
        LabeledObject(name, 10 * i, 20 * k, 10 * i + 8, 20 * k + 8)
        for k, (name, count) in enumerate(zip(CLASSES, counts, strict=True), start=1)
        for i in range(1, count + 1)
    ]
    write_annotation(Annotation(folder, "img_00.jpg", 1000, 480, objects), folder / f"{stem}.xml")


@pytest.fixture
def table_1(tmp_path, write_patient, write_run):
    for name, counts in PEOPLE.items():
        write_person(tmp_path / "people" / name, counts)
    write_person(tmp_path / "people" / "1", (1, 1, 1, 1), "p/only_person_1")
    for number in range(4):
        output = tmp_path / f"round_{number}"
        write_run(output)
        write_patient(output / "patients" / "p", "p", [ROUND])
    flags = [f"--person={name}={tmp_path / 'people' / name}" for name in PEOPLE]
    return [*flags, *(f"--round={tmp_path / f'round_{n}'}" for n in range(4)), f"--output_dir={tmp_path / 'out'}"]


def summary(folder):
    rows = csv_tables.read_rows(folder / "observers_summary.csv")
    return {(row["group"], row["class"], row["measure"]): row["value"] for row in rows}


def test_table_1_of_the_paper_by_command(table_1, tmp_path, capsys):
    assert command_line.main(["observers", *table_1]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "all rounds are identical, number by number" in printed
    values = summary(tmp_path / "out")
    people = [round(float(values["people", name, "sd"])) for name in CLASSES]
    assert people == [7, 17, 11, 6]  # the paper's "Human std dev"
    assert [float(values["rounds", name, "sd"]) for name in CLASSES] == [0, 0, 0, 0]
    assert values["rounds", "all", "rounds_identical"] == "1.0000"
    assert values["people", "all", "images"] == "1.0000"  # the image only person 1 has is ignored
    for name, rows in {"observers": 32, "observers_summary": 66, "observers_differences": 0}.items():
        assert csv_schemas.load(name).check(tmp_path / "out" / f"{name}.csv") == rows
    assert (
        "the machine among 4 people: within them for every class (z: lymphocyte +0.6, monocyte +0.1, neutrophil "
        in printed
    )
    assert "neutrophil +0.8, erythrocyte +1.3)" in printed
    assert values["machine_among_people", "lymphocyte", "machine_z"] == "0.5596"
    # Everybody's cells of a class lie at the same places: people share the smaller count, never the name of another.
    assert values["machine_among_people", "all", "kappa_people"] == "1.0000"
    assert "only_person_1" in (tmp_path / "out" / "problems.csv").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "observers.png").stat().st_size > 10_000


def test_one_person_is_no_spread_to_compare_the_machine_with(table_1, tmp_path, capsys):
    flags = [flag for flag in table_1 if not flag.startswith("--person") or flag.startswith("--person=1=")]
    assert command_line.main(["observers", *flags]) == 0, capsys.readouterr().err
    assert "the machine among" not in capsys.readouterr().out
    assert not [key for key in summary(tmp_path / "out") if key[0] == "machine_among_people"]


def test_a_class_of_which_all_people_have_the_same_count_is_named(tmp_path, write_patient, write_run, capsys):
    for name, counts in {"A": (5, 3, 2, 4), "B": (5, 4, 2, 4)}.items():
        write_person(tmp_path / "people" / name, counts)
    write_run(tmp_path / "round")
    write_patient(tmp_path / "round" / "patients" / "p", "p", [dict(zip(CLASSES, (1, 3, 2, 4), strict=True))])
    flags = [f"--person={name}={tmp_path / 'people' / name}" for name in "AB"]
    flags += [f"--round={tmp_path / 'round'}", f"--output_dir={tmp_path / 'out'}"]
    assert command_line.main(["observers", *flags]) == 0, capsys.readouterr().err
    # Lymphocytes 3 and 4, the machine 3: z = -0.5 / (0.7071 sqrt(1 + 1 / 2)).
    assert (
        "the machine among 2 people: within them for every other class (z: lymphocyte -0.6); no spread to compare "
        "with for monocyte, neutrophil, erythrocyte;"
    ) in capsys.readouterr().out


def test_a_round_that_differs_in_one_score_is_named(table_1, tmp_path, capsys):
    path = tmp_path / "round_2" / "patients" / "p" / "cells.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("0.9000", "0.9001", 1), encoding="utf-8")
    cut = tmp_path / "round_3" / "patients" / "p" / "cells.csv"
    cut.write_text("\n".join(cut.read_text(encoding="utf-8").splitlines()[:-1]) + "\n", encoding="utf-8")
    assert command_line.main(["observers", *table_1]) == 1
    assert "cells.csv: was changed after the run had written it" in capsys.readouterr().err
    record_tables(tmp_path / "round_2")
    record_tables(tmp_path / "round_3")
    assert command_line.main(["observers", *table_1]) == 0
    assert "2 images differ" in capsys.readouterr().out
    rows = csv_tables.read_rows(tmp_path / "out" / "observers_differences.csv")
    assert csv_schemas.load("observers_differences").check(tmp_path / "out" / "observers_differences.csv") == 2
    assert (rows[0]["classes_changed"], rows[0]["largest_score_difference"]) == ("0", "0.0001")
    assert (rows[1]["first_cells"], rows[1]["other_cells"]) == ("221", "220")
    assert summary(tmp_path / "out")["rounds", "all", "rounds_identical"] == "0.0000"


def test_rounds_inside_the_first_rounds_folder_are_found(tmp_path, write_patient, capsys):
    for folder in (tmp_path / "run", tmp_path / "run" / "rounds" / "2", tmp_path / "run" / "rounds" / "10"):
        write_patient(folder / "patients" / "p", "p", [ROUND])
    assert command_line.main(["observers", f"--round={tmp_path / 'run'}", f"--output_dir={tmp_path / 'out'}"]) == 0
    assert "3 rounds of the machine: all rounds are identical" in capsys.readouterr().out
    rows = csv_tables.read_rows(tmp_path / "out" / "observers.csv")
    assert [row["observer"] for row in rows[::4]] == [
        str(tmp_path / f"run{end}") for end in ("", "/rounds/2", "/rounds/10")
    ]


def test_accents_that_a_system_stored_decomposed_are_those_of_the_others(tmp_path, write_patient, write_run):
    patient = "Mu\u0308ller"  # NFD, as macOS lists folders
    for name in "AB":
        write_person(tmp_path / "people" / name, (1, 2, 3, 4), f"{unicodedata.normalize('NFC', patient)}/img_00")
    write_run(tmp_path / "round")
    write_patient(tmp_path / "round" / "patients" / "p", patient, [ROUND])
    flags = [f"--person={name}={tmp_path / 'people' / name}" for name in "AB"]
    flags += [f"--round={tmp_path / 'round'}", f"--output_dir={tmp_path / 'out'}"]
    assert command_line.main(["observers", *flags]) == 0
    assert summary(tmp_path / "out")["people", "all", "images"] == "1.0000"


@pytest.mark.parametrize("failed_round", [0, 2])
def test_a_round_that_failed_on_an_image_without_cells_is_not_identical(
    table_1, tmp_path, write_patient, capsys, failed_round
):
    for number in range(4):
        write_patient(tmp_path / f"round_{number}" / "patients" / "p", "p", [ROUND, {}])
    path = tmp_path / f"round_{failed_round}" / "patients" / "p" / "images.csv"
    schema = csv_schemas.load("images")
    good, empty = schema.read(path)
    failed = {"patient_id": "p", "image": empty["image"], "status": "failed", "reason": "truncated", "model": ""}
    schema.write(path, [good, failed], schema.classes_in(path))
    record_tables(tmp_path / f"round_{failed_round}")
    assert command_line.main(["observers", *table_1]) == 0, capsys.readouterr().err
    assert ("3 images differ" if failed_round == 0 else "1 image differs") in capsys.readouterr().out
    rows = csv_tables.read_rows(tmp_path / "out" / "observers_differences.csv")
    assert {(row["image"], row["status_differs"]) for row in rows} == {("img_01.jpg", "yes")}
    # Where a round has not examined an image there is no number of its cells.
    assert (rows[0]["first_cells"], rows[0]["other_cells"]) == (("", "0") if failed_round == 0 else ("0", ""))
    assert csv_schemas.load("observers_differences").check(tmp_path / "out" / "observers_differences.csv") == len(rows)
    assert summary(tmp_path / "out")["rounds", "all", "rounds_identical"] == "0.0000"


def test_a_mistyped_model_is_refused_and_not_a_round_without_cells(table_1, tmp_path, capsys):
    assert command_line.main(["observers", *table_1, "--model=mm"]) == 1
    assert "no cells of model 'mm'; it has m: give one of these" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert command_line.main(["observers", *table_1, "--model=m"]) == 0
    assert summary(tmp_path / "out")["rounds", "lymphocyte", "mean"] == "77.0000"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "give people with --person"),
        (["--person=anna"], "write NAME=FOLDER"),
        (["--person=anna=/nowhere"], "/nowhere: no such folder"),
        (["--round=/nowhere", "--round=/nowhere/"], "a folder is given twice"),
    ],
)
def test_wrong_flags_are_one_sentence(tmp_path, capsys, flags, message):
    assert command_line.main(["observers", f"--output_dir={tmp_path / 'out'}", *flags]) == 1
    assert message in capsys.readouterr().err


def test_people_without_a_common_image(tmp_path, capsys):
    write_person(tmp_path / "a", (1, 1, 1, 1), "x")
    write_person(tmp_path / "b", (1, 1, 1, 1), "y")
    flags = [f"--person={name}={tmp_path / name}" for name in "ab"]
    assert command_line.main(["observers", *flags, f"--output_dir={tmp_path / 'out'}"]) == 1
    assert "no image was seen by all of a, b" in capsys.readouterr().err
