"""blind and unblind: nothing of a name in what is given away, the same pixels, and the way back."""

import io
import json
import os
import pathlib
import stat
import warnings

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tfod_csf.commands import batch_infer, blind, command_line, differential, unblind
from tfod_csf.cytology.blinding import blind as blinding
from tfod_csf.cytology.blinding import pseudonyms
from tfod_csf.files import csv_tables, key_files
from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_io, labelimg
from tfod_csf.study.labelimg import Annotation, LabeledObject
from tfod_csf.study.patients import ImageFile

PATIENTS = ("Wang_Fang_1958", "=张伟的病人")
SECRETS = ("wang_fang", "1958", "张伟的病人", "IMG_0815", "day_0427", "Kowalski", "HospitalX", "52.5200")


def _pixels(seed, size=(48, 64)):
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)


def _save_jpeg(path, seed, orientation=None, **options):
    exif = Image.Exif()
    exif[0x010E], exif[0x013B] = "Wang_Fang slide 1958", "Kowalski"  # description, artist
    exif.get_ifd(0x8825)[1] = "52.5200 N"
    if orientation:
        exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(_pixels(seed))
    image.save(path, "JPEG", exif=exif, comment=b"Kowalski, HospitalX", quality=90, **options)
    with path.open("ab") as file:
        file.write(b"\0trailer of HospitalX: Wang_Fang")


def _save_png(path, seed):
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "Kowalski")
    info.add_itxt("Comment", "张伟的病人", "zh", "")
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x013B] = "Kowalski"
    Image.fromarray(_pixels(seed)).save(path, pnginfo=info, exif=exif)


def _save_xml(image, size=(64, 48), name="lymphocyte"):
    objects = [LabeledObject(name, 5, 6, 15, 16, pose="Wang_Fang"), LabeledObject("monocyte", 20, 6, 30, 16, 1)]
    annotation = Annotation(image, image.name, *size, objects, verified=True, folder=image.parent.name)
    labelimg.write_annotation(annotation, image.with_suffix(".xml"))


@pytest.fixture
def study(tmp_path):
    """Images of all kinds with names wherever a file can hold one."""
    root = tmp_path / "HospitalX"
    first, second = (root / patient for patient in PATIENTS)
    _save_jpeg(first / "day_0427" / "IMG_0815_a.jpg", 1)
    _save_jpeg(first / "day_0427" / "IMG_0815_b.JPG", 2, orientation=6)
    _save_jpeg(first / "IMG_0815_c.jpeg", 3, progressive=True)
    _save_png(second / "IMG_0815_a.png", 4)
    Image.fromarray(_pixels(5)).save(second / "IMG_0815_b.tif", tiffinfo={270: "张伟的病人", 315: "Kowalski"})
    Image.fromarray(_pixels(6)).save(second / "IMG_0815_c.bmp")
    _save_xml(first / "day_0427" / "IMG_0815_a.jpg")
    _save_xml(first / "day_0427" / "IMG_0815_b.JPG", size=(48, 64))
    _save_xml(second / "IMG_0815_b.tif")
    return root


def _blind(study, output, *flags):
    arguments = [f"--images_dir={study}", f"--output_dir={output}", *flags]
    if not any(flag.startswith("--key_file") for flag in flags):
        arguments.append(f"--key_file={output.parent / 'safe' / 'key'}")
    return command_line.run(blind.main, blind.FLAGS, "", "blind", arguments)


def _unblind(results, output, key):
    arguments = [f"--results_dir={results}", f"--output_dir={output}", f"--key_file={key}"]
    return command_line.run(unblind.main, unblind.FLAGS, "", "unblind", arguments)


def _mapping(tmp_path):
    key = key_files.read_key(tmp_path / "safe" / "key")
    return pseudonyms.read_mapping(tmp_path / "safe" / "key.mapping.csv", key)


def _leaks(folder):
    """(file, secret) of every secret in a path or in the bytes of a file, in any encoding and spelling."""
    found = []
    for path in folder.rglob("*"):
        content = [str(path.relative_to(folder)).casefold()]
        if path.is_file():
            data = path.read_bytes()
            content += [
                data.decode(code, "ignore").casefold() for code in ("utf-8", "latin-1", "utf-16-le", "utf-16-be")
            ]
            content += [data[1:].decode("utf-16-le", "ignore").casefold()]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a backslash of a file is no escape sequence of Python's
                content += [data.decode("utf-8", "ignore").encode().decode("unicode_escape", "ignore").casefold()]
        found += [(path, secret) for secret in SECRETS for text in content if secret.casefold() in text]
    return found


