"""dataset_report as a command: records in, one page and three tables out."""

import re

import pytest

from tests.support import drawn_records
from tests.support.drawn_records import drawn, field, jpeg, ready
from tfod_csf.commands import command_line, dataset_report
from tfod_csf.config import paper_settings
from tfod_csf.config.network_presets import network_preset
from tfod_csf.config.pipeline_config import save_pipeline_config
from tfod_csf.data.dataset_page import data_page, page_sections
from tfod_csf.files import csv_schemas, csv_tables, example_pb2, tfrecord
from tfod_csf.problems import ProblemLog

FILES = ["dataset_appearance.csv", "dataset_images.csv", "dataset_leaks.csv", "dataset_report.html"]


def run(*arguments) -> int:
    main, flags = dataset_report.main, dataset_report.FLAGS
    return command_line.run(main, flags, dataset_report.__doc__, "dataset_report", [*map(str, arguments)])


def study():
    """Two laboratories; one test image is a training image turned around, and one is blurred."""
    turned = ready("HH-9/turned.jpg", jpeg(field(3)[0].rotate(180)), [], [])
    train = [drawn(f"HH-{seed}/a.jpg", seed) for seed in range(6)]
    train += [drawn(f"B-{seed}/a.jpg", seed, "monocyte", paper=(230, 170, 190)) for seed in range(6, 9)]
    test = [drawn("HH-20/a.jpg", 20), drawn("HH-21/a.jpg", 21, blur=4.0), turned]
    return {"train": train, "test": test}


@pytest.fixture
def records(write_records):
    return write_records(study())


def test_one_folder_of_all_images_is_not_said_to_be_a_patient_on_both_sides(write_records, tmp_path):
    records = write_records({"train": [drawn("images/1.jpg", 1)], "test": [drawn("images/2.jpg", 2)]})
    assert run(f"--records_dir={records}", f"--output_dir={tmp_path / 'out'}") == 0
    html = (tmp_path / "out" / "dataset_report.html").read_text(encoding="utf-8")
    assert "images on both sides" not in html
    assert "All images are in one folder" in html
    assert "if the one folder is a patient&#39;s" in html


