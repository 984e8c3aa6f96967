import pathlib

import pytest

from tfod_csf.benchmarks.robustness import kill_and_rerun, trials
from tfod_csf.benchmarks.robustness.kill_and_rerun import KillAndRerun, Outcome, compare, contents


def test_differences_are_lost_different_or_left_over():
    outcome = Outcome()
    compare({"a": "1", "b": "2", "c": "3"}, {"b": "2", "c": "4", "d": "5"}, outcome)
    assert (list(outcome.lost), list(outcome.different), list(outcome.left_over)) == (["a"], ["c"], ["d"])
    assert not outcome.is_clean
    assert outcome.row("report") == "| report | 0 | 0 | 1 | 1 | 1 | 0 |"
    assert "  left over 1 times: d" in outcome.details()
    same = Outcome()
    compare({"a": "1"}, {"a": "1"}, same)
    assert same.is_clean


def test_contents_are_digests_without_what_differs_by_nature(tmp_path):
    for name, text in {"a.csv": "a", "model/ckpt-1.index.x": "b", "model/events.out.tfevents.1": "c"}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (tmp_path / "run.json").write_text('{"patients": {"p": {"images": 3, "done_in_earlier_run": true}}}')
    (tmp_path / "patient_manifest.csv").write_text("patient_id,done_in_earlier_run\np,yes\n")
    (tmp_path / "loss_history.csv").write_text("step,mean_total_loss,steps_per_second\n5,1.5,3.0\n")
    assert contents(tmp_path) == {
        "a.csv": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",  # sha256sum of "a"
        "model/ckpt-1.index.x": "",
        "run.json": '{"patients": {"p": {"images": 3}}}',
        "patient_manifest.csv": '[{"patient_id": "p", "done_in_earlier_run": ""}]',
        "loss_history.csv": '[{"step": "5", "mean_total_loss": "1.5", "steps_per_second": ""}]',
    }


# Those that replace what an earlier run wrote, or add to it; the script itself tries all.
KILLED = (
    "batch_infer --shard over other thresholds",
    "merge_shards",
    "create_csf_tf_record over another set",
    "review_import",
    "blind",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", KILLED)
def test_a_killed_command_that_is_run_again_ends_as_an_undisturbed_one(name, shared_folder):
    (trial,) = (trial for trial in trials.TRIALS if trial.name == name)
    attempt = KillAndRerun(trial, trials.Inputs(shared_folder, num_patients=2), seed=3)
    attempt.undisturbed(turns=1)
    outcome = attempt.run(2)
    assert outcome.tries == 2
    assert outcome.is_clean, outcome.details()


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("killed")


def test_every_trial_can_be_named():
    names = [trial.name for trial in trials.TRIALS]
    assert len(names) == len(set(names))
    assert set(kill_and_rerun.FULL) <= set(names)