def test_the_search_for_leaks_finds_them(study):
    found = {secret for _, secret in _leaks(study.parent)}
    assert found == set(SECRETS)


def test_no_name_is_anywhere_in_the_copies(study, tmp_path):
    assert _blind(study, tmp_path / "blinded") == 0
    files = [path for path in (tmp_path / "blinded").rglob("*") if path.is_file()]
    assert sorted(path.suffix for path in files) == [
        ".jpg",
        ".jpg",
        ".png",
        ".png",
        ".png",
        ".png",
        ".xml",
        ".xml",
        ".xml",
    ]
    assert _leaks(tmp_path / "blinded") == []


def test_pixels_are_those_the_package_read_before(study, tmp_path):
    assert _blind(study, tmp_path / "blinded") == 0
    written = {}
    for row in _mapping(tmp_path):
        before = image_io.open_image(study / row.patient_id / row.image, ProblemLog(quiet=True))
        problems = ProblemLog()
        after = image_io.open_image(tmp_path / "blinded" / row.pseudonym / row.blinded_image, problems)
        np.testing.assert_array_equal(before.pixels, after.pixels)
        assert problems.problems == [], "the copies are plain"
        assert (before.sha256, after.sha256) == (row.sha256, row.blinded_sha256)
        written[pathlib.PurePath(row.image).name] = row.written
    assert written == {
        "IMG_0815_a.jpg": "jpeg_stripped",
        "IMG_0815_b.JPG": "png",  # EXIF turns it
        "IMG_0815_c.jpeg": "jpeg_stripped",
        "IMG_0815_a.png": "png",
        "IMG_0815_b.tif": "png",
        "IMG_0815_c.bmp": "png",
    }


def test_boxes_drawn_on_the_stored_pixels_of_a_turned_image_stay_right(tmp_path):
    path = tmp_path / "study" / "Wang_Fang_1958" / "a.jpg"
    _save_jpeg(path, 1, orientation=6)
    _save_xml(path, size=(64, 48))
    assert _blind(tmp_path / "study", tmp_path / "blinded") == 0
    (row,) = _mapping(tmp_path)
    copy = tmp_path / "blinded" / row.pseudonym / row.blinded_image
    with Image.open(copy) as image:
        assert (row.written, image.size) == ("jpeg_stripped", (64, 48))


def test_xml_keeps_boxes_and_marks_alone(study, tmp_path):
    assert _blind(study, tmp_path / "blinded") == 0
    row = next(row for row in _mapping(tmp_path) if row.image.endswith("b.JPG"))
    path = tmp_path / "blinded" / row.pseudonym / row.blinded_image
    annotation = labelimg.read_annotation(path.with_suffix(".xml"), ProblemLog())
    assert (annotation.filename, annotation.folder, annotation.verified) == (path.name, "", True)
    assert (annotation.width, annotation.height) == (48, 64)
    assert [(o.name, o.xmin, o.ymax, o.difficult) for o in annotation.objects] == [
        ("lymphocyte", 5, 16, 0),
        ("monocyte", 20, 16, 1),
    ]


def test_a_class_name_that_tells_whose_it_is_leaves_the_xml_out(study, tmp_path):
    _save_xml(study / PATIENTS[1] / "IMG_0815_c.bmp", name="张伟的病人 lymphocyte")
    _save_xml(study / PATIENTS[0] / "IMG_0815_c.jpeg", name="cell of wang_fang_1958")
    assert _blind(study, tmp_path / "blinded") == 0
    assert _leaks(tmp_path / "blinded") == []
    assert len(list((tmp_path / "blinded").rglob("*.xml"))) == 3
    problems = csv_tables.read_rows(tmp_path / "safe" / "key.problems.csv")
    assert sum("holds the patient's id" in row["reason"] for row in problems) == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [("fang's cell", True), ("plasma cell", False), ("lymphocyte", False), ("Day 0427", True), ("P1 cell", False)],
)
def test_which_class_names_reveal(name, expected):
    image = ImageFile(pathlib.Path("x"), "Wang_Fang_P1_lymphocyte", "day_0427/a.jpg", "x")
    assert blinding.reveals(name, image) == expected


