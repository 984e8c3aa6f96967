"""The command's files from images and a model that finds one lymphocyte on each, in a place that is known."""

import csv
import json
import pathlib
import subprocess
import sys

import pytest

from tests.support.constant_detector import CountingDetector
from tests.support.gray_images import save_gray
from tests.support.saved_models import ONE_EMPTY_GRAPH
from tfod_csf.benchmarks.csf_small import card_figures, source_images
from tfod_csf.benchmarks.csf_small.card_figures import CardFigures, FigureSettings, HeldOutTest
from tfod_csf.benchmarks.csf_small.composed_patients import CompositionSettings
from tfod_csf.benchmarks.csf_small.held_out import HeldOutError
from tfod_csf.benchmarks.csf_small.source_images import SourceImage
from tfod_csf.label_map import label_map_from_names, save_label_map
from tfod_csf.study.labelimg import LabeledObject

SETTINGS = FigureSettings(replicates=20, composition=CompositionSettings(sizes=(10,), patients=2, samples=5))


def model(
    folder: pathlib.Path, graph: bytes = ONE_EMPTY_GRAPH, classes=CountingDetector.label_map.names
) -> pathlib.Path:
    (folder / "saved_model").mkdir(parents=True)
    (folder / "saved_model" / "saved_model.pb").write_bytes(graph)
    save_label_map(label_map_from_names(classes), folder / "label_map.pbtxt")
    return folder


@pytest.fixture
def images(tmp_path):
    """Of each fold one image; the cell that is found is a lymphocyte on the first three, a monocyte on the others."""
    made = []
    for fold in range(5):
        path = tmp_path / "data" / f"{fold}.png"
        save_gray(path, 20 + fold)
        objects = [LabeledObject("lymphocyte" if fold < 3 else "monocyte", 20 + fold, 1, 40 + fold, 21)]
        made.append(SourceImage(path, "pbc_mgg", f"block_{fold:02d}", objects, fold))
    return made


@pytest.fixture
def detector():
    return CountingDetector()


def write(images, out, tests, detector, settings=SETTINGS, **thresholds):
    CardFigures(images, out, settings, **thresholds, open_detector=lambda folder: detector).write(tests)


