"""create_csf_tf_record as a command, from files to files."""

import hashlib
import json
import shutil

import pytest
import tensorflow as tf

from tests.support import labeled_folders
from tfod_csf import cell_classes
from tfod_csf.commands import command_line
from tfod_csf.commands import create_csf_tf_record as command
from tfod_csf.config import from_records
from tfod_csf.data.annotated import annotated_set
from tfod_csf.data.records.record_statistics import record_statistics
from tfod_csf.files import csv_schemas, csv_tables, tfrecord
from tfod_csf.files.tfrecord import TFRecordError

STUDY = {
    "P1": [["lymphocyte"] * 3, ["lymphocyte", "monocyte"], [], ["neutrophil"]],
    "P2": [["erythrocyte"] * 5, ["lymphocyte", "Neutrophil"], ["monocyte"], ["unknown", "lymphocyte"]],
    "P3": [["erythrocyte", "platelet"], [], ["lymphocyte"], ["neutrophil"] * 2],
}


def run(*arguments) -> int:
    command.FLAGS.unparse_flags()
    for name in command.FLAGS:
        command.FLAGS[name].unparse()
    return command_line.run(
        command.main, command.FLAGS, command.__doc__, "create_csf_tf_record", [*map(str, arguments)]
    )


def contents(folder) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def labels_of(pattern: str, folder) -> dict[str, list[bytes]]:
    """Class texts by file name, in the order of shards and records."""
    found = {}
    for path in sorted(folder.glob(pattern)):
        for serialized in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            features = tf.train.Example.FromString(serialized).features.feature
            name = features["image/filename"].bytes_list.value[0].decode()
            assert name not in found
            found[name] = list(features["image/object/class/text"].bytes_list.value)
    return found


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return labeled_folders.write_study(tmp_path_factory.mktemp("study"), STUDY)


@pytest.fixture
def flags(study, tmp_path):
    return (f"--images_dir={study}", f"--output_dir={tmp_path / 'out'}", "--class_map=platelet=")


def test_all_outputs_agree_with_each_other(flags, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(*flags, "--test_fraction=0.25") == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "annotations.csv",
        "dataset_appearance.csv",
        "dataset_images.csv",
        "dataset_leaks.csv",
        "dataset_report.html",
        "dataset_report.json",
        "label_map.pbtxt",
        "problems.csv",
        "split.csv",
        "test.record-00000-of-00001",
        "train.record-00000-of-00001",
    ]
    tables = (("annotations", 7 + 2 + 4 + 6), ("split", 12), ("problems", 1), ("dataset_images", 12))
    for name, number in tables:
        assert csv_schemas.load(name).check(out / f"{name}.csv") == number
    sides = {row["image"]: row["side"] for row in csv_tables.read_rows(out / "split.csv")}
    train, test = labels_of("train.record*", out), labels_of("test.record*", out)
    assert sides == dict.fromkeys(train, "train") | dict.fromkeys(test, "test")
    assert (len(train), len(test)) == (8, 4)  # 3 images cannot hold every class and an image without cells
    assert (train | test)["P1/2.jpg"] == []  # an image without cells is kept
    assert (train | test)["P2/1.jpg"] == [b"lymphocyte", b"neutrophil"]  # in the label map's spelling
    assert (train | test)["P3/0.jpg"] == [b"erythrocyte"]  # platelet dropped

    rows = csv_tables.read_rows(out / "annotations.csv")
    assert rows[0] == {
        "filename": "P1/0.jpg",
        "width": "64",
        "height": "48",
        "class": "lymphocyte",
        "xmin": "1",
        "ymin": "10",
        "xmax": "6",
        "ymax": "16",
    }
    report = json.loads((out / "dataset_report.json").read_text())
    cells = {
        name: sum(report["sides"][side]["cells"][name] for side in ("train", "test"))
        for name in ("lymphocyte", "monocyte", "neutrophil", "erythrocyte")
    }
    assert cells == {"lymphocyte": 7, "monocyte": 2, "neutrophil": 4, "erythrocyte": 6}
    assert [record["examples"] for record in report["records"]] == [8, 4]
    assert report["box_sizes"]["monocyte"]["width_px"] == dict.fromkeys(("min", "p05", "median", "p95", "max"), 5)
    reason = "class 'Neutrophil' read as 'neutrophil'"
    assert report["problems"] == [{"action": "mended", "reason": reason, "count": 1}]
    printed = capsys.readouterr().out
    assert "class 'Neutrophil' read as 'neutrophil'" in printed
    assert "no class (ignored)" in printed
    assert printed.rstrip().endswith("(1 problem: 1 mended).")


