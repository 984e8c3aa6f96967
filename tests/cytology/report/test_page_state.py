"""Pages beside tables that were counted by other rules are removed, and only those."""

import pytest

from tfod_csf.commands import command_line


def run(command, folder, *flags, output=None):
    return command_line.main([command, f"--inference_dir={folder}", f"--output_dir={output or folder}", *flags])


def pages_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("report.html"))


EVERY = ["patients/a/report.html", "patients/b/report.html", "patients/c/report.html", "report.html"]


@pytest.mark.parametrize("other_folder", [False, True])
def test_counting_by_other_rules_removes_the_pages_of_the_earlier_ones(small_run, tmp_path, capsys, other_folder):
    output = tmp_path / "out" if other_folder else small_run
    assert run("report", small_run, "--replicates=100", output=output) == 0, capsys.readouterr().err
    assert run("differential", small_run, output=output) == 0
    assert pages_in(output) == EVERY
    assert "removed" not in capsys.readouterr().out
    # Cells of a score of 0.9 are unknown now: the pages gave percentages of them.
    assert run("differential", small_run, "--unknown_below=0.95", output=output) == 0
    assert pages_in(output) == []
    assert (
        "4 pages of earlier rules or tables removed ('patients/a/report.html', 'patients/b/report.html', "
        "'patients/c/report.html', ...); run report again."
    ) in capsys.readouterr().out


def test_the_page_of_all_patients_alone_is_removed_too(small_run, capsys):
    assert run("report", small_run, "--replicates=100", "--pages=cohort", "--patient=a") == 1
    assert "--patient would write nothing" in capsys.readouterr().err
    assert run("report", small_run, "--replicates=100", "--pages=cohort") == 0, capsys.readouterr().err
    assert run("differential", small_run) == 0
    assert pages_in(small_run) == ["report.html"]
    assert run("differential", small_run, "--max_unknown_percent=5") == 0
    assert pages_in(small_run) == []
    assert "1 page of earlier rules or tables removed ('report.html'); run report again." in capsys.readouterr().out


def test_what_the_table_of_patients_says_is_on_the_pages_too(small_run, tmp_path, capsys):
    (tmp_path / "patients.csv").write_text("patient_id,cells_per_ul\nc,80\n", encoding="utf-8")
    assert run("report", small_run, "--replicates=100") == 0, capsys.readouterr().err
    assert run("differential", small_run, f"--patient_table={tmp_path / 'patients.csv'}") == 0
    assert pages_in(small_run) == ["patients/a/report.html", "patients/b/report.html"]


def test_a_page_of_somebody_elses_stays_and_removes_none(small_run, capsys):
    assert run("report", small_run, "--replicates=100") == 0, capsys.readouterr().err
    (small_run / "patients" / "a" / "report.html").write_text("<p>Notes", encoding="utf-8")
    assert run("differential", small_run) == 0
    assert pages_in(small_run) == EVERY
