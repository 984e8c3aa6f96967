"""When and on what a result was made, as run.json, revisions and benchmarks record it."""

import datetime
import pathlib
import platform

_CPUINFO = pathlib.Path("/proc/cpuinfo")
# Linux's names of the instructions, on x86 and on ARM.
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8", "asimddp", "i8mm"})


def now() -> str:
    """The time to the second, ISO 8601 with the zone: 2022-01-24T13:05:00+08:00."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def cpuinfo_words(name: str) -> list[str]:
    """Words behind the first `name : ...` of Linux's /proc/cpuinfo; none where there is no such line or file."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.split()
    return []


def processor() -> str:
    """The processor's name, or its architecture where the system does not tell the name."""
    return " ".join(cpuinfo_words("model name")) or platform.processor() or platform.machine()


def has_bfloat16() -> bool | None:
    """Whether the processor multiplies bfloat16 matrices; None where the system does not tell."""
    return _has(_BFLOAT16_FLAGS)


def has_int8() -> bool | None:
    """Whether the processor adds products of int8 in one instruction; None where the system does not tell."""
    return _has(_INT8_FLAGS)


def _has(wanted: frozenset[str]) -> bool | None:
    flags = cpuinfo_words("flags") or cpuinfo_words("Features")
    return not wanted.isdisjoint(flags) if flags else None
