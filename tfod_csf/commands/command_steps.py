"""Commands that one command runs after each other, each in a process of its own and once: a later run resumes."""

import json
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tfod_csf import __version__
from tfod_csf.commands import stop_signals
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, given_files


class CommandSteps:
    """The steps of a run and which of them are finished, as a JSON file remembers them.

    Args:
      path: of the file; made when the first step is finished.
      settings: what the run was told, {flag: value that JSON has}; a run that was told something else is refused.

    Raises:
      UserError: the file is of other settings, or cannot be read.
    """

    def __init__(self, path: pathlib.Path, settings: Mapping[str, Any]):
        self._path = path
        self._settings = json.loads(json.dumps(settings))
        self._finished: list[str] = []
        if path.exists():
            self._read()

    def _read(self) -> None:
        try:
            state = given_files.read_json(self._path)
            earlier, self._finished = dict(state["settings"]), [str(name) for name in state["finished"]]
            version = str(state["version"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self._path}: cannot be used ({error!r}); give another --output_dir.") from error
        if version != __version__:
            raise UserError(
                f"{self._path}: this folder was begun with tfod_csf {version}, not {__version__}; two versions "
                "cannot be compared: give another --output_dir."
            )
        for name in sorted(earlier.keys() | self._settings.keys()):
            if earlier.get(name) != self._settings.get(name):
                raise UserError(
                    f"{self._path}: this folder was begun with --{name}={earlier.get(name)}, not "
                    f"{self._settings.get(name)}; give the same flags to resume, or another --output_dir."
                )

    def is_finished(self, step: str) -> bool:
        """Whether a step was finished, by this run or an earlier one."""
        return step in self._finished

    def finish(self, step: str) -> None:
        """Notes that a step is finished."""
        self._finished.append(step)
        self._write()

    def _write(self) -> None:
        state = {"version": __version__, "settings": self._settings, "finished": self._finished}
        atomic_write.write_json(self._path, state)

    def run(self, folder: str, name: str, arguments: Sequence[str], result: pathlib.Path | None = None) -> None:
        """Runs a command unless that was finished.

        Args:
          folder: with the name of the command, the name of the step.
          name: of the command.
          arguments: its flags.
          result: what it makes; where somebody removed that, the step is not finished.

        Raises:
          UserError: the command did not end well.
        """
        step = f"{folder}/{name}"
        if self.is_finished(step):
            if result is None or result.exists():
                return
            self._finished.remove(step)
            self._write()
        print(f"\n== {folder}: tfod_csf {name}", flush=True)
        status = run_command(name, arguments)
        if status:
            raise UserError(
                f"{folder}: {name} ended with exit status {status} for the reason above; the same command resumes here."
            )
        self.finish(step)


def run_command(name: str, arguments: Sequence[str]) -> int:
    """Runs a command of this package in a process of its own, so that its memory is free afterwards.

    A signal that comes meanwhile is passed on, and the command has the time that it needs to save.

    Returns:
      Its exit status; negative: the signal that killed it.

    Raises:
      Stopped: a signal came, and the command has ended.
    """
    with stop_signals.PassedOn() as passed_on:
        process = subprocess.Popen([sys.executable, "-m", "tfod_csf", name, *arguments])
        if sys.platform != "win32":  # there, Ctrl-C reaches both
            passed_on.to(process.send_signal)
        return process.wait()
