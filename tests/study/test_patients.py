import os
import pathlib
import unicodedata

import pytest

from tfod_csf.problems import ProblemLog, StrictProblemError
from tfod_csf.study import patients
from tfod_csf.study.patients import PatientsError

XML = "<annotation><filename>{}</filename></annotation>"


def make(root: pathlib.Path, *names: str) -> pathlib.Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(XML.format(f"{path.stem}.jpg") if path.suffix == ".xml" else "not decoded here")
    return root


def found(root: pathlib.Path, **arguments) -> tuple[list[tuple[str, str, str]], ProblemLog]:
    problems = ProblemLog(quiet=True)
    images = patients.find_images(root, problems, **arguments)
    return [(image.patient_id, image.name, image.key) for image in images], problems


def paired(root: pathlib.Path, annotations_dir=None) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(image key, XML below the annotations folder), and (file name, reason) of what was reported."""
    problems = ProblemLog(quiet=True)
    pairs = patients.find_pairs(root, annotations_dir, problems)
    below = [(pair.image.key, pair.xml_path.relative_to(annotations_dir or root).as_posix()) for pair in pairs]
    return below, [(pathlib.Path(problem.file).name, problem.reason) for problem in problems.problems]


def test_a_folder_is_a_patient_and_deeper_folders_belong_to_it(tmp_path):
    make(tmp_path, "B/2.jpg", "A/day2/1.jpg", "A/day1/1.JPG", "A/notes.txt", "A/Thumbs.db", "A/._1.jpg", ".git/x.jpg")
    images, problems = found(tmp_path)
    assert images == [
        ("A", "day1/1.JPG", "A/day1/1.JPG"),
        ("A", "day2/1.jpg", "A/day2/1.jpg"),
        ("B", "2.jpg", "B/2.jpg"),
    ]
    assert problems.problems == []


def test_a_flat_folder_is_one_patient_of_its_name(tmp_path):
    images, problems = found(make(tmp_path / "slide_7", "b.png", "a.jpg"))
    assert images == [("slide_7", "a.jpg", "a.jpg"), ("slide_7", "b.png", "b.png")]
    assert problems.problems == []


def test_images_beside_folders_are_noted(tmp_path):
    images, problems = found(make(tmp_path / "study", "a.jpg", "P1/a.jpg"))
    assert [image[0] for image in images] == ["P1", "study"]
    assert [problem.action for problem in problems.problems] == ["noted"]


def test_images_beside_a_folder_of_the_same_name_are_another_patient(tmp_path):
    images, _ = found(make(tmp_path / "study", "a.jpg", "study/a.jpg"))
    assert [image[:2] for image in images] == [("study", "a.jpg"), ("study_", "a.jpg")]


def test_pictures_that_are_not_read_are_reported(tmp_path):
    images, problems = found(make(tmp_path, "P/a.jpg", "P/b.svs", "P/c.HEIC"))
    assert len(images) == 1
    assert {pathlib.Path(file).name for file in problems.skipped_files()} == {"b.svs", "c.HEIC"}


@pytest.mark.parametrize("suffix", [".NEF", ".cr2", ".cr3", ".arw", ".lsm", ".bif", ".qptiff", ".ets", ".ppm", ".tga"])
def test_pictures_of_cameras_and_microscopes_are_reported(tmp_path, suffix):
    _, problems = found(make(tmp_path, "P/a.jpg", f"P/b{suffix}"))
    assert problems.skipped_files() == {str(tmp_path / "P" / f"b{suffix}")}


def test_a_cameras_raw_files_beside_its_images_are_noted_once(tmp_path):
    images, problems = found(make(tmp_path, "P/a.JPG", "P/a.NEF", "P/b.jpg", "P/b.NEF", "P/c.NEF", "Q/b.jpg"))
    assert [image[2] for image in images] == ["P/a.JPG", "P/b.jpg", "Q/b.jpg"]
    assert problems.skipped_files() == {str(tmp_path / "P" / "c.NEF")}
    (row,) = [problem for problem in problems.problems if problem.action == "noted"]
    assert (row.file, row.count) == (str(tmp_path), 2)


def test_folders_without_an_image_are_noted(tmp_path):
    make(tmp_path, "A/1.jpg", "B/notes.txt", "C/day1/1.xyz", "D/1.svs", ".git/x", "xml/A/1.xml", "E/day1/1.png")
    (tmp_path / "F").mkdir()
    _, problems = found(tmp_path)
    noted = [pathlib.Path(problem.file).name for problem in problems.problems if problem.action == "noted"]
    assert noted == ["B", "C", "F", "xml"]
    problems = ProblemLog(quiet=True)
    patients.find_pairs(tmp_path, tmp_path / "xml", problems)
    assert sum("no image was found" in problem.reason for problem in problems.problems) == 3
    problems = ProblemLog(quiet=True)
    patients.find_images(tmp_path, problems, except_below=[tmp_path / "B"])
    assert sum("no image was found" in problem.reason for problem in problems.problems) == 3


def test_linked_folders_are_followed_and_loops_are_not(tmp_path):
    make(tmp_path, "study/A/1.jpg", "elsewhere/1.jpg")
    (tmp_path / "study" / "B").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "study" / "A" / "loop").symlink_to(tmp_path / "study")
    images, _ = found(tmp_path / "study")
    assert [image[2] for image in images] == ["A/1.jpg", "B/1.jpg"]


def test_names_that_are_not_utf8_are_skipped_and_shown(tmp_path):
    make(tmp_path, "P/a.jpg")
    with open(os.fsencode(tmp_path / "P") + "/患者.jpg".encode("gbk"), "wb"):
        pass
    images, problems = found(tmp_path)
    assert len(images) == 1
    assert "\\xbb" in problems.problems[0].file
    problems.write_csv(tmp_path / "problems.csv")


def test_one_picture_in_two_formats_is_used_once(tmp_path):
    images, problems = found(make(tmp_path, "P/1.jpg", "P/1.png", "P/2.tif", "Q/1.png"))
    assert [image[2] for image in images] == ["P/1.jpg", "P/2.tif", "Q/1.png"]
    assert [pathlib.Path(file).name for file in problems.skipped_files()] == ["1.png"]
    (tmp_path / "P" / "1.xml").write_text(XML.format("1.PNG"))
    assert "P/1.png" in [image[2] for image in found(tmp_path)[0]]


def test_of_one_picture_in_two_formats_the_xml_says_which_whatever_its_capitals(tmp_path):
    make(tmp_path, "P/1.jpg", "P/1.png")
    (tmp_path / "P" / "1.XML").write_text(XML.format("1.png"))
    images, _ = found(tmp_path)
    assert images == [("P", "1.png", "P/1.png")]


def test_images_with_labels_are_those_that_would_be_paired(tmp_path):
    """P/d.jpg and P/D.jpg: D.xml is that of D.jpg. P/e.xml is a microscope's."""
    names = ("a.png", "a.XML", "b.jpg", "B.xml", "c.jpg", "d.jpg", "D.jpg", "D.xml", "e.jpg")
    make(tmp_path, *(f"P/{name}" for name in names))
    for name in ("a.XML", "e.xml"):
        (tmp_path / "P" / name).write_text(XML.format("") if name == "a.XML" else "<microscope></microscope>")
    problems = ProblemLog(quiet=True)
    images = patients.find_images(tmp_path, problems)
    labeled = patients.labeled_images(tmp_path, images, problems)
    assert labeled == {"P/a.png", "P/b.jpg", "P/D.jpg"}
    assert [(row.action, row.reason) for row in problems.problems] == [
        ("noted", "1 XML files of other programs are not read ('e.xml')")
    ]


