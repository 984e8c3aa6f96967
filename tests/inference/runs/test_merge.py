"""Shards that are merged give the files of an undivided run, and what does not fit is named before anything changes."""

import dataclasses
import json
import shutil

import pytest

from tests.support import divided_runs
from tests.support.divided_runs import Shades, files, merge_all, run_all, run_shard
from tests.support.hand_made_model import save_gray
from tfod_csf import run_folder
from tfod_csf.errors import UserError
from tfod_csf.files import csv_tables, folder_lock
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.runs import inference_record, merge, patient_manifest, shards
from tfod_csf.inference.runs.merge import MergeError
from tfod_csf.inference.runs.shards import Shard
from tfod_csf.problems import ProblemLog, StrictProblemError
from tfod_csf.synthetic import cohort_folder, cohorts


@pytest.fixture(scope="module")
def matrix():
    found = cohort_folder.classification_of(cohorts.simulate(cohorts.CohortSettings(patients=4, images_per_patient=6)))
    return dataclasses.replace(found, model="shades", fingerprint="f00d", classes=divided_runs.CLASSES)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return divided_runs.make_study(tmp_path_factory.mktemp("study") / "images")


@pytest.fixture(scope="module")
def alone(study, matrix, tmp_path_factory):
    """(folder, `BatchRun`) of an undivided run of the study."""
    with pytest.MonkeyPatch.context() as patch:
        divided_runs.still_clock(patch)
        out = tmp_path_factory.mktemp("alone")
        return out, run_all(study, out, matrices={"shades": matrix})


@pytest.fixture
def small(tmp_path):
    return divided_runs.make_small_study(tmp_path / "images")


@pytest.fixture(autouse=True)
def still_clock(monkeypatch):
    divided_runs.still_clock(monkeypatch)


def nothing(*_):
    """Counts no cells, which the tests of what is refused do not look at."""


def shards_of(total, images_dir, out, order=reversed, **arguments):
    for number in order(range(1, total + 1)):
        run_shard(f"{number}/{total}", images_dir, out, **arguments)


def test_what_was_noted_of_models_and_flags_is_in_the_merged_table_once_and_first(small, tmp_path):
    """For example that cells in tiles of this size do not look to the model as in training."""
    (small / "c" / "slide.svs").write_bytes(b"not read")
    for number in (1, 2):
        problems = ProblemLog(quiet=True)
        problems.noted("exported/shades", "cells are larger than in training", "Give --tile_size=2592x1944.")
        run_shard(f"{number}/2", small, tmp_path / "out", problems=problems)
    merge_all(tmp_path / "out")
    found = [(row["file"], row["action"]) for row in csv_tables.read_rows(tmp_path / "out" / "problems.csv")]
    assert found[:2] == [("exported/shades", "noted"), (str(small / "c" / "slide.svs"), "skipped")]
    assert found.count(("exported/shades", "noted")) == 1


@pytest.mark.parametrize("total", [1, 2, 5])
def test_shards_give_the_bytes_of_one_run(study, alone, tmp_path, total, matrix):
    """Shards in any order, and every kind of problem, within and across shards."""
    (expected, done), out = alone, tmp_path / "out"
    shards_of(total, study, out, matrices={"shades": matrix})
    with pytest.raises(
        run_folder.RunError, match=f"it is divided into {total} shards: when all are done, run merge_sh"
    ):
        run_folder.finished_run(out)
    merged = merge_all(out)
    assert files(out) == files(expected)
    assert (str(merged), str(merged.differentials)) == (str(done), str(done.differentials))
    assert (merged.num_files, merged.result.num_images) == (done.num_files, done.result.num_images)
    run_folder.finished_run(out)
    # The study is what it says it is.
    reasons = [row["reason"] for row in csv_tables.read_rows(out / "problems.csv")]
    assert sum("the same bytes as an image of patient" in reason for reason in reasons) == 3
    for part in (".svs images are not read", "differ only in capitals", "model shades failed", "limit of 3 cells"):
        assert any(part in reason for reason in reasons)
    assert {"P03", "p03%~2"} <= set(json.loads((out / "run.json").read_text(encoding="utf-8"))["tables"])


