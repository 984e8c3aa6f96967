"""The machine a measurement was made on, and what the process has used of it."""

import dataclasses
import os
import pathlib
import platform
import sys

from tfod_csf import provenance, worker_pool

_STATUS = pathlib.Path("/proc/self/status")


@dataclasses.dataclass(frozen=True)
class Machine:
    """What must be known to compare results of different machines.

    Attributes:
      cpu: the processor's name.
      cores: cores this process may use.
      memory_gb: main memory, in GiB; NaN where the system does not report it.
      has_bfloat16: whether the CPU has bfloat16 instructions, without which it is emulated and slow; None where the
        system does not report it.
      has_int8: the same of instructions that add products of int8 (VNNI, AMX; dot products on ARM).
      system: operating system and version.
    """

    cpu: str
    cores: int
    memory_gb: float
    has_bfloat16: bool | None
    has_int8: bool | None
    system: str


def describe() -> Machine:
    """This machine."""
    return Machine(
        cpu=provenance.processor(),
        cores=worker_pool.available_cores(),
        memory_gb=_memory_gb(),
        has_bfloat16=provenance.has_bfloat16(),
        has_int8=provenance.has_int8(),
        system=f"{platform.system()} {platform.release()}",
    )


def _memory_gb() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return float("nan")


def load_average() -> float:
    """Processes that wanted a core during the last minute; above 0, others disturb a measurement. NaN on Windows."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def peak_memory_mb() -> float:
    """Largest resident memory of this process since its start, in MiB; NaN on Windows."""
    if _STATUS.exists():
        # getrusage would count what the process that started this one had in memory.
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    try:
        import resource
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, others KiB


def cpu_seconds() -> float:
    """CPU time of this process and of the worker processes it has waited for, seconds."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