@pytest.mark.parametrize("what", ["missing", "file", "empty"])
def test_a_folder_without_images_is_one_sentence(tmp_path, what):
    path = tmp_path / what
    if what == "file":
        path.write_text("x")
    if what == "empty":
        path.mkdir()
    with pytest.raises(PatientsError, match=what):
        found(path)


def test_manifest_says_whose_image_it_is(tmp_path):
    make(tmp_path / "images", "x/1.jpg", "x/2.jpg", "3.jpg", "4.jpg")
    manifest = tmp_path / "m.csv"
    rows = ["image,patient_id", "x/1.jpg,王 =1", "x\\2.jpg,B", "./3.jpg,B", "9.jpg,C", "../m.csv,C", "4.jpg,"]
    manifest.write_text("\n".join(rows), encoding="utf-8-sig")
    images, problems = found(tmp_path / "images", manifest=manifest)
    assert images == [("B", "3.jpg", "3.jpg"), ("B", "x/2.jpg", "x/2.jpg"), ("王 =1", "x/1.jpg", "x/1.jpg")]
    assert [problem.action for problem in problems.problems] == ["skipped", "skipped", "skipped", "noted"]
    assert [f"line {line} of {manifest}" in row.reason for line, row in zip((5, 6, 7), problems.problems)] == [True] * 3
    assert problems.skipped_files() == {str(tmp_path / "images" / name) for name in ("9.jpg", "../m.csv", "4.jpg")}