def test_page_and_tables(records, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(f"--records_dir={records}", f"--output_dir={out}", "--laboratory_pattern=^(?P<laboratory>[A-Z]+)-") == 0
    assert sorted(path.name for path in out.iterdir()) == FILES
    lengths = {name: csv_schemas.load(name).check(out / f"{name}.csv") for name in csv_names()}
    assert lengths == {"dataset_images": 12, "dataset_leaks": 1, "dataset_appearance": 2 + 12}
    [leak] = csv_tables.read_rows(out / "dataset_leaks.csv")
    assert (leak["test_image"], leak["train_image"]) == ("HH-9/turned.jpg", "HH-3/a.jpg")
    blurred = [row["name"] for row in csv_tables.read_rows(out / "dataset_images.csv") if row["blurred"] == "yes"]
    assert blurred == ["HH-21/a.jpg"]
    laboratories = [row["name"] for row in csv_tables.read_rows(out / "dataset_appearance.csv")[:2]]
    assert sorted(laboratories) == ["B", "HH"]

    html = (out / "dataset_report.html").read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    for words in ("Leak: 1 of 3 test images has nearly the same picture", "No config was given", "Laboratory "):
        assert words in html
    assert "stop  Leak: 1 of 3 test images" in printed
    assert html.index("Leak: 1 of 3") < html.index("Classes on each side")
    pictures = re.findall(r'<img src="data:image/jpeg;base64,[^"]+" alt="([^"]+)"', html)
    assert sum(alt.startswith("HH-3/a.jpg (train): 5 lymphocyte") for alt in pictures) == 2  # among images and leaks
    assert sum(alt.startswith("monocyte, ") for alt in pictures) == 15 + 8 + 8  # all, smallest and largest


def csv_names():
    return [name.removesuffix(".csv") for name in FILES if name.endswith(".csv")]


def test_boxes_against_the_anchors_of_a_config(records, tmp_path):
    # Cells of 16 to 22 px in 160 x 120 px; resnet18's shorter side of 320 px makes 43 to 59 px of them.
    for name, scale, is_warned in (("good", 0.2, False), ("bad", 1.0, True)):
        path = tmp_path / f"{name}.config"
        config = paper_settings.generate(network_preset("resnet18", "320x320"), anchor_scales=(scale,))
        save_pipeline_config(config, path)
        assert run(f"--records_dir={records}", f"--pipeline_config_path={path}") == 0
        html = (records / "dataset_report.html").read_text(encoding="utf-8")
        assert ("lymphocyte: no anchor fits 100 % of the boxes" in html) == is_warned
        assert f"sides of {256 * scale:.0f} px of the network" in html


@pytest.mark.parametrize(("kind", "is_kept"), [("full", True), ("detection", False)])
def test_a_config_that_starts_from_a_whole_model_keeps_its_anchors(records, tmp_path, kind, is_kept):
    config = paper_settings.generate(network_preset("resnet18", "320x320"), anchor_scales=(1.0,))
    config.train_config.fine_tune_checkpoint, config.train_config.fine_tune_checkpoint_type = "model/ckpt-0", kind
    save_pipeline_config(config, tmp_path / "pipeline.config")
    assert run(f"--records_dir={records}", f"--pipeline_config_path={tmp_path / 'pipeline.config'}") == 0
    html = (records / "dataset_report.html").read_text(encoding="utf-8")
    assert ("keeps the anchors of the model that it starts from" in html) == is_kept


def test_the_same_records_give_the_same_bytes(records, tmp_path):
    for name, number in (("a", 1), ("b", 2)):
        assert run(f"--records_dir={records}", f"--output_dir={tmp_path / name}", f"--num_processes={number}") == 0
    for file in FILES:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_an_interruption_leaves_no_page_of_earlier_records_beside_new_tables(records, monkeypatch):
    assert run(f"--records_dir={records}") == 0

    def interrupted(path, text):
        raise KeyboardInterrupt

    monkeypatch.setattr(data_page.atomic_write, "write_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data_page.write_data_page(records, records, data_page.PageOptions(num_processes=1), ProblemLog())
    assert not (records / "dataset_report.html").exists()


def test_names_are_text_and_a_page_of_few_pictures_says_how_many(write_records, monkeypatch):
    monkeypatch.setattr(page_sections, "_SHOWN_IMAGES", {"train": 2, "test": 1})
    monkeypatch.setattr(page_sections, "_MAX_GROUPS", 2)
    name = '<svg onload="alert(1)">\u202e"&'
    folder = write_records({"train": [drawn(f"{name}{seed}/a.jpg", seed) for seed in range(4)]})
    assert run(f"--records_dir={folder}") == 0
    html = (folder / "dataset_report.html").read_text(encoding="utf-8")
    assert "<svg onload" not in html
    assert "\u202e" not in html
    assert "2 of 4, chosen at random" in html
    assert "2 of 4 patients" in html
    assert "There is no test side" in html


def test_records_without_a_box_or_a_label_map(write_records):
    folder = write_records({"test": [ready("a.jpg", jpeg(field(1)[0]), [], [])]})
    (folder / "label_map.pbtxt").unlink()
    assert run(f"--records_dir={folder}") == 0
    html = (folder / "dataset_report.html").read_text(encoding="utf-8")
    assert "1 of 1 images have no cell" in html
    assert "The names of the images do not say whose they are." in html


def test_records_with_labels_alone_have_the_names_of_the_label_map(tmp_path):
    """As other programs write them, and in a folder whose name is a pattern too."""
    folder = drawn_records.write(tmp_path / "records [2]", {"train": [drawn("P1/a.jpg", 1, "erythrocyte")]})
    path = folder / "train.record-00000-of-00001"
    [record] = tfrecord.read_records(path)
    example = example_pb2.Example.FromString(record)
    del example.features.feature["image/object/class/text"]
    tfrecord.write_records([example.SerializeToString()], path)
    assert run(f"--records_dir={folder}") == 0
    html = (folder / "dataset_report.html").read_text(encoding="utf-8")
    assert "id 4" not in html
    assert "P1/a.jpg (train): 5 erythrocyte" in html
    [image] = csv_tables.read_rows(folder / "dataset_images.csv")
    assert image["nucleus_l"] == ""  # erythrocytes have none


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--records_dir={}/missing", "no such folder; give the folder of create_csf_tf_record"),
        ("--records_dir={}", "holds no train.record or test.record file"),
        ("--laboratory_pattern=(", "write a regular expression"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(flag, words, records, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run(f"--records_dir={records}", flag.format(tmp_path / "empty")) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.strip().count("\n") == 0
    assert not list(tmp_path.rglob("dataset_report.html"))


def test_an_unfinished_set_is_refused(records, capsys):
    (records / "dataset_report.json").write_text('{"state": "unfinished", "records": []}', encoding="utf-8")
    assert run(f"--records_dir={records}") == 1
    assert "did not finish" in capsys.readouterr().err