def rows_of(out):
    with open(out / "card_figures.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def value(rows, title, figure, reading, class_name=""):
    [row] = [
        row
        for row in rows
        if (row["set"], row["figure"], row["reading"], row["class"]) == (title, figure, reading, class_name)
    ]
    return row["value"] and float(row["value"])


def test_files_of_a_cross_validation_and_another_laboratory(images, tmp_path, detector):
    first, second = model(tmp_path / "a"), model(tmp_path / "b", ONE_EMPTY_GRAPH + b"\x0a\x00")
    tests = [
        *card_figures.in_domain_tests(str(first), "pbc", "0,1"),
        *card_figures.in_domain_tests(str(second), "pbc", "2,3"),
        card_figures.other_laboratory_test(str(second), "pbc"),
    ]
    write(images, tmp_path / "out", tests, detector)
    rows, inside, outside = rows_of(tmp_path / "out"), "In domain: pbc", "A laboratory that was not trained on: pbc"
    assert {row["set"] for row in rows} == {inside, outside}
    # Four images with three lymphocytes, five with three; one score for all, so that the false ones come last.
    assert value(rows, inside, "average precision", "unknown ignored", "lymphocyte") == 1
    assert value(rows, inside, "average precision", "white cell", "white cell") == 1
    assert value(rows, inside, "labeled cells", "predicted class", "monocyte > lymphocyte") == 1
    assert value(rows, outside, "labeled cells", "predicted class", "monocyte > lymphocyte") == 2
    assert value(rows, inside, "accuracy of decided cells", "score of 0.8 or more") == 0.75
    assert value(rows, outside, "accuracy of decided cells", "score of 0.8 or more") == 0.6
    assert detector.asked == 2 + 5  # of the second model, two images are in both sets
    record = json.loads((tmp_path / "out" / "card_figures.json").read_text())
    assert record["data_fingerprint"] == source_images.data_fingerprint(images)
    assert [(one["folds"], one["images"]) for one in record["models"]] == [
        ([0, 1], 2),
        ([2, 3], 2),
        ([0, 1, 2, 3, 4], 5),
    ]
    sums = [one["sha256"] for one in record["models"]]
    assert sums[0] != sums[1] == sums[2]
    assert record["settings"]["seed"] == 0
    text = (tmp_path / "out" / "card_figures.md").read_text()
    assert f"- `{sums[0]}`\n- `{sums[1]}`\n" in text
    assert f"Tested: `{sums[0][:8]}` on fold 0, 1; `{sums[1][:8]}` on fold 2, 3." in text
    assert str(tmp_path) not in text + json.dumps(record)


def test_again_is_the_same_without_detecting(images, tmp_path, detector):
    tests = card_figures.in_domain_tests(str(model(tmp_path / "a")), "pbc", "0,1,2,3")
    write(images, tmp_path / "out", tests, detector)
    first = (tmp_path / "out" / "card_figures.csv").read_bytes()
    detector.fails = True
    write(images, tmp_path / "out", tests, detector)
    assert (tmp_path / "out" / "card_figures.csv").read_bytes() == first


def test_thresholds_and_one_image_in_so_many(images, tmp_path, detector):
    tests = card_figures.in_domain_tests(str(model(tmp_path / "a")), "pbc", "0,1,2,3,4")
    settings = FigureSettings(replicates=20, composition=SETTINGS.composition, every=2)
    write(images, tmp_path / "out", tests, detector, settings, unknown_below=0.95)
    rows = rows_of(tmp_path / "out")
    assert detector.asked == 3
    assert value(rows, "In domain: pbc", "labeled cells", "counted as", "lymphocyte > unknown") == 2
    assert "**Of one image in 2 only.**" in (tmp_path / "out" / "card_figures.md").read_text()


def test_models_of_other_classes_or_of_the_same_images_are_refused(images, tmp_path, detector):
    first = model(tmp_path / "a")
    other = model(tmp_path / "b", classes=("monocyte", "lymphocyte"))
    tests = [HeldOutTest("x", first, "pbc", (0,)), HeldOutTest("x", other, "pbc", (1,))]
    with pytest.raises(HeldOutError, match=r"b: has other classes than .*a; give models of one kind"):
        write(images, tmp_path / "out", tests, detector)
    tests = [HeldOutTest("x", first, "pbc", (0, 1)), HeldOutTest("x", first, "pbc", (1,))]
    with pytest.raises(HeldOutError, match=r"1\.png: two models are to be tested with it"):
        write(images, tmp_path / "out", tests, detector)
    assert not (tmp_path / "out" / "card_figures.csv").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--in_domain", "m", "pbc", "0,5"], "--in_domain: '5' is no fold; give folds of 0 to 4"),
        (["--in_domain", "m", "pbc,abc", "0"], "--in_domain: 'abc' is no laboratory; give pbc or bccd"),
        (["--other_laboratory", "m", "abc"], "--other_laboratory: 'abc' is no laboratory"),
        ([], "give --in_domain or --other_laboratory"),
        (["--other_laboratory", "m", "pbc", "--every", "0"], "--every of 1 or more"),
        (["--other_laboratory", "m", "pbc"], "pbc_dense: holds no images"),
    ],
)
def test_wrong_flags_are_said_in_a_line(tmp_path, capsys, flags, words):
    with pytest.raises(SystemExit) as ended:
        card_figures.main([str(tmp_path / "out"), f"--data_dir={tmp_path}", *flags])
    assert ended.value.code == 1
    assert words in capsys.readouterr().err


def test_help_says_what_to_give_and_loads_no_tensorflow():
    command = [sys.executable, "-X", "importtime", "-m", "tfod_csf.benchmarks.csf_small.card_figures", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--in_domain MODEL LABORATORIES FOLDS" in done.stdout
    assert "card_figures.json" in done.stdout
    assert "tensorflow" not in done.stderr
