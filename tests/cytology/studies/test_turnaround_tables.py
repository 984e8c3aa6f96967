import numpy as np
import pytest

from tfod_csf.commands import command_line
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.studies import turnaround_tables
from tfod_csf.cytology.studies.turnaround_tables import HandTimes, PatientMinutes, turnaround_rows
from tfod_csf.files import csv_schemas, csv_tables


def by_step(rows):
    return {(row["per"], row["step"]): row for row in rows}


def test_rows_by_hand():
    # Two days of 2 and 1 patients; by hand 10 + 2, 14 + 4, 12 + 3 minutes; machine 1, 2, 3 and review 1 minute.
    hand = HandTimes(np.array([10.0, 14, 12]), np.array([2.0, 4, 3]), ("mon", "mon", "tue"))
    rows = by_step(turnaround_rows(hand, PatientMinutes(np.array([1.0, 2, 3])), PatientMinutes(np.array([1.0, 1]))))
    assert rows["patient", "by_hand_total"]["mean"] == 15
    assert rows["patient", "machine_total"]["mean"] == 3
    assert rows["patient", "saved"]["mean"] == 12
    assert rows["patient", "saved_percent"]["mean"] == 80
    # Standard errors: classification 2 / sqrt(3), report 1 / sqrt(3), machine 1 / sqrt(3), review 0.
    assert rows["patient", "saved"]["error_worst_case"] == pytest.approx(4 / np.sqrt(3))
    assert rows["patient", "saved"]["error_independent"] == pytest.approx(np.sqrt(6 / 3))
    # Standard deviations: 2, 1 and 1.
    assert rows["patient", "saved"]["sd_worst_case"] == pytest.approx(4)
    assert rows["patient", "saved"]["sd_independent"] == pytest.approx(np.sqrt(6))
    assert rows["patient", "by_hand_report"]["sd_independent"] == 1
    assert ("patient", "saved_paired") not in rows
    assert rows["day", "by_hand_total"]["mean"] == (30 + 15) / 2
    assert rows["day", "machine_total"]["mean"] == 1.5 * 3
    assert rows["day", "patients"]["mean"] == 1.5


def test_no_days_no_review_and_a_single_patient():
    hand = HandTimes(np.array([10.0]), np.array([2.0]), ("",))
    rows = by_step(turnaround_rows(hand, PatientMinutes(np.array([3.0])), None))
    assert ("day", "saved") not in rows
    assert rows["patient", "saved_percent"]["mean"] == 75
    assert rows["patient", "saved_percent"]["error_worst_case"] == 0


def test_patients_timed_both_ways_are_compared_one_by_one():
    # By hand 10, 20 and 40 minutes (b twice: 15 and 25), machine and review 2, 3 and 6: saved 8, 17 and 34.
    hand = HandTimes(np.array([9.0, 14, 24, 39, 5]), np.ones(5), ("",) * 5, ("a", "b", "b", "c", "nobody"))
    machine = PatientMinutes(np.array([5.0, 2, 1, 9]), ("c", "b", "a", "d"))
    review = PatientMinutes(np.array([1.0, 1, 1]), ("a", "b", "c"))
    rows = by_step(turnaround_rows(hand, machine, review))
    paired = rows["patient", "saved_paired"]
    assert (paired["mean"], paired["count"]) == (pytest.approx(59 / 3), 3)
    sd = np.std([8, 17, 34], ddof=1)
    assert (paired["sd"], paired["error_independent"]) == (pytest.approx(sd), pytest.approx(sd / np.sqrt(3)))
    percent = rows["patient", "saved_percent_paired"]
    # Ratio of sums 11 / 70; error sqrt(3 / 2 * sum of squared residuals) / 70.
    residual = np.array([2, 3, 6]) - 11 / 70 * np.array([10, 20, 40])
    assert percent["mean"] == pytest.approx(100 * 59 / 70)
    assert percent["error_independent"] == pytest.approx(100 * np.sqrt(1.5 * (residual**2).sum()) / 70)
    said = turnaround_tables.remarks(hand, machine, review)
    assert said == [
        "3 of 4 patients of --technician_times are in the run; 3 timed both ways are also compared patient by patient.",
        "--technician_times: not in the run: 'nobody'.",
    ]


def test_what_is_not_computed_is_said():
    hand = HandTimes(np.array([9.0, 14]), np.ones(2), ("mon", ""), ("x", "y"))
    machine, review = PatientMinutes(np.array([5.0]), ("a",)), PatientMinutes(np.array([5.0, 1]), ("a", "q"))
    assert turnaround_tables.remarks(hand, machine, review) == [
        "per day: not computed, 1 of 2 rows of --technician_times have no day.",
        "0 of 2 patients of --technician_times are in the run; compared as two groups.",
        "--technician_times: not in the run: 'x', 'y'.",
        "--review_times has 1 patient not in the run ('q').",
    ]
    assert ("day", "saved") not in by_step(turnaround_rows(hand, machine, review))
    nameless = HandTimes(np.array([9.0]), np.ones(1), ("",))
    assert turnaround_tables.remarks(nameless, machine, None) == []


