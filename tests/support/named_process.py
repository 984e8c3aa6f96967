"""A fresh process in which the models of another folder ship with the package."""

import pathlib
import subprocess
import sys

_CODE = """
import pathlib, sys
from tfod_csf.shipped_models import by_name
by_name.SHIPPED_MODELS = pathlib.Path(sys.argv.pop(1))
from tfod_csf.commands import command_line
sys.exit(command_line.main())
"""


def run(shipped_models: pathlib.Path, *arguments: str, cwd: pathlib.Path) -> subprocess.CompletedProcess:
    """Runs a command of the package, as `tfod_csf ARGUMENTS` does.

    Args:
      shipped_models: takes the place of tfod_csf/shipped_models/.
      *arguments: the command and its flags.
      cwd: the working directory.
    """
    return subprocess.run(
        [sys.executable, "-c", _CODE, str(shipped_models), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
