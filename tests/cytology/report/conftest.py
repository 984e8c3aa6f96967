"""Reports of the two runs of tests/cytology/conftest.py, and one of their patients."""

import pytest

from tests.support import report_pages
from tfod_csf.cytology import run_tables
from tfod_csf.cytology.report import gallery


@pytest.fixture(scope="session")
def synthetic(synthetic_run, tmp_path_factory):
    """(summary, folder) of the report of the synthetic patients."""
    folder = tmp_path_factory.mktemp("report")
    return report_pages.write(synthetic_run, folder), folder


@pytest.fixture(scope="session")
def odd(odd_run, tmp_path_factory):
    """(summary, folder) of the report of the patients with odd names and few cells."""
    folder = tmp_path_factory.mktemp("odd_report")
    return report_pages.write(odd_run, folder), folder


@pytest.fixture(scope="session")
def patient(synthetic_run):
    """Tables of a synthetic patient with six images."""
    return run_tables.read_patient(synthetic_run / "patients" / "patient_002", details=True)


@pytest.fixture(scope="session")
def sources(synthetic_run, patient):
    """That patient's original images."""
    return gallery.SourceImages(synthetic_run.parent / "slides", patient)
