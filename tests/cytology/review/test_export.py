import pytest
from PIL import Image

from tests.support import examined_study
from tests.support.review_desk import Desk
from tfod_csf.commands import command_line, review_export
from tfod_csf.cytology.review import export, sidecar
from tfod_csf.cytology.review.export import review_names
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg

SURE = ("lymphocyte", 0.95, (1.4, 2.0, 11.6, 12.0))
UNSURE = ("monocyte", 0.6, (20.0, 5.0, 30.0, 15.0))


@pytest.fixture
def desk(tmp_path):
    patients = {"=王": {"day1/a.jpg": [SURE, UNSURE], "a.png": []}, "p2": {"a.jpg": [SURE]}}
    return Desk(examined_study.write_study(tmp_path, patients), tmp_path)


def test_a_patients_folder_holds_what_labelimg_needs(desk):
    folder = desk.export() / "=王"
    assert sorted(path.name for path in folder.iterdir()) == [
        "=王__a.png",
        "=王__a.xml",
        "=王__day1__a.jpg",
        "=王__day1__a.xml",
        "cells.json",
        "predefined_classes.txt",
    ]
    names = (folder / "predefined_classes.txt").read_text(encoding="utf-8").split()
    assert names == ["lymphocyte", "monocyte", "neutrophil", "erythrocyte", "unknown"]
    original = desk.study.images_dir / "=王" / "day1" / "a.jpg"
    assert (folder / "=王__day1__a.jpg").read_bytes() == original.read_bytes()
    assert "labelImg PATIENT" in (folder.parent / "HOW_TO_REVIEW.txt").read_text(encoding="utf-8")


def test_unknown_cells_are_difficult_and_nothing_is_verified(desk):
    folder = desk.export() / "=王"
    annotation = labelimg.read_annotation(folder / "=王__day1__a.xml", ProblemLog())
    assert [(o.name, o.difficult) for o in annotation.objects] == [("lymphocyte", 0), ("unknown", 1)]
    first = annotation.objects[0]
    assert (first.xmin, first.ymin, first.xmax, first.ymax) == (1, 2, 12, 12)
    assert (annotation.width, annotation.height) == (64, 48)
    assert not annotation.verified
    empty = labelimg.read_annotation(folder / "=王__a.xml", ProblemLog())
    assert empty.objects == []


def test_the_sidecar_keeps_what_xml_cannot(desk):
    shown = sidecar.read_sidecar(desk.export() / "=王" / "cells.json")
    assert (shown.patient_id, shown.model, shown.revision) == ("=王", "m", 0)
    cell = shown.images["=王__day1__a.jpg"].cells[1]
    assert (cell.cell_id, cell.name, cell.predicted_class, cell.score) == (2, "unknown", "monocyte", 0.6)


def test_an_export_is_never_written_over(desk, capsys):
    review = desk.export()
    before = {path: path.read_bytes() for path in review.rglob("*") if path.is_file()}
    arguments = [f"--inference_dir={desk.study.inference_dir}", f"--output_dir={review}"]
    assert command_line.run(review_export.main, review_export.FLAGS, "", "review_export", arguments) == 1
    assert "exists already" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in review.rglob("*") if path.is_file()}


def test_one_patient_and_extra_classes(desk, capsys):
    review = desk.export("one", "--patient==王", "--extra_class=plasma  cell", "--extra_class=eosinophil")
    assert sorted(path.name for path in review.iterdir() if path.is_dir()) == ["=王"]
    lines = (review / "=王" / "predefined_classes.txt").read_text(encoding="utf-8").splitlines()
    assert lines[-2:] == ["plasma cell", "eosinophil"]
    arguments = [f"--inference_dir={desk.study.inference_dir}", f"--output_dir={review}", "--patient=nobody"]
    assert command_line.run(review_export.main, review_export.FLAGS, "", "review_export", arguments) == 1
    assert "--patient=nobody: no such patient" in capsys.readouterr().err


def test_images_that_changed_or_are_gone_are_not_shown(desk):
    folder = desk.study.images_dir / "=王"
    Image.new("RGB", (64, 48)).save(folder / "day1" / "a.jpg")
    (desk.study.images_dir / "p2" / "a.jpg").unlink()
    review = desk.export()
    assert not (review / "p2").exists()
    assert [path.name for path in (review / "=王").glob("*.xml")] == ["=王__a.xml"]
    problems = (review / "problems.csv").read_text(encoding="utf-8")
    assert "changed since batch_infer" in problems
    assert "is not in the images folder" in problems


def test_images_that_no_labeling_program_opens_are_not_shown(desk, monkeypatch):
    monkeypatch.setattr(export, "MAX_PIXELS", 64 * 48 - 1)
    review = desk.export()
    assert not (review / "p2").exists()
    assert "64 x 48 pixels: labeling programs do not open" in (review / "problems.csv").read_text(encoding="utf-8")


def test_names_are_unique_over_patients_folders_and_endings():
    names = review_names("p", ["a.jpg", "A.png", "d/a.jpg", "d__a.png", "b.jfif", "x" * 300 + ".jpg"])
    stems = [name.rpartition(".")[0].casefold() for name in names.values()]
    assert len(set(stems)) == len(stems) == 6
    assert names["b.jfif"] == "p__b.jpg"
    assert all(len(name.encode()) < 200 for name in names.values())
    assert all(name.startswith("p__") for name in names.values())
    assert review_names("p", []) == {}
