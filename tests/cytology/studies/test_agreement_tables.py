import pytest

from tests.support.examined_study import record_tables
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
    assert "accuracy: 94.7 %), 1 of them differs by more than counting explains" in captured.out
    assert csv_schemas.load("agreement").check(out / "agreement.csv") == 58
    assert csv_schemas.load("agreement_limits").check(out / "agreement_limits.csv") == 4
    assert csv_schemas.load("agreement_levels").check(out / "agreement_levels.csv") == 3
    assert csv_schemas.load("agreement_patients").check(out / "agreement_patients.csv") == 7
    rows = {row["patient_id"]: row for row in csv_tables.read_rows(out / "agreement_patients.csv")}
    assert [rows[name]["differs"] for name in MACHINE] == ["yes", "no", "no", "no"]
    assert (rows["190931"]["neutrophil_difference"], rows["190931"]["hospital_cells_assumed"]) == ("-17.00", "yes")
    # 14, 36, 150 against 10, 6, 184 cells: chi-square 25.556 with 2 degrees of freedom, exp(-12.778) = 2.82e-06.
    assert (rows["190931"]["p_value"], rows["190931"]["p_value_holm"]) == ("2.82e-06", "1.13e-05")
    assert rows["few"]["note"] == "too few white cells for percentages"
    assert rows["=away"]["note"] == "not examined by the machine"
    assert rows["mine"]["note"] == "the hospital has no result"
    for name in ("patients", "bland_altman", "regression"):
        assert (out / f"agreement_{name}.png").stat().st_size > 10_000


def test_patients_beyond_the_limit_of_unknown_cells_are_named(tmp_path, capsys):
    write_machine(tmp_path / "differentials.csv")
    rows = csv_tables.read_rows(tmp_path / "differentials.csv")
    # The run's limit was 15 %: 12 % are not beyond it. The hospital does not have the last patient.
    for row, percent, beyond in zip(rows, (12.0, 16.25, 0, 0), ("no", "yes", "no", "no"), strict=True):
        row |= {"unknown_white_percent": percent, "unknown_beyond_limit": beyond}
    rows.append(rows[1] | {"patient_id": "mine"})
    csv_tables.write_rows(tmp_path / "differentials.csv", list(rows[0]), rows)
    (tmp_path / "hospital.csv").write_text(TABLE_2.replace("1,7,91", "1,7,72"), encoding="utf-8")
    flags = [f"--machine={tmp_path}", f"--hospital={tmp_path / 'hospital.csv'}", f"--output_dir={tmp_path / 'out'}"]
    assert command_line.main(["agreement", *flags]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "1 compared patient with too many unknown white cells: percentages not to be relied on (note in "
        "agreement_patients.csv)."
    )
    notes = {
        row["patient_id"]: row["note"] for row in csv_tables.read_rows(tmp_path / "out" / "agreement_patients.csv")
    }
    assert notes["191155"] == (
        "16.2 % of the white cells are unknown: percentages not to be relied on; the hospital's percentages add up to "
        "80: divided by their sum"
    )
    assert (notes["190931"], notes["191172"], notes["mine"]) == ("", "", "the hospital has no result")
    measures = {row["measure"]: row for row in csv_tables.read_rows(tmp_path / "out" / "agreement.csv")}
    assert float(measures["patients_unknown_beyond_limit"]["value"]) == 1