def test_several_models_more_shards_than_patients_and_no_pictures(small, tmp_path):
    models = lambda: (Shades(), Shades("second", "beef"))  # noqa: E731
    run_all(small, tmp_path / "alone", *models(), draw=False)
    for number in range(1, 9):
        run_shard(f"{number}/8", small, tmp_path / "out", *models(), draw=False)
    merge_all(tmp_path / "out")
    assert files(tmp_path / "out") == files(tmp_path / "alone")


def test_patients_of_an_earlier_run_stay_in_the_tables(small, tmp_path):
    for out in ("alone", "out"):
        run_all(small, tmp_path / out)
    shutil.rmtree(small / "d")
    run_all(small, tmp_path / "alone")
    shards_of(2, small, tmp_path / "out")
    done = merge_all(tmp_path / "out")
    assert done.result.kept == ["d"]
    assert files(tmp_path / "out") == files(tmp_path / "alone")


def test_merged_again_and_run_again_nothing_changes(small, tmp_path):
    save_gray(small / "b" / "fails.png", divided_runs.FAILS_ON_GRAY)
    out = tmp_path / "out"
    shards_of(2, small, out)
    merge_all(out)
    before = files(out)
    merge_all(out)
    assert files(out) == before
    run = run_shard(str(Shard.of("b", 2)), small, out)
    assert run.result.reused == set(run.result.summaries) - {"b"}  # on whom the model failed
    with pytest.raises(run_folder.RunError, match="is not finished"):
        run_folder.finished_run(out)
    # A run of all patients, which reads the images, says the same of shards that are merged or not.
    assert run_all(small, out).result.reused == set("acde")
    assert {name for name, content in files(out).items() if before[name] != content} == {"run.json"}


def test_the_problems_are_those_of_strict(small, tmp_path):
    (small / "b" / "broken.jpg").write_bytes(b"no image")
    shards_of(2, small, tmp_path / "out")
    with pytest.raises(StrictProblemError, match=r"broken\.jpg"):
        merge_all(tmp_path / "out", ProblemLog(strict=True, quiet=True))
    with pytest.raises(run_folder.RunError, match="is not finished"):
        run_folder.finished_run(tmp_path / "out")


def refused(out, *parts):
    """The merge names all of these, and changes nothing."""
    before = files(out)
    with pytest.raises(UserError) as error:
        merge_all(out, count=nothing)
    for part in parts:
        assert part in str(error.value)
    assert files(out) == before


def test_shards_that_have_not_begun_or_not_finished_are_named(small, tmp_path):
    class Stops(Shades):
        def detect(self, pixels, image="", jpeg=None):
            if len(self.seen) == 1:
                raise KeyboardInterrupt
            return super().detect(pixels, image, jpeg)

    out = tmp_path / "out"
    with pytest.raises(MergeError, match="no such folder"):
        merge_all(out, count=nothing)
    out.mkdir()
    refused(out, "holds no shard")
    with pytest.raises(KeyboardInterrupt):
        run_shard("2/3", small, out, Stops())
    run_shard("1/3", small, out)
    refused(out, "shard 2/3, begun at 2022-01-24T09:30:00+08:00, is not finished; shard 3/3 has not begun.")
    path = out / "shards" / "1-of-3" / "shard.json"
    whole = path.read_text()
    path.write_text(json.dumps({"shard": "1/3", "finished": "x"}))
    refused(out, f"shard 1/3: {path} has no version; another version wrote it, or it was changed")
    path.write_text(whole)
    run = run_shard("2/3", small, out)
    assert 0 < len(run.result.reused) < len(run.result.summaries)
    run_shard("3/3", small, out)
    merge_all(out)
    run_all(small, tmp_path / "alone")
    now = files(out)
    record = json.loads(now.pop("run.json"))
    assert {name: content for name, content in files(tmp_path / "alone").items() if name != "run.json"} == now
    done_before = {name for name, patient in record["patients"].items() if patient["done_in_earlier_run"]}
    assert done_before == run.result.reused


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"thresholds": ScoreThresholds(min_score=0.6)}, "shards 1/2 and 2/2 differ in thresholds, examination"),
        ({"draw": False}, "differ in examination, draw"),
        ({"patient_pattern": r"(?P<patient>[^/]+)/"}, "differ in patient_pattern (patient_pattern: None and"),
        ({"counting": {"max_unknown_percent": 20.0}}, "differ in counting (counting: {'max_unknown_percent': 10.0}"),
    ],
)
def test_shards_of_other_settings_are_named(small, tmp_path, changes, named):
    out = tmp_path / "out"
    run_shard("1/2", small, out)
    run_shard("2/2", small, out, **changes)
    refused(out, named)