def test_secrets_are_the_owners_only_and_lie_apart(study, tmp_path, capsys):
    assert _blind(study, tmp_path / "blinded") == 0
    for name in ("key", "key.mapping.csv", "key.problems.csv"):
        assert stat.S_IMODE((tmp_path / "safe" / name).stat().st_mode) == 0o600, name
    assert _blind(study, tmp_path / "other", f"--key_file={tmp_path / 'other' / 'deep' / 'key'}") == 1
    assert "would lie in the blinded folder" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    assert _blind(study, tmp_path / "blinded", f"--key_file={tmp_path / 'another' / 'key'}") == 1
    assert "is not empty" in capsys.readouterr().err
    assert not (tmp_path / "another").exists(), "no key without a use"


def test_a_key_is_never_overwritten(study, tmp_path, capsys):
    assert _blind(study, tmp_path / "blinded") == 0
    before = (tmp_path / "safe" / "key").read_bytes()
    assert _blind(study, tmp_path / "again") == 1
    assert "--reuse_key" in capsys.readouterr().err
    assert (tmp_path / "safe" / "key").read_bytes() == before
    assert _blind(study, tmp_path / "again", f"--key_file={tmp_path / 'new' / 'key'}", "--reuse_key") == 1
    assert not (tmp_path / "again").exists()


def test_images_are_added_to_the_same_blinding(study, tmp_path, capsys):
    assert _blind(study, tmp_path / "blinded") == 0
    first = {(row.patient_id, row.image): row for row in _mapping(tmp_path)}
    _save_jpeg(study / PATIENTS[0] / "IMG_0816.jpg", 9)
    _save_jpeg(study / "new patient" / "a.jpg", 10)
    assert _blind(study, tmp_path / "blinded", "--reuse_key") == 0
    second = {(row.patient_id, row.image): row for row in _mapping(tmp_path)}
    assert {name: second[name] for name in first} == first
    assert len(second) == len(first) + 2
    (tmp_path / "blinded" / "unrelated").mkdir()
    assert _blind(study, tmp_path / "blinded", "--reuse_key") == 1
    assert "is not of this blinding" in capsys.readouterr().err


def _annotate(copy):
    """Puts XML beside a copy, as LabelImg writes it for an annotator."""
    labeled = [LabeledObject("neutrophil", 1, 2, 11, 12)]
    written = Annotation(copy, copy.name, 64, 48, labeled, folder="blinded")
    labelimg.write_annotation(written, copy.with_suffix(".xml"))
    return copy.with_suffix(".xml").read_bytes()


def _copy_of(tmp_path, image):
    row = next(row for row in _mapping(tmp_path) if row.image == image)
    return tmp_path / "blinded" / row.pseudonym / row.blinded_image


def test_adding_images_keeps_what_annotators_wrote(tmp_path):
    study = tmp_path / "study"
    for patient, name, seed in (("Wang", "a.jpg", 1), ("Wang", "c.jpg", 2), ("Wang", "d.jpg", 3), ("Wang", "e.jpg", 4)):
        _save_jpeg(study / patient / name, seed)
    for name in ("c.jpg", "d.jpg"):
        _save_xml(study / "Wang" / name)
    assert _blind(study, tmp_path / "blinded") == 0
    copies = {name: _copy_of(tmp_path, name) for name in ("a.jpg", "c.jpg", "d.jpg", "e.jpg")}
    drawn, corrected = _annotate(copies["a.jpg"]), _annotate(copies["c.jpg"])
    untouched = copies["d.jpg"].with_suffix(".xml").read_bytes()
    before = {name: copy.stat().st_ino for name, copy in copies.items()}
    _save_jpeg(study / "Li" / "b.jpg", 5)
    _save_xml(study / "Wang" / "e.jpg")
    assert _blind(study, tmp_path / "blinded", "--reuse_key") == 0
    assert copies["a.jpg"].with_suffix(".xml").read_bytes() == drawn
    assert copies["c.jpg"].with_suffix(".xml").read_bytes() == corrected
    assert copies["d.jpg"].with_suffix(".xml").read_bytes() == untouched
    assert {name: copy.stat().st_ino for name, copy in copies.items()} == before, "copies are not written again"
    assert copies["e.jpg"].with_suffix(".xml").is_file(), "an original that was annotated since"
    assert _copy_of(tmp_path, "b.jpg").is_file()
    (row,) = csv_tables.read_rows(tmp_path / "safe" / "key.problems.csv")
    assert (row["file"], row["action"]) == (str(copies["c.jpg"].with_suffix(".xml")), "noted")
    assert "is not what the original's XML gives now; it was left as it is" in row["reason"]


