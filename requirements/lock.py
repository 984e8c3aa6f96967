"""Writes the lock files beside this script: every package with exact version and checksums, for Python 3.10 to 3.13.

    pip install uv
    python requirements/lock.py              keeps the locked versions unless pyproject.toml asks for others
    python requirements/lock.py --upgrade    takes the newest versions that pyproject.toml and constraints.txt allow

Run it with Python 3.11 or newer. All extras are resolved together, so that every file names the same version of a
package. train.txt, dev.txt and gpu.txt hold only what their extra adds to the files before them. docs.txt is complete,
because the documentation's site is built without TensorFlow, and so is build.txt, which is installed first: it builds
the packages that have no wheel, and this one. archive.txt is complete and resolved by itself: Apache Beam does not
allow the newest Pillow, pyarrow and python-dateutil, which the rest is not to be held back for.
"""

import argparse
import pathlib
import re
import subprocess
import tempfile

import tomllib

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
BUILD = ["uv", "setuptools", "wheel", "setuptools-scm"]
# file: (what it is for, requirements, files that are installed before it)
FILES = {
    "build": ("installs the rest and builds what has no wheel", BUILD, []),
    "inference": ("tfod_csf needs", PROJECT["dependencies"], []),
    "train": ("the extra [train] adds to inference.txt", EXTRAS["train"], ["inference"]),
    "tiff": ("the extra [tiff] adds to inference.txt", EXTRAS["tiff"], ["inference"]),
    "openvino": ("the extra [openvino] adds to inference.txt", EXTRAS["openvino"], ["inference"]),
    "fhir": ("the extra [fhir] adds to inference.txt", EXTRAS["fhir"], ["inference"]),
    "dev": ("the extra [dev] adds to inference.txt and train.txt", EXTRAS["dev"], ["inference", "train"]),
    "gpu": ("the extra [gpu] adds to inference.txt", EXTRAS["gpu"], ["inference"]),
    "docs": ("builds the documentation's site", EXTRAS["docs"], []),
}
# file: (what it is for, requirements); complete, with the versions of FILES where they fit
APART = {
    "archive": (
        "tfod_csf with the extras [archive] and [tiff] needs",
        [*PROJECT["dependencies"], *EXTRAS["archive"], *EXTRAS["tiff"]],
    ),
}


def resolve(requirements: list[str], locked: str, *options: str) -> str:
    """Resolves for every platform and supported Python; versions that `locked` names are kept where they still fit."""
    with tempfile.TemporaryDirectory() as folder:
        source, output = pathlib.Path(folder, "requirements.in"), pathlib.Path(folder, "requirements.txt")
        source.write_text("\n".join(requirements), encoding="utf-8")
        output.write_text(locked, encoding="utf-8")
        command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.10", "--no-annotate"]
        command += ["--no-header", "--constraint", str(HERE / "constraints.txt"), *options]
        subprocess.run([*command, "--output-file", str(output), str(source)], check=True)
        return output.read_text(encoding="utf-8")


def packages(text: str) -> dict[str, str]:
    """{name: its lines with checksums}; a package has one requirement per range of Python versions."""
    found: dict[str, str] = {}
    for block in re.split(r"^(?=\w)", text, flags=re.MULTILINE):
        if name := re.match(r"[\w.-]+", block):
            found[name.group()] = found.get(name.group(), "") + block
    return found


def main() -> None:
    """Resolves everything together, then writes each package to the files that need it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", action="store_true", help="take newer versions than the locked ones")
    upgrade = parser.parse_args().upgrade

    present = [path.read_text(encoding="utf-8") for name in FILES if (path := HERE / f"{name}.txt").is_file()]
    everything = [requirement for _, requirements, _ in FILES.values() for requirement in requirements]
    locked = resolve(everything, "" if upgrade else "".join(present), "--generate-hashes")
    texts = packages(locked)

    needed: dict[str, set[str]] = {}
    for name, (use, requirements, earlier) in FILES.items():
        before = [requirement for other in earlier for requirement in FILES[other][1]]
        needed[name] = set(packages(resolve(before + requirements, locked)))
        own = sorted(needed[name].difference(*(needed[other] for other in earlier)))
        header = f"# What {use}; written by requirements/lock.py\n"
        (HERE / f"{name}.txt").write_text(header + "".join(texts[package] for package in own), encoding="utf-8")
        print(f"{name}.txt: {len(own)} packages")

    for name, (use, requirements) in APART.items():
        path = HERE / f"{name}.txt"
        earlier = packages(path.read_text(encoding="utf-8")) if path.is_file() and not upgrade else {}
        text = resolve(requirements, "".join({**earlier, **texts}.values()), "--generate-hashes")
        path.write_text(f"# What {use}; written by requirements/lock.py\n" + text, encoding="utf-8")
        print(f"{name}.txt: {len(packages(text))} packages")


if __name__ == "__main__":
    main()