def test_records_without_a_page_have_no_page_of_earlier_records(flags, tmp_path):
    assert run(*flags, "--test_fraction=0.25") == 0
    assert run(*flags, "--test_fraction=0.25", "--seed=1", "--nodata_page") == 0
    assert not list((tmp_path / "out").glob("dataset_*.[hc]*"))
    assert (tmp_path / "out" / "dataset_report.json").exists()


def test_same_bytes_for_any_number_of_processes_and_other_bytes_for_another_seed(flags, tmp_path, monkeypatch):
    monkeypatch.setattr(annotated_set, "FEW_IMAGES", 3)
    seen = []
    for extra in (("--num_processes=1",), ("--num_processes=2",), ("--seed=1",)):
        assert run(*flags, "--test_fraction=0.25", *extra) == 0
        seen.append(contents(tmp_path / "out"))
        shutil.rmtree(tmp_path / "out")
    assert seen[0] == seen[1]
    assert seen[0]["train.record-00000-of-00001"] != seen[2]["train.record-00000-of-00001"]


def test_shards_hold_every_image_once_and_old_ones_are_removed(flags, tmp_path):
    out = tmp_path / "out"
    assert run(*flags, "--test_fraction=0.25", "--num_shards=5") == 0
    assert [path.name for path in sorted(out.glob("test.record*"))] == [
        f"test.record-0000{i}-of-00004" for i in range(4)
    ]
    assert len(labels_of("train.record-?????-of-00005", out)) == 8
    assert run(*flags, "--test_fraction=0", "--num_shards=2") == 0
    assert [path.name for path in sorted(out.glob("*.record*"))] == [f"train.record-0000{i}-of-00002" for i in range(2)]
    assert len(labels_of("train.record*", out)) == 12


def test_the_users_test_set_and_the_split_of_an_earlier_set(flags, tmp_path, capsys):
    (tmp_path / "test.csv").write_text("patient_id\nP2\n")
    assert run(*flags, f"--test_set={tmp_path / 'test.csv'}", "--split_by=patient") == 0
    rows = csv_tables.read_rows(tmp_path / "out" / "split.csv")
    assert {row["patient"] for row in rows if row["side"] == "test"} == {"P2"}
    assert {row["patient"] for row in rows if row["side"] == "train"} == {"P1", "P3"}
    settings = json.loads((tmp_path / "out" / "dataset_report.json").read_text())["settings"]
    assert settings["test_fraction"] is None
    assert str(tmp_path) not in json.dumps(settings)

    again = (f"--output_dir={tmp_path / 'again'}", f"--test_set={tmp_path / 'out' / 'split.csv'}", "--seed=5")
    assert run(*flags, *again) == 0
    assert csv_tables.read_rows(tmp_path / "again" / "split.csv") == rows

    capsys.readouterr()
    assert run(*flags, f"--test_set={tmp_path / 'test.csv'}", "--test_fraction=0.2") == 1
    assert "give one of them" in capsys.readouterr().err


def test_difficult_objects_and_objects_of_no_class(tmp_path):
    images = tmp_path / "images"
    labeled_folders.write_labeled(images / "P" / "a.jpg", ["lymphocyte", "monocyte", "dog"], 1, difficult=[0, 1, 0])
    labeled_folders.write_labeled(images / "P" / "b.jpg", ["monocyte"], 2)
    flags = (f"--images_dir={images}", f"--output_dir={tmp_path / 'out'}", "--test_fraction=0")
    assert run(*flags) == 0
    every = [b"lymphocyte", b"monocyte", b"neutrophil", b"erythrocyte"]
    assert labels_of("train*", tmp_path / "out")["P/a.jpg"] == [b"lymphocyte", b"monocyte", *every]
    assert run(*flags, "--other_objects=background") == 0
    assert labels_of("train*", tmp_path / "out")["P/a.jpg"] == [b"lymphocyte", b"monocyte"]
    assert run(*flags, "--ignore_difficult_instances", "--class_map=dog=neutrophil") == 0
    assert labels_of("train*", tmp_path / "out")["P/a.jpg"] == [b"lymphocyte", b"neutrophil"]
    report = json.loads((tmp_path / "out" / "dataset_report.json").read_text())
    assert report["sides"]["train"]["difficult_left_out"] == 1
    assert report["settings"]["class_map"] == {"dog": "neutrophil"}