def test_limits_and_levels_of_the_papers_table(tmp_path):
    write_machine(tmp_path / "differentials.csv")
    (tmp_path / "hospital.csv").write_text(TABLE_2, encoding="utf-8")
    flags = [f"--machine={tmp_path}", f"--hospital={tmp_path / 'hospital.csv'}", f"--output_dir={tmp_path / 'out'}"]
    assert command_line.main(["agreement", *flags, "--decision_level=Neutrophil=50"]) == 0
    rows = {row["class"]: row for row in csv_tables.read_rows(tmp_path / "out" / "agreement_limits.csv")}
    # Lymphocytes 63 to 99 %: the hospital's 5, 1, 18 and the machine's 7, 4, 27 are low, 87 and 89 are normal.
    counts = ["both_abnormal", "machine_only", "hospital_only", "both_normal"]
    assert [rows["lymphocyte"][name] for name in counts] == ["3", "0", "0", "1"]
    # Clopper and Pearson for 3 of 3: 0.025 ** (1 / 3).
    assert rows["lymphocyte"]["sensitivity_ci_low_percent"] == "29.24"
    # Neutrophils 0 to 2 %: all four patients have more by both, so that nobody says anything about the specificity.
    assert [rows["neutrophil"][name] for name in counts] == ["4", "0", "0", "0"]
    assert rows["neutrophil"]["specificity_percent"] == ""
    assert (rows["any"]["both_abnormal"], rows["any"]["low_percent"]) == ("4", "")
    levels = csv_tables.read_rows(tmp_path / "out" / "agreement_levels.csv")
    found = [(row["class"], row["level_percent"], row["source"]) for row in levels]
    assert found == [
        ("lymphocyte", "63.00", "reference_low"),
        ("monocyte", "37.00", "reference_high"),
        ("neutrophil", "2.00", "reference_high"),
        ("neutrophil", "50.00", "given"),
    ]
    assert levels[2]["note"] == "extrapolated: the hospital has 7 to 92 %"
    assert (levels[3]["note"], levels[3]["limits"]) == ("", "constant")


def test_patients_are_tested_with_effective_cells_where_the_table_has_them(tmp_path):
    columns = ["patient_id", "white_cells", "lymphocyte_percent", "monocyte_percent", "neutrophil_percent"]
    columns += ["design_effect", "effective_cells"]
    rows = [("190931", 200, 7, 18, 75, 5, 40), ("191155", 200, 4, 7, 90, "", 200)]
    table = (dict(zip(columns, row, strict=True)) for row in rows)
    csv_tables.write_rows(tmp_path / "differentials.csv", columns, table)
    (tmp_path / "hospital.csv").write_text(TABLE_2, encoding="utf-8")
    flags = [f"--machine={tmp_path}", f"--hospital={tmp_path / 'hospital.csv'}", f"--output_dir={tmp_path / 'out'}"]
    found = {}
    for more in ([], ["--noeffective_cells"]):
        assert command_line.main(["agreement", *flags, *more]) == 0
        patients = csv_tables.read_rows(tmp_path / "out" / "agreement_patients.csv")
        found[bool(more)] = [(row["machine_tested_cells"], row["p_value"]) for row in patients[:2]]
        measures = {row["measure"] for row in csv_tables.read_rows(tmp_path / "out" / "agreement.csv")}
        assert ("sd_counting_clustered" in measures) == (not more)
    assert [cells for cells, _ in found[False]] == ["40", "200"]
    assert [cells for cells, _ in found[True]] == ["200", "200"]
    assert float(found[False][0][1]) > 100 * float(found[True][0][1])
    assert found[False][1] == found[True][1]


def test_patients_of_one_side_and_likely_counts_are_said(tmp_path, capsys):
    write_machine(tmp_path / "differentials.csv")
    rows = "190931;5;3;42\n191155 ;1;7;70\n0191172;18;23;20\n"
    (tmp_path / "hospital.csv").write_text(f"patient_id;lymphocyte;monocyte;neutrophil\n{rows}", encoding="utf-8")
    flags = [f"--machine={tmp_path}", f"--hospital={tmp_path / 'hospital.csv'}", f"--output_dir={tmp_path / 'out'}"]
    assert command_line.main(["agreement", *flags]) == 0
    said = capsys.readouterr().out
    assert "2 patients compared" in said
    assert "1 patient of the hospital not examined by the machine ('0191172'); '0191172' may be '191172': write" in said
    assert "2 patients of the machine without a result of the hospital ('191158', '191172')." in said
    assert "If its columns hold cells, not percent, give --hospital_unit=cells." in said


@pytest.mark.parametrize("entry", ["neutrophil", "neutrophil=many", "erythrocyte=3", "monocyte=101"])
def test_wrong_decision_levels_are_one_sentence(tmp_path, capsys, entry):
    write_machine(tmp_path / "differentials.csv")
    (tmp_path / "hospital.csv").write_text(TABLE_2, encoding="utf-8")
    flags = [f"--machine={tmp_path}", f"--hospital={tmp_path / 'hospital.csv'}", f"--output_dir={tmp_path / 'out'}"]
    assert command_line.main(["agreement", *flags, f"--decision_level={entry}"]) == 1
    assert f"--decision_level={entry}: write CLASS=PERCENT" in capsys.readouterr().err


