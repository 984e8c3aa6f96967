"""Figures of a guard of drawn fields, with a detector that finds one lymphocyte in a known place."""

import pathlib
import types

import numpy as np
import pytest
from PIL import Image

from tests.support.constant_detector import ConstantDetector
from tests.support.drawn_records import field
from tests.support.guarded_model import BLUE
from tfod_csf.benchmarks.csf_small import guard_figures, source_images
from tfod_csf.benchmarks.csf_small.guard_figures import CHANGES, GuardFigures, GuardFiguresError
from tfod_csf.benchmarks.csf_small.source_images import SourceImage
from tfod_csf.benchmarks.domain.shifted_images import Picture
from tfod_csf.domain import training_domain
from tfod_csf.domain.picture_statistics import NO_CELLS, measure
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.domain_guard import DomainGuard
from tfod_csf.study.labelimg import LabeledObject


class Guarded(ConstantDetector):
    """Finds its cell at (30, 1, 50, 21) on the paper of drawn fields (230 % 50)."""

    def __init__(self):
        statistics = [measure(np.asarray(field(seed, blur=1.0)[0]), NO_CELLS, (1.0, 1.0)) for seed in range(60)]
        domain = training_domain.describe(np.array(statistics), [f"p{seed % 6}" for seed in range(60)])
        self.guards = [DomainGuard.of({"training_domain": domain.as_json(), "input_size": {}}, "model.json")]


@pytest.fixture(scope="module")
def detector():
    return Guarded()


def image(folder: pathlib.Path, seed: int, *names: str, laboratory: str = "pbc_mgg") -> SourceImage:
    """A field whose upper left corner is empty, with labels of these names at the detector's cell."""
    picture = np.array(field(seed, blur=1.0)[0])
    picture[:4, :4] = 230
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(folder / f"{seed}.png")
    objects = [LabeledObject(name, 30, 1, 50, 21) for name in names]
    return SourceImage(folder / f"{seed}.png", laboratory, "block_00", objects, 0)


@pytest.fixture
def images(tmp_path):
    return [image(tmp_path / "own", 100, "lymphocyte"), image(tmp_path / "own", 101, "monocyte", "erythrocyte")]


def test_mistakes_on_images_that_are_not_flagged_are_counted(images, detector):
    figures = GuardFigures(detector, ScoreThresholds())
    nothing, inverted = (
        [figures.of_changed(one, change, strengths[0]) for one in images]
        for change, strengths in (CHANGES["nothing"], CHANGES["inverted"])
    )
    assert guard_figures.row("nothing", nothing) == "| nothing | 2 | 0.000 |  | 1 | 1 | 1 |"
    assert guard_figures.row("inverted", inverted) == "| inverted | 2 | 1.000 | light 2 | 1 | 1 | 0 |"
    unknown = GuardFigures(detector, ScoreThresholds(unknown_below=0.95))
    undecided = [unknown.of_changed(one, *(CHANGES["nothing"][0], 0)) for one in images]
    assert guard_figures.row("unknown", undecided) == "| unknown | 2 | 0.000 |  | 0 | 0 | 0 |"


def test_a_cell_that_is_not_on_the_changed_image_is_neither_right_nor_wrong(images, detector):
    figures = GuardFigures(detector, ScoreThresholds())
    away = figures.of_changed(images[1], CHANGES["size of the cells x"][0], 8)
    assert (away.counted_as, away.is_wrong) == ("", False)


def test_images_to_change_have_one_white_cell_and_of_each_class_as_many(tmp_path):
    names = [["lymphocyte"]] * 4 + [["monocyte", "erythrocyte"], ["neutrophil", "not_sure"], ["unknown"]]
    made = [image(tmp_path, seed, *own) for seed, own in enumerate(names)]
    assert guard_figures.with_one_white_cell(made, 6) == [made[0], made[2], made[4]]


def test_hue_turned_by_half_a_circle_is_the_complementary_color():
    red = np.full((2, 2, 3), (255, 0, 0), np.uint8)
    change, _ = CHANGES["hue turned by (degrees)"]
    assert change(Picture(red, NO_CELLS, ""), 180).pixels[0, 0] == pytest.approx([0, 255, 255], abs=4)
    assert change(Picture(red, NO_CELLS, ""), 360).pixels[0, 0].tolist() == [255, 0, 0]


def test_a_model_without_a_guard_and_an_image_that_cannot_be_read_are_named(tmp_path, detector):
    with pytest.raises(GuardFiguresError, match="constant: has no domain guard; run describe_domain"):
        GuardFigures(ConstantDetector(), ScoreThresholds())
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(GuardFiguresError, match=r"a\.png: cannot be read"):
        GuardFigures(detector, ScoreThresholds()).of_file(tmp_path / "a.png")


def test_the_table(images, detector, tmp_path, monkeypatch, capsys):
    others = [image(tmp_path / "bccd", 200, "lymphocyte", laboratory="bccd_dense")]
    for seed in range(4):
        (tmp_path / "drawn" / "p").mkdir(parents=True, exist_ok=True)
        field(seed, blur=1.0, paper=BLUE)[0].save(tmp_path / "drawn" / "p" / f"{seed}.png")
    monkeypatch.setattr(source_images, "read_source_images", lambda folder: [*images, *others])
    monkeypatch.setattr(guard_figures.ModelFolder, "open", lambda name: types.SimpleNamespace(thresholds={}))
    monkeypatch.setattr(guard_figures.Detector, "open", lambda model: detector)
    guard_figures.main([f"--data_dir={tmp_path}", f"--images_dir={tmp_path / 'drawn'}", "--changed=6", "--most=3"])
    rows = capsys.readouterr().out.splitlines()[2:]
    assert rows[:3] == [
        "| pbc, fold 0 | 2 | 0.000 |  | | | |",
        "| bccd, fold 0 | 1 | 0.000 |  | | | |",
        "| drawn | 3 | 1.000 | light 3 | | | |",
    ]
    kinds = [row.split("|")[1].strip() for row in rows[3:]]
    assert kinds[:3] == ["nothing", "blur (sigma in pixels) 1", "blur (sigma in pixels) 2"]
    assert len(kinds) == sum(len(strengths) for _, strengths in CHANGES.values())
