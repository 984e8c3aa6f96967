"""The walkthrough runs from its first cell to its last, and its tables and pictures are there."""

import pathlib

import pytest

from tfod_csf.files import csv_tables

NOTEBOOK = pathlib.Path(__file__).parent.parent / "notebooks" / "01_walkthrough.ipynb"


@pytest.mark.slow
def test_walkthrough(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setenv("WALKTHROUGH_DIR", str(tmp_path / "walkthrough"))
    monkeypatch.setenv("WALKTHROUGH_STEPS", "240")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    pictures = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 6
    rows = csv_tables.read_rows(tmp_path / "walkthrough" / "patients" / "differentials.csv")
    assert len(rows) == 5
    assert sum(float(row["white_cells"]) for row in rows) > 100


def test_the_committed_notebook_holds_no_outputs():
    nbformat = pytest.importorskip("nbformat")
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs")