def test_hospital_rows_with_cells_of_other_classes_are_divided_by_their_sum(tmp_path, capsys):
    write_machine(tmp_path / "differentials.csv")
    text = TABLE_2.replace("18,23,59", "19,19,57") + "only_eosinophils,0,0,0\n"
    (tmp_path / "hospital.csv").write_text(text, encoding="utf-8")
    flags = [f"--machine={tmp_path}", f"--hospital={tmp_path / 'hospital.csv'}", f"--output_dir={tmp_path / 'out'}"]
    assert command_line.main(["agreement", *flags]) == 0
    said = capsys.readouterr().out
    assert "1 patient of the hospital with cells of other classes" in said
    assert "--hospital_unit=cells" not in said
    rows = {row["patient_id"]: row for row in csv_tables.read_rows(tmp_path / "out" / "agreement_patients.csv")}
    # 19 + 19 + 57 = 95: 20, 20 and 60 % of 190 of the 200 cells.
    row = rows["191172"]
    assert [row[f"hospital_{name}_percent"] for name in ("lymphocyte", "neutrophil")] == ["20.00", "60.00"]
    assert row["hospital_cells"] == "190"
    assert row["note"] == "the hospital's percentages add up to 95: divided by their sum"
    assert rows["190931"]["note"] == ""
    assert "only_eosinophils" not in rows


def test_patients_with_and_without_pleocytosis_are_groups_of_their_own(tmp_path):
    columns = ["patient_id", "white_cells", "lymphocyte_percent", "monocyte_percent", "neutrophil_percent"]
    rows = [("a", 100, 70, 28, 2, "yes"), ("b", 100, 60, 30, 10, "yes"), ("c", 100, 80, 20, 0, "no")]
    rows.append(("d", 100, 80, 17, 3, ""))
    table = (dict(zip([*columns, "pleocytosis"], row, strict=True)) for row in rows)
    csv_tables.write_rows(tmp_path / "differentials.csv", [*columns, "pleocytosis"], table)
    hospital = tmp_path / "hospital.csv"
    lines = "a,60,35,5\nb,60,30,10\nc,80,20,0\nd,80,18,2\n"
    hospital.write_text("patient_id,lymphocyte,monocyte,neutrophil\n" + lines, encoding="utf-8")
    flags = [f"--machine={tmp_path}", f"--hospital={hospital}", f"--output_dir={tmp_path / 'out'}"]
    assert command_line.main(["agreement", *flags]) == 0
    found = csv_tables.read_rows(tmp_path / "out" / "agreement_limits.csv")
    names = ["both_abnormal", "machine_only", "hospital_only", "both_normal"]
    counts = {(row["group"], row["class"]): [int(row[name]) for name in names] for row in found}
    # Neutrophils above 2 %: the machine b and d, the hospital a and b.
    assert counts["all", "neutrophil"] == [1, 1, 1, 1]
    assert counts["pleocytosis", "neutrophil"] == [1, 0, 1, 0]
    assert counts["no_pleocytosis", "neutrophil"] == [0, 0, 0, 1]
    assert len(counts) == 12


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
    # Of the cells that people called white: 18 of 20 lymphocytes, 2 monocytes, 10 neutrophils: the same 30.
    assert cells["kappa_white_cells"]["value"] == cells["kappa"]["value"]
    assert cells["kappa"]["ci_low"] == ""
    assert "fewer than 5 patients" in cells["kappa"]["note"]
    classes = csv_tables.read_rows(tmp_path / "out" / "agreement_classes.csv")
    shares = {(row["class"], row["measure"]): (row["value"], row["cells"]) for row in classes}
    # 18 annotated lymphocytes, all found; of the machine's 20, 2 are monocytes. Of 3 monocytes, 1 was not found.
    assert shares["lymphocyte", "sensitivity"] == ("1.0000", "18")
    assert shares["lymphocyte", "positive_predictive_value"] == ("0.9000", "20")
    assert shares["lymphocyte", "specificity"] == ("0.8462", "13")
    assert shares["monocyte", "other_class"] == ("0.6667", "3")
    assert shares["monocyte", "missed"] == ("0.3333", "3")
    assert shares["erythrocyte", "positive_predictive_value"] == ("0.0000", "5")
    assert shares["erythrocyte", "sensitivity"] == ("", "0")
    assert csv_schemas.load("agreement_classes").check(tmp_path / "out" / "agreement_classes.csv") == 28
    assert (tmp_path / "out" / "agreement_classes.png").stat().st_size > 10_000
    assert csv_schemas.load("agreement_cells").check(tmp_path / "out" / "agreement_cells.csv") == 5


