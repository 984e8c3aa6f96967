"""Reports for the laboratory's system: nothing but signed, final ones, with exactly the signed numbers."""

import builtins
import dataclasses
import json

import pytest
from lxml import html

from tests.support.signing_desk import folder_of, review, sign
from tfod_csf.commands import command_line, export_report
from tfod_csf.cytology.signing import report_export
from tfod_csf.files import csv_schemas, csv_tables, key_files

TABLE = (
    "patient_id,cells_per_ul,sample_id,collected_at,operator\n"
    "王伟,3,S-17,2022-01-24T13:05+08:00,Wu\n"
    "p2,4,S-18,2022-01-25,\n"
)


@pytest.fixture
def signed(desk, tmp_path):
    """The desk with one final report."""
    review(desk)
    (tmp_path / "patients.csv").write_text(TABLE, encoding="utf-8")
    table = f"--patient_table={tmp_path / 'patients.csv'}"
    assert sign(desk, table, "--comment=No tumor cells.", "--noreport") == 0
    return desk


def export(desk, *flags):
    arguments = [f"--inference_dir={desk.output}", f"--output_dir={desk.root / 'out'}", *flags]
    return command_line.run(export_report.main, export_report.FLAGS, "", "export_report", arguments)


def resources(desk):
    bundle = json.loads((desk.root / "out" / f"{folder_of(desk).name}.fhir.json").read_text(encoding="utf-8"))
    return bundle, [entry["resource"] for entry in bundle["entry"]]


def test_a_table_with_a_line_per_final_report(signed, capsys):
    assert export(signed, "--format=csv") == 0, capsys.readouterr().err
    assert "1 final report written" in capsys.readouterr().out
    assert csv_schemas.load("report_export").check(signed.root / "out" / "report_export.csv") == 1
    (row,) = csv_tables.read_rows(signed.root / "out" / "report_export.csv")
    assert (row["patient_id"], row["sample_id"], row["collected_at"]) == ("王伟", "S-17", "2022-01-24T13:05+08:00")
    assert (row["status"], row["signed_by"], row["comment"]) == ("final", "Dr Wu", "No tumor cells.")
    # 2 lymphocytes and 1 monocyte; the likely erythrocyte was left unknown by a person.
    assert (row["lymphocyte"], row["lymphocyte_percent"], row["neutrophil_percent"]) == ("2", "66.67", "0.00")
    assert (row["erythrocyte"], row["unknown"], row["checked"]) == ("0", "1", "all 2 images verified")
    assert [path.name for path in (signed.root / "out").iterdir()] == ["report_export.csv"]


def test_a_bundle_per_final_report(signed, capsys):
    pytest.importorskip("fhir.resources")
    assert export(signed) == 0, capsys.readouterr().err
    bundle, found = resources(signed)
    report = found[0]
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "collection")
    assert (report["resourceType"], report["status"]) == ("DiagnosticReport", "final")
    assert report["performer"] == [{"display": "Dr Wu"}]
    assert report["effectiveDateTime"] == "2022-01-24T13:05:00+08:00"
    assert report["conclusion"].startswith("3 white cells on 2 images: lymphocytes 67 %")
    assert report["conclusion"].endswith(" No tumor cells.")
    assert found[1]["identifier"] == [{"value": "王伟"}]
    assert found[3]["method"]["text"].endswith("reviewed by Li: all 2 images verified")
    assert found[2]["accessionIdentifier"] == {"value": "S-17"}
    before = (signed.root / "out" / f"{folder_of(signed).name}.fhir.json").read_bytes()
    assert export(signed) == 0
    assert (signed.root / "out" / f"{folder_of(signed).name}.fhir.json").read_bytes() == before


def test_the_conclusion_is_what_the_page_says_after_review(desk, capsys):
    pytest.importorskip("fhir.resources")
    review(desk, cell="neutrophil")
    assert sign(desk, "--comment=No tumor cells.") == 0
    assert export(desk) == 0, capsys.readouterr().err
    page = html.parse(str(folder_of(desk) / "report.html")).getroot()
    (said,) = page.xpath("//dt[.='Result after review']/following-sibling::dd")
    conclusion = resources(desk)[1][0]["conclusion"]
    assert conclusion == said.text_content().replace("\u00a0", " ")
    # 2 lymphocytes and 1 neutrophil.
    assert "lymphocytes 67 %, neutrophils 33 % (high, uncertain), monocytes 0 %. No tumor cells." in conclusion


@pytest.mark.parametrize("file_format", ["fhir", "csv"])
def test_a_report_that_is_not_signed_is_refused(desk, capsys, file_format):
    review(desk)
    capsys.readouterr()
    assert export(desk, f"--format={file_format}") == 1
    error = capsys.readouterr().err
    assert "no report is final, nothing was written; " in error
    assert "the report is not signed; sign it with sign_report when it is reviewed." in error
    assert not (desk.root / "out").exists()


def test_a_named_patient_without_a_final_report_is_refused_with_all(signed, capsys):
    capsys.readouterr()
    assert export(signed, "--format=csv", "--patient=王伟", "--patient=p2") == 1
    assert "p2: the report is not signed" in capsys.readouterr().err
    assert export(signed, "--format=csv", "--patient=p3") == 1
    assert "no patient 'p3'" in capsys.readouterr().err
    assert not (signed.root / "out").exists()


