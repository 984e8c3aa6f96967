"""review_export, a person with LabelImg, review_import: what comes back and what is refused."""

import json
import shutil

import pytest

from tests.support import examined_study
from tests.support.review_desk import Desk, edit, nothing, rename
from tfod_csf.commands import command_line, create_csf_tf_record, differential
from tfod_csf.files import csv_schemas
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg
from tfod_csf.study.labelimg import LabeledObject

SURE = ("lymphocyte", 0.95, (1.0, 2.0, 11.0, 12.0))
UNSURE = ("monocyte", 0.6, (20.0, 5.0, 30.0, 15.0))
NEUTROPHIL = ("neutrophil", 0.9, (40.0, 10.0, 52.0, 22.0))
CLASSES = examined_study.CLASSES


@pytest.fixture
def desk(tmp_path):
    patients = {"=王": {"day1/a.jpg": [SURE, UNSURE, NEUTROPHIL], "b.jpg": []}, "p2": {"a.jpg": [UNSURE]}}
    return Desk(examined_study.write_study(tmp_path, patients), tmp_path)


def _xml(review, name="=王__day1__a.xml"):
    return review / name.partition("__")[0] / name


def _snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_unknown_cell_becomes_a_decided_one_in_the_differential(desk):
    review = desk.export()
    machine = _snapshot(desk.study.inference_dir)
    edit(_xml(review), rename(1, "monocyte"))
    assert desk.take(review) == 0
    assert _snapshot(desk.study.inference_dir) == machine
    rows = {row["class"]: row for row in desk.rows("patients/=王/differential.csv")}
    # 1 lymphocyte, 1 monocyte, 1 neutrophil of 3; the machine had 1, 0, 1 of 2 and 1 unknown.
    assert [rows[name]["percent"] for name in ("lymphocyte", "monocyte", "neutrophil")] == ["33.33"] * 3
    assert rows["unknown"]["count"] == "0"
    both = {row["class"]: row for row in desk.rows("patients/=王/review_differential.csv")}
    assert (both["lymphocyte"]["percent_before"], both["lymphocyte"]["difference_points"]) == ("50.00", "-16.67")
    assert (both["unknown"]["count_before"], both["unknown"]["count_after"]) == ("1", "0")
    (summary,) = desk.rows("review_summary.csv")
    assert (summary["relabelled"], summary["cells_decided"], summary["largest_change_points"]) == ("1", "1", "33.33")
    # The cohort has the patients nobody reviewed too, as the machine counted them.
    assert {row["patient_id"]: row["unknown"] for row in desk.rows("differentials.csv")} == {"=王": "0", "p2": "1"}


def test_every_written_table_fits_its_schema(desk):
    review = desk.export()

    def change(annotation):
        annotation.objects[0].name = "unknown"
        annotation.objects[1].xmin += 4
        annotation.objects[2] = LabeledObject("erythrocyte", 5, 30, 15, 40)

    edit(_xml(review), change, verified=True)
    edit(_xml(review, "=王__b.xml"), nothing, verified=True)
    assert desk.take(review) == 0
    number = csv_schemas.load("review_changes").check(desk.output / "review_changes.csv")
    # relabelled, moved, deleted, added, and two verified images.
    assert number == 6
    assert csv_schemas.load("review_summary").check(desk.output / "review_summary.csv") == 1
    folder = desk.output / "patients" / "=王"
    csv_schemas.load("review_differential").check(folder / "review_differential.csv")
    csv_schemas.load("cells").check(folder / "cells.csv", CLASSES)
    csv_schemas.load("images").check(folder / "images.csv", [*CLASSES, "unknown"])
    csv_schemas.load("review_changes").check(folder / "revisions" / "0001" / "changes.csv")
    assert desk.cells("=王") == {
        ("day1/a.jpg", 1): ("unknown", "relabelled"),
        ("day1/a.jpg", 2): ("unknown", "moved"),
        ("day1/a.jpg", 3): ("", "deleted"),
        ("day1/a.jpg", 4): ("erythrocyte", "added"),
    }
    (summary,) = desk.rows("review_summary.csv")
    assert (summary["images"], summary["images_verified"]) == ("2", "2")
    # The machine had counted 2 of the decided cells (1 and 3) under a class; neither stayed.
    assert summary["machine_right_percent"] == "0.00"


