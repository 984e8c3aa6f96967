"""suggest_labels as a command, with a model whose detections are known."""

import shutil

import numpy as np
import pytest
from PIL import Image

from tests.commands.test_evaluate import LYMPHOCYTE, save_labeled
from tests.support import hand_made_model as by_hand
from tfod_csf.commands import command_line
from tfod_csf.commands import suggest_labels as command
from tfod_csf.data.records import tf_example_encoder
from tfod_csf.data.records.ready_image import ReadyImage
from tfod_csf.files import csv_schemas, csv_tables, tfrecord
from tfod_csf.label_map import label_map_from_names
from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_io, labelimg
from tfod_csf.study.annotated_images import read_annotated_image
from tfod_csf.study.labelimg import LabeledObject
from tfod_csf.study.patients import AnnotatedFile, ImageFile


def run(*arguments) -> int:
    return command_line.run(command.main, command.FLAGS, command.__doc__, "suggest_labels", [*map(str, arguments)])


@pytest.fixture
def images_dir(tmp_path):
    """The model is least sure of the neutrophil on white images: score 0.375 on 255, 0.57 on 120, 0.75 on 0."""
    folder = tmp_path / "images"
    for name, gray in {"p/a": 255, "p/b": 255, "q/c": 120, "q/d": 0}.items():
        by_hand.save_gray(folder / f"{name}.png", gray)
    return folder


def flags(images_dir, tmp_path, model):
    return f"--images_dir={images_dir}", f"--output_dir={tmp_path / 'out'}", f"--model={model}"


def rows_of(tmp_path):
    assert csv_schemas.load("label_suggestions").check(tmp_path / "out" / "label_suggestions.csv")
    return csv_tables.read_rows(tmp_path / "out" / "label_suggestions.csv")


def test_the_same_picture_is_suggested_once(images_dir, tmp_path, hand_made_model, capsys):
    assert run(*flags(images_dir, tmp_path, hand_made_model), "--num_suggested=3") == 0
    rows = rows_of(tmp_path)
    assert [rows[0]["image"], rows[3]["image"]] == ["p/a.png", "p/b.png"]
    assert {rows[1]["image"], rows[2]["image"]} == {"q/c.png", "q/d.png"}
    assert (rows[0]["nearest"], rows[0]["novelty"], rows[0]["uncertainty"]) == ("", "1.000", "1.000")
    assert (rows[3]["nearest"], rows[3]["novelty"], rows[3]["score"]) == ("p/a.png", "0.000", "0.000")
    assert rows[0]["reason"].startswith("in doubt: 1 neutrophil or no cell")
    assert [row["pre_labeled"] for row in rows] == ["yes", "yes", "yes", "no"]
    html = (tmp_path / "out" / "label_suggestions.html").read_text(encoding="utf-8")
    assert html.count('src="data:image/jpeg;base64,') == 3
    assert "4 unlabeled images, 0 labeled ones" in capsys.readouterr().out


def test_the_folder_to_label_holds_what_the_model_found(images_dir, tmp_path, hand_made_model, capsys):
    given = flags(images_dir, tmp_path, hand_made_model)
    assert run(*given) == 0
    folder = tmp_path / "out" / "to_label"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.xml")) == [
        *("p/a.xml", "p/b.xml", "q/c.xml", "q/d.xml")
    ]
    assert (folder / "q" / "d.png").read_bytes() == (images_dir / "q" / "d.png").read_bytes()
    read = labelimg.read_annotation(folder / "q" / "d.xml", ProblemLog(quiet=True))
    assert [(o.name, o.xmin, o.ymin, o.xmax, o.ymax, o.difficult) for o in read.objects] == [
        ("lymphocyte", 8, 10, 34, 36, 0),
        ("erythrocyte", 50, 30, 84, 64, 0),
        ("unknown", 4, 40, 30, 66, 1),  # a neutrophil of score 0.75
    ]
    assert (read.width, read.height, read.filename) == (96, 72, "d.png")
    # A person may have corrected it.
    assert run(*given) == 1
    assert "may hold corrections" in capsys.readouterr().err


def test_labeled_images_are_not_suggested(images_dir, tmp_path, hand_made_model, capsys):
    save_labeled(images_dir / "q", "e", LYMPHOCYTE)
    label_map = label_map_from_names(by_hand.CLASSES)
    image = ImageFile(images_dir / "q" / "d.png", "q", "d.png", "q/d.png")
    loaded = image_io.open_image(image.path, ProblemLog(quiet=True))
    cells = [LabeledObject("monocyte", 1, 1, 9, 9), LabeledObject("monocyte", 11, 1, 19, 9)]
    ready = ReadyImage(image, loaded.width, loaded.height, loaded.jpeg_bytes(), cells, [LabeledObject("?", 2, 2, 4, 4)])
    example = tf_example_encoder.serialize(tf_example_encoder.create_tf_example(ready, label_map))
    tfrecord.write_records([example], tmp_path / "train.record")
    given = flags(images_dir, tmp_path, hand_made_model)
    assert run(*given, f"--labeled_records={tmp_path / 'train.record'}") == 0
    assert sorted(row["image"] for row in rows_of(tmp_path)) == ["p/a.png", "p/b.png", "q/c.png"]
    assert "3 unlabeled images, 2 labeled ones" in capsys.readouterr().out
    html = (tmp_path / "out" / "label_suggestions.html").read_text(encoding="utf-8")
    assert "<dt>Labels, monocyte</dt><dd>2</dd>" in html
    assert "<dt>Labels, neutrophil</dt><dd>0</dd>" in html


