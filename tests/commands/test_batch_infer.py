import json
import os
import shutil
import signal
import threading
import time

import pytest

from tests.support import hand_made_model as by_hand
from tfod_csf.commands import batch_infer, command_line
from tfod_csf.files import atomic_write, csv_schemas, csv_tables
from tfod_csf.label_map import LabelMap, LabelMapItem, label_map_from_names
from tfod_csf.shipped_models import by_name


@pytest.fixture
def images_dir(tmp_path):
    """Two patients; of p1 one image is broken."""
    folder = tmp_path / "images"
    for patient in ("p1", "p2"):
        for number in range(10):
            by_hand.save_gray(folder / patient / f"{number}.png", number + (0 if patient == "p1" else 10))
    (folder / "p1" / "broken.jpg").write_bytes(b"no image")
    return folder


def run(*arguments) -> int:
    command = batch_infer
    command.FLAGS.unparse_flags()
    for name in command.FLAGS:
        command.FLAGS[name].unparse()
    return command_line.run(command.main, command.FLAGS, command.__doc__, "batch_infer", [str(a) for a in arguments])


def test_from_images_to_differentials(images_dir, tmp_path, hand_made_model, capsys):
    out = tmp_path / "out"
    flags = (f"--images_dir={images_dir}", f"--model={hand_made_model}", f"--output_dir={out}")
    assert run(*flags) == 0
    printed = capsys.readouterr().out
    assert "2 patients, 21 images (1 failed): 60 cells by hand_made" in printed
    assert csv_schemas.load("differentials").check(out / "differentials.csv") == 2
    first, second = csv_tables.read_rows(out / "differentials.csv")
    # Every image shows one lymphocyte, one erythrocyte, one neutrophil of 0.72 to 0.75, which is unknown.
    assert (first["lymphocyte"], first["erythrocyte"], first["unknown"], first["neutrophil"]) == ("10", "10", "10", "0")
    assert (first["images_failed"], second["images_failed"]) == ("1", "0")
    assert "1 image failed" in first["note"]
    assert csv_schemas.load("differential").check(out / "patients" / "p2" / "differential.csv") > 0
    run_json = json.loads((out / "run.json").read_text())
    assert run_json["thresholds"]["unknown_below"] == 0.8
    assert run_json["models"][0]["name"] == "hand_made"
    assert run_json["seconds_per_image"] > 0
    assert run_json["patients"]["p1"]["failed"] == 1
    assert "no image" in run_json["failures"][0]["reason"]
    (problem,) = csv_tables.read_rows(out / "problems.csv")
    assert problem["file"] == str(images_dir / "p1" / "broken.jpg")
    assert run(*flags) == 0
    assert "Not redone, because nothing changed: 2 patients." in capsys.readouterr().out
    assert run(*flags, "--count_unknown=as_predicted") == 0
    assert csv_tables.read_rows(out / "differentials.csv")[0]["neutrophil"] == "10"


def test_classes_that_are_none_of_the_study_are_named_and_are_the_note(images_dir, tmp_path, caplog):
    plural = label_map_from_names(["Lymphocytes", "Monocytes", "Neutrophils", "Erythrocytes"])
    model, out = by_hand.save(tmp_path / "plural", label_map=plural), tmp_path / "out"
    assert run(f"--images_dir={images_dir}", f"--model={model}", f"--output_dir={out}", "--draw=false") == 0
    said = (
        "none of the model's classes (Lymphocytes, Monocytes, Neutrophils, Erythrocytes) is lymphocyte, monocyte or neu"
    )
    assert said in caplog.text
    (row, _) = csv_tables.read_rows(out / "differentials.csv")
    assert (row["white_cells"], row["unknown"]) == ("0", "10")
    assert (
        row["note"]
        == "1 image failed; none of the model's classes is lymphocyte, monocyte or neutrophil: no percentages"
    )
    caplog.clear()
    flags = ["--inference_dir", str(out), "--output_dir", str(tmp_path / "again")]
    assert command_line.main(["differential", *flags]) == 0
    assert said in caplog.text


def test_a_class_is_counted_as_the_class_of_the_study_that_it_is_displayed_as(images_dir, tmp_path, caplog):
    chinese = LabelMap(
        LabelMapItem(number, name, shown)
        for number, (name, shown) in enumerate(
            zip(["淋巴细胞", "单核细胞", "中性粒细胞", "红细胞"], by_hand.CLASSES), 1
        )
    )
    model, out = by_hand.save(tmp_path / "chinese", label_map=chinese), tmp_path / "out"
    assert run(f"--images_dir={images_dir}", f"--model={model}", f"--output_dir={out}", "--draw=false") == 0
    (row, _) = csv_tables.read_rows(out / "differentials.csv")
    assert (row["lymphocyte"], row["erythrocyte"], row["unknown"]) == ("10", "10", "10")
    assert "none of the model's classes" not in caplog.text