@pytest.mark.parametrize("is_original", [True, False])
def test_xml_of_annotators_beside_a_copy_that_must_be_written_again_is_refused(tmp_path, capsys, is_original):
    study = tmp_path / "study"
    _save_jpeg(study / "Wang" / "a.jpg", 1)
    _save_xml(study / "Wang" / "a.jpg")
    assert _blind(study, tmp_path / "blinded") == 0
    copy = _copy_of(tmp_path, "a.jpg")
    drawn = _annotate(copy)
    # Another picture under the original's name, or in place of the copy.
    _save_jpeg(study / "Wang" / "a.jpg" if is_original else copy, 7)
    found = copy.read_bytes()
    assert _blind(study, tmp_path / "blinded", "--reuse_key") == 1
    assert f"{copy.with_suffix('.xml')}: is not what this program writes for" in capsys.readouterr().err
    assert (copy.with_suffix(".xml").read_bytes(), copy.read_bytes()) == (drawn, found)
    copy.with_suffix(".xml").unlink()
    assert _blind(study, tmp_path / "blinded", "--reuse_key") == 0
    before = image_io.open_image(study / "Wang" / "a.jpg", ProblemLog(quiet=True))
    after = image_io.open_image(copy, ProblemLog(quiet=True))
    np.testing.assert_array_equal(before.pixels, after.pixels)
    assert len(labelimg.read_annotation(copy.with_suffix(".xml"), ProblemLog()).objects) == 2


def test_an_original_that_is_another_picture_now_replaces_the_copy(tmp_path):
    study = tmp_path / "study"
    _save_jpeg(study / "Wang" / "a.jpg", 1)
    _save_xml(study / "Wang" / "a.jpg")
    assert _blind(study, tmp_path / "blinded") == 0
    _save_jpeg(study / "Wang" / "a.jpg", 2, orientation=6)
    _save_xml(study / "Wang" / "a.jpg", size=(48, 64))
    first = _copy_of(tmp_path, "a.jpg")
    first.with_suffix(".xml").unlink()
    assert _blind(study, tmp_path / "blinded", "--reuse_key") == 0
    copy = _copy_of(tmp_path, "a.jpg")
    assert (copy.suffix, first.exists()) == (".png", False)


def test_boxes_drawn_on_stored_pixels_after_a_turned_copy_was_made_get_the_picture_they_fit(tmp_path):
    image = tmp_path / "study" / "Wang" / "a.jpg"
    _save_jpeg(image, 1, orientation=6)
    assert _blind(tmp_path / "study", tmp_path / "blinded") == 0
    assert _copy_of(tmp_path, "a.jpg").suffix == ".png"
    _save_xml(image, size=(64, 48))
    assert _blind(tmp_path / "study", tmp_path / "blinded", "--reuse_key") == 0
    copy = _copy_of(tmp_path, "a.jpg")
    annotation = labelimg.read_annotation(copy.with_suffix(".xml"), ProblemLog())
    with Image.open(copy) as picture:
        assert picture.size == (annotation.width, annotation.height) == (64, 48)


def test_dates_and_the_order_of_writing_tell_nothing(study, tmp_path, monkeypatch):
    made = []
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (made.append(pathlib.Path(b)), real(a, b))[1])
    assert _blind(study, tmp_path / "blinded") == 0
    copies = [path for path in made if path.is_relative_to(tmp_path / "blinded") and path.suffix != ".xml"]
    by_pseudonym = [(path.parent.name, path.stem) for path in copies]
    assert by_pseudonym == sorted(by_pseudonym)
    times = {path.stat().st_mtime for path in [tmp_path / "blinded", *(tmp_path / "blinded").rglob("*")]}
    assert len(times) == 1


def test_an_unreadable_image_is_left_out_and_told(study, tmp_path, capsys):
    (study / PATIENTS[0] / "IMG_0815_d.jpg").write_bytes(b"\xff\xd8 broken")
    assert _blind(study, tmp_path / "blinded", "--max_skipped_fraction=0.5") == 0
    assert len(_mapping(tmp_path)) == 6
    assert _blind(study, tmp_path / "more", f"--key_file={tmp_path / 'k2'}") == 1
    assert "1 of 7 files were skipped" in capsys.readouterr().err