def test_a_review_says_who_and_when_and_what_went_in(desk):
    review = desk.export()
    edit(_xml(review), rename(1, "monocyte"))
    assert desk.take(review, "--comment=second slide", reviewer="Dr  李") == 0
    record = json.loads((desk.output / "patients/=王/revisions/0001/revision.json").read_text(encoding="utf-8"))
    assert (record["reviewer"], record["comment"], record["number"]) == ("Dr 李", "second slide", 1)
    assert record["changes"]["relabelled"] == 1
    assert set(record["inputs"]) == {
        "=王__day1__a.jpg",
        "=王__day1__a.xml",
        "cells.json",
        "run/cells.csv",
        "run/images.csv",
    }
    run = json.loads((desk.output / "run.json").read_text(encoding="utf-8"))
    assert run["review"]["=王"]["reviewers"] == ["Dr 李"]


def test_the_report_of_a_reviewed_patient_is_made_anew(desk, capsys):
    review = desk.export()

    def change(annotation):
        annotation.objects[1].name = "monocyte"
        annotation.objects.append(LabeledObject("neutrophil", 5, 30, 15, 40))

    edit(_xml(review), change)
    assert desk.take(review, "--report") == 0
    assert "with 1 report.html" in capsys.readouterr().out
    page = (desk.output / "patients" / "=王" / "report.html").read_text(encoding="utf-8")
    (summary,) = desk.rows("review_summary.csv")
    assert summary["revision_sha256"] in page
    assert "added by a person" in page
    assert not (desk.output / "patients" / "p2" / "report.html").exists()
    assert desk.take(review, "--report") == 0, "nothing new, no page"


def test_cells_nobody_decided_on_are_counted_as_the_flags_say(desk):
    review = desk.export()
    edit(_xml(review), rename(1, "neutrophil"))
    assert desk.take(review, "--unknown_below=0.5") == 0
    rows = {row["patient_id"]: row for row in desk.rows("differentials.csv")}
    assert (rows["=王"]["neutrophil"], rows["p2"]["monocyte"], rows["p2"]["unknown"]) == ("2", "1", "0")


def test_the_rules_beside_the_table_are_those_that_it_was_counted_by(desk):
    review = desk.export()

    def rules():
        return json.loads((desk.output / "differential_rules.json").read_text(encoding="utf-8"))

    assert desk.take(review, "--unknown_below=0.95") == 0
    assert rules()["thresholds"] == {"min_score": 0.5, "unknown_below": 0.95, "count_unknown": "apart"}
    assert (rules()["rules"]["min_white_cells"], rules()["population"]) == (1, "adult")
    flags = [f"--inference_dir={desk.output}", f"--output_dir={desk.output}", "--unknown_below=0.9"]
    assert command_line.run(differential.main, differential.FLAGS, "", "differential", flags) == 0
    assert rules()["thresholds"]["unknown_below"] == 0.9
    assert desk.take(review) == 0
    assert rules()["thresholds"]["unknown_below"] == 0.8
    assert rules()["inference_dir"] == str(desk.output.resolve())


def test_nothing_saved_makes_no_revision(desk):
    review = desk.export()
    assert desk.take(review) == 0
    assert desk.rows("review_summary.csv") == []
    assert not (desk.output / "patients" / "=王" / "revisions").exists()
    assert desk.cells("p2") == {("a.jpg", 1): ("unknown", "unknown")}


def test_all_unknown_cells_can_be_confirmed_as_unknown(desk):
    review = desk.export()
    edit(_xml(review, "p2__a.xml"), nothing, verified=True)
    assert desk.take(review) == 0
    assert desk.cells("p2") == {("a.jpg", 1): ("unknown", "confirmed")}
    # Another threshold would count it as a monocyte, had nobody decided.
    arguments = [f"--inference_dir={desk.output}", f"--output_dir={desk.root / 'd'}", "--unknown_below=0.5"]
    assert command_line.run(differential.main, differential.FLAGS, "", "differential", arguments) == 0
    text = (desk.root / "d" / "patients" / "p2" / "differential.csv").read_text(encoding="utf-8")
    assert "p2,apart,unknown,1" in text