def test_images_are_cut_into_tiles_and_what_is_not_known_of_the_model_is_noted(
    images_dir, tmp_path, hand_made_model, capsys
):
    out = tmp_path / "out"
    flags = (f"--images_dir={images_dir}", f"--model={hand_made_model}", f"--output_dir={out}")
    # The images have 96 x 72 pixels: two tiles of 72 x 72, starting at 0 and 24.
    assert run(*flags, "--tile_size=72", "--tile_overlap=20") == 0
    row = csv_tables.read_rows(out / "patients" / "p2" / "images.csv")[0]
    assert [row[name] for name in ("width", "tile_width", "tile_height", "tile_overlap")] == ["96", "72", "72", "20"]
    settings = json.loads((out / "run.json").read_text())["settings"]
    assert (settings["tile_size"], settings["tile_overlap"]) == ("72x72", 20)
    reasons = [problem["reason"] for problem in csv_tables.read_rows(out / "problems.csv")]
    assert any("does not say how large the training images were" in reason for reason in reasons)
    assert len(list((out / "patients" / "p2" / "pictures" / "0.png.tiles").iterdir())) == 2
    capsys.readouterr()
    assert run(*flags, "--tile_size=model") == 1
    assert "give --tile_size=WIDTHxHEIGHT" in capsys.readouterr().err
    assert run(*flags, "--tile_overlap=20") == 1
    assert "--tile_overlap is of use with --tile_size only" in capsys.readouterr().err


def test_several_models_are_averaged(images_dir, tmp_path, hand_made_model):
    lymphocyte, erythrocyte, *_ = by_hand.CANDIDATES
    neutrophil = by_hand.Candidate((0.7, 0.33, 0.95, 0.5), 3, 0.9)
    other = by_hand.save(tmp_path / "other", [lymphocyte, erythrocyte, neutrophil])
    out = tmp_path / "out"
    assert run(f"--images_dir={images_dir / 'p2'}", f"--model={hand_made_model}", f"--model={other}",
               f"--output_dir={out}", "--nodraw") == 0  # fmt: skip
    (row,) = csv_tables.read_rows(out / "differentials.csv")
    assert row["models"] == "hand_made+other"
    assert (row["lymphocyte"], row["neutrophil"]) == ("10", "5")
    assert not list(out.rglob("*.jpg"))
    cells = tmp_path / "cells"
    assert run(f"--images_dir={images_dir / 'p2'}", f"--model={hand_made_model}", f"--model={other}",
               f"--output_dir={cells}", "--nodraw", "--ensemble=cell", "--min_score=0.4") == 0  # fmt: skip
    # A neutrophil that one of two models sees has half its score: 0.9 becomes 0.45, which is unknown, and 0.75 no cell.
    (row,) = csv_tables.read_rows(cells / "differentials.csv")
    assert (row["models"], row["lymphocyte"], row["neutrophil"], row["unknown"]) == ("hand_made+other", "10", "0", "10")


def test_what_limits_a_model_that_ships_is_said_once_at_the_end(
    images_dir, tmp_path, hand_made_model, capsys, monkeypatch
):
    asked = []
    monkeypatch.setattr(by_name, "restrictions", lambda vouched: asked.append(dict(vouched)) or ["never on fluid."])
    assert run(f"--images_dir={images_dir}", f"--model={hand_made_model}", f"--output_dir={tmp_path / 'out'}") == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == "never on fluid."
    assert printed.count("never on fluid.") == 1
    assert asked == [{"hand_made": "nothing"}]


def test_rounds(images_dir, tmp_path, hand_made_model, capsys):
    out = tmp_path / "out"
    assert run(f"--images_dir={images_dir}", f"--model={hand_made_model}", f"--output_dir={out}", "--rounds=3") == 0
    assert "3 rounds: all are equal" in capsys.readouterr().out
    assert json.loads((out / "run.json").read_text())["rounds"] == {"number": 3, "differing_patients": []}
    third = out / "rounds" / "3" / "patients" / "p1"
    assert (third / "cells.csv").read_bytes() == (out / "patients" / "p1" / "cells.csv").read_bytes()
    # A round that was done is not repeated; one whose cells were tampered with is refused.
    (third / "cells.csv").write_text("tampered")
    assert run(f"--images_dir={images_dir}", f"--model={hand_made_model}", f"--output_dir={out}", "--rounds=3") == 1
    assert "rounds/3/patients/p1/cells.csv: was changed after batch_infer had written it" in capsys.readouterr().err
    (third / "cells.csv").unlink()
    assert run(f"--images_dir={images_dir}", f"--model={hand_made_model}", f"--output_dir={out}", "--rounds=3") == 0
    assert "3 rounds: all are equal" in capsys.readouterr().out


