"""find_label_problems as a command, with a model whose detections are known."""

import pytest

from tests.commands.test_evaluate import ERYTHROCYTE, LYMPHOCYTE, save_labeled
from tfod_csf.commands import command_line
from tfod_csf.commands import find_label_problems as command
from tfod_csf.files import csv_schemas, csv_tables
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg

FAINT = ("unknown", 4, 40, 30, 66)  # where the hand-made model finds a neutrophil of score 0.43


def run(*arguments) -> int:
    return command_line.run(command.main, command.FLAGS, command.__doc__, "find_label_problems", [*map(str, arguments)])


@pytest.fixture
def images_dir(tmp_path):
    folder = tmp_path / "images" / "p"
    save_labeled(folder, "a", LYMPHOCYTE, ERYTHROCYTE, FAINT)
    save_labeled(folder, "b", ("monocyte", 8, 10, 34, 36), FAINT)
    # Moved by 12 of 34 px: overlap 22 / 46.
    save_labeled(folder, "c", LYMPHOCYTE, ("erythrocyte", 62, 30, 96, 64), FAINT)
    save_labeled(folder, "d", LYMPHOCYTE, ("lymphocyte", 10, 12, 36, 38), ERYTHROCYTE, FAINT)
    return tmp_path / "images"


def test_each_kind_is_found_and_ranked(images_dir, tmp_path, hand_made_model, capsys):
    out = tmp_path / "out"
    assert run(f"--images_dir={images_dir}", f"--model={hand_made_model}", f"--output_dir={out}") == 0
    assert csv_schemas.load("label_problems").check(out / "label_problems.csv") == 4
    rows = csv_tables.read_rows(out / "label_problems.csv")
    assert [(row["image"], row["kind"], row["suggested_class"], float(row["score"])) for row in rows] == [
        ("p/b.png", "swapped", "lymphocyte", 0.95),
        ("p/d.png", "doubled", "lymphocyte", 0.95),
        ("p/b.png", "overlooked", "erythrocyte", 0.9),
        ("p/c.png", "badly placed", "erythrocyte", pytest.approx(0.9 * (0.7 - 22 / 46) / 0.3, abs=0.001)),
    ]
    assert [rows[1][f"label_{side}"] for side in ("xmin", "ymin")] == ["10.0", "12.0"]
    assert rows[2]["label_xmin"] == ""
    html = (out / "label_problems.html").read_text(encoding="utf-8")
    assert html.count('src="data:image/jpeg;base64,') == 4
    assert "1: swapped, labeled monocyte, model lymphocyte, score 0.95" in html
    assert "4 images, 8 labels; to check: " in capsys.readouterr().out


def test_review_folder_has_the_labels_and_the_suggestions(images_dir, tmp_path, hand_made_model, capsys):
    flags = (f"--images_dir={images_dir}", f"--model={hand_made_model}", f"--output_dir={tmp_path / 'out'}")
    assert run(*flags, "--max_review=3") == 0
    review = tmp_path / "out" / "review"
    assert sorted(path.name for path in review.rglob("*.xml")) == ["b.xml", "d.xml"]
    assert (review / "p" / "b.png").read_bytes() == (images_dir / "p" / "b.png").read_bytes()
    annotation = labelimg.read_annotation(review / "p" / "b.xml", ProblemLog(quiet=True))
    assert [(o.name, o.xmin, o.ymin) for o in annotation.objects] == [
        ("monocyte", 8, 10),
        ("unknown", 4, 40),
        ("check_swapped_lymphocyte", 8, 10),
        ("check_overlooked_erythrocyte", 50, 30),
    ]
    assert (review / "classes.txt").read_text().split() == ["lymphocyte", "monocyte", "neutrophil", "erythrocyte"]
    reviewed = [row["in_review"] for row in csv_tables.read_rows(tmp_path / "out" / "label_problems.csv")]
    assert reviewed == ["yes", "yes", "yes", "no"]
    # A person may have corrected it.
    assert run(*flags) == 1
    assert "may hold corrections" in capsys.readouterr().err


def test_labels_that_the_class_map_drops_or_renames_stay_in_the_review_folder(tmp_path, hand_made_model):
    """Its files are copied over the originals."""
    save_labeled(tmp_path / "images" / "p", "a", ("Mono", 8, 10, 34, 36), ("platelet", 70, 5, 80, 15), FAINT)
    given = (f"--images_dir={tmp_path / 'images'}", f"--model={hand_made_model}", f"--output_dir={tmp_path / 'out'}")
    assert run(*given, "--class_map=platelet=,Mono=monocyte") == 0
    written = labelimg.read_annotation(tmp_path / "out" / "review" / "p" / "a.xml", ProblemLog(quiet=True))
    assert [o.name for o in written.objects if not o.name.startswith("check_")] == ["Mono", "platelet", "unknown"]


def test_an_xml_whose_objects_cannot_all_be_written_again_is_not_in_the_review_folder(tmp_path, hand_made_model):
    save_labeled(tmp_path / "images" / "p", "a", ("monocyte", 8, 10, 34, 36), FAINT)
    xml = tmp_path / "images" / "p" / "a.xml"
    polygon = "<object><name>monocyte</name><polygon><x1>1</x1><y1>2</y1></polygon></object></annotation>"
    xml.write_text(xml.read_text().replace("</annotation>", polygon))
    out = tmp_path / "out"
    assert run(f"--images_dir={tmp_path / 'images'}", f"--model={hand_made_model}", f"--output_dir={out}") == 0
    assert list((out / "review").rglob("a.*")) == []
    assert {row["in_review"] for row in csv_tables.read_rows(out / "label_problems.csv")} == {"no"}
    (noted,) = [row for row in csv_tables.read_rows(out / "problems.csv") if row["reason"].startswith("not in review/")]
    assert noted["file"] == str(xml)
    assert "1 object of its XML cannot be used and would be lost" in noted["reason"]