def test_editing_on_and_importing_again(desk):
    review = desk.export()
    edit(_xml(review), rename(1, "monocyte"))
    assert desk.take(review) == 0
    assert desk.take(review) == 0, "nothing new"
    edit(_xml(review), rename(1, "neutrophil"))
    assert desk.take(review) == 0, "one's own earlier decision is no disagreement"
    assert desk.cells("=王")["day1/a.jpg", 2] == ("neutrophil", "relabelled")
    edit(_xml(review), rename(1, "unknown"))
    assert desk.take(review) == 0
    assert desk.cells("=王")["day1/a.jpg", 2] == ("unknown", "relabelled")
    (summary,) = desk.rows("review_summary.csv")
    assert summary["revisions"] == "3"
    assert len(desk.rows("review_changes.csv")) == 3


def test_two_reviewers_of_the_same_export(desk, capsys):
    first, second = desk.export("first"), desk.export("second")
    edit(_xml(first), rename(1, "monocyte"))
    edit(_xml(second), rename(0, "monocyte"))
    assert desk.take(first, reviewer="A") == 0
    assert desk.take(second, reviewer="B") == 0
    assert capsys.readouterr().out.count("1 patient with a new revision, 1 with nothing new, 0 refused") == 2
    cells = desk.cells("=王")
    assert (cells["day1/a.jpg", 1][0], cells["day1/a.jpg", 2][0]) == ("monocyte", "monocyte")
    (summary,) = desk.rows("review_summary.csv")
    assert summary["reviewers"] == "A+B"


def test_two_reviewers_who_disagree_are_told_and_can_settle_it(desk, capsys):
    first, second = desk.export("first"), desk.export("second")
    edit(_xml(first), rename(1, "monocyte"))
    edit(_xml(second), rename(1, "neutrophil"))
    assert desk.take(first, reviewer="A") == 0
    before = _snapshot(desk.output / "patients")
    assert desk.take(second, reviewer="B") == 1
    assert "monocyte before, now neutrophil" in capsys.readouterr().err
    assert _snapshot(desk.output / "patients") == before
    assert any("day1/a.jpg, cell 2" in row["reason"] for row in desk.rows("problems.csv"))
    assert desk.take(second, "--disagreements=unknown", reviewer="B") == 0
    assert desk.cells("=王")["day1/a.jpg", 2] == ("unknown", "disputed")
    # The third opinion starts from the current state.
    third = desk.export("third", source=desk.output)
    annotation = labelimg.read_annotation(_xml(third), ProblemLog())
    assert [o.name for o in annotation.objects] == ["lymphocyte", "unknown", "neutrophil"]
    edit(_xml(third), rename(1, "monocyte"))
    assert desk.take(third, reviewer="C") == 0
    assert desk.cells("=王")["day1/a.jpg", 2] == ("monocyte", "relabelled")


def test_two_people_stand_up_for_one_image(desk):
    first, second = desk.export("first"), desk.export("second")
    for review, reviewer in ((first, "A"), (second, "B")):
        edit(_xml(review), nothing, verified=True)
        assert desk.take(review, reviewer=reviewer) == 0
    record = json.loads((desk.output / "patients/=王/revisions/0002/revision.json").read_text(encoding="utf-8"))
    assert record["images_verified"] == {"day1/a.jpg": ["A", "B"]}
    edit(_xml(second), nothing, verified=False)
    assert desk.take(second, reviewer="B") == 0
    record = json.loads((desk.output / "patients/=王/revisions/0003/revision.json").read_text(encoding="utf-8"))
    assert record["images_verified"] == {"day1/a.jpg": ["A"]}


def test_an_export_from_before_the_machine_ran_again_is_refused(desk, capsys):
    review = desk.export()
    edit(_xml(review), rename(1, "monocyte"))
    desk.study.examine("=王", {"day1/a.jpg": [SURE], "b.jpg": []})
    assert desk.take(review) == 1
    assert "has examined patient '=王' again since" in capsys.readouterr().err
    assert desk.cells("=王") == {("day1/a.jpg", 1): ("lymphocyte", "counted")}