def test_a_full_list_marks_the_patient(images_dir, tmp_path):
    three = by_hand.save(tmp_path / "three", max_detections=3)
    out = tmp_path / "out"
    assert run(f"--images_dir={images_dir / 'p2'}", f"--model={three}", f"--output_dir={out}") == 0
    (row,) = csv_tables.read_rows(out / "differentials.csv")
    assert "on 10 of the images a model reached its detection limit" in row["note"]


def test_stored_thresholds_are_the_default(images_dir, tmp_path, hand_made_model):
    strict = tmp_path / "strict"
    shutil.copytree(hand_made_model, strict)
    info = json.loads((strict / "model.json").read_text())
    atomic_write.write_json(strict / "model.json", {**info, "thresholds": {"min_score": 0.92, "unknown_below": 0.99}})
    out = tmp_path / "out"
    flags = (f"--images_dir={images_dir}", f"--model={strict}", f"--output_dir={out}")
    assert run(*flags) == 0
    assert csv_tables.read_rows(out / "differentials.csv")[0]["unknown"] == "10"
    assert run(*flags, "--unknown_below=0.9") == 0
    assert csv_tables.read_rows(out / "differentials.csv")[0]["unknown"] == "0"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"images_dir": "{tmp}/none"}, "no such folder"),
        ({"images_dir": "{tmp}/empty"}, "no image was found"),
        ({"model": "{tmp}"}, "exporter_main_v2"),
        ({"output_dir": "{images}/out"}, "lies in --images_dir"),
        ({"min_score": "1.5"}, "--min_score is 1.5"),
        ({"manifest": "{tmp}/none.csv"}, "no such file"),
        ({"patient_pattern": "p"}, "no group named patient"),
        ({"max_skipped_fraction": "0.01"}, "more than the 1 % that --max_skipped_fraction allows"),
        ({"strict": "true"}, "--strict: the first problem ends the run"),
    ],
)
def test_mistakes_are_one_sentence(images_dir, tmp_path, hand_made_model, capsys, changes, sentence):
    (tmp_path / "empty").mkdir()
    arguments = {"images_dir": images_dir, "model": hand_made_model, "output_dir": tmp_path / "out", **changes}
    given = [f"--{name}={str(value).format(tmp=tmp_path, images=images_dir)}" for name, value in arguments.items()]
    assert run(*given) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error


def test_too_many_failures_are_written_first(images_dir, tmp_path, hand_made_model):
    out = tmp_path / "out"
    flags = (f"--images_dir={images_dir}", f"--model={hand_made_model}", f"--output_dir={out}")
    assert run(*flags, "--max_skipped_fraction=0.01") == 1
    assert (out / "differentials.csv").is_file()
    assert (out / "run.json").is_file()


def test_watched_while_images_arrive_and_ended_with_ctrl_c(images_dir, tmp_path, hand_made_model, capsys):
    out, arriving = tmp_path / "out", tmp_path / "arriving"
    arriving.mkdir()
    page = out / "live.html"
    seen = []

    def wait_for(text):
        deadline = time.monotonic() + 60
        while not (page.exists() and text in page.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        seen.append(text in page.read_text())

    def photograph():
        try:
            wait_for("Waiting for images")
            shutil.copytree(images_dir / "p1", arriving / "p1")
            wait_for("10 of 11")
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    microscope = threading.Thread(target=photograph)
    microscope.start()
    flags = (f"--model={hand_made_model}", f"--output_dir={out}", f"--images_dir={arriving}")
    assert run(*flags, "--watch") == 0
    microscope.join()
    assert seen == [True, True]
    printed = capsys.readouterr().out
    assert "p1: 10 white cells on 10 images; 10 unknown cells may be white; not enough yet for ± 10 points" in printed
    assert "1 patient, 11 images (1 failed): 30 cells by hand_made" in printed
    assert "Counting has ended" in page.read_text()
    assert csv_tables.read_rows(out / "differentials.csv")[0]["lymphocyte"] == "10"
    tables = {path: path.read_bytes() for path in out.rglob("*.csv")}
    assert run(*flags) == 0
    assert "Not redone, because nothing changed: 1 patient." in capsys.readouterr().out
    assert tables == {path: path.read_bytes() for path in out.rglob("*.csv")}


def test_what_watching_does_not_go_together_with(images_dir, tmp_path, hand_made_model, capsys):
    flags = (f"--images_dir={images_dir}", f"--model={hand_made_model}", f"--output_dir={tmp_path / 'out'}", "--watch")
    for other in ("--shard=1/2", "--rounds=2"):
        assert run(*flags, other) == 1
        assert "--watch: goes together neither with --shard nor with --rounds" in capsys.readouterr().err
