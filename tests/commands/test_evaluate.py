import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.support import hand_made_model as by_hand
from tests.support.scored_cells import scored_cells
from tfod_csf.commands import command_line, evaluate
from tfod_csf.evaluation.thresholds import recommended
from tfod_csf.evaluation.thresholds.recommended import MeanWithInterval, recommend
from tfod_csf.files import csv_tables
from tfod_csf.label_map import label_map_from_names
from tfod_csf.model_folder import ModelFolder
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg

LYMPHOCYTE = ("lymphocyte", 8, 10, 34, 36)
ERYTHROCYTE = ("erythrocyte", 50, 30, 84, 64)


def run(*arguments) -> int:
    command = evaluate
    command.FLAGS.unparse_flags()
    for name in command.FLAGS:
        command.FLAGS[name].unparse()
    return command_line.run(command.main, command.FLAGS, command.__doc__, "evaluate", [str(a) for a in arguments])


def save_labeled(folder, name, *objects):
    """A gray image of 96 x 72 and its XML; objects are (class, xmin, ymin, xmax, ymax)."""
    by_hand.save_gray(folder / f"{name}.png", 220)
    labeled = [labelimg.LabeledObject(*fields) for fields in objects]
    annotation = labelimg.Annotation(folder / f"{name}.xml", f"{name}.png", 96, 72, labeled)
    labelimg.write_annotation(annotation, annotation.path)


@pytest.fixture
def images_dir(tmp_path):
    """The hand-made model finds one lymphocyte and one erythrocyte in every image, and a monocyte on the lymphocyte."""
    folder = tmp_path / "images" / "p"
    save_labeled(folder, "a", LYMPHOCYTE, ERYTHROCYTE)
    save_labeled(folder, "b", ("monocyte", 8, 10, 34, 36), ERYTHROCYTE, ("neutrophil", 60, 2, 70, 12))
    save_labeled(folder, "c", LYMPHOCYTE, ("unknown", 50, 30, 84, 64))
    save_labeled(folder, "d")
    return tmp_path / "images"


def test_folder_of_xml(images_dir, tmp_path, hand_made_model, capsys):
    out = tmp_path / "out"
    assert run(f"--images_dir={images_dir}", f"--model={hand_made_model}", f"--output_dir={out}") == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["classes"] == [row["class"] for row in metrics["per_class"]]  # no display names here
    assert metrics["images"] == 4
    assert metrics["cells_labelled_unknown"] == "ignored"
    per_class = {row["class"]: row for row in metrics["per_class"]}
    # Scores are all equal, so the order within a class is that of the images: lymphocyte hit, miss, hit, miss of 2.
    assert per_class["lymphocyte"]["average_precision"] == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert (per_class["erythrocyte"]["true_positives"], per_class["erythrocyte"]["false_positives"]) == (2, 1)
    # As one cell is one cell, the monocyte (0.6) beside the lymphocyte (0.95) is not in the confusion matrix.
    matrix = csv_tables.read_rows(out / "confusion_matrix.csv")
    assert [list(map(int, list(row.values())[1:])) for row in matrix] == [
        [2, 0, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 2, 0],
        [1, 0, 0, 1, 0],
    ]
    counted = json.loads((out / "unknown_counted" / "metrics.json").read_text())
    erythrocyte = counted["per_class"][3]
    assert (erythrocyte["true_positives"], erythrocyte["false_positives"]) == (2, 2)
    assert (out / "precision_recall.png").stat().st_size > 10_000
    assert (out / "confusion_matrix.png").is_file()
    assert csv_tables.read_rows(out / "problems.csv") == []
    assert "cells labeled unknown are ignored" in capsys.readouterr().out


