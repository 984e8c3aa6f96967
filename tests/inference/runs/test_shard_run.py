"""A shard examines its own patients, touches nobody else's, and says what it skipped."""

import json
import os

import pytest

from tests.support import divided_runs
from tests.support.divided_runs import Shades, run_shard
from tests.support.hand_made_model import save_gray
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, csv_tables
from tfod_csf.inference.runs import patient_manifest
from tfod_csf.problems import ProblemLog, TooManySkippedError


@pytest.fixture
def small(tmp_path):
    return divided_runs.make_small_study(tmp_path / "images")


def test_what_a_shard_writes(small, tmp_path):
    """Of two shards, a and b belong to the second, c to e to the first."""
    out, detector = tmp_path / "out", Shades()
    done = run_shard("2/2", small, out, detector)
    assert sorted(os.listdir(out / "patients")) == ["a", "b"]
    assert detector.seen == [0, 1]
    assert str(done).startswith("2 patients, 2 images (0 failed): 3 cells by shades, ")
    assert sorted(os.listdir(out)) == ["patients", "run.json", "shards"]
    own = out / "shards" / "2-of-2"
    assert sorted(os.listdir(own)) == ["patient_manifest.csv", "problems.csv", "shard.json"]
    rows = list(patient_manifest.read(own / "patient_manifest.csv"))
    assert [(row.patient_id, row.shard, row.images, row.outcome) for row in rows] == [
        ("a", "2/2", 1, "complete"),
        ("b", "2/2", 1, "complete"),
    ]
    record = json.loads((own / "shard.json").read_text(encoding="utf-8"))
    assert (record["shard"], record["num_patients"], record["counting"]) == ("2/2", 2, divided_runs.COUNTING)
    assert record == done.record
    # A second start reads its images again and redoes what changed.
    save_gray(small / "a" / "a.png", 9)
    again = Shades()
    assert run_shard("2/2", small, out, again).result.reused == {"b"}
    assert again.seen == [9]


def test_a_shard_without_patients_is_done_too(small, tmp_path):
    done = run_shard("2/5", small, tmp_path / "out")
    assert done.result.num_images == 0
    assert list(patient_manifest.read(tmp_path / "out" / "shards" / "2-of-5" / "patient_manifest.csv")) == []


def test_a_shard_that_cannot_start_says_its_problems_and_leaves_no_shard_json(small, tmp_path):
    (small / "c" / "slide.svs").write_bytes(b"not read")

    def detectors():
        raise UserError("no model")

    with pytest.raises(UserError, match="no model"):
        divided_runs.shard_run.run(
            divided_runs.settings_of(small),
            divided_runs.Shard(2, 2),
            detectors,
            divided_runs.ScoreThresholds(),
            tmp_path / "out",
            ProblemLog(quiet=True),
            {},
        )
    own = tmp_path / "out" / "shards" / "2-of-2"
    assert os.listdir(own) == ["problems.csv"]
    assert csv_tables.read_rows(own / "problems.csv")[0]["file"].endswith("slide.svs")
    run_shard("2/2", small, tmp_path / "out")


def test_what_dead_processes_left_is_removed_of_own_patients_alone(small, tmp_path):
    out = tmp_path / "out"
    run_shard("2/2", small, out)
    run_shard("1/2", small, out)
    own, others = (
        out / "patients" / name / f".results.{atomic_write.host_name()}-999999999-0123abcd.part" for name in "ac"
    )
    own.mkdir()
    others.mkdir()
    run_shard("2/2", small, out)
    assert (own.exists(), others.exists()) == (False, True)


@pytest.mark.parametrize("link", ["patients", "patients/a"])
def test_links_that_lead_out_are_refused(small, tmp_path, link):
    out = tmp_path / "out"
    run_shard("2/2", small, out)
    (out / link).rename(tmp_path / "elsewhere")
    (out / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"is a link to .*elsewhere"):
        run_shard("2/2", small, out)
    if link == "patients/a":
        run_shard("1/2", small, out)


def test_skipped_files_are_counted_among_the_shards_own_and_those_of_finding_among_all(small, tmp_path):
    (small / "a" / "broken.jpg").write_bytes(b"no image")  # 1 of the 3 files of the second shard
    problems = ProblemLog(quiet=True)
    done = run_shard("2/2", small, tmp_path / "out", problems=problems)
    assert done.skipped == ((0, 6), (1, 3))
    with pytest.raises(TooManySkippedError, match=r"1 of 3 files were skipped \(33 %\)"):
        done.check_skipped(problems, 0.3, "--max_skipped_fraction")
    done.check_skipped(problems, 0.34, "--max_skipped_fraction")
    for number in range(3):
        (small / "c" / f"{number}.svs").write_bytes(b"not read")
    problems = ProblemLog(quiet=True)
    done = run_shard("1/2", small, tmp_path / "out", problems=problems)
    assert done.skipped == ((3, 9), (0, 3))
    with pytest.raises(TooManySkippedError, match="3 of 9 files were skipped"):
        done.check_skipped(problems, 0.3, "--max_skipped_fraction")