def test_a_row_for_a_picture_that_is_not_read_is_one_skipped_file(tmp_path):
    make(tmp_path, "1.jpg", "2.svs")
    (tmp_path / "m.csv").write_text("image,patient_id\n1.jpg,A\n2.svs,B\n")
    _, problems = found(tmp_path, manifest=tmp_path / "m.csv")
    assert problems.skipped_files() == {str(tmp_path / "2.svs")}


def test_manifest_with_one_image_of_two_patients_is_refused(tmp_path):
    make(tmp_path, "1.jpg")
    (tmp_path / "m.csv").write_text("image,patient_id\n1.jpg,A\n1.jpg,A\n1.jpg,B\n")
    with pytest.raises(PatientsError, match=r"line 4: '1\.jpg' belongs to 'A' and to 'B'"):
        found(tmp_path, manifest=tmp_path / "m.csv")


def test_pattern_takes_the_patient_from_the_path(tmp_path):
    make(tmp_path, "2024/P07_1.jpg", "2024/P08_1.jpg", "2024/overview.jpg")
    images, problems = found(tmp_path, patient_pattern=r"(?P<patient>P\d+)_")
    assert [(image[0], image[2]) for image in images] == [("P07", "2024/P07_1.jpg"), ("P08", "2024/P08_1.jpg")]
    assert len(problems.skipped_files()) == 1


@pytest.mark.parametrize(("pattern", "words"), [("(", "not a regular expression"), ("P.", "no group named patient")])
def test_wrong_patterns(tmp_path, pattern, words):
    with pytest.raises(PatientsError, match=words):
        found(make(tmp_path, "P1.jpg"), patient_pattern=pattern)


def test_manifest_and_pattern_exclude_each_other(tmp_path):
    with pytest.raises(PatientsError, match="give one of them"):
        found(make(tmp_path, "P1.jpg"), patient_pattern="(?P<patient>P)", manifest="m.csv")


def test_pairs_beside_each_other_and_what_is_left_over(tmp_path):
    make(tmp_path, "A/1.jpg", "A/1.xml", "A/2.jpg", "A/3.xml", "B/1.jpg", "B/1.xml")
    pairs, reports = paired(tmp_path)
    assert pairs == [("A/1.jpg", "A/1.xml"), ("B/1.jpg", "B/1.xml")]
    assert reports == [("2.jpg", "there is no XML for this image"), ("3.xml", "there is no image for this XML")]


def test_xml_of_other_programs_is_noted_once(tmp_path):
    make(tmp_path, "A/1.jpg", "A/1.xml", "A/2.jpg", "A/2.xml")
    for name in ("1.ome.xml", "2.ome.xml", "scan.xml"):
        (tmp_path / "A" / name).write_text('<?xml version="1.0"?><!-- x --><OME xmlns="urn:ome"><Image/></OME>')
    (tmp_path / "A" / "large.xml").write_text("<Annotations>" + " " * 6_000_000)
    pairs, reports = paired(tmp_path)
    assert [key for key, _ in pairs] == ["A/1.jpg", "A/2.jpg"]
    reason = "4 XML files of other programs are not read ('1.ome.xml', '2.ome.xml', 'large.xml', ...)"
    assert reports == [(tmp_path.name, reason)]


