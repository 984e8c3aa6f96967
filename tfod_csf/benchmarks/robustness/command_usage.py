"""What a command of tfod_csf takes: wall time, time on processors, and the most memory.

Linux counts for a process the memory that its parent had when it was started, as if it were its own. So a small process
of this module starts the command, and counts the command alone.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from tfod_csf.benchmarks.robustness import trials

# Run by python -c: nothing is imported that is large. argv: file for the result, then the command.
_STARTER = """
import json, os, sys
_, status, usage = os.wait4(os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ), 0)
found = {"cpu_seconds": usage.ru_utime + usage.ru_stime, "memory_mb": usage.ru_maxrss / 1024}
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
sys.exit(os.waitstatus_to_exitcode(status) and 1)
"""


@dataclasses.dataclass(frozen=True)
class Used:
    """What a command took.

    Attributes:
      seconds: on the clock.
      cpu_seconds: of it and the processes that it has waited for.
      memory_mb: resident, of the largest of them.
    """

    seconds: float
    cpu_seconds: float
    memory_mb: float


def measure(command: Sequence[str]) -> Used:
    """Runs this Python with these arguments in a process of its own.

    Raises:
      RuntimeError: it failed.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="command_usage_") as folder:
        result = pathlib.Path(folder, "used.json")
        starter = [sys.executable, "-S", "-c", _STARTER, os.fspath(result), sys.executable, *command]
        status = subprocess.run(starter, env=trials.environment(), check=False).returncode
        if status:
            raise RuntimeError(f"{' '.join(command[:3])} failed; its own message says why.")
        return Used(time.monotonic() - started, **json.loads(result.read_text(encoding="utf-8")))
