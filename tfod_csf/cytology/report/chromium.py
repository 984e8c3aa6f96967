"""HTML pages to PDF through an installed Chromium (or Chrome or Edge), offline and without the user's profile."""

import os
import pathlib
import shutil
import subprocess
import tempfile

from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome", "msedge", "microsoft-edge")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no name leads anywhere: pages need no network
)
_SECONDS = 300


class ChromiumError(UserError):
    """No PDF could be made."""


def find_chromium() -> str:
    """The program's path.

    Raises:
      ChromiumError: none is installed.
    """
    for name in _NAMES:
        if path := shutil.which(name):
            return path
    for place in PLACES:
        if pathlib.Path(place).is_file():
            return place
    raise ChromiumError(
        "--pdf needs Chromium, Chrome or Edge, and none was found; install one (Debian, Ubuntu: apt install chromium), "
        "or open the HTML page in any browser and print it from there."
    )


def command(program: str, profile_dir: str | os.PathLike) -> list[str]:
    """The program with the flags for one quiet, offline run; append what to do and the page's address."""
    # Chromium refuses its sandbox to root, the usual user of a container.
    as_root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return [program, *_FLAGS, *as_root, f"--user-data-dir={profile_dir}"]


def print_pdf(program: str, page: pathlib.Path, pdf: pathlib.Path) -> None:
    """Prints an HTML file as PDF.

    Raises:
      ChromiumError: the program failed; with the last line of its messages.
    """
    with tempfile.TemporaryDirectory() as profile, atomic_write.replacing_path(pdf) as beside:
        arguments = [f"--print-to-pdf={beside}", "--no-pdf-header-footer", page.resolve().as_uri()]
        try:
            done = subprocess.run(
                [*command(program, profile), *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ChromiumError(f"{page}: {program} could not print it ({error}).") from error
        if done.returncode or not beside.is_file() or not beside.stat().st_size:
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise ChromiumError(f"{page}: {program} ended with status {done.returncode} and wrote no PDF: {said}")
