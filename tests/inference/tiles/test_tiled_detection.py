import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from tfod_csf.detections import Detections
from tfod_csf.inference.cell_selection import ScoreThresholds, select_cells
from tfod_csf.inference.ensemble import CellEnsemble
from tfod_csf.inference.image_detector import DetectionFailedError
from tfod_csf.inference.tiles import tiled_detection
from tfod_csf.label_map import label_map_from_names
from tfod_csf.study.pictures import PixelPicture
from tfod_csf.study.tile_grid import TileGrid, TileSettings
from tfod_csf.synthetic import cells as synthetic_cells

SLIDE = 240  # gray level of an empty slide
LABELS = label_map_from_names(["small", "large"])


class Darkness:
    """A detector for synthetic slides: what is darker than the slide is a cell, of class 2 from 40 pixels' width on."""

    def __init__(self, name="darkness", limit=None):
        self.name = self.fingerprint = name
        self.label_map, self.max_detections_per_class, self.temperature = LABELS, limit, 1.0
        self.shapes = set()

    def decode_jpeg(self, jpeg):
        return None

    def detect(self, pixels, image="", jpeg=None):
        self.shapes.add(pixels.shape)
        labels, _ = ndimage.label(pixels.min(axis=2) < SLIDE - 30)
        boxes = np.array([[y.start, x.start, y.stop, x.stop] for y, x in ndimage.find_objects(labels)]).reshape(-1, 4)
        boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= 4]
        is_large = (boxes[:, 3] - boxes[:, 1] >= 40).astype(int)
        # A cell's score depends on its place only, as far as the tile shows it as a whole.
        scores = 0.6 + 0.3 * ((boxes[:, 3] - boxes[:, 1]) % 7) / 7
        every = np.zeros((len(boxes), 3))
        every[np.arange(len(boxes)), is_large + 1], every[:, 0] = scores, 1 - scores
        return Detections(image, pixels.shape[1], pixels.shape[0], boxes, is_large + 1, scores, every)


@pytest.fixture(scope="module")
def slide():
    """A synthetic slide of 1500 x 1100 pixels, and how many cells are on it: none touches another."""
    rng = np.random.default_rng(3)
    stain = synthetic_cells.random_stain(rng)
    pixels, placed = np.full((1100, 1500, 3), float(SLIDE)), []
    for kind in ["lymphocyte", "monocyte", "neutrophil", "erythrocyte"] * 60:
        diameter = rng.uniform(*synthetic_cells.DIAMETERS_PX[kind])
        patch = synthetic_cells.render_cell(kind, diameter, stain, rng)
        side = len(patch)
        y, x = rng.integers(0, 1100 - side), rng.integers(0, 1500 - side)
        if any(abs(y - b) < max(side, s) + 3 and abs(x - a) < max(side, s) + 3 for b, a, s in placed):
            continue
        placed.append((y, x, side))
        solid = (patch[..., 3:] > 0.5) * 1.0
        pixels[y : y + side, x : x + side] *= 1 - solid
        pixels[y : y + side, x : x + side] += solid * np.minimum(patch[..., :3], SLIDE - 60)
    return np.clip(pixels, 0, 255).astype(np.uint8), len(placed)


def cut(pixels, size, overlap, detector=None):
    settings = TileSettings(*size, overlap)
    grid = TileGrid(pixels.shape[1], pixels.shape[0], settings)
    return tiled_detection.detect(detector or Darkness(), PixelPicture(pixels), grid, ScoreThresholds(), "a.tif")


@pytest.mark.parametrize(
    ("size", "overlap"), [((400, 300), 90), ((333, 333), 101), ((1500, 280), 110), ((640, 480), 96)]
)
def test_a_synthetic_slide_has_the_same_cells_however_it_is_cut(slide, size, overlap):
    pixels, number = slide
    whole = select_cells(Darkness().detect(pixels, "a.tif"), LABELS, ScoreThresholds())
    assert len(whole.detections) == number >= 50
    found = cut(pixels, size, overlap)
    assert found.cells.counts() == whole.counts()
    assert sorted(found.cells.detections.boxes.tolist()) == sorted(whole.detections.boxes.tolist())
    assert (found.cells.detections.width, found.cells.detections.height) == (1500, 1100)
    assert (found.cells.num_duplicates, found.cells.limit_reached, len(found.too_large)) == (0, False, 0)
    one = {tuple(box): row for row, box in enumerate(whole.detections.boxes.tolist())}
    order = [one[tuple(box)] for box in found.cells.detections.boxes.tolist()]
    assert found.cells.detections.multiclass_scores == pytest.approx(whole.detections.multiclass_scores[order])


def test_every_tile_has_one_size_and_a_small_picture_is_one_tile(slide):
    pixels, _ = slide
    detector = Darkness()
    cut(pixels, (400, 300), 90, detector)
    assert detector.shapes == {(300, 400, 3)}
    detector = Darkness()
    cut(pixels[:200, :300], (400, 300), 90, detector)
    assert detector.shapes == {(200, 300, 3)}


def test_cells_larger_than_the_overlap_are_reported_with_their_size():
    pixels = np.full((300, 500, 3), SLIDE, np.uint8)
    pixels[100:180, 210:290] = 20  # 80 x 80, across the border of two tiles that share 50 pixels
    found = cut(pixels, (275, 300), 50)
    assert len(found.cells.detections) == 1
    assert found.too_large.tolist() == [[80, 65]]  # the larger of the pieces 210..275 and 225..290


def test_a_limit_is_that_of_a_tile():
    pixels = np.full((100, 300, 3), SLIDE, np.uint8)
    for x in (5, 35, 205):  # two cells in the first tile, one in the last
        pixels[40:60, x : x + 20] = 20
    found = cut(pixels, (100, 100), 10, Darkness(limit=2))
    assert found.cells.limit_reached
    assert [tile.name for tile in found.limited] == ["row 1, column 1"]
    assert not cut(pixels, (100, 100), 10, Darkness(limit=3)).cells.limit_reached


def test_a_cell_ensemble_is_a_detector_as_any_other(slide):
    pixels, number = slide
    found = cut(pixels, (400, 300), 90, CellEnsemble([Darkness("one"), Darkness("two")]))
    assert len(found.cells.detections) == number


def test_a_tile_on_which_the_model_fails_is_named():
    class Failing(Darkness):
        def detect(self, pixels, image="", jpeg=None):
            if pixels[0, 0, 0] == 1:
                raise DetectionFailedError("out of memory")
            return super().detect(pixels, image)

    pixels = np.full((100, 298, 3), SLIDE, np.uint8)  # tiles from 0, 99 and 198
    pixels[0, 198] = 1
    with pytest.raises(DetectionFailedError, match="tile in row 1, column 3: out of memory"):
        cut(pixels, (100, 100), 1, Failing())


def test_scores_before_a_temperature_decide_what_is_a_cell():
    class Tempered(Darkness):
        def detect(self, pixels, image="", jpeg=None):
            found = super().detect(pixels, image)
            cooled = found.multiclass_scores * 0.5
            return dataclasses.replace(
                found,
                scores=found.scores * 0.5,
                multiclass_scores=cooled,
                raw_multiclass_scores=found.multiclass_scores,
            )

    pixels = np.full((100, 190, 3), SLIDE, np.uint8)
    pixels[40:60, 86:104] = 20  # in both tiles
    found = cut(pixels, (100, 100), 10, Tempered()).cells
    assert len(found.detections) == 1
    assert found.detections.raw_scores[0] == pytest.approx(2 * found.detections.scores[0])
