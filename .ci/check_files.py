"""Checks committed files for what linters do not see: line ends, blanks before them, conflict markers, size.

python .ci/check_files.py [FILE...]        all tracked files without arguments
"""

import pathlib
import subprocess
import sys

MAX_BYTES = 500_000
# Recorded numbers are as large as they have to be; tests/shipped_models/test_by_name.py says how large a model may be.
MAY_BE_LARGE = ("tests/fidelity/fixtures/", "tfod_csf/shipped_models/")
NOT_OURS = ("tests/fidelity/fixtures/", "LICENSE")


def faults(name: str) -> list[str]:
    """What is wrong with a file, one sentence each."""
    content = pathlib.Path(name).read_bytes()
    found = []
    if len(content) > MAX_BYTES and not name.startswith(MAY_BE_LARGE):
        found.append(f"has {len(content):,} bytes, more than {MAX_BYTES:,}; keep data out of the repository")
    if b"\0" in content or name.startswith(NOT_OURS) or name.endswith(".pb") or not content:
        return found
    if not content.endswith(b"\n") or content.endswith(b"\n\n"):
        found.append("must end with one line end")
    for number, line in enumerate(content.splitlines(), start=1):
        if line != line.rstrip():
            found.append(f"line {number} ends with blanks")
        if line.startswith((b"<<<<<<< ", b">>>>>>> ")):
            found.append(f"line {number} is a conflict marker")
    return found


def main() -> int:
    """Prints every fault; returns 1 if there is one."""
    names = sys.argv[1:] or subprocess.check_output(["git", "ls-files", "-z"], text=True).split("\0")[:-1]
    lines = [f"{name}: {fault}" for name in names if pathlib.Path(name).is_file() for fault in faults(name)]
    print("\n".join(lines), end="\n" if lines else "")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
