import pytest

from tfod_csf.commands import command_line
from tfod_csf.cytology.run_tables import TableError
from tfod_csf.cytology.studies import agreement_tables
from tfod_csf.files import csv_schemas, csv_tables
from tfod_csf.study.labelimg import Annotation, LabeledObject, write_annotation

TABLE_2 = "patient_id,lymphocyte,monocyte,neutrophil\n190931,5,3,92\n191155,1,7,91\n191172,18,23,59\n191158,87,6,7\n"
MACHINE = {"190931": (7, 18, 75), "191155": (4, 7, 90), "191172": (27, 20, 53), "191158": (89, 8, 3)}


def write_machine(path, **more):
    """differentials.csv with the percentages that the paper prints for the DNN."""
    columns = ["patient_id", "white_cells", "lymphocyte_percent", "monocyte_percent", "neutrophil_percent"]
    rows = [(name, 200, *percents) for name, percents in MACHINE.items()] + [(name, *row) for name, row in more.items()]
    csv_tables.write_rows(path, columns, (dict(zip(columns, row, strict=True)) for row in rows))


def test_command_on_the_papers_table(tmp_path, capsys):
    machine, hospital, out = tmp_path / "differentials.csv", tmp_path / "hospital.csv", tmp_path / "out"
    write_machine(machine, few=(3, None, None, None), mine=(50, 0, 100, 0))
    hospital.write_text(TABLE_2 + "few,100,0,0\n=away,50,30,20\n", encoding="utf-8")
    status = command_line.main(["agreement", f"--machine={tmp_path}", f"--hospital={hospital}", f"--output_dir={out}"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    assert "4 patients compared: mean absolute difference 5.33" in captured.out
    assert "accuracy: 94.7 %" in captured.out
    assert csv_schemas.load("agreement").check(out / "agreement.csv") == 32
    assert csv_schemas.load("agreement_patients").check(out / "agreement_patients.csv") == 7
    rows = {row["patient_id"]: row for row in csv_tables.read_rows(out / "agreement_patients.csv")}
    assert [rows[name]["differs"] for name in MACHINE] == ["yes", "no", "no", "no"]
    assert (rows["190931"]["neutrophil_difference"], rows["190931"]["hospital_cells_assumed"]) == ("-17.00", "yes")
    assert rows["few"]["note"] == "too few white cells for percentages"
    assert rows["=away"]["note"] == "not examined by the machine"
    assert rows["mine"]["note"] == "the hospital has no result"
    for name in ("patients", "bland_altman", "regression"):
        assert (out / f"agreement_{name}.png").stat().st_size > 10_000


@pytest.fixture
def annotated(tmp_path, small_run) -> list[str]:
    """Flags of the command for a run of which one image is annotated."""
    write_machine(tmp_path / "differentials.csv")
    (tmp_path / "hospital.csv").write_text(TABLE_2, encoding="utf-8")
    # Patient a, first image: 20 lymphocytes, 10 neutrophils, 5 erythrocytes at x = 10 i; 2 lymphocytes are monocytes.
    names = ["lymphocyte"] * 18 + ["monocyte"] * 2 + ["neutrophil"] * 10 + ["platelet"] * 5
    objects = [LabeledObject(name, 10 * i, 5, 10 * i + 8, 13) for i, name in enumerate(names, start=1)]
    objects.append(LabeledObject("monocyte", 10, 100, 30, 120))
    write_annotation(Annotation(tmp_path, "x", 640, 480, objects), tmp_path / "xml" / "a" / "img_00.xml")
    flags = [f"--machine={tmp_path}", f"--hospital={tmp_path / 'hospital.csv'}", f"--output_dir={tmp_path / 'out'}"]
    return [*flags, f"--inference_dir={small_run}", f"--annotations_dir={tmp_path / 'xml'}", "--class_map=platelet="]


def test_command_with_annotations_adds_kappa(annotated, tmp_path, capsys):
    assert command_line.main(["agreement", *annotated]) == 0, capsys.readouterr().err
    rows = csv_tables.read_rows(tmp_path / "out" / "agreement.csv")
    cells = {row["measure"]: row for row in rows if row["class"] == "cells"}
    counts = [float(cells[f"cells_{name}"]["value"]) for name in ("matched", "missed", "spurious")]
    assert counts == [30, 1, 5]
    # po = 28 / 30; pe = (20 * 18 + 10 * 10) / 900; kappa = (0.9333 - 0.5111) / 0.4889 = 0.8636.
    assert float(cells["kappa"]["value"]) == pytest.approx((28 / 30 - 460 / 900) / (1 - 460 / 900), abs=1e-4)
    pairs = csv_tables.read_rows(tmp_path / "out" / "agreement_cells.csv")
    table = {(row["machine_class"], row["annotated_class"]): row["cells"] for row in pairs}
    assert table["erythrocyte", "none"] == "5"
    assert table["none", "monocyte"] == "1"
    assert csv_schemas.load("agreement_cells").check(tmp_path / "out" / "agreement_cells.csv") == 5


def test_a_mistyped_model_is_refused_and_not_every_cell_missed(annotated, tmp_path, capsys):
    assert command_line.main(["agreement", *annotated, "--model=mm"]) == 1
    assert "no cells of model 'mm'; it has m: give one of these" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert command_line.main(["agreement", *annotated, "--model=m"]) == 0
    rows = csv_tables.read_rows(tmp_path / "out" / "agreement.csv")
    assert [row["value"] for row in rows if row["measure"] == "cells_matched"] == ["30.0000"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,0.05,0.03,0.92", "add up to 1, not to about 100; give percent, not fractions"),
        ("a,50,30,30", "add up to 110, not to about 100; for cells give --hospital_unit=cells"),
        ("a,50,30,many", r"hospital\.csv, line 2: neutrophil is 'many'; expected a number from 0 to 100 "),
        ("a,50,30,-20", "line 2: neutrophil is '-20'; expected a number from 0 to 100"),
        ("a,150,30,20", "line 2: lymphocyte is '150'; expected a number from 0 to 100"),
        ("a,50,30,", "line 2: neutrophil is empty; expected a number from 0 to 100"),
        ("a,50,30,nan", "line 2: neutrophil is 'nan'"),
        ("a,50,5,29,5,20", "line 2: 6 cells, but the header has 4"),
        (",50,30,20", "line 2: patient_id is empty; expected a text"),
        ("a,50,30,20\na,50,30,20", "line 3, patient 'a': the patient is there twice"),
        ("", "no patient in it"),
    ],
)
def test_wrong_hospital_tables_are_one_sentence(tmp_path, row, message):
    path = tmp_path / "hospital.csv"
    path.write_text(f"patient_id,lymphocyte,monocyte,neutrophil\n{row}\n", encoding="utf-8")
    with pytest.raises(TableError, match=message):
        agreement_tables.read_hospital(path, 200)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient_id,lymphocyte,monocyte,neutrophil,n\na,50,30,20,0\n", "line 2: n is '0'; expected a number >= 1"),
        ("patient_id,lymphocyte,monocyte\na,50,50\n", "column 'neutrophil' is missing"),
        ("patient_id;lymphocyte;monocyte;neutrophil\na;50;30;20\n", "column 'patient_id' is missing"),
    ],
)
def test_columns_of_a_hospital_table(tmp_path, text, message):
    path = tmp_path / "hospital.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TableError, match=message):
        agreement_tables.read_hospital(path, 200)