def test_an_xml_counts_as_in_training_whatever_its_capitals_and_not_that_of_another_program(
    images_dir, tmp_path, hand_made_model, capsys
):
    (images_dir / "p" / "a.XML").write_text("<annotation><filename>a.png</filename></annotation>")
    (images_dir / "q" / "d.xml").write_text("<microscope></microscope>")
    assert run(*flags(images_dir, tmp_path, hand_made_model)) == 0
    assert sorted(row["image"] for row in rows_of(tmp_path)) == ["p/b.png", "q/c.png", "q/d.png"]
    assert not (tmp_path / "out" / "to_label" / "p" / "a.xml").exists()
    assert "3 unlabeled images, 1 labeled ones" in capsys.readouterr().out
    rows = csv_tables.read_rows(tmp_path / "out" / "problems.csv")
    assert [row["reason"] for row in rows] == ["1 XML files of other programs are not read ('d.xml')"]


def test_all_images_are_labeled(tmp_path, hand_made_model, capsys):
    save_labeled(tmp_path / "images" / "q", "e", LYMPHOCYTE)
    assert run(*flags(tmp_path / "images", tmp_path, hand_made_model)) == 1
    assert "all 1 images are labeled (an XML lies beside them" in capsys.readouterr().err
    assert not (tmp_path / "out" / "to_label").exists()


def test_records_that_are_not_there(images_dir, tmp_path, hand_made_model, capsys):
    given = flags(images_dir, tmp_path, hand_made_model)
    assert run(*given, f"--labeled_records={tmp_path / 'none.record'}") == 1
    assert "none.record: no such file" in capsys.readouterr().err
    assert run(*given, "--class_map=eos=unknown") == 1
    assert "--class_map is for the classes of --labeled_records" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("orientation", "stored_as"), [(6, Image.Transpose.ROTATE_90), (3, Image.Transpose.ROTATE_180)]
)
def test_boxes_on_a_turned_photograph_lie_on_the_cells_in_every_program(
    tmp_path, hand_made_model, orientation, stored_as
):
    """Upright the photograph has 96 x 72 px, in the file of orientation 6 it has 72 x 96."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "images" / "p" / "a.jpg"
    path.parent.mkdir(parents=True)
    upright = np.full((72, 96, 3), 230, np.uint8)
    upright[10:36, 8:34] = 20  # where the model finds a lymphocyte
    Image.fromarray(upright).transpose(stored_as).save(path, exif=exif, quality=95)
    assert run(*flags(tmp_path / "images", tmp_path, hand_made_model)) == 0
    to_label = tmp_path / "out" / "to_label" / "p"
    with Image.open(to_label / "a.jpg") as shown:
        assert (shown.size, shown.getexif().get(0x0112, 1)) == ((96, 72), 1)
        assert np.asarray(shown)[12:34, 10:32].max() < 60 < np.asarray(shown)[40:, 40:].min()
    # The XML beside the original gives the same boxes.
    shutil.copy(to_label / "a.xml", path.with_suffix(".xml"))
    file = AnnotatedFile(ImageFile(path, "p", "a.jpg", "p/a.jpg"), path.with_suffix(".xml"))
    read = read_annotated_image(file, ProblemLog(quiet=True), label_map_from_names(by_hand.CLASSES))
    assert (read.loaded.width, read.loaded.height) == (96, 72)
    lymphocyte = read.annotation.objects[0]
    assert (lymphocyte.name, lymphocyte.box_text()) == ("lymphocyte", "[8, 10, 34, 36]")
    assert read.loaded.pixels[12:34, 10:32].max() < 60


@pytest.mark.parametrize(("allowed", "status"), [(0.5, 0), (0.4, 1)])
def test_records_that_cannot_be_used_count_among_the_records(
    images_dir, tmp_path, hand_made_model, allowed, status, capsys
):
    """One of two: whatever the number of images is."""
    image = ImageFile(images_dir / "q" / "d.png", "q", "d.png", "q/d.png")
    loaded = image_io.open_image(image.path, ProblemLog(quiet=True))
    examples = []
    for name in ("monocyte", "blast"):
        cells = [LabeledObject(name, 1, 1, 9, 9)]
        ready = ReadyImage(image, loaded.width, loaded.height, loaded.jpeg_bytes(), cells, [])
        label_map = label_map_from_names([*by_hand.CLASSES, "blast"])
        examples.append(tf_example_encoder.serialize(tf_example_encoder.create_tf_example(ready, label_map)))
    tfrecord.write_records(examples, tmp_path / "train.record")
    given = flags(images_dir, tmp_path, hand_made_model)
    assert run(*given, f"--labeled_records={tmp_path / 'train.record'}", f"--max_skipped_fraction={allowed}") == status
    (row,) = csv_tables.read_rows(tmp_path / "out" / "problems.csv")
    assert (row["action"], row["item"]) == ("skipped", "example 2")
    assert ("1 of 2 labeled records were skipped (50 %)" in capsys.readouterr().err) == bool(status)
    assert (tmp_path / "out" / "label_suggestions.csv").exists() == (not status)
    shutil.rmtree(tmp_path / "out")
    assert run(*given, f"--labeled_records={tmp_path / 'train.record'}", "--class_map=blast=unknown") == 0
    assert csv_tables.read_rows(tmp_path / "out" / "problems.csv") == []


def test_an_unreadable_image_is_reported(images_dir, tmp_path, hand_made_model):
    (images_dir / "q" / "broken.png").write_bytes(b"no picture")
    given = flags(images_dir, tmp_path, hand_made_model)
    assert run(*given, "--max_skipped_fraction=0.5") == 0
    assert len(rows_of(tmp_path)) == 4
    assert [row["action"] for row in csv_tables.read_rows(tmp_path / "out" / "problems.csv")] == ["skipped"]
