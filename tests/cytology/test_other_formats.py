"""Structures: cocodataset.org's data format read by pycocotools; RFC 7946 and the properties QuPath's reader takes
(PathObjectTypeAdapters); the "JSON format for pre-annotations" of labelstud.io/guide/predictions.
"""

import itertools
import json
import re
import urllib.parse
import uuid

import pytest
from lxml import etree

from tests.support import examined_study
from tfod_csf.commands import command_line, export_detections

LYMPHOCYTE = ("lymphocyte", 0.95, (16.0, 12.0, 32.0, 36.0))
UNSURE = ("monocyte", 0.6, (40.0, 6.0, 48.0, 18.0))


def _export(study, output, *flags):
    arguments = [f"--inference_dir={study.inference_dir}", f"--output_dir={output}", *flags]
    return command_line.run(export_detections.main, export_detections.FLAGS, "", "export_detections", arguments)


@pytest.fixture
def study(tmp_path):
    patients = {"=王": {"day 1/a.jpg": [LYMPHOCYTE, UNSURE], "b.jpg": []}, "p2": {"a.jpg": [LYMPHOCYTE]}}
    return examined_study.write_study(tmp_path, patients)


@pytest.fixture
def exported(study, tmp_path):
    assert _export(study, tmp_path / "out") == 0
    return tmp_path / "out"


@pytest.mark.parametrize("name", ["../../../PWNED", "/tmp/PWNED", "..\\PWNED"])
def test_a_table_cannot_make_the_export_write_outside(study, tmp_path, capsys, name):
    for table in ("cells.csv", "images.csv"):
        path = study.patient("p2") / table
        path.write_text(path.read_text(encoding="utf-8").replace("a.jpg", name), encoding="utf-8")
    study.record()
    before = set(tmp_path.rglob("*"))
    assert _export(study, tmp_path / "out") == 1
    assert "expected a path inside the folder" in capsys.readouterr().err
    assert all(path.is_relative_to(tmp_path / "out") for path in set(tmp_path.rglob("*")) - before)


def test_coco_is_read_by_pycocotools(exported, capsys):
    coco = pytest.importorskip("pycocotools.coco").COCO(str(exported / "coco.json"))
    names = {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())}
    assert names == {1: "lymphocyte", 2: "monocyte", 3: "neutrophil", 4: "erythrocyte", 5: "unknown"}
    images = {image["file_name"]: image["id"] for image in coco.loadImgs(coco.getImgIds())}
    assert sorted(images) == ["=王/b.jpg", "=王/day 1/a.jpg", "p2/a.jpg"]
    first, second = coco.loadAnns(coco.getAnnIds(imgIds=images["=王/day 1/a.jpg"]))
    # x, y, width, height of (16, 12) .. (32, 36): 16 x 24 = 384 pixels.
    assert (first["bbox"], first["area"], first["score"]) == ([16.0, 12.0, 16.0, 24.0], 384.0, 0.95)
    assert names[second["category_id"]] == "unknown"
    assert second["attributes"]["predicted_class"] == "monocyte"
    # CVAT makes a polygon of a segmentation that is not empty.
    assert first["segmentation"] == []
    assert coco.getAnnIds(imgIds=images["=王/b.jpg"]) == []
    assert len(set(coco.getAnnIds())) == 3
    # The same entries serve as results.
    assert len(coco.loadRes([*coco.dataset["annotations"]]).getAnnIds()) == 3


def test_coco_with_polygons_for_programs_that_show_nothing_else(study, tmp_path, capsys):
    assert _export(study, tmp_path / "out", "--formats=coco", "--coco_polygons") == 0
    coco = pytest.importorskip("pycocotools.coco").COCO(str(tmp_path / "out" / "coco.json"))
    first = coco.loadAnns(coco.getAnnIds())[0]
    assert first["segmentation"] == [[16.0, 12.0, 32.0, 12.0, 32.0, 36.0, 16.0, 36.0]]
    assert coco.annToMask(first).sum() == 384