def test_a_lost_copy_of_the_matrix_is_named_before_anything_changes(small, tmp_path, matrix):
    out = tmp_path / "out"
    shards_of(2, small, out, matrices={"shades": matrix})
    path = out / "shards" / "1-of-2" / "classification" / "shades.json"
    path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
    refused(out, f"{path}: is not the file that run.json names any more")


def test_shards_of_another_model_or_matrix_are_named(small, tmp_path, matrix):
    out = tmp_path / "out"
    run_shard("1/2", small, out)
    run_shard("2/2", small, out, Shades(fingerprint="beef"))
    refused(out, "shards 1/2 and 2/2 differ in models, examination")
    run_shard("2/2", small, out, matrices={"shades": matrix})
    refused(out, "shards 1/2 and 2/2 differ in models (")
    run_shard("2/2", small, out)
    merge_all(out, count=nothing)
    # A model changed for the one after the merge: its patients are others than the manifest of the other names.
    run_shard("1/2", small, out, Shades(fingerprint="beef"))
    refused(out, "differ in models")


def test_patients_who_came_went_or_got_images_since_are_named_with_their_shard(small, tmp_path):
    """Of five shards, the ids a to g belong to 5, 1, 4, 1, 1, 3, 3, and C to 5 (by sha256sum and bc)."""
    out = tmp_path / "out"
    shards_of(5, small, out)
    save_gray(small / "f" / "a.png", 100)
    save_gray(small / "a" / "new.png", 101)
    shutil.rmtree(small / "d")
    refused(
        out, "shard 1/5: 1 patient ('d'): has no images any more; shard 3/5: 1 patient ('f'): has not been examined"
    )
    run_shard("1/5", small, out)
    run_shard("3/5", small, out)
    refused(out, "shard 5/5: 1 patient ('a'): images were added or removed since. Run batch_infer with --shard for")
    run_shard("5/5", small, out)
    assert merge_all(out, count=nothing).result.kept == ["d"]
    # Ids that differ in capitals only change a folder's name.
    save_gray(small / "C" / "a.png", 102)
    refused(out, "shard 4/5: 1 patient ('c'): was examined under another folder's name, before ids came or went",
            "shard 5/5: 1 patient ('C'): has not been examined")  # fmt: skip
    with pytest.raises(UserError, match=r"patients/c: results of patient 'c' .* folder is now c%~2: move the old"):
        run_shard("4/5", small, out)


