import hashlib

import numpy as np
import pytest
from PIL import Image

from tests.support import examined_study
from tests.support.review_desk import Desk, edit, rename
from tfod_csf.commands import command_line, review_export
from tfod_csf.cytology.review import export, sidecar
from tfod_csf.cytology.review.export import review_names
from tfod_csf.files.checksums import file_sha256
from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_io, labelimg
from tfod_csf.study.pictures import open_picture

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


@pytest.fixture
def odd(tmp_path):
    """One dark quarter at the upper left, examined from files that LabelImg shows otherwise, and from a plain one."""
    kinds = ("turned_1.png", "turned_2.jpg", "twelve_bits.png", "jpeg_inside.tif", "plain_1.jpg", "plain_2.png")
    study = examined_study.write_study(tmp_path, {"p": {name: [SURE] for name in kinds}})
    pixels = np.full((48, 64, 3), (220, 200, 230), np.uint8)
    pixels[:24, :32] = (60, 20, 90)
    upright, folder, exif = Image.fromarray(pixels), study.images_dir / "p", Image.Exif()
    exif[0x0112] = 6
    for name in kinds:
        turned = name.startswith("turned")
        picture = upright.transpose(Image.Transpose.ROTATE_90) if turned else upright
        if name.startswith("twelve"):
            gray = np.asarray(upright.convert("L")).astype(np.uint16)
            picture = Image.fromarray(gray * (4095 // int(gray.max())))
        inside = {"compression": "jpeg"} if name.endswith(".tif") else {}
        picture.save(folder / name, **inside, **({"exif": exif} if turned else {}))
    study.examine("p", {name: [SURE] for name in kinds})
    return Desk(study, tmp_path)


def test_labelimg_shows_every_picture_as_it_was_examined_and_it_comes_back(odd):
    folder = odd.export() / "p"
    originals = {path.name: path.read_bytes() for path in (odd.study.images_dir / "p").iterdir()}
    shown = sidecar.read_sidecar(folder / "cells.json").images
    copied = set()
    for name, image in shown.items():
        with Image.open(folder / name) as picture:
            assert (picture.mode, picture.size, picture.getexif().get(0x0112, 1)) == ("RGB", (64, 48), 1)
            assert picture.convert("L").getpixel((8, 8)) < 90 < 180 < picture.convert("L").getpixel((50, 40))
        assert image.picture_sha256 == file_sha256(folder / name)
        assert image.sha256 == hashlib.sha256(originals[image.image]).hexdigest()
        if (folder / name).read_bytes() == originals[image.image]:
            copied.add(image.image)
            assert image.rewritten_sha256 == ""
        edit((folder / name).with_suffix(".xml"), rename(0, "monocyte"), verified=True)
    assert copied == {"plain_1.jpg", "plain_2.png"}
    assert odd.take(folder.parent, f"--training_dir={odd.root / 'training'}") == 0
    assert {counted for counted, _ in odd.cells("p").values()} == {"monocyte"}
    assert len(odd.cells("p")) == len(list((odd.root / "training").rglob("*.xml"))) == 6
    for image in shown.values():
        assert open_picture(odd.root / "training" / "p" / image.image, image.picture_sha256) is not None


def test_an_image_that_is_read_otherwise_than_it_was_examined_is_not_shown(odd, monkeypatch):
    monkeypatch.setattr(image_io, "read_image", lambda path, problems: (None, None))
    folder = odd.export() / "p"
    assert [path.name for path in folder.glob("*.xml")] == ["p__plain_1.xml"]
    assert {path.suffix for path in folder.glob("p__*")} == {".jpg", ".xml"}
    assert "is not read as batch_infer read it" in (folder.parent / "problems.csv").read_text(encoding="utf-8")


def test_names_are_unique_over_patients_folders_and_endings():
    names = review_names("p", ["a.jpg", "A.png", "d/a.jpg", "d__a.png", "b.jfif", "x" * 300 + ".jpg"])
    stems = [name.rpartition(".")[0].casefold() for name in names.values()]
    assert len(set(stems)) == len(stems) == 6
    assert names["b.jfif"] == "p__b.jpg"
    assert all(len(name.encode()) < 200 for name in names.values())
    assert all(name.startswith("p__") for name in names.values())
    assert review_names("p", []) == {}
