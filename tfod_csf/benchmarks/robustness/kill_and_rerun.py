"""Kills commands, runs them again, and compares every file with those of an undisturbed run.

    python -m tfod_csf.benchmarks.robustness.kill_and_rerun --command=batch_infer --tries=50 --seed=1
    python -m tfod_csf.benchmarks.robustness.kill_and_rerun --full      # all commands as often as a release asks for

Every try puts the same state back, kills the command with its workers (kill -9) at a random moment or just before a
random change of the disk, in part of the tries kills the second run too, then lets it end. Prints a table and ends with
status 1 unless nothing was lost, different or left over.

What may differ, because it holds times or random numbers: see `trials.NATURAL`, in run.json and a shard's manifest
which patients an earlier start had done, and in loss_history.csv the speed. TensorFlow's checkpoints are compared by
the variables they hold.
"""

import argparse
import collections
import csv
import dataclasses
import fnmatch
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from typing import IO

from tfod_csf.benchmarks.robustness import checkpoint_contents, trials
from tfod_csf.benchmarks.robustness.trials import Inputs, Trial
from tfod_csf.files import checksums
from tfod_csf.inference.runs import patient_manifest
from tfod_csf.training import loss_history

FULL = {
    "batch_infer": 50,
    "batch_infer --shard": 20,
    "merge_shards": 20,
    "create_csf_tf_record": 20,
    "model_main_tf2": 10,
}
_OTHERS = 5
_SHOWN_OF_A_KIND = 8
_LONGEST_SECONDS = 600


@dataclasses.dataclass
class Outcome:
    """What became of the tries of one trial.

    Attributes:
      tries: how often the command was killed and run again.
      killed_while_running: of these, how often the kill came before the command's end.
      lost: files that the undisturbed run has and the resumed one has not.
      different: files that both have, with other contents.
      left_over: files that only the resumed run has.
      failed: what runs said that did not end well after a kill.
    """

    tries: int = 0
    killed_while_running: int = 0
    lost: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    different: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    left_over: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    failed: collections.Counter = dataclasses.field(default_factory=collections.Counter)

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.different or self.left_over or self.failed)

    def row(self, name: str) -> str:
        """One line of the table."""
        counts = (self.lost, self.different, self.left_over, self.failed)
        numbers = (self.tries, self.killed_while_running, *(count.total() for count in counts))
        return f"| {name} | " + " | ".join(map(str, numbers)) + " |"

    def details(self) -> list[str]:
        """A line for each file or sentence that is wrong, but not more than a few of a kind."""
        named = {"lost": self.lost, "different": self.different, "left over": self.left_over, "failed": self.failed}
        return [
            f"  {kind} {count} times: {what}"
            for kind, counts in named.items()
            for what, count in counts.most_common(_SHOWN_OF_A_KIND)
        ]


TABLE_HEAD = "| killed | tries | while running | lost | different | left over | failed |\n|---|---|---|---|---|---|---|"


def contents(folder: pathlib.Path) -> dict[str, str]:
    """{path below a folder: digest} of every file; of files that differ by nature (`trials.NATURAL`) only the path.

    Checkpoints are given by the digests of their variables, under their prefix.
    """
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        natural = any(fnmatch.fnmatch(name, pattern) for pattern in trials.NATURAL)
        if fnmatch.fnmatch(name, "*.tfevents.*"):
            continue  # one more for each start
        found[name] = "" if natural else _without_starts(path) or checksums.file_sha256(path)
    for index in folder.rglob("ckpt-*.index"):
        prefix = index.with_suffix("")
        found[f"{prefix.relative_to(folder).as_posix()} (variables)"] = checkpoint_contents.digest(prefix)
    return found


def _without_starts(path: pathlib.Path) -> str:
    """Contents without what tells one start from another; "" of files that hold no such thing.

    That is, in run.json and a shard's manifest, in which start a patient was done, and in loss_history.csv the speed,
    whose stopwatch runs on where an undisturbed run evaluates.
    """
    of_starts = {loss_history.FILE_NAME: "steps_per_second", patient_manifest.FILE_NAME: "done_in_earlier_run"}
    if path.name in of_starts:
        with path.open(encoding="utf-8", newline="") as file:
            return json.dumps([{**row, of_starts[path.name]: ""} for row in csv.DictReader(file)])
    if path.name != "run.json":
        return ""
    record = json.loads(path.read_text(encoding="utf-8"))
    for patient in record.get("patients", {}).values():
        patient.pop("done_in_earlier_run", None)
    return json.dumps(record)


def compare(expected: dict[str, str], found: dict[str, str], outcome: Outcome) -> None:
    """Adds the differences of a resumed run to an outcome."""
    outcome.lost.update(expected.keys() - found.keys())
    outcome.left_over.update(found.keys() - expected.keys())
    outcome.different.update(name for name in expected.keys() & found.keys() if expected[name] != found[name])


