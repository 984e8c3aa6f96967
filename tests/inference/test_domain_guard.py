"""Images of a run compared with training images; the guard is made of drawn fields."""

import dataclasses
import json

import numpy as np
import pytest

from tests.support.constant_detector import ConstantDetector
from tests.support.drawn_records import field
from tests.support.guarded_model import BLUE
from tfod_csf import run_folder
from tfod_csf.domain import training_domain
from tfod_csf.domain.picture_statistics import CellBoxes, measure
from tfod_csf.domain.training_domain import Judgment, TrainingDomainError
from tfod_csf.files import csv_schemas
from tfod_csf.inference import domain_guard
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.domain_guard import DomainGuard
from tfod_csf.inference.ensemble import CellEnsemble
from tfod_csf.inference.runs import batch
from tfod_csf.inference.runs.patient_examination import Examination
from tfod_csf.inference.tiles import tiled_detection
from tfod_csf.inference.watch.remembering_detector import RememberingDetector
from tfod_csf.problems import ProblemLog
from tfod_csf.study.patients import find_images
from tfod_csf.study.pictures import PixelPicture
from tfod_csf.study.tile_grid import TileGrid, TileSettings


def cells_of(boxes) -> CellBoxes:
    return CellBoxes.of(np.array(boxes)[:, [1, 0, 3, 2]], ["lymphocyte"] * len(boxes))


@pytest.fixture(scope="module")
def guard():
    """A guard of 60 fields of one laboratory."""
    statistics = []
    for seed in range(60):
        picture, boxes = field(seed, blur=1.0)
        statistics.append(measure(np.asarray(picture), cells_of(boxes), (1.0, 1.0)))
    domain = training_domain.describe(np.array(statistics), [f"p{seed % 6}" for seed in range(60)])
    return DomainGuard.of({"training_domain": domain.as_json(), "input_size": {}}, "model.json")


class GuardedDetector(ConstantDetector):
    """Finds one cell on every image, and has guards."""

    def __init__(self, *guards, name="constant"):
        self.guards, self.name = guards, name


def test_fields_of_the_laboratory_are_in_the_domain_and_those_of_another_one_are_not(guard):
    def flagged(**how):
        fields = [field(seed, **how) for seed in range(100, 140)]
        return np.mean([not guard.judge(np.asarray(one), cells_of(boxes)).in_domain for one, boxes in fields])

    assert flagged(blur=1.0) <= 0.1
    assert flagged(blur=1.0, paper=BLUE) == 1
    assert flagged(blur=4.0) == 1


def test_a_model_json_without_a_description_gives_no_guard_and_a_damaged_one_an_error():
    assert DomainGuard.of({"classes": ["lymphocyte"]}, "model.json") is None
    with pytest.raises(TrainingDomainError, match=r"m/model.json: training_domain"):
        DomainGuard.of({"training_domain": {"format": 1}}, "m/model.json")


def test_of_several_models_the_one_that_the_image_is_farthest_from_counts(guard):
    far = dataclasses.replace(
        guard, domain=dataclasses.replace(guard.domain, limits=dict.fromkeys(guard.domain.limits, 0.001))
    )
    picture, boxes = field(200, blur=1.0)
    pixels, corners = np.asarray(picture), np.array(boxes)[:, [1, 0, 3, 2]]
    names = ["lymphocyte"] * len(boxes)
    alone, both, without = (
        domain_guard.judge(GuardedDetector(*guards), pixels, corners, names) for guards in ((guard,), (guard, far), ())
    )
    assert alone.in_domain
    assert not both.in_domain
    assert without is None
    assert domain_guard.judge(ConstantDetector(), pixels, corners, names) is None


def test_models_averaged_cell_by_cell_and_those_that_remember_keep_their_guards(guard):
    ensemble = CellEnsemble([GuardedDetector(guard, name="a"), ConstantDetector(), GuardedDetector(guard, name="b")])
    assert domain_guard.guards_of(ensemble) == (guard, guard)
    assert domain_guard.guards_of(RememberingDetector(GuardedDetector(guard))) == (guard,)
    assert domain_guard.guards_of(RememberingDetector(ConstantDetector())) == ()


def test_the_middle_judgment_is_unlike_if_half_of_them_are():
    def is_in(*distances):
        return domain_guard.in_the_middle([Judgment(distance) for distance in distances]).in_domain

    assert not is_in(2, 0.5)
    assert is_in(2, 0.5, 0.6)
    assert not is_in(2, 0.5, 3)