@pytest.fixture
def timed_run(tmp_path, write_patient, write_run):
    output = tmp_path / "run"
    names = ["b", "a"]
    write_run(output, patients={name: {"folder": name, "seconds": 120.0} for name in names})
    for name in names:
        write_patient(output / "patients" / name, name, [{"lymphocyte": n % 5} for n in range(12)], failed=1)
    return output


def test_command(timed_run, tmp_path, capsys):
    (tmp_path / "hand.csv").write_text(
        "patient_id,day,classification_minutes,report_minutes\nx,1,13,4\ny,1,14,5\nz,2,13,4\n", encoding="utf-8"
    )
    (tmp_path / "review.csv").write_text("patient_id,review_minutes\na,0.5\nb,0.3\n", encoding="utf-8")
    flags = [f"--inference_dir={timed_run}", f"--output_dir={tmp_path / 'out'}"]
    more = [f"--technician_times={tmp_path / 'hand.csv'}", f"--review_times={tmp_path / 'review.csv'}"]
    assert command_line.main(["turnaround", *flags, *more]) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    # 53 / 3 = 17.667 minutes by hand; 2 + 0.4 with the machine: 86.4 % saved.
    assert "per patient: 15.3 minutes saved, 86.4 %" in out
    assert "standard error" in out
    assert "0 of 3 patients of --technician_times are in the run; compared as two groups." in out
    assert csv_schemas.load("turnaround").check(tmp_path / "out" / "turnaround.csv") == 15
    assert csv_schemas.load("turnaround_images").check(tmp_path / "out" / "turnaround_images.csv") == 2
    row = csv_tables.read_rows(tmp_path / "out" / "turnaround_images.csv")[0]
    assert (row["images"], row["median_seconds"], row["slope_seconds"]) == ("24", "0.5000", "0.000000")
    assert (tmp_path / "out" / "turnaround.png").stat().st_size > 10_000


def test_command_without_technicians_still_times_the_images(timed_run, tmp_path, capsys):
    flags = [f"--inference_dir={timed_run}", f"--output_dir={tmp_path / 'out'}"]
    assert command_line.main(["turnaround", *flags]) == 0, capsys.readouterr().err
    assert not (tmp_path / "out" / "turnaround.csv").exists()
    assert "0.500 s per image" in capsys.readouterr().out


def test_images_come_in_the_order_of_the_run_without_patients_of_earlier_runs(timed_run):
    run = {"patients": {"b": {"folder": "b"}, "a": {"folder": "a", "done_in_earlier_run": True}}}
    cells, _seconds = turnaround_tables.image_times(timed_run, run)["m"]
    assert cells.tolist() == [n % 5 for n in range(12)]


def test_times_of_technicians_and_reviews_with_and_without_days(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text("day,patient_id,report_minutes,classification_minutes\n mon ,a,2,10.5\n,,0,1\n", encoding="utf-8")
    hand = turnaround_tables.read_hand_times(path)
    assert (hand.classification.tolist(), hand.report.tolist(), hand.days) == ([10.5, 1], [2, 0], ("mon", ""))
    path.write_text("patient_id,classification_minutes,report_minutes\na,10,2\n", encoding="utf-8")
    assert turnaround_tables.read_hand_times(path).days == ("",)
    path.write_text("patient_id,review_minutes\na,0.5\nb,3\n", encoding="utf-8")
    assert turnaround_tables.read_review_times(path).minutes.tolist() == [0.5, 3]


def test_wrong_times_are_one_sentence(tmp_path):
    path = tmp_path / "hand.csv"
    path.write_text("patient_id,classification_minutes,report_minutes\na,ten,1\n", encoding="utf-8")
    with pytest.raises(run_tables.TableError, match="line 2: classification_minutes is 'ten'"):
        turnaround_tables.read_hand_times(path)
    path.write_text("patient_id,review_minutes\na,-1\n", encoding="utf-8")
    with pytest.raises(
        run_tables.TableError, match=r"line 2: review_minutes is '-1'; expected a number >= 0 \(minutes\)"
    ):
        turnaround_tables.read_review_times(path)
    with pytest.raises(run_tables.TableError, match="column 'classification_minutes' is missing"):
        turnaround_tables.read_hand_times(path)
    path.write_text("patient_id,review_minutes\n", encoding="utf-8")
    with pytest.raises(run_tables.TableError, match="no patient in it"):
        turnaround_tables.read_review_times(path)
    with pytest.raises(run_tables.TableError, match=r"run.json: no patient with a time \(seconds of the"):
        turnaround_tables.machine_minutes({"patients": {"a": {"seconds": None}}})