class KillAndRerun:
    """Tries of one command.

    Args:
      trial: the command.
      inputs: what it reads.
      seed: of the moments.
    """

    def __init__(self, trial: Trial, inputs: Inputs, seed: int):
        self._trial, self._inputs, self._random = trial, inputs, random.Random(seed)
        self._before = inputs.work.with_name("before")
        self._seconds, self._changes = 0.0, 0
        self._expected: dict[str, str] = {}

    def undisturbed(self, turns: int = 2) -> None:
        """Runs the command without a kill: once to learn time and changes, then to see that it repeats itself.

        Args:
          turns: number of runs, at least 1.

        Raises:
          RuntimeError: the two runs differ, so that nothing could be learned from a third.
        """
        self._inputs.make(self._trial)
        shutil.rmtree(self._inputs.work, ignore_errors=True)
        shutil.rmtree(self._before, ignore_errors=True)
        self._inputs.prepare(self._trial)
        self._inputs.work.rename(self._before)
        for turn in range(turns):
            self._put_back()
            with tempfile.TemporaryDirectory() as folder:
                count_into = pathlib.Path(folder) / "count"
                started = time.monotonic()
                self._inputs.run(self._trial, self._trial.command, f"--count_into={count_into}")
                self._seconds = time.monotonic() - started
                self._changes = int(count_into.read_text(encoding="ascii"))
            found, outcome = contents(self._inputs.work), Outcome()
            if turn == 0:
                self._expected = found
            compare(self._expected, found, outcome)
            if not outcome.is_clean:
                raise RuntimeError(f"{self._trial.name}: two undisturbed runs differ:\n" + "\n".join(outcome.details()))

    def run(self, tries: int) -> Outcome:
        """Kills and runs again; `undisturbed` comes first."""
        outcome = Outcome()
        for number in range(tries):
            self._put_back()
            outcome.tries += 1
            outcome.killed_while_running += self._kill(number, outcome)
            if number % 3 == 2:
                self._kill(number + 1, outcome)
            self._run_again(outcome)
            compare(self._expected, contents(self._inputs.work), outcome)
        return outcome

    def _put_back(self) -> None:
        shutil.rmtree(self._inputs.work, ignore_errors=True)
        shutil.copytree(self._before, self._inputs.work)

    def _kill(self, number: int, outcome: Outcome) -> bool:
        """Starts the command and kills it; returns whether that was in time."""
        kind = number % 3 if self._trial.appears else number % 2
        at = self._random.randint(1, max(1, self._changes)) if kind == 0 else 0
        child = self._inputs.child(self._trial, self._trial.command, f"--kill_at={at}")
        with tempfile.TemporaryFile() as said:
            status = self._killed(kind, child, said)
            said.seek(0)
            error = said.read().decode(errors="replace")
        if status not in (0, -signal.SIGKILL):
            outcome.failed[f"status {status} before the kill: {error[-500:]}"] += 1
        return status == -signal.SIGKILL

    def _killed(self, kind: int, child: Sequence[str], said: IO[bytes]) -> int:
        """Runs a process until it kills itself (kind 0), until a random moment (1) or until a path appears (2)."""
        process = subprocess.Popen(
            child, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True, env=trials.environment()
        )
        try:
            if kind == 1:
                process.wait(self._random.uniform(0.1, 1) * self._seconds)
            elif kind == 2:
                self._wait_for_appearance(process)
            else:
                process.wait(_LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait()

    def _wait_for_appearance(self, process: subprocess.Popen) -> None:
        """Returns when a path of the trial's pattern appears that was not there, a random number of times."""
        seen = set(self._inputs.work.glob(self._trial.appears))
        wanted = self._random.randint(1, 6)
        while process.poll() is None and wanted:
            now = set(self._inputs.work.glob(self._trial.appears))
            if now - seen:
                seen |= now
                wanted -= 1
            time.sleep(0.001)

    def _run_again(self, outcome: Outcome) -> None:
        try:
            self._inputs.run(self._trial, self._trial.command)
        except RuntimeError as error:
            if not self._trial.refuses_finished or self._trial.refuses_finished not in str(error):
                outcome.failed[str(error)[-500:]] += 1


def run_trials(names: Iterable[str], tries: dict[str, int], folder: pathlib.Path, seed: int, patients: int) -> bool:
    """Runs trials and prints the table as it grows; returns whether all is well."""
    inputs, is_clean = Inputs(folder, patients), True
    print(TABLE_HEAD, flush=True)
    for trial in trials.TRIALS:
        if trial.name not in names:
            continue
        attempt = KillAndRerun(trial, inputs, seed)
        attempt.undisturbed()
        outcome = attempt.run(tries[trial.name])
        print("\n".join([outcome.row(trial.name), *outcome.details()]), flush=True)
        is_clean = is_clean and outcome.is_clean
    return is_clean


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [trial.name for trial in trials.TRIALS]
    parser.add_argument("--command", action="append", help="which; repeat it. One of: " + "; ".join(names))
    parser.add_argument("--tries", type=int, default=5, help="kills of each command (default 5)")
    parser.add_argument("--full", action="store_true", help=f"all commands: {FULL}, {_OTHERS} of each other")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default 1)")
    parser.add_argument("--patients", type=int, default=4, help="patients of 3 small images each (default 4)")
    parser.add_argument("--work_dir", help="folder to work in; default: a temporary one that is removed")
    options = parser.parse_args(arguments)
    if unknown := set(options.command or ()) - set(names):
        parser.error(f"no trial is called {', '.join(sorted(unknown))}")
    tries = {name: FULL.get(name, _OTHERS) if options.full else options.tries for name in names}
    with tempfile.TemporaryDirectory(prefix="kill_and_rerun_") as temporary:
        folder = pathlib.Path(options.work_dir or temporary)
        is_clean = run_trials(options.command or names, tries, folder, options.seed, options.patients)
    return 0 if is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