def test_mistakes_have_pictures_and_thresholds_are_recommended_but_not_stored(
    images_dir, tmp_path, hand_made_model, capsys
):
    out, model_json = tmp_path / "out", hand_made_model / "model.json"
    before = model_json.read_bytes()
    assert run(f"--images_dir={images_dir}", f"--model={hand_made_model}", f"--output_dir={out}") == 0
    assert model_json.read_bytes() == before
    errors = csv_tables.read_rows(out / "errors.csv")
    # The monocyte of b is found as a lymphocyte, its neutrophil missed; nothing is on d, and c's unknown is ignored.
    assert [(row["image_name"], row["error"], row["true_class"], row["predicted_class"]) for row in errors] == [
        ("p/b.png", "classification", "monocyte", "lymphocyte"),
        ("p/b.png", "missed", "neutrophil", ""),
        ("p/d.png", "background", "", "lymphocyte"),
        ("p/d.png", "background", "", "erythrocyte"),
    ]
    images = csv_tables.read_rows(out / "error_images.csv")
    assert [list(row.values())[1:] for row in images] == [
        ["2", "2", "0", "0", "0"],
        ["3", "1", "1", "1", "0"],
        ["1", "1", "0", "0", "0"],
        ["0", "0", "0", "0", "2"],
    ]
    page = (out / "errors.html").read_text(encoding="utf-8")
    assert "Of 6 labeled cells on 4 images: 4 found and rightly named (66.7\u00a0%), 1 confused" in page
    assert "1 more lie on labels that do not count" in page
    assert "images</span>" in page
    chosen = json.loads((out / "metrics.json").read_text())["recommended_thresholds"]
    # Lymphocytes 2 of 4 right, erythrocytes 2 of 3 (0.9), and two classes of labels that are never found: all scores
    # up to 0.9 are equal, and the model's 0.5 is one of them.
    assert chosen["f1"]["min_score"] == 0.5
    assert chosen["f1"]["mean_f1"] == pytest.approx((2 * 2 / (4 + 2) + 2 * 2 / (4 + 1)) / 4)
    assert chosen["differential"] is None
    printed = capsys.readouterr().out
    assert "Recommended by f1: min_score 0.5" in printed
    assert "10 or more labeled white cells each, and there are 0." in printed
    assert str(out / "errors.html") in printed


def test_recommended_thresholds_are_stored_on_request(images_dir, tmp_path, hand_made_model, capsys, monkeypatch):
    model = shutil.copytree(hand_made_model, tmp_path / "model")
    given = (f"--images_dir={images_dir}", f"--model={model}", f"--output_dir={tmp_path / 'out'}")
    assert run(*given, "--store", "--store_thresholds=f1") == 1
    assert "cannot be given together" in capsys.readouterr().err
    before = (model / "model.json").read_bytes()
    assert run(*given, "--store_thresholds=differential") == 1
    assert "--store_thresholds=differential: these labels recommend nothing by it" in capsys.readouterr().err
    assert (model / "model.json").read_bytes() == before
    assert run(*given, "--min_score=0.93", "--store_thresholds=f1") == 0
    assert re.search(r"not stored in model\.json: there are only \d lymphocyte, \d monocyte", capsys.readouterr().out)
    assert (model / "model.json").read_bytes() == before
    monkeypatch.setattr(recommended, "MIN_LABELS_TO_STORE", 0)
    assert run(*given, "--min_score=0.93", "--store_thresholds=f1") == 0
    stored = json.loads((model / "model.json").read_text())
    # Of the equal ones up to 0.9 the nearest to 0.93.
    assert stored["thresholds"]["min_score"] == 0.9
    assert stored["thresholds_chosen"]["criterion"] == "f1"
    assert stored["thresholds_chosen"]["data"] == "images"
    assert stored["thresholds_chosen"]["temperature"] == 1
    assert "stored in" in capsys.readouterr().out