def test_double_and_changed_patients_are_named(small, tmp_path):
    out = tmp_path / "out"
    shards_of(2, small, out)
    saved = tmp_path / "saved"
    shutil.copytree(out, saved)
    first, second = (out / "shards" / f"{number}-of-2" / patient_manifest.FILE_NAME for number in (1, 2))
    one = next(patient_manifest.read(first))
    patient_manifest.write(second, [*patient_manifest.read(second), dataclasses.replace(one, shard="2/2")])
    refused(out, f"shard 2/2: 1 patient ({one.patient_id!r}): is in the manifest of shard 1/2 too")
    shutil.copy(first, second)
    refused(out, "names the shard 1/2; it is the manifest of another one")
    second.unlink()
    refused(out, f"{second}: no such file")
    shutil.rmtree(out)
    shutil.copytree(saved, out)
    # A table edited, a patient removed, a patient interrupted.
    edited, gone, interrupted = ("a", "b", "c")
    path = out / "patients" / edited / "cells.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("lymphocyte", "monocyte"), encoding="utf-8")
    shutil.rmtree(out / "patients" / gone)
    stamp = out / "patients" / interrupted / "stamp.json"
    stamp.write_text(json.dumps({"files": json.loads(stamp.read_text(encoding="utf-8"))["files"]}), encoding="utf-8")
    with pytest.raises(UserError) as error:
        merge_all(out, count=nothing)
    said = str(error.value)
    # Of two shards, a and b belong to the second, c to the first.
    assert "shard 1/2: 1 patient ('c'): its folder is gone, or is that of a patient who was interrupted; " in said
    assert "shard 2/2: 1 patient ('b'): its folder is gone, or" in said
    assert "shard 2/2: 1 patient ('a'): its tables are not those that the shard wrote" in said


def test_a_merge_waits_for_no_shard_and_no_shard_for_a_run(small, tmp_path):
    out = tmp_path / "out"
    run_shard("1/2", small, out)

    class TriesOthers(Shades):
        def detect(self, pixels, image="", jpeg=None):
            if not self.seen:
                for attempt in (merge_all, lambda out: run_all(small, out), lambda out: run_shard("2/2", small, out)):
                    with pytest.raises(folder_lock.FolderInUseError, match=r"shards/2-of-2: process \d+ on"):
                        attempt(out)
                with pytest.raises(shards.ShardError, match="is a shard of 2, and another is one of 3"):
                    run_shard("1/3", small, out)
                assert run_shard("1/2", small, out).result.reused  # another shard may run beside it
            return super().detect(pixels, image, jpeg)

    run_shard("2/2", small, out, TriesOthers())
    merge_all(out, count=nothing)


def test_machines_may_know_the_images_by_other_names(small, tmp_path):
    """Two shards, each with its own mount of the images, and the merge with a third."""
    for name in ("first", "second", "third"):
        (tmp_path / name).symlink_to(small)
    run_shard("1/2", tmp_path / "first", tmp_path / "out")
    run_shard("2/2", tmp_path / "second", tmp_path / "out")
    third = str(tmp_path / "third")
    merged = merge_all(tmp_path / "out", whose=merge.Whose(images_dir=third))
    assert merged.record["settings"]["images_dir"] == third
    assert sorted(merged.result.summaries) == list("abcde")


def test_other_versions_and_machines_are_said(small, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run_shard("1/2", small, out)
    versions, machine = inference_record.versions(), inference_record.machine()
    monkeypatch.setattr(inference_record, "versions", lambda: {**versions, "tensorflow": "9.9"})
    monkeypatch.setattr(inference_record, "machine", lambda: {**machine, "processor": "another", "cores": 99})
    run_shard("2/2", small, out)
    merged = merge_all(out, count=nothing)
    assert merged.record["versions"] == {**versions, "tensorflow": f"{versions['tensorflow']}, 9.9"}
    assert merged.record["machine"]["processor"] == f"{machine['processor']}, another"
    assert merged.record["machine"]["system"] == machine["system"]
    last = csv_tables.read_rows(out / "problems.csv")[-1]
    assert last["reason"] == f"the shards ran with different versions of tensorflow: {versions['tensorflow']}, 9.9"
    assert last["action"] == "noted"