def _run(images, model, output):
    arguments = [f"--images_dir={images}", f"--output_dir={output}", f"--model={model}"]
    assert command_line.run(batch_infer.main, batch_infer.FLAGS, "", "batch_infer", arguments) == 0
    arguments = [f"--inference_dir={output}", f"--output_dir={output}", "--min_white_cells=1"]
    assert command_line.run(differential.main, differential.FLAGS, "", "differential", arguments) == 0


def test_blinded_results_join_back_to_those_of_the_originals(study, tmp_path, hand_made_model):
    assert _blind(study, tmp_path / "blinded") == 0
    _run(tmp_path / "blinded", hand_made_model, tmp_path / "results")
    assert _leaks(tmp_path / "results") == [], "and nothing comes back by the way"
    key = tmp_path / "safe" / "key"
    assert _unblind(tmp_path / "results", tmp_path / "named", key) == 0
    _run(study, hand_made_model, tmp_path / "direct")
    for name in ("cells.csv", "images.csv", "differential.csv"):
        for patient in PATIENTS:
            named, direct = (
                csv_tables.read_rows(tmp_path / run / "patients" / patient / name) for run in ("named", "direct")
            )
            for row in [*named, *direct]:
                for column in ("sha256", "seconds"):
                    row.pop(column, None)
            assert sorted(map(str, named)) == sorted(map(str, direct))
    assert (tmp_path / "named" / "patients" / PATIENTS[0] / "pictures" / "day_0427" / "IMG_0815_a.jpg").is_file()
    run = json.loads((tmp_path / "named" / "run.json").read_text(encoding="utf-8"))
    assert set(run["patients"]) == set(PATIENTS)
    assert run["patients"][PATIENTS[1]]["folder"] == PATIENTS[1]


def test_unblinding_html_links_and_formula_like_ids(study, tmp_path):
    assert _blind(study, tmp_path / "blinded") == 0
    row = next(row for row in _mapping(tmp_path) if row.patient_id == PATIENTS[1])
    results = tmp_path / "results"
    results.mkdir()
    page = f'<a href="patients/{row.pseudonym}/report.html">{row.pseudonym}</a> <p>image of a person</p>'
    (results / "report.html").write_text(page, encoding="utf-8")
    (results / "t.csv").write_text(
        f"patient_id,value,image\n{row.pseudonym},-3.5,{row.blinded_image}\n", encoding="utf-8"
    )
    (results / f"{row.pseudonym}__{row.blinded_image}").write_bytes(b"\0")
    assert _unblind(results, tmp_path / "named", tmp_path / "safe" / "key") == 0
    page = (tmp_path / "named" / "report.html").read_text(encoding="utf-8")
    assert 'href="patients/%3D%E5%BC%A0' in page
    assert f">{PATIENTS[1]}</a> <p>image of a person</p>" in page
    text = (tmp_path / "named" / "t.csv").read_text(encoding="utf-8")
    assert text == f"patient_id,value,image\n'{PATIENTS[1]},-3.5,{row.image}\n"
    assert (tmp_path / "named" / f"{PATIENTS[1]}__{row.image}").is_file()


def test_unblinding_needs_the_right_key_and_a_folder_of_its_own(study, tmp_path, capsys):
    assert _blind(study, tmp_path / "blinded") == 0
    key_files.create_key(tmp_path / "wrong")
    (tmp_path / "wrong.mapping.csv").write_bytes((tmp_path / "safe" / "key.mapping.csv").read_bytes())
    assert _unblind(tmp_path / "blinded", tmp_path / "named", tmp_path / "wrong") == 1
    assert "not made with this key" in capsys.readouterr().err
    key = tmp_path / "safe" / "key"
    assert _unblind(tmp_path / "blinded", tmp_path / "blinded" / "named", key) == 1
    assert _unblind(tmp_path / "blinded", tmp_path / "safe", key) == 1
    assert "is not empty" in capsys.readouterr().err
    assert _unblind(tmp_path / "nowhere", tmp_path / "named", key) == 1


def test_the_copies_of_one_image_study_without_xml(tmp_path):
    _save_jpeg(tmp_path / "study" / "a.jpg", 1)
    assert _blind(tmp_path / "study", tmp_path / "blinded") == 0
    (row,) = _mapping(tmp_path)
    data = (tmp_path / "blinded" / row.pseudonym / row.blinded_image).read_bytes()
    assert Image.open(io.BytesIO(data)).size == (64, 48)