def test_a_review_of_a_later_run_follows_the_earlier_ones(desk):
    review = desk.export()
    edit(_xml(review), rename(1, "monocyte"))
    assert desk.take(review) == 0
    desk.study.examine("=王", {"day1/a.jpg": [NEUTROPHIL], "b.jpg": [SURE]})
    later = desk.export("later")
    assert desk.take(later) == 0
    assert any("again since the review" in row["reason"] for row in desk.rows("problems.csv"))
    assert desk.cells("=王")["day1/a.jpg", 2] == ("monocyte", "relabelled"), "kept until the new run is reviewed"
    edit(_xml(later, "=王__b.xml"), nothing, verified=True)
    assert desk.take(later) == 0
    folder = desk.output / "patients" / "=王" / "revisions"
    kinds = [
        json.loads((path / "revision.json").read_text(encoding="utf-8"))["kind"] for path in sorted(folder.iterdir())
    ]
    assert kinds == ["machine", "review", "machine", "review"]
    assert desk.cells("=王") == {
        ("day1/a.jpg", 1): ("neutrophil", "counted"),
        ("b.jpg", 1): ("lymphocyte", "confirmed"),
    }
    (summary,) = desk.rows("review_summary.csv")
    assert (summary["revisions"], summary["relabelled"]) == ("1", "0"), "counted since the newest run"


def test_a_class_name_with_a_typing_error_is_refused_with_what_was_meant(desk, capsys):
    review = desk.export()
    edit(_xml(review), rename(1, "monocyt"))
    edit(_xml(review, "p2__a.xml"), rename(0, "Neutrophil "))
    assert desk.take(review) == 1
    error = capsys.readouterr().err
    assert "did you mean 'monocyte'?" in error
    assert "1 of 2 patients were not imported" in error
    assert desk.cells("p2") == {("a.jpg", 1): ("neutrophil", "relabelled")}, "the other patient is imported"
    assert desk.take(review, "--class_map=monocyt=monocyte") == 0
    assert desk.cells("=王")["day1/a.jpg", 2] == ("monocyte", "relabelled")


def test_a_class_of_ones_own_is_counted_apart_when_it_is_announced(desk, capsys):
    review = desk.export()
    edit(_xml(review), rename(2, "eosinophil"))
    assert desk.take(review) == 1
    assert "--extra_class='eosinophil'" in capsys.readouterr().err
    assert desk.take(review, "--extra_class=eosinophil") == 0
    rows = {row["class"]: row for row in desk.rows("patients/=王/differential.csv")}
    assert (rows["eosinophil"]["group"], rows["eosinophil"]["count"]) == ("apart", "1")
    again = desk.export("again", source=desk.output)
    assert "eosinophil" in (again / "=王" / "predefined_classes.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "=王__day1__a.xml").unlink(), "the XML is missing"),
        (lambda folder: (folder / "=王__day1__a.xml").write_text("<annotation>"), "not well-formed"),
        (lambda folder: (folder / "=王__day1__a.txt").write_text("0 0.5 0.5 0.1 0.1"), "YOLO"),
        (lambda folder: shutil.copy(folder / "=王__b.jpg", folder / "=王__day1__a.jpg"), "not the picture"),
    ],
)
def test_an_image_that_cannot_be_read_back_keeps_its_cells(desk, damage, reason):
    review = desk.export()
    edit(_xml(review), lambda annotation: annotation.objects.clear())
    damage(review / "=王")
    assert desk.take(review) == 0
    assert desk.cells("=王")["day1/a.jpg", 1] == ("lymphocyte", "counted")
    assert any(reason in row["reason"] for row in desk.rows("problems.csv"))
    assert desk.take(review, "--strict") == 1


def test_an_object_that_cannot_be_read_does_not_delete_its_cell(desk):
    review = desk.export()
    path = _xml(review)
    path.write_text(path.read_text(encoding="utf-8").replace("<xmin>20</xmin>", "<xmin>left</xmin>"), encoding="utf-8")
    assert desk.take(review) == 0
    assert desk.cells("=王")["day1/a.jpg", 2] == ("unknown", "unknown")
    assert any("objects cannot be used" in row["reason"] for row in desk.rows("problems.csv"))


def test_a_box_drawn_twice_is_one_cell(desk):
    review = desk.export()
    edit(_xml(review), lambda annotation: annotation.objects.append(annotation.objects[0]), verified=True)
    assert desk.take(review) == 0
    assert len(desk.cells("=王")) == 3


def test_strangers_in_the_folder_are_passed_over(desk):
    review = desk.export()
    shutil.copy(review / "p2" / "p2__a.jpg", review / "=王" / "new.jpg")
    shutil.copy(review / "p2" / "p2__a.xml", review / "=王" / "p2__a.xml")
    assert desk.take(review) == 0
    reasons = [row["reason"] for row in desk.rows("problems.csv")]
    assert any("not given to the reviewer" in reason for reason in reasons)
    assert any("belongs to no image" in reason for reason in reasons)


