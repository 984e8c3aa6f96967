"""A patient's files are swapped as a whole, and what batch_infer did not write stays."""

import json

import pytest

from tfod_csf.files import atomic_write
from tfod_csf.inference.runs import patient_folder
from tfod_csf.inference.runs.patient_folder import PatientFolder, PatientFolderError

PAGE = '<html><meta name="generator" content="tfod_csf 0.2.0">'


def put(folder, stamp=None, **texts):
    """Replaces the patient's files; keys are names with "__" for "/" and "_csv" for ".csv"."""
    with atomic_write.folder_beside(folder / "results") as new:
        for name, text in texts.items():
            path = new / name.replace("__", "/").replace("_csv", ".csv")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        PatientFolder.open(folder).replace(new, stamp or {})


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_second_run_replaces_and_removes_its_own_files_alone(tmp_path):
    folder = tmp_path / "p"
    put(folder, cells_csv="1", images_csv="1", pictures__day1__a="1", pictures__b="1")
    (folder / "pictures" / "mine.jpg").write_text("foreign")
    (folder / "report.html").write_text("somebody else's")
    put(folder, {"settings": 1}, cells_csv="2", images_csv="2", pictures__c="2")
    assert files(folder) == ["cells.csv", "images.csv", "pictures/c", "pictures/mine.jpg", "report.html", "stamp.json"]
    assert not (folder / "pictures" / "day1").exists()
    stamp = json.loads((folder / "stamp.json").read_text())
    assert stamp == {"settings": 1, "files": ["cells.csv", "images.csv", "pictures/c"]}


def test_pages_made_of_earlier_cells_are_removed(tmp_path):
    folder = tmp_path / "patients" / "p"
    put(folder, cells_csv="1", images_csv="1")
    for of_page in (folder, tmp_path):
        (of_page / "report.html").write_text(PAGE)
        (of_page / "report.pdf").write_text("printed")
    put(folder, cells_csv="2", images_csv="2")
    assert files(tmp_path) == [f"patients/p/{name}" for name in ("cells.csv", "images.csv", "stamp.json")]


@pytest.mark.parametrize("killed_at", range(1, 5))
def test_a_patient_killed_while_its_files_are_swapped_is_done_again(tmp_path, monkeypatch, killed_at):
    folder, calls = tmp_path / "p", []
    put(folder, {"settings": 1, "images": {}}, cells_csv="1", images_csv="1", pictures__old="1")

    def replace(*paths):
        calls.append(paths)
        if len(calls) == killed_at:
            raise KeyboardInterrupt
        return original(*paths)

    original = patient_folder.os.replace
    with monkeypatch.context() as patch:
        patch.setattr(patient_folder.os, "replace", replace)  # of the module os: stamp.json and the three files
        with pytest.raises(KeyboardInterrupt):
            put(folder, {"settings": 2, "images": {}}, cells_csv="2", images_csv="2", pictures__new="2")
    found = PatientFolder.open(folder)
    assert not found.is_done({}, {})
    assert found.stamp.get("settings") in (1, None)
    if killed_at > 1:
        assert found.files == {"cells.csv", "images.csv", "pictures/old", "pictures/new"}
    put(folder, {"settings": 2, "images": {}}, cells_csv="2", images_csv="2", pictures__new="2")
    assert files(folder) == ["cells.csv", "images.csv", "pictures/new", "stamp.json"]
    assert {(folder / name).read_text() for name in ("cells.csv", "images.csv", "pictures/new")} == {"2"}


def test_what_batch_infer_did_not_write_is_refused(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a").write_text("my own photo")
    with pytest.raises(PatientFolderError, match=r"holds files, but no stamp\.json"):
        PatientFolder.open(tmp_path)
    for stamp in ("", "[]", '{"files": 1}', '{"files": ["../x"]}'):
        (tmp_path / "stamp.json").write_text(stamp)
        with pytest.raises(PatientFolderError, match=r"holds files, but no stamp\.json"):
            PatientFolder.open(tmp_path)
    assert (tmp_path / "pictures" / "a").read_text() == "my own photo"


def test_a_file_in_the_way_of_a_result_is_kept(tmp_path):
    put(tmp_path, cells_csv="1", images_csv="1")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a").write_text("my own photo")
    with pytest.raises(PatientFolderError, match="is in the way of a result"):
        put(tmp_path, cells_csv="2", images_csv="2", pictures__a="2")
    assert (tmp_path / "cells.csv").read_text() == "1"
    assert (tmp_path / "pictures" / "a").read_text() == "my own photo"


def test_an_edited_table_is_not_replaced(tmp_path):
    put(tmp_path, cells_csv="1", images_csv="1")
    tables = PatientFolder.open(tmp_path).tables()
    put(tmp_path, {"tables": tables}, cells_csv="1", images_csv="1")
    PatientFolder.open(tmp_path).check_tables()
    (tmp_path / "cells.csv").write_text("edited")
    with pytest.raises(PatientFolderError, match=r"cells\.csv: was changed after batch_infer had written it"):
        PatientFolder.open(tmp_path).check_tables()
    (tmp_path / "cells.csv").unlink()  # there is nothing to lose
    PatientFolder.open(tmp_path).check_tables()