def test_cells_that_are_no_number_or_negative(tmp_path):
    path = tmp_path / "hospital.csv"
    for cell in ("few", "-1", ""):
        path.write_text(f"patient_id,lymphocyte,monocyte,neutrophil\na,30,{cell},10\n", encoding="utf-8")
        with pytest.raises(TableError, match=r"line 2: monocyte is .*; expected a number >= 0 \(white cells\)"):
            agreement_tables.read_hospital(path, 200, are_counts=True)


def test_number_of_cells_and_no_common_patient(tmp_path):
    path = tmp_path / "hospital.csv"
    path.write_text("patient_id,lymphocyte,monocyte,neutrophil,n\na,50,30,20,400\nb,50,30,20,\n", encoding="utf-8")
    hospital = agreement_tables.read_hospital(path, 200)
    assert hospital.differentials.cells.tolist() == [400, 200]
    assert hospital.assumed.tolist() == [False, True]
    write_machine(tmp_path / "differentials.csv")
    machine, without = agreement_tables.read_machine(tmp_path / "differentials.csv")
    with pytest.raises(TableError, match="patient_id is written the same way"):
        agreement_tables.write_agreement(tmp_path / "out", machine, without, hospital)


def test_counts_in_place_of_percentages(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text("patient_id,lymphocyte,monocyte,neutrophil\na,30,10,10\nb,0,0,0\n", encoding="utf-8")
    hospital = agreement_tables.read_hospital(path, 200, are_counts=True)
    assert hospital.differentials.patient_ids == ("a",)
    assert hospital.differentials.percent.tolist() == [[60, 20, 20]]
    assert (hospital.differentials.cells.tolist(), hospital.assumed.tolist()) == ([50], [False])
