"""Words that this project avoids, each with what to write instead; spelling is codespell's (pyproject.toml)."""

import pathlib
import re

REPOSITORY = pathlib.Path(__file__).parent.parent
FOLDERS = ("tfod_csf", "docs", "tests", "notebooks", "requirements", ".github", ".ci")
SUFFIXES = {".py", ".md", ".sh", ".j2", ".js", ".css", ".csv", ".proto", ".toml", ".yml", ".yaml", ".cff", ".ipynb", ""}
GENERATED = re.compile(r"_pb2\.py$|/fixtures/|/requirements/.*\.txt$")

# Pattern (whole words): what to write instead.
AVOIDED = {
    r"aloud": "reported, logged",
    r"held against": "compared with",
    r"anew": "again",
    r"strangers?": "unrelated file, untrusted",
    r"mend(s|ing|ings|able)?": "repair; `mended` is an action of problems.csv",
    r"is told": "is reported",
    r"told apart": "distinguished",
    r"stands up for": "vouches for",
    r"cut off": "truncated, clipped",
    r"take(s|n)? over": "copy, apply",
    r"taken over": "copied, applied",
    r"passed over": "skip, ignore",
    r"left out": "skipped, ignored",
    r"going on": "resuming",
    r"goes on": "resumes, continues",
    r"drawn slides?": "synthetic slides",
    r"rooms": "packages",
    r"wings": "subpackages",
    r"exchanged": "swapped",
}
# Names of flags, columns, values and files, which stay as they are: text that holds a word of the list.
NAMES = re.compile(r"leave_out_class_heads|left_out_boxes|pass_over")

WANTED = re.compile(r"\b(" + "|".join(f"(?:{pattern})" for pattern in AVOIDED) + r")\b", re.IGNORECASE)


def _files():
    for path in sorted(REPOSITORY.iterdir()):
        if path.is_file() and path.suffix in SUFFIXES and path.suffix:
            yield path
    for folder in FOLDERS:
        for path in sorted((REPOSITORY / folder).rglob("*")):
            relative = path.relative_to(REPOSITORY).as_posix()
            hidden = any(part.startswith(("__pycache__", ".ipynb")) for part in path.parts)
            if path.is_file() and path.suffix in SUFFIXES and not hidden and not GENERATED.search(f"/{relative}"):
                yield path


def test_avoided_words():
    found = []
    for path in _files():
        name = path.relative_to(REPOSITORY).as_posix()
        if path == pathlib.Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for match in WANTED.finditer(NAMES.sub("", line)):
                found.append(f"{name}:{number}: {match[0]!r}")
    assert not found


def test_files_are_found_and_words_of_the_list_are_seen():
    names = {path.relative_to(REPOSITORY).as_posix() for path in _files()}
    assert {"README.md", "docs/DATA.md", "tfod_csf/problems.py", "tfod_csf/files/schemas/cells.csv", ".ci/run"} <= names
    found = [match[0] for match in WANTED.finditer("Rooms are mended anew, and nobody is told.")]
    assert found == ["Rooms", "anew", "is told"]