def test_a_review_after_the_signature_is_refused_until_it_is_signed_again(signed, capsys):
    pytest.importorskip("fhir.resources")
    review(signed, "again", cell="neutrophil")
    capsys.readouterr()
    assert export(signed, "--patient=王伟") == 1
    error = capsys.readouterr().err
    assert "the report is reviewed, not final: Signed on " in error
    assert "(changed: counts, percentages, cells.csv or images.csv)" in error
    assert not (signed.root / "out").exists()
    assert sign(signed, "--noreport", who="Dr Xu") == 0
    assert export(signed) == 0
    _, found = resources(signed)
    # The numbers of a final report were corrected.
    assert {one["status"] for one in found if "status" in one} == {"corrected"}
    assert found[0]["performer"] == [{"display": "Dr Xu"}]


@pytest.mark.parametrize("file_format", ["csv", "fhir"])
def test_what_was_exported_is_removed_and_named_when_nothing_is_final_any_more(signed, capsys, file_format):
    pytest.importorskip("fhir.resources")
    for earlier in ("csv", "fhir"):
        assert export(signed, f"--format={earlier}") == 0
    out = signed.root / "out"
    table, bundle = out / "report_export.csv", out / f"{folder_of(signed).name}.fhir.json"
    (out / "p2.fhir.json").write_text("{}", encoding="utf-8")  # not of this program
    review(signed, "again", cell="neutrophil")
    capsys.readouterr()
    assert export(signed, f"--format={file_format}") == 1
    said = capsys.readouterr()
    assert "no report is final, nothing was written" in said.err
    for path in (table, bundle):
        assert f"{path}: removed; " in said.out
        assert not path.exists()
    assert [path.name for path in out.iterdir()] == ["p2.fhir.json"]


def test_a_table_of_reports_that_are_final_or_of_others_stays(signed, capsys):
    pytest.importorskip("fhir.resources")
    assert export(signed, "--format=csv") == 0
    table = signed.root / "out" / "report_export.csv"
    before = table.read_bytes()
    # p2 is not final, but no line of the table is about p2.
    assert export(signed, "--patient=p2") == 1
    assert table.read_bytes() == before
    table.write_text("patient_id,result\np2,normal\n", encoding="utf-8")
    assert export(signed, "--patient=p2", "--format=csv") == 1
    assert table.is_file()
    assert "removed" not in capsys.readouterr().out


def test_only_signatures_of_the_key_count(desk, tmp_path, capsys):
    review(desk)
    for name in ("key", "other"):
        key_files.create_key(tmp_path / name)
    assert sign(desk, f"--signing_key={tmp_path / 'key'}", "--noreport") == 0
    assert export(desk, "--format=csv", f"--signing_key={tmp_path / 'key'}") == 0
    capsys.readouterr()
    assert export(desk, "--format=csv", f"--signing_key={tmp_path / 'other'}") == 1
    assert "not signed with the given key" in capsys.readouterr().err


def test_too_few_white_cells_for_percentages_are_exported_as_counts(desk, capsys):
    pytest.importorskip("fhir.resources")
    review(desk)
    assert sign(desk, "--min_white_cells=30", "--noreport") == 0
    assert export(desk) == 0, capsys.readouterr().err
    _, found = resources(desk)
    absent = [one for one in found if "dataAbsentReason" in one]
    assert len(absent) == 3
    assert not any("valueQuantity" in one for one in absent)
    counts = "3 white cells on 2 images: 2 lymphocytes, 1 monocyte, 0 neutrophils"
    assert found[0]["conclusion"] == f"{counts}. Fewer than 30, so no percentages are given."
    assert export(desk, "--format=csv") == 0
    (row,) = csv_tables.read_rows(desk.root / "out" / "report_export.csv")
    assert (row["lymphocyte"], row["lymphocyte_percent"]) == ("2", "")


def test_of_several_bundles_none_is_written_where_one_cannot_be_made(signed, capsys, monkeypatch):
    pytest.importorskip("fhir.resources")
    report = report_export.read_final_report(folder_of(signed), None)
    refused = dataclasses.replace(report, facts=dataclasses.replace(report.facts, collected_at="2022-W04-1"))
    reports = {folder_of(signed): report, folder_of(signed, "p2"): refused}
    monkeypatch.setattr(report_export.run_tables, "folders_by_patient", lambda _: {f.name: f for f in reports})
    monkeypatch.setattr(report_export, "read_final_report", lambda folder, key: reports[folder])
    capsys.readouterr()
    assert export(signed) == 1
    assert "patient '王伟': collected_at of the signed report is '2022-W04-1'" in capsys.readouterr().err
    assert not list(signed.root.rglob("*.fhir.json"))


def test_without_the_library_one_sentence_says_what_to_install(signed, capsys, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **more):
        if name.startswith("fhir"):
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    capsys.readouterr()
    assert export(signed) == 1
    assert "pip install 'tfod_csf[fhir]'" in capsys.readouterr().err
    assert not list(signed.root.rglob("*.fhir.json"))