def test_groups_stay_on_one_side_and_identical_files_are_reported(tmp_path, capsys):
    images = labeled_folders.write_study(tmp_path / "images", {f"P{i}": [["lymphocyte"]] * 3 for i in range(6)})
    for suffix in (".jpg", ".xml"):
        shutil.copy(images / "P0" / f"0{suffix}", images / "P5" / f"copy{suffix}")
    xml = images / "P5" / "copy.xml"
    xml.write_text(xml.read_text().replace("0.jpg", "copy.jpg"))
    groups = tmp_path / "groups.csv"
    groups.write_text("image_1,image_2\nP1/0.jpg,P2/0.jpg\n")
    flags = (f"--images_dir={images}", f"--output_dir={tmp_path / 'out'}", f"--keep_together={groups}")
    for seed in range(3):
        assert run(*flags, "--split_by=patient", "--test_fraction=0.4", f"--seed={seed}") == 0
        sides = {row["patient"]: row["side"] for row in csv_tables.read_rows(tmp_path / "out" / "split.csv")}
        assert sides["P1"] == sides["P2"]
        assert sides["P0"] == sides["P5"]
    assert "the same file as P0/0.jpg; both are used, on one side" in (tmp_path / "out" / "problems.csv").read_text()


def test_images_that_were_no_jpeg_are_encoded_once_and_counted(tmp_path):
    images = labeled_folders.write_study(tmp_path / "images", {"P": [["lymphocyte"]] * 2}, suffix=".png")
    assert run(f"--images_dir={images}", f"--output_dir={tmp_path / 'out'}", "--test_fraction=0") == 0
    assert json.loads((tmp_path / "out" / "dataset_report.json").read_text())["reencoded_images"] == 2


def test_a_label_map_with_unknown_as_a_class(flags, tmp_path):
    names = ["lymphocyte", "monocyte", "neutrophil", "erythrocyte", "unknown"]
    text = "".join(f"item {{ id: {i} name: '{name}' }}\n" for i, name in enumerate(names, start=1))
    (tmp_path / "five.pbtxt").write_text(text)
    assert run(*flags, f"--label_map_path={tmp_path / 'five.pbtxt'}", "--test_fraction=0") == 0
    assert labels_of("train*", tmp_path / "out")["P2/3.jpg"] == [b"unknown", b"lymphocyte"]


def test_a_misspelled_class_of_the_label_map_is_the_first_warning(tmp_path, capsys):
    images = labeled_folders.write_study(tmp_path / "images", {"P": [["erythrocyte"] * 3, ["lymphocyte", "unknown"]]})
    (tmp_path / "map.pbtxt").write_text("item { id: 1 name: 'lymphocyte' } item { id: 2 name: 'eritrocyte' }")
    given = (f"--images_dir={images}", f"--output_dir={tmp_path / 'out'}", f"--label_map_path={tmp_path / 'map.pbtxt'}")
    assert run(*given, "--test_fraction=0") == 0
    words = (
        "stop  3 of 4 labels fit no class of the label map, so they are not learned: 'erythrocyte' (3; did you mean "
    )
    assert words in capsys.readouterr().out
    assert "fit no class" in (tmp_path / "out" / "dataset_report.html").read_text(encoding="utf-8")
    for decided in ("erythrocyte=", "erythrocyte=unknown", "erythrocyte=eritrocyte"):
        assert run(*given, "--test_fraction=0", f"--class_map={decided}") == 0
        assert "fit no class" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--images_dir=nowhere"], "nowhere: no such folder"),
        (["--annotations_dir=nowhere"], "nowhere: no such folder"),
        (["--label_map_path=none.pbtxt"], "none.pbtxt: the label map cannot be read"),
        (["--class_map=rbc=erythrocite"], "did you mean 'erythrocyte'?"),
        (["--test_fraction=2"], "--test_fraction is 2"),
        (["--keep_together=none.csv"], "none.csv: no such file"),
        (["--split_by=person"], "--split_by"),
        (["--max_skipped_fraction=2"], "--max_skipped_fraction"),
        (["--spilt_by=patient"], "did you mean --split_by?"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_status_1(flags, extra, words, capsys):
    assert run(*flags, *extra) == 1
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) <= 3


