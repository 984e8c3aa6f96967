"""Checks the locked packages for known vulnerabilities (pip-audit) and this code for risky calls (bandit).

A vulnerability ends with an error. What bandit finds must be in `accepted_risks.csv` beside this file, each with the
reason why it is none; a finding that is gone must be taken out of the list. Without a network the packages are not
checked, which is said in one line and is no error.

python .ci/check_security.py
"""

import collections
import csv
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
LOCKS = HERE.parent / "requirements"
CHECKED = ("tfod_csf", ".ci", "requirements", "notebooks")
# Asserts are for the reader and the type checker; that a module imports subprocess or pickle is no finding of its own.
NOT_FINDINGS = "B101,B403,B404"
_SECONDS = 120


def audit() -> list[str]:
    """What is wrong with the locked packages, one sentence each; says how many could not be checked."""
    locks = [f"--requirement={path}" for path in sorted(LOCKS.glob("*.txt")) if path.name != "constraints.txt"]
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner=off", "--format=json", "--timeout=15"]
    try:
        done = subprocess.run(
            [*command, "--disable-pip", "--no-deps", *locks],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        found = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        print("pip-audit: not checked: no network")
        return []
    skipped = sum("skip_reason" in package for package in found)
    if skipped:
        print(f"pip-audit: {skipped} of {len(found)} packages not checked: the service does not know them")
    return [
        f"{package['name']} {package['version']}: {one['id']}, repaired in {', '.join(one['fix_versions']) or 'none'}"
        for package in found
        for one in package.get("vulns", [])
    ]


def risky_calls() -> list[str]:
    """Findings of bandit that are not accepted, and accepted ones that are gone, one sentence each."""
    command = [sys.executable, "-m", "bandit", "--quiet", "--format=json", f"--skip={NOT_FINDINGS}", "--recursive"]
    done = subprocess.run([*command, *CHECKED], cwd=HERE.parent, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    if report["errors"]:
        return [f"{error['filename']}: {error['reason']}" for error in report["errors"]]
    lines: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    for one in report["results"]:
        name = pathlib.PurePath(one["filename"]).as_posix().removeprefix("./")
        lines[name, one["test_id"]].append(f"line {one['line_number']}: {one['issue_text']}")
    with (HERE / "accepted_risks.csv").open(encoding="utf-8", newline="") as file:
        accepted = {(row["file"], row["test"]): int(row["count"]) for row in csv.DictReader(file)}
    faults = []
    for (name, test), said in sorted(lines.items()):
        if len(said) != accepted.get((name, test), 0):
            faults.append(f"{name}: {test}, {accepted.get((name, test), 0)} accepted, found {'; '.join(said)}")
    return faults + [f"{name}: {test} is accepted but gone" for name, test in sorted(accepted.keys() - lines.keys())]


def main() -> int:
    """Prints every fault; returns 1 if there is one."""
    faults = [*risky_calls(), *audit()]
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
