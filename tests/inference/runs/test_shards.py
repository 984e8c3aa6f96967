"""Whose shard a patient is, and who may work in an output folder at the same time."""

import collections
import json
import re

import pytest

from tfod_csf import run_folder
from tfod_csf.files import atomic_write, folder_lock
from tfod_csf.inference.runs import shards
from tfod_csf.inference.runs.output_folder import OutputFolderError
from tfod_csf.inference.runs.shards import Shard, ShardError


@pytest.mark.parametrize("text", ["", "0/5", "6/5", "1/0", "2", "1/2/3", "-1/5", "1.5/5", "a/b"])
def test_what_is_not_a_shard_is_refused(text):
    with pytest.raises(ShardError, match=re.escape(f"--shard={text}: expected i/n, for example 2/5")):
        Shard.parse(text)


@pytest.mark.parametrize(
    ("patient_id", "of_5", "of_64"),
    # printf '%s' ID | sha256sum, then with bc: number % n + 1.
    [("patient_01", 1, 21), ("王=1", 2, 23), ("M\u00fcller", 2, 51), ("Mu\u0308ller", 2, 51)],
)
def test_the_shard_of_a_patient_is_the_same_everywhere(patient_id, of_5, of_64):
    assert Shard.of(patient_id, 5) == Shard(of_5, 5)
    assert Shard.of(patient_id, 64) == Shard(of_64, 64)
    assert Shard.of(patient_id, 1) == Shard(1, 1)


def test_patients_are_spread_evenly():
    counts = collections.Counter(Shard.of(f"{number:06d}", 8) for number in range(8000))
    assert sorted(counts) == shards.all_of(8)
    # The standard deviation of a binomial count is 30.
    assert all(abs(count - 1000) < 150 for count in counts.values())


def test_two_divisions_in_one_folder_are_refused(tmp_path):
    with shards.only_process_of(Shard(2, 5), tmp_path):
        pass
    with shards.only_process_of(Shard(2, 5), tmp_path):
        # What another process is writing, with the same number in a container of its own, is not taken for a leftover.
        left = tmp_path / "patients" / f".results.{atomic_write.host_name()}-999999999-0123abcd.part"
        left.mkdir(parents=True)
        with pytest.raises(folder_lock.FolderInUseError, match="2-of-5"), shards.only_process_of_all(tmp_path):
            pass
        assert left.exists()
    with shards.only_process_of_all(tmp_path):
        assert not left.exists()
        with pytest.raises(folder_lock.FolderInUseError), shards.only_process_of_all(tmp_path):
            pass
    shards.begin(Shard(2, 5), tmp_path, {"started": "now"})
    assert shards.shards_in(tmp_path) == [Shard(2, 5)]
    with (
        pytest.raises(ShardError, match="is a shard of 5, and another is one of 4"),
        shards.only_process_of(Shard(1, 4), tmp_path),
    ):
        pass
    assert shards.one_division(tmp_path) == 5
    with pytest.raises(ShardError, match="shard 2/5, begun at now, is not finished"):
        shards.read(Shard(2, 5), tmp_path)
    shards.finish(Shard(2, 5), tmp_path, {})
    assert shards.read(Shard(2, 5), tmp_path)["finished"]
    assert [shards.is_finished(Shard(number, 5), tmp_path) for number in (1, 2)] == [False, True]
    (Shard(2, 5).folder(tmp_path) / "shard.json").write_text("[", encoding="utf-8")
    with pytest.raises(ShardError, match="cannot be read"):
        shards.read(Shard(2, 5), tmp_path)


def test_somebody_elses_folder_of_shards_is_refused(tmp_path):
    (tmp_path / "shards" / "mine").mkdir(parents=True)
    with (
        pytest.raises(OutputFolderError, match=r"holds shards, but no run\.json"),
        shards.only_process_of(Shard(1, 2), tmp_path),
    ):
        pass


def test_the_run_is_unfinished_from_the_first_start_of_a_shard(tmp_path):
    run_folder.finish(tmp_path, {"models": [1]}, {})
    shards.mark_unfinished(tmp_path, {"models": [2]}, 5)
    first = json.loads((tmp_path / "run.json").read_text())
    assert (first["models"], first["finished"], first["shards"]) == ([2], None, 5)
    shards.mark_unfinished(tmp_path, {"models": [3]}, 5)
    assert json.loads((tmp_path / "run.json").read_text()) == first
    (tmp_path / "run.json").write_text("damaged")
    shards.mark_unfinished(tmp_path, {"models": [4]}, 5)
    assert json.loads((tmp_path / "run.json").read_text())["models"] == [4]