@pytest.mark.parametrize("is_separate", [False, True])
def test_xml_of_images_that_are_not_used_is_left_alone(tmp_path, is_separate):
    make(tmp_path / "images", "p/1.jpg", "p/2.jpg", "p/3.svs")
    xml = "xml" if is_separate else "images"
    make(tmp_path / xml, "p/1.xml", "p/2.xml", "p/3.xml", "p/4.xml")
    (tmp_path / "m.csv").write_text("image,patient_id\np/1.jpg,A\n")
    problems = ProblemLog(quiet=True)
    arguments = (tmp_path / "images", tmp_path / "xml" if is_separate else None, problems)
    assert [pair.image.key for pair in patients.find_pairs(*arguments, manifest=tmp_path / "m.csv")] == ["p/1.jpg"]
    skipped = sorted(pathlib.Path(path).name for path in problems.skipped_files())
    assert skipped == ["3.svs", "4.xml"]
    patients.find_pairs(*arguments, patient_pattern="(?P<patient>p)/1")
    assert sorted(pathlib.Path(path).name for path in problems.skipped_files()) == ["2.jpg", *skipped]


def test_a_manifest_written_elsewhere_spells_accents_otherwise(tmp_path):
    separate, composed = "Pru\u0308fung", "Pr\u00fcfung"
    make(tmp_path / "images", f"{separate}/1.jpg")
    (tmp_path / "m.csv").write_text(f"image;patient_id\n{composed}/1.jpg;A\n", encoding="utf-8-sig")
    images, problems = found(tmp_path / "images", manifest=tmp_path / "m.csv")
    assert [image[0] for image in images] == ["A"]
    assert problems.problems == []


@pytest.mark.parametrize("tables", [("stamp.json",), ("cells.csv", "images.csv")])
def test_pictures_of_an_earlier_run_are_refused_wherever_they_lie(tmp_path, tables):
    make(tmp_path, "P1/1.jpg", "P1/1.xml", "results/patients/P1/pictures/day1/1.jpg", "P2/pictures/1.jpg")
    assert len(found(tmp_path)[0]) == 3
    for name in tables:
        (tmp_path / "results" / "patients" / "P1" / name).write_text("")
    for look in (found, paired):
        with pytest.raises(PatientsError, match="pictures/day1: holds pictures that batch_infer drew"):
            look(tmp_path)