def test_a_renamed_folder_is_known_and_a_copied_one_is_refused(desk, capsys):
    review = desk.export()
    edit(_xml(review), rename(1, "monocyte"))
    (review / "=王").rename(review / "done")
    assert desk.take(review) == 0
    assert desk.cells("=王")["day1/a.jpg", 2] == ("monocyte", "relabelled")
    shutil.copytree(review / "done", review / "done - copy")
    edit(review / "done" / "=王__day1__a.xml", rename(1, "neutrophil"))
    assert desk.take(review) == 1
    assert "the patient is there 2 times" in capsys.readouterr().err
    assert desk.cells("=王")["day1/a.jpg", 2] == ("monocyte", "relabelled"), "which of the two is newer is not guessed"


def test_an_image_deleted_in_labelimg_does_not_take_its_review_along(desk):
    review = desk.export()
    edit(_xml(review), rename(1, "monocyte"))
    (review / "=王" / "=王__day1__a.jpg").unlink()
    assert desk.take(review) == 0
    assert desk.cells("=王")["day1/a.jpg", 2] == ("monocyte", "relabelled")


def test_verified_images_become_training_data(desk):
    review = desk.export()

    def change(annotation):
        annotation.objects[1].name = "monocyte"  # stays difficult=1, as LabelImg leaves it
        annotation.objects[2].difficult = 1

    edit(_xml(review), change, verified=True)
    edit(_xml(review, "p2__a.xml"), rename(0, "monocyte"))
    assert desk.take(review, f"--training_dir={desk.root / 'train'}") == 0
    files = sorted(path.relative_to(desk.root / "train").as_posix() for path in (desk.root / "train").rglob("*.*"))
    assert files == ["=王/day1/a.jpg", "=王/day1/a.xml"], "only images that a person vouches for"
    annotation = labelimg.read_annotation(desk.root / "train" / "=王" / "day1" / "a.xml", ProblemLog())
    assert [(o.name, o.difficult) for o in annotation.objects] == [
        ("lymphocyte", 0),
        ("monocyte", 0),
        ("neutrophil", 1),
    ]
    arguments = [f"--images_dir={desk.root / 'train'}", f"--output_dir={desk.root / 'records'}", "--test_fraction=0"]
    status = command_line.run(
        create_csf_tf_record.main, create_csf_tf_record.FLAGS, "", "create_csf_tf_record", arguments
    )
    assert status == 0
    rows = (desk.root / "records" / "annotations.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 3


def test_several_models_one_is_reviewed_and_its_cells_stand_alone(tmp_path, capsys):
    study = examined_study.write_study(tmp_path, {"p": {"a.jpg": [SURE, UNSURE]}}, models=("m", "n"))
    desk = Desk(study, tmp_path)
    arguments = [f"--inference_dir={study.inference_dir}", f"--output_dir={tmp_path / 'x'}", "--model=x"]
    assert command_line.main(["review_export", *arguments]) == 1
    assert "--model=x: no such model in the run; it has m, n" in capsys.readouterr().err
    review = desk.export("review", "--model=n")
    edit(review / "p" / "p__a.xml", rename(1, "monocyte"))
    assert desk.take(review) == 0
    (row,) = desk.rows("differentials.csv")
    assert (row["models"], row["white_cells"]) == ("n", "2")
    other = desk.export("other", "--model=m")
    edit(other / "p" / "p__a.xml", rename(1, "monocyte"))
    assert desk.take(other) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--reviewer= "], "--reviewer is empty"),
        (["--review_dir=nowhere"], "no cells.json in it"),
        (["--inference_dir=nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_one_sentence(desk, capsys, flags, message):
    review = desk.export()
    assert desk.take(review, *flags) == 1
    assert message in capsys.readouterr().err


def test_the_output_lies_apart_from_run_and_export(desk, capsys):
    review = desk.export()
    for flag in (f"--output_dir={desk.study.inference_dir}", f"--output_dir={review / 'x'}"):
        assert desk.take(review, flag) == 1
        assert "a folder of its own" in capsys.readouterr().err
    edit(_xml(review), rename(1, "monocyte"))
    assert desk.take(review) == 0
    assert desk.take(review, f"--inference_dir={desk.output}", f"--output_dir={desk.root / 'x'}") == 1
    assert "is a reviewed state" in capsys.readouterr().err