def test_a_large_picture_is_judged_by_the_tiles_that_hold_cells(guard):
    """Two tiles with a cell, two without: those without are of another color, and do not count."""
    left, right = np.asarray(field(300, blur=1.0)[0]), np.asarray(field(301, blur=1.0)[0])
    empty = np.full_like(left, 30)
    rows = [np.concatenate(pair, axis=1) for pair in ((left, right), (empty, empty))]
    picture = np.concatenate(rows)[:239, :319]

    class OnLight(GuardedDetector):
        def detect(self, pixels, image="", jpeg=None):
            found = super().detect(pixels, image, jpeg)
            return found if pixels.mean() > 100 else found.select([])

    def judged(pixels):
        grid = TileGrid(319, 239, TileSettings(160, 120, 1))
        return tiled_detection.detect(OnLight(guard), PixelPicture(pixels), grid, ScoreThresholds(), "a.tif").judgment

    light = judged(picture)
    single = [guard.judge(one, CellBoxes.of(np.array([[1.0, 30, 21, 50]]), ["lymphocyte"])) for one in (left, right)]
    assert light.distance == pytest.approx(max(one.distance for one in single), rel=0.2)
    assert not judged(np.full_like(picture, 30)).in_domain  # no tile has a cell: all count


def run(folder, images, detectors):
    """Rows of the patients' images.csv, by image."""
    problems = ProblemLog(quiet=True)
    batch.run(images, detectors, ScoreThresholds(), folder, problems)
    tables = sorted(folder.glob("patients/*/images.csv"))
    return {row["image"]: row for table in tables for row in csv_schemas.load("images").read(table)}


@pytest.fixture
def images(tmp_path):
    """A patient with two fields of the laboratory and one of another."""
    folder = tmp_path / "images" / "p1"
    folder.mkdir(parents=True)
    for number, how in enumerate(({}, {}, {"paper": BLUE})):
        field(400 + number, blur=1.0, **how)[0].save(folder / f"{number}.png")
    return find_images(tmp_path / "images", ProblemLog(quiet=True))


def test_rows_say_how_far_an_image_is_and_in_what_and_count_it_all_the_same(tmp_path, images, guard):
    rows = run(tmp_path / "out", images, [GuardedDetector(guard)])
    plain = run(tmp_path / "plain", images, [ConstantDetector()])
    last = rows["2.png"]
    assert last["in_domain"] is False
    assert last["domain_distance"] > 1
    assert "light: background bluer than in the training images" in last["unlike_training"]
    for name, row in rows.items():
        assert row["cells"] == plain[name]["cells"] == 1
        assert plain[name]["domain_distance"] is None
        assert plain[name]["in_domain"] is None
    stored = csv_schemas.load("images").read(tmp_path / "out" / "patients" / "p1" / "images.csv")
    assert [row["status"] for row in stored] == [run_folder.OK] * 3


def test_another_guard_examines_patients_again_and_the_same_one_does_not(tmp_path, images, guard):
    run(tmp_path / "out", images, [ConstantDetector()])
    rows = run(tmp_path / "out", images, [GuardedDetector(guard)])
    assert rows["0.png"]["domain_distance"] is not None
    stamp = json.loads((tmp_path / "out" / "patients" / "p1" / "stamp.json").read_text())
    assert stamp["settings"]["models"]["constant"]["domain_guards"] == [guard.fingerprint]
    result = batch.run(images, [GuardedDetector(guard)], ScoreThresholds(), tmp_path / "out", ProblemLog(quiet=True))
    assert list(result.reused) == ["p1"]


def test_settings_of_models_without_a_guard_name_none():
    (of_model,) = Examination([ConstantDetector()], ScoreThresholds()).settings["models"].values()
    assert of_model.keys() == {"fingerprint", "temperature", "classes"}


def test_an_image_is_measured_as_the_network_resizes_it(guard):
    """Twice the pixels each way, and a network that halves them."""
    picture, boxes = field(500, blur=1.0)
    larger, cells = np.asarray(picture.resize((320, 240))), CellBoxes(2 * cells_of(boxes).white, np.zeros((0, 4)))
    halving = dataclasses.replace(guard, input_size={"input_size": {"min_dimension": 120, "max_dimension": 160}})
    assert halving.judge(larger, cells).in_domain
    assert not guard.judge(larger, cells).in_domain