def test_reviewed_cells_are_compared_as_people_decided(annotated, small_run, tmp_path, capsys):
    path = small_run / "patients" / "a" / "cells.csv"
    rows = csv_tables.read_rows(path)
    # A person corrects the two monocytes, adds the cell that was missed, and leaves one lymphocyte undecided.
    for row in rows[18:20]:
        row |= {"status": "relabelled", "counted_as": "monocyte"}
    rows[0] |= {"status": "unknown", "counted_as": "unknown"}
    box = {"xmin": 10, "ymin": 100, "xmax": 30, "ymax": 120}
    rows.append({**rows[18], **box, "cell_id": 99, "status": "added", "predicted_class": "", "score": ""})
    csv_tables.write_rows(path, list(rows[0]), rows)
    record_tables(small_run)
    assert command_line.main(["agreement", *annotated]) == 0, capsys.readouterr().err
    rows = csv_tables.read_rows(tmp_path / "out" / "agreement.csv")
    cells = {row["measure"]: row for row in rows if row["class"] == "cells"}
    # 17 + 3 + 10 of 31 are named as the annotators did, one is unknown: pe = (18 * 17 + 3 * 3 + 10 * 10) / 31 ** 2.
    chance = 415 / 961
    assert float(cells["kappa"]["value"]) == pytest.approx((30 / 31 - chance) / (1 - chance), abs=1e-4)
    assert float(cells["kappa_without_unknown"]["value"]) == 1
    assert "of reviewed patients the class people decided" in cells["kappa"]["note"]
    pairs = csv_tables.read_rows(tmp_path / "out" / "agreement_cells.csv")
    assert {(row["machine_class"], row["annotated_class"]): row["cells"] for row in pairs} == {
        ("erythrocyte", "none"): "5",
        ("lymphocyte", "lymphocyte"): "17",
        ("monocyte", "monocyte"): "3",
        ("neutrophil", "neutrophil"): "10",
        ("unknown", "lymphocyte"): "1",
    }
    assert csv_schemas.load("agreement_cells").check(tmp_path / "out" / "agreement_cells.csv") == 5
    classes = csv_tables.read_rows(tmp_path / "out" / "agreement_classes.csv")
    shares = {(row["class"], row["measure"]): (row["value"], row["cells"]) for row in classes}
    assert shares["lymphocyte", "sensitivity"] == ("0.9444", "18")
    assert shares["monocyte", "positive_predictive_value"] == ("1.0000", "3")


@pytest.mark.parametrize("flag", ["--model=m", "--class_map=mono=monocyte", "--matching_iou_threshold=0.4"])
def test_flags_of_single_cells_are_refused_without_annotations(annotated, capsys, flag):
    differentials = [given for given in annotated if given.startswith(("--machine", "--hospital", "--output_dir"))]
    assert command_line.main(["agreement", *differentials, flag]) == 1
    assert f"error: {flag.split('=')[0]} is for single cells" in capsys.readouterr().err


def test_a_class_map_to_no_class_is_refused(annotated, capsys):
    assert command_line.main(["agreement", *annotated, "--class_map=mono=monocte"]) == 1
    assert "'monocte', which is not a class; did you mean 'monocyte'?" in capsys.readouterr().err


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
        ("patient_id|lymphocyte|monocyte|neutrophil\na|50|30|20\n", "column 'patient_id' is missing"),
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
    machine = agreement_tables.read_machine(tmp_path / "differentials.csv")
    with pytest.raises(TableError, match="patient_id is written the same way"):
        agreement_tables.write_agreement(tmp_path / "out", machine, hospital)


def test_counts_in_place_of_percentages(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text("patient_id,lymphocyte,monocyte,neutrophil\na,30,10,10\nb,0,0,0\n", encoding="utf-8")
    hospital = agreement_tables.read_hospital(path, 200, are_counts=True)
    assert hospital.differentials.patient_ids == ("a",)
    assert hospital.differentials.percent.tolist() == [[60, 20, 20]]
    assert (hospital.differentials.cells.tolist(), hospital.assumed.tolist()) == ([50], [False])