def test_thresholds_with_a_smaller_error_are_stored_only_if_that_is_certain(tmp_path, hand_made_model, capsys):
    """Nothing but lymphocytes, one of which the model finds with 0.95: up to that threshold percentages are right."""
    model = shutil.copytree(hand_made_model, tmp_path / "model")
    info = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps({**info, "thresholds": {"min_score": 0.5, "unknown_below": 0.99}}))
    for patient in ("a", "b", "c"):
        others = [("lymphocyte", 60, 4 * number, 70, 4 * number + 10) for number in range(9)]
        save_labeled(tmp_path / "images" / patient, "1", LYMPHOCYTE, *others)
    given = (f"--images_dir={tmp_path / 'images'}", f"--model={model}", f"--output_dir={tmp_path / 'out'}")
    # Below 0.99 every cell is unknown: wrong by 33.3 points in each patient; 0.95 is the nearest that is right.
    assert run(*given, "--store_thresholds=differential") == 0
    stored = (model / "model.json").read_bytes()
    assert json.loads(stored)["thresholds"] == {"min_score": 0.5, "unknown_below": 0.95}
    assert json.loads(stored)["thresholds_chosen"]["before"] == {"min_score": 0.5, "unknown_below": 0.99}
    assert "unknown_below 0.95 (before: 0.99) stored in" in capsys.readouterr().out
    # They would only have to be better than thresholds that nobody uses.
    assert run(*given, "--store_thresholds=differential", "--min_score=0.96") == 1
    assert "--min_score=0.96 is not the model's own 0.5; with --store_thresholds=" in capsys.readouterr().err
    assert (model / "model.json").read_bytes() == stored


def test_thresholds_that_are_not_certainly_better_or_at_the_end_of_the_search_are_not_stored(tmp_path, hand_made_model):
    model = shutil.copytree(hand_made_model, tmp_path / "model")
    before, folder = (model / "model.json").read_bytes(), ModelFolder.open(model)
    given = (f"--model={model}", f"--output_dir={tmp_path / 'out'}", "--store_thresholds=differential")
    command_line._parse("evaluate", evaluate.FLAGS, list(given))
    cells = [("L", "L", 0.9)] * 5 + [("M", "M", 0.9)] * 5
    same = recommend(scored_cells(dict.fromkeys("abc", ("LLLLLMMMMM", cells))), 0.5, 0.8)
    said = evaluate._store_thresholds(folder, same, "data", 1.0)
    assert said.startswith("not stored in model.json: the labels do not show that other thresholds are better")
    last = dataclasses.replace(
        same,
        by_differential=dataclasses.replace(same.by_differential, min_score=0.95),
        difference=MeanWithInterval(-5.0, -6.0, -4.0),
    )
    said = evaluate._store_thresholds(folder, last, "data", 1.0)
    assert said == "not stored in model.json: min_score 0.95 is at the end of what is searched."
    assert (model / "model.json").read_bytes() == before


def test_the_confusion_matrix_is_stored(tmp_path, hand_made_model, capsys):
    # The hand-made model finds a lymphocyte there in every image; each patient has 12 images of one such cell.
    model = shutil.copytree(hand_made_model, tmp_path / "model")
    for patient in ("a", "b", "c"):
        for number in range(12):
            name = ("lymphocyte", "monocyte", "neutrophil")[number % 3]
            save_labeled(tmp_path / "images" / patient, f"{number}", (name, 8, 10, 34, 36), ERYTHROCYTE)
    arguments = (f"--images_dir={tmp_path / 'images'}", f"--model={model}", "--store", "--unknown_boxes=count")
    assert run(*arguments, f"--output_dir={tmp_path / 'out'}", "--min_score=0.3") == 1
    assert "--min_score=0.3 is not the model's own 0.5" in capsys.readouterr().err
    assert run(*arguments, f"--output_dir={tmp_path / 'out'}") == 1
    assert "12 annotated cells of class lymphocyte in 3 patients are too few" in capsys.readouterr().err
    assert not (model / "classification.json").exists()
    assert (tmp_path / "out" / "metrics.json").is_file()