def test_qupath_collections_are_geojson_with_the_properties_its_reader_takes(exported):
    path = exported / "qupath" / "=王" / "day 1" / "a.jpg.geojson"
    collection = json.loads(path.read_text(encoding="utf-8"))
    assert collection["type"] == "FeatureCollection"
    for feature in collection["features"]:
        assert feature["type"] == "Feature"
        assert str(uuid.UUID(feature["id"])) == feature["id"]
        (ring,) = feature["geometry"]["coordinates"]
        assert feature["geometry"]["type"] == "Polygon"
        assert ring[0] == ring[-1]
        # RFC 7946: the outer ring runs counter-clockwise (shoelace sum above 0).
        assert sum(a[0] * b[1] - b[0] * a[1] for a, b in itertools.pairwise(ring)) > 0
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        assert all(0 <= part <= 255 for part in properties["classification"]["color"])
        assert all(isinstance(value, float) for value in properties["measurements"].values())
    first, second = collection["features"]
    assert first["geometry"]["coordinates"][0][:3] == [[16.0, 12.0], [32.0, 12.0], [32.0, 36.0]]
    assert first["properties"]["classification"] == {"name": "lymphocyte", "color": [0, 114, 178]}
    assert second["properties"]["classification"]["name"] == "unknown"
    empty = json.loads((exported / "qupath" / "=王" / "b.jpg.geojson").read_text(encoding="utf-8"))
    assert empty == {"type": "FeatureCollection", "features": []}


def test_label_studio_tasks_fit_the_written_interface(exported):
    tasks = json.loads((exported / "label_studio.json").read_text(encoding="utf-8"))
    config = etree.fromstring((exported / "label_studio_config.xml").read_bytes())
    control, image = config.find("RectangleLabels"), config.find("Image")
    labels = {label.get("value") for label in control}
    for task in tasks:
        assert task["data"]["image"].startswith("/data/local-files/?d=")
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == "m"
        for result in prediction["result"]:
            assert (result["type"], result["from_name"], result["to_name"]) == (
                "rectanglelabels",
                control.get("name"),
                image.get("name"),
            )
            assert set(result["value"]["rectanglelabels"]) <= labels
            assert all(0 <= result["value"][side] <= 100 for side in ("x", "y", "width", "height"))
    ids = [result["id"] for task in tasks for result in task["predictions"][0]["result"]]
    assert len(set(ids)) == len(ids) == 3
    (task,) = [task for task in tasks if task["data"]["image_name"] == "day 1/a.jpg"]
    assert urllib.parse.unquote(task["data"]["image"]) == "/data/local-files/?d==王/day 1/a.jpg"
    # 16 of 64 pixels, 12 of 48, 16 of 64, 24 of 48.
    value = task["predictions"][0]["result"][0]["value"]
    assert [value[side] for side in ("x", "y", "width", "height")] == [25.0, 25.0, 25.0, 50.0]
    assert task["predictions"][0]["score"] == 0.6
    assert re.fullmatch(r"[!-~]+", task["data"]["image"]), "a URL has no blanks and no letters beyond ASCII"


def test_an_image_without_cells_is_a_task_without_results_and_without_score(exported):
    tasks = json.loads((exported / "label_studio.json").read_text(encoding="utf-8"))
    (task,) = [task for task in tasks if task["data"]["image_name"] == "b.jpg"]
    assert task["predictions"] == [{"model_version": "m", "result": []}]


def test_a_run_without_cells_gives_valid_files(tmp_path):
    study = examined_study.write_study(tmp_path, {"p": {"a.jpg": []}})
    assert _export(study, tmp_path / "out", "--formats=coco,label_studio") == 0
    assert json.loads((tmp_path / "out" / "coco.json").read_text(encoding="utf-8"))["annotations"] == []
    assert len(json.loads((tmp_path / "out" / "label_studio.json").read_text(encoding="utf-8"))) == 1
    assert not (tmp_path / "out" / "qupath").exists()


def test_a_format_nobody_knows_and_a_missing_folder_are_one_sentence_each(study, tmp_path, capsys):
    assert _export(study, tmp_path / "out", "--formats=coco,yolo") == 1
    assert "'yolo' is unknown; use some of coco,qupath,label_studio" in capsys.readouterr().err
    missing = examined_study.Study(tmp_path, tmp_path / "nowhere")
    assert _export(missing, tmp_path / "out") == 1
    assert "no such folder" in capsys.readouterr().err


def test_a_run_of_two_models_needs_the_name_of_one(tmp_path, capsys):
    study = examined_study.write_study(tmp_path, {"p": {"a.jpg": [LYMPHOCYTE]}}, models=("m", "n"))
    assert _export(study, tmp_path / "out") == 1
    assert "give one with --model" in capsys.readouterr().err
    assert _export(study, tmp_path / "out", "--model=x") == 1
    assert "--model=x: no such model in the run; it has m, n" in capsys.readouterr().err
    assert _export(study, tmp_path / "out", "--model=n", "--formats=coco") == 0
    assert len(json.loads((tmp_path / "out" / "coco.json").read_text(encoding="utf-8"))["annotations"]) == 1
