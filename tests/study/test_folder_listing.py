"""Which files of a folder are listed, and what is said of the others; through `find_images` in test_patients.py."""

import pytest

from tfod_csf.problems import ProblemLog
from tfod_csf.study import folder_listing
from tfod_csf.study.folder_listing import ListedFile, list_files, readable_images
from tfod_csf.study.patient_ids import PatientsError


def _write(folder, *keys):
    for key in keys:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(b"")


def _keys(listed):
    return [one.key for one in listed]


def test_parts_of_a_name():
    listed = ListedFile("/images/p1/day 1/IMG.0001.JPG", "p1/day 1/IMG.0001.JPG")
    assert (listed.suffix, listed.stem, listed.parent) == (".jpg", "IMG.0001", "p1/day 1")
    assert ListedFile("/images/a.png", "a.png").parent == ""


def test_files_are_sorted_and_those_of_the_system_are_not_there(tmp_path):
    problems = ProblemLog()
    assert list_files(tmp_path, "folder of images", problems) == []
    _write(
        tmp_path, "b/2.jpg", "a/1.jpg", "a/._1.jpg", "__MACOSX/a/1.jpg", ".cache/1.jpg", "notes.txt", "results/1.jpg"
    )
    listed = list_files(tmp_path, "folder of images", problems, [tmp_path / "results"])
    assert _keys(listed) == ["notes.txt", "a/1.jpg", "b/2.jpg"]  # of a folder before those of its folders
    assert not problems.problems


@pytest.mark.parametrize(("name", "words"), [("absent", "no such folder"), ("file", "is not a folder")])
def test_what_is_no_folder_is_one_sentence(tmp_path, name, words):
    _write(tmp_path, "file")
    with pytest.raises(PatientsError, match=f"{name}: {words}; give the folder of images"):
        list_files(tmp_path / name, "folder of images", ProblemLog())


def test_raw_files_are_noted_beside_their_image_and_skipped_alone(tmp_path):
    _write(tmp_path, "p/1.jpg", "p/1.NEF", "p/2.nef", "p/3.svs")
    problems = ProblemLog()
    listed = list_files(tmp_path, "folder of images", problems)
    assert _keys(readable_images(tmp_path, listed, problems)) == ["p/1.jpg"]
    assert [(row.action, row.file.rpartition("/")[2]) for row in problems.problems] == [
        ("skipped", "2.nef"),
        ("skipped", "3.svs"),
        ("noted", tmp_path.name),
    ]
    assert readable_images(tmp_path, [], problems) == []


def test_folders_without_an_image_are_noted_unless_something_was_said_of_them(tmp_path):
    _write(tmp_path, "p1/1.jpg", "p2/notes.txt", "p3/2.nef", "results/run.json")
    problems = ProblemLog()
    listed = list_files(tmp_path, "folder of images", problems)
    readable_images(tmp_path, listed, problems)
    folder_listing.note_folders_without_images(tmp_path, listed, problems, [tmp_path / "results"])
    noted = [row.file.rpartition("/")[2] for row in problems.problems if "no image was found" in row.reason]
    assert noted == ["p2"]
