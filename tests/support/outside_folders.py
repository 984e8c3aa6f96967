"""The two folders outside the clone that tests may read, each named by an environment variable and by nothing else.

| variable | folder | without it |
|---|---|---|
| TFOD_REFERENCE_DIR | numbers that TFOD computed, for tests/fidelity | the part of them in tests/fidelity/fixtures |
| TFOD_CSF_DATA_DIR | images: bad_inputs/ with its MANIFEST.csv | tests that need them are skipped |
"""

import os
import pathlib

import pytest

REFERENCE, DATA = "TFOD_REFERENCE_DIR", "TFOD_CSF_DATA_DIR"
FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fidelity" / "fixtures"


def _named_folder(variable: str) -> pathlib.Path | None:
    """The folder a variable names; None where it is not set.

    Raises:
      UsageError: it names something else than a folder; skipping the tests instead would hide a typing error.
    """
    if not os.environ.get(variable):
        return None
    folder = pathlib.Path(os.environ[variable])
    if not folder.is_dir():
        raise pytest.UsageError(f"{variable}={folder}: no such folder; correct it or unset it")
    return folder


def reference_folder() -> pathlib.Path:
    """The folder of recorded numbers."""
    return _named_folder(REFERENCE) or FIXTURES


def data_folder() -> pathlib.Path | None:
    """The folder of images; None where it is not named."""
    return _named_folder(DATA)