def test_links_to_pictures_of_an_earlier_run_are_no_images(tmp_path):
    make(tmp_path / "study", "patients/p1/pictures/a.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "b.png").symlink_to(tmp_path / "study" / "patients" / "p1" / "pictures" / "a.png")
    assert len(found(tmp_path / "images")[0]) == 1
    (tmp_path / "study" / "patients" / "p1" / "stamp.json").write_text("{}")
    with pytest.raises(PatientsError, match="holds pictures that batch_infer drew in an earlier run"):
        found(tmp_path / "images")


def test_annotations_folder_mirrored_or_flat(tmp_path):
    make(tmp_path / "images", "A/1.jpg", "A/2.jpg", "B/1.jpg")
    make(tmp_path / "xml", "A/1.xml", "2.xml", "1.xml")
    pairs, reports = paired(tmp_path / "images", tmp_path / "xml")
    assert pairs == [("A/1.jpg", "A/1.xml"), ("A/2.jpg", "2.xml")]
    # A flat 1.xml could be that of A/1.jpg or of B/1.jpg, so it is nobody's.
    assert reports == [("1.jpg", "there is no XML for this image"), ("1.xml", "there is no image for this XML")]


def test_a_flat_xml_is_nobodys_where_an_image_of_its_name_that_is_not_used_may_be_meant(tmp_path):
    make(tmp_path / "images", "A/1.jpg", "A/2.jpg", "B/1.jpg")
    make(tmp_path / "xml", "1.xml", "2.xml")
    (tmp_path / "m.csv").write_text("image,patient_id\nA/1.jpg,A\nA/2.jpg,A\n")
    problems = ProblemLog(quiet=True)
    pairs = patients.find_pairs(tmp_path / "images", tmp_path / "xml", problems, manifest=tmp_path / "m.csv")
    assert [pair.image.key for pair in pairs] == ["A/2.jpg"]
    reports = [(pathlib.Path(problem.file).name, problem.reason) for problem in problems.problems[1:]]
    assert reports == [("1.jpg", "there is no XML for this image"), ("1.xml", "there is no image for this XML")]


def test_capitals_and_composed_letters_do_not_part_a_pair(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    make(tmp_path, "A/img.jpg", "A/IMG.xml", f"A/{composed}.jpg", f"A/{decomposed}.xml")
    pairs, reports = paired(tmp_path)
    assert [key for key, _ in pairs] == ["A/img.jpg", f"A/{composed}.jpg"]
    assert len(reports) == 2


def test_capitals_never_give_two_images_one_xml(tmp_path):
    make(tmp_path, "A/img.jpg", "A/IMG.jpg", "A/IMG.xml", "B/img.jpg", "B/IMG.jpg", "B/Img.xml")
    make(tmp_path, "C/img.jpg", "C/IMG.xml", "C/Img.xml")
    pairs, reports = paired(tmp_path)
    assert pairs == [("A/IMG.jpg", "A/IMG.xml")]
    assert [name for name, _ in reports] == ["img.jpg", "IMG.jpg", "img.jpg", "img.jpg"]


def test_capitals_never_give_an_image_the_xml_of_one_that_is_not_used(tmp_path):
    make(tmp_path, "A/img.jpg", "A/IMG.jpg", "A/IMG.xml", "B/img.jpg", "B/IMG.jpg", "B/Img.xml", "C/1.jpg", "C/1.xml")
    (tmp_path / "m.csv").write_text("image,patient_id\nA/img.jpg,A\nB/img.jpg,B\nC/1.jpg,C\n")
    problems = ProblemLog(quiet=True)
    pairs = patients.find_pairs(tmp_path, None, problems, manifest=tmp_path / "m.csv")
    assert [pair.image.key for pair in pairs] == ["C/1.jpg"]
    assert problems.skipped_files() == {str(tmp_path / "A" / "img.jpg"), str(tmp_path / "B" / "img.jpg")}


def test_one_name_with_two_suffixes_is_no_copy_where_the_manifest_names_two_patients(tmp_path):
    make(tmp_path, "1.jpg", "1.png", "2.jpg", "2.xml")
    (tmp_path / "m.csv").write_text("image,patient_id\n1.jpg,A\n1.png,B\n2.jpg,C\n")
    images, problems = found(tmp_path, manifest=tmp_path / "m.csv")
    assert [image[:2] for image in images] == [("A", "1.jpg"), ("B", "1.png"), ("C", "2.jpg")]
    assert problems.problems == []


@pytest.mark.parametrize(("xml", "words"), [("1.xml", "same name"), ("I.xml", "capitals aside")])
def test_the_xml_of_one_name_with_two_suffixes_is_neither_of_two_patients(tmp_path, xml, words):
    name = xml.removesuffix(".xml").lower()
    make(tmp_path, f"{name}.jpg", f"{name}.png", xml, "2.jpg", "2.xml")
    (tmp_path / "m.csv").write_text(f"image,patient_id\n{name}.jpg,A\n{name}.png,B\n2.jpg,C\n")
    problems = ProblemLog(quiet=True)
    pairs = patients.find_pairs(tmp_path, None, problems, manifest=tmp_path / "m.csv")
    assert [pair.image.key for pair in pairs] == ["2.jpg"]
    assert problems.skipped_files() == {str(tmp_path / f"{name}.jpg"), str(tmp_path / f"{name}.png")}
    assert all(words in problem.reason for problem in problems.problems)


def test_no_pair_at_all_is_one_sentence(tmp_path):
    with pytest.raises(PatientsError, match="no image has an XML"):
        paired(make(tmp_path, "A/1.jpg"))


@pytest.mark.skipif(os.name != "posix", reason="only here can a file have such a name")
def test_a_name_that_is_a_path_elsewhere_on_windows_is_skipped(tmp_path):
    make(tmp_path, "p/a.jpg", "p/x\\..\\..\\b.jpg", "C:c/c.jpg")
    images, problems = found(tmp_path)
    assert images == [("p", "a.jpg", "p/a.jpg")]
    reasons = [problem.reason for problem in problems.problems]
    assert reasons == ["other systems take the file name for a path to another folder"] * 2


def test_a_folder_that_cannot_be_listed_is_a_row_and_an_error_with_strict(tmp_path, monkeypatch):
    make(tmp_path, "A/1.jpg", "A/1.xml", "B/1.jpg", "B/1.xml")
    scandir = os.scandir

    def refusing(path):  # root may list every folder, so rights cannot be tried here
        if os.path.basename(path) == "B":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    images, problems = found(tmp_path)
    assert [image[0] for image in images] == ["A"]
    assert problems.skipped_files() == {str(tmp_path / "B")}
    assert "cannot be listed (Permission denied)" in problems.problems[0].reason
    with pytest.raises(StrictProblemError, match="cannot be listed"):
        patients.find_images(tmp_path, ProblemLog(strict=True))
    _, reported = paired(tmp_path)
    assert [name for name, _ in reported] == ["B"]
    make(tmp_path, "xml/A/1.xml", "xml/B/1.xml", "images/A/1.jpg")
    _, reported = paired(tmp_path / "images", tmp_path / "xml")
    assert [name for name, _ in reported] == ["B"]


def test_a_folder_named_like_a_file_is_a_row_and_searched(tmp_path):
    make(tmp_path, "A/x.jpg/1.jpg", "A/2.jpg")
    (tmp_path / "A" / "y.xml").mkdir()
    images, problems = found(tmp_path)
    assert [image[2] for image in images] == ["A/2.jpg", "A/x.jpg/1.jpg"]
    assert sorted(pathlib.Path(file).name for file in problems.skipped_files()) == ["x.jpg", "y.xml"]


def test_an_id_that_is_no_folder_name_costs_only_its_own_patient(tmp_path):
    long_ids = ["p" * 210, "王" * 85]  # 210 and 255 bytes
    make(tmp_path, "A/1.jpg", *(f"{patient_id}/{number}.jpg" for patient_id in long_ids for number in (1, 2)))
    images, problems = found(tmp_path)
    assert [image[0] for image in images] == ["A"]
    assert len(problems.skipped_files()) == 4
    assert "too long for a folder name (210 bytes, 200 allowed)" in problems.problems[0].reason


def test_patients_that_differ_only_in_capitals_or_stored_accents_are_noted(tmp_path):
    names = ["Zoé", unicodedata.normalize("NFD", "Zoé"), "smith", "Smith", "jones"]
    images, problems = found(make(tmp_path, *(f"{name}/1.jpg" for name in names)))
    assert len({image[0] for image in images}) == 5
    assert [problem.action for problem in problems.problems] == ["noted", "noted"]
    assert "'Smith', 'smith'" in problems.problems[0].reason
    assert "'Zoe\\u0301', 'Zo\\xe9'" in problems.problems[1].reason
    with pytest.raises(StrictProblemError, match="'Smith', 'smith' differ only in capitals"):
        patients.find_images(tmp_path, ProblemLog(strict=True, quiet=True))


@pytest.mark.parametrize("name", ["-1.jpg", "a\nb.jpg", "\x1b[31m.jpg", "\u202egpj.exe.jpg", "x" * 251 + ".jpg"])
def test_odd_names_are_used_and_shown_escaped(tmp_path, name, caplog):
    make(tmp_path, f"P/{name}", "P/2.gif", "P/\x1b[31m\n\u202e.gif")
    problems = ProblemLog()
    images = patients.find_images(tmp_path, problems)
    assert [image.name for image in images] == [name]
    problems.write_csv(tmp_path / "problems.csv")
    written = (tmp_path / "problems.csv").read_text(encoding="utf-8")
    assert "\\x1b[31m\\n\\u202e.gif" in caplog.text
    assert "\\x1b[31m\\n\\u202e.gif" in written
    assert not set("\x1b\u202e") & set(caplog.text + written)