def write_record(path, images_dir, classes=by_hand.CLASSES):
    """The folder's images as a record, `unknown` ignored as create_csf_tf_record writes it."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name in sorted(xml.stem for xml in (images_dir / "p").glob("*.xml")):
            annotation = labelimg.read_annotation(images_dir / "p" / f"{name}.xml", ProblemLog(quiet=True))
            rows = [(o, o.name, 1.0) for o in annotation.objects if o.name != "unknown"]
            rows += [(o, c, 0.0) for o in annotation.objects if o.name == "unknown" for c in classes]
            floats = {
                "bbox/xmin": [o.xmin / 96 for o, _, _ in rows],
                "bbox/xmax": [o.xmax / 96 for o, _, _ in rows],
                "bbox/ymin": [o.ymin / 72 for o, _, _ in rows],
                "bbox/ymax": [o.ymax / 72 for o, _, _ in rows],
                "weight": [weight for _, _, weight in rows],
            }
            feature = {
                f"image/object/{key}": tf.train.Feature(float_list=tf.train.FloatList(value=values))
                for key, values in floats.items()
            }
            texts = [text.encode() for _, text, _ in rows]
            feature["image/object/class/text"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))
            encoded = [(images_dir / "p" / f"{name}.png").read_bytes()]
            feature["image/encoded"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=encoded))
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def test_record_and_folder_give_the_same_numbers(images_dir, tmp_path, hand_made_model):
    write_record(tmp_path / "test.record", images_dir)
    flags = (f"--model={hand_made_model}", "--min_score=0.55")
    assert run(f"--images_dir={images_dir}", f"--output_dir={tmp_path / 'folder'}", *flags) == 0
    assert run(f"--input_path={tmp_path / 'test.record'}", f"--output_dir={tmp_path / 'record'}", *flags) == 0
    for name in ("metrics.csv", "per_class.csv", "confusion_matrix.csv", "unknown_counted/metrics.csv"):
        first, second = ((tmp_path / kind / name).read_text() for kind in ("folder", "record"))
        assert first == second, name


def test_records_with_a_class_that_the_model_does_not_have(images_dir, tmp_path, hand_made_model):
    """Renamed in the XML or in the records, the same cells give the same numbers."""
    save_labeled(images_dir / "p", "e", ("eosinophil", 50, 30, 84, 64))
    write_record(tmp_path / "test.record", images_dir, [*by_hand.CLASSES, "eosinophil"])
    for given in ("unknown", "", "erythrocyte"):
        flags = (f"--model={hand_made_model}", f"--class_map=eosinophil={given}")
        assert run(f"--images_dir={images_dir}", f"--output_dir={tmp_path / f'folder{given}'}", *flags) == 0
        record = f"--input_path={tmp_path / 'test.record'}"
        assert run(record, f"--output_dir={tmp_path / f'record{given}'}", *flags) == 0
        for name in ("metrics.csv", "per_class.csv", "confusion_matrix.csv"):
            first, second = ((tmp_path / f"{kind}{given}" / name).read_text() for kind in ("folder", "record"))
            assert first == second, (given, name)


def test_unknown_is_a_class_of_the_label_map(images_dir, tmp_path):
    five = by_hand.save(tmp_path / "five", label_map=label_map_from_names([*by_hand.CLASSES, "unknown"]))
    out = tmp_path / "out"
    assert run(f"--images_dir={images_dir}", f"--model={five}", f"--output_dir={out}") == 0
    counted, ignored = (json.loads((out / d / "metrics.json").read_text()) for d in (".", "unknown_ignored"))
    assert (counted["cells_labelled_unknown"], ignored["cells_labelled_unknown"]) == ("counted", "ignored")
    key = "PascalBoxes_PerformanceByCategory/AP@0.5IOU/unknown"
    assert (counted["metrics"][key], ignored["metrics"][key]) == (0.0, "NaN")
    assert counted["per_class"][3]["false_positives"] == ignored["per_class"][3]["false_positives"] + 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"images_dir": None}, "one of the two"),
        ({"input_path": "{tmp}/none"}, "one of the two"),
        ({"images_dir": None, "input_path": "{tmp}/none"}, "no such file"),
        ({"images_dir": None, "input_path": "{tmp}/images/p/a.png"}, "not a TFRecord"),
        ({"images_dir": None, "input_path": "{tmp}/none", "annotations_dir": "{tmp}"}, "--annotations_dir is for"),
        ({"images_dir": None, "input_path": "{tmp}/none", "exif": "stored"}, "--exif is for the LabelImg XML"),
        ({"images_dir": None, "input_path": "{tmp}/none", "rescale_boxes": "true"}, "--rescale_boxes is for"),
        ({"skip_damaged_records": "true"}, "--skip_damaged_records is for --input_path"),
        ({"images_dir": "{tmp}/none"}, "no such folder"),
        ({"model": "{tmp}/none"}, "exporter_main_v2"),
        ({"class_map": "platelet"}, "is not OLD=NEW"),
        ({"min_score": "2"}, "--min_score is 2"),
    ],
)
def test_mistakes_are_one_sentence(images_dir, tmp_path, hand_made_model, capsys, changes, sentence):
    arguments = {"images_dir": images_dir, "model": hand_made_model, "output_dir": tmp_path / "out", **changes}
    given = [f"--{name}={str(value).format(tmp=tmp_path)}" for name, value in arguments.items() if value is not None]
    assert run(*given) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert np.all([not path.name.startswith("metrics") for path in tmp_path.rglob("*")])


def test_damaged_records_end_the_command_unless_a_flag_allows_it(images_dir, tmp_path, hand_made_model, capsys):
    record = tmp_path / "test.record"
    write_record(record, images_dir)
    whole = record.read_bytes()
    given = (f"--input_path={record}", f"--model={hand_made_model}", f"--output_dir={tmp_path / 'out'}")
    for damaged in (whole[:-10], whole[: len(whole) // 2], whole + bytes(512), b""):
        record.write_bytes(damaged)
        assert run(*given) == 1
        assert f"error: {record}: " in capsys.readouterr().err
    assert not (tmp_path / "out" / "metrics.json").exists()
    record.write_bytes(whole[:-10])
    assert run(*given, "--skip_damaged_records") == 1  # one of four is more than --max_skipped_fraction
    assert "1 of 4 files were skipped" in capsys.readouterr().err
    assert run(*given, "--skip_damaged_records", "--max_skipped_fraction=0.25") == 0
    assert "1 skipped" in capsys.readouterr().out
    (tmp_path / "dataset_report.json").write_text(json.dumps({"records": [{"file": "test.record", "examples": 9}]}))
    assert run(*given) == 1
    assert "so 6 are missing" in capsys.readouterr().err
    assert run(*given, "--skip_damaged_records", "--max_skipped_fraction=0.25") == 1
    assert "6 of 9 files were skipped" in capsys.readouterr().err


def test_a_missing_shard_is_named_and_ends_the_command_where_it_is_listed(
    images_dir, tmp_path, hand_made_model, capsys
):
    write_record(tmp_path / "test.record-00000-of-00002", images_dir)
    given = (f"--input_path={tmp_path}/test.record-*", f"--model={hand_made_model}", f"--output_dir={tmp_path / 'out'}")
    assert run(*given) == 0
    assert "1 noted" in capsys.readouterr().out
    assert "1 of 2 shards are there; 1 missing" in (tmp_path / "out" / "problems.csv").read_text()
    report = {"records": [{"file": "test.record-00001-of-00002", "examples": 3}]}
    (tmp_path / "dataset_report.json").write_text(json.dumps(report))
    assert run(*given) == 1
    assert "1 of 2 shards are missing" in capsys.readouterr().err