def test_no_known_class_at_all_is_an_error_that_lists_where_to_look(tmp_path, capsys):
    images = labeled_folders.write_study(tmp_path / "images", {"P": [["WBC"], ["RBC"]]})
    assert run(f"--images_dir={images}", f"--output_dir={tmp_path / 'out'}") == 1
    error = capsys.readouterr().err
    assert "no object has a class of the label map (lymphocyte, monocyte, neutrophil, erythrocyte)" in error
    assert "WBC" in (tmp_path / "out" / "problems.csv").read_text()


def test_a_file_changed_while_records_are_made_is_refused(study, tmp_path):
    from tfod_csf import label_map
    from tfod_csf.problems import ProblemLog
    from tfod_csf.study import patients

    images = shutil.copytree(study, tmp_path / "images")
    options = annotated_set.ReadingOptions(label_map.label_map_from_names(cell_classes.STUDY_CLASSES))
    problems = ProblemLog(quiet=True)
    files = patients.find_pairs(images, None, problems)
    read = annotated_set.read(files, options, problems, 1, str(tmp_path))
    path = read.entries[0].image.path
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(annotated_set.AnnotatedSetError, match="was changed while"):
        read.ready(read.entries[0])
    path.unlink()
    with pytest.raises(annotated_set.AnnotatedSetError, match="cannot be read anymore"):
        read.ready(read.entries[0])


def test_a_set_that_was_interrupted_is_refused_by_readers_and_completed_by_a_rerun(tmp_path, monkeypatch):
    images = labeled_folders.write_study(tmp_path / "images", STUDY)
    arguments = (f"--images_dir={images}", "--num_shards=2", "--class_map=platelet=")
    assert run(*arguments, f"--output_dir={tmp_path / 'whole'}") == 0
    out = tmp_path / "out"
    assert run(*arguments[:1], "--num_shards=3", "--class_map=platelet=", f"--output_dir={out}", "--seed=5") == 0
    write_records, written = tfrecord.write_records, []

    def interrupted(records, path):
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(path)
        return write_records(records, path)

    monkeypatch.setattr(tfrecord, "write_records", interrupted)
    assert run(*arguments, f"--output_dir={out}") == 130
    monkeypatch.undo()
    with pytest.raises(TFRecordError, match="did not finish"):
        record_statistics([str(written[0])])
    with pytest.raises(TFRecordError, match="did not finish"):
        from_records.find_records(out)
    assert run(*arguments, f"--output_dir={out}") == 0
    assert contents(out) == contents(tmp_path / "whole")


def test_a_shard_that_this_program_did_not_list_is_neither_removed_nor_mixed_in(tmp_path, capsys):
    images = labeled_folders.write_study(tmp_path / "images", STUDY)
    foreign = tmp_path / "out" / "train.record-00000-of-00010"
    foreign.parent.mkdir()
    foreign.write_bytes(b"of another program")
    assert run(f"--images_dir={images}", "--class_map=platelet=", f"--output_dir={foreign.parent}") == 1
    assert "is not listed in a dataset_report.json" in capsys.readouterr().err
    assert foreign.read_bytes() == b"of another program"


@pytest.mark.parametrize("name", ["label_map.pbtxt", "annotations.csv", "split.csv", "problems.csv"])
def test_files_of_somebody_else_are_not_replaced(flags, tmp_path, capsys, name):
    foreign = tmp_path / "out" / name
    foreign.parent.mkdir()
    foreign.write_text("mine")
    assert run(*flags) == 1
    assert f"{foreign}: lies in the output folder, which has no dataset_report.json" in capsys.readouterr().err
    assert contents(foreign.parent) == {name: hashlib.sha256(b"mine").hexdigest()}


def test_the_given_label_map_stays_as_it_is_where_it_lies_in_the_output_folder(flags, tmp_path):
    path = tmp_path / "out" / "label_map.pbtxt"
    path.parent.mkdir()
    items = "".join(f"item {{ id: {n} name: '{name}' }}\n" for n, name in enumerate(cell_classes.STUDY_CLASSES, 1))
    path.write_text(f"# ours\n{items}")
    for _ in range(2):
        assert run(*flags, f"--label_map_path={path}") == 0
        assert path.read_text() == f"# ours\n{items}"
