import numpy as np
from PIL import Image

from tests.inference.tiles.test_tiled_detection import LABELS, SLIDE, Darkness
from tfod_csf.cell_classes import rgb_of
from tfod_csf.inference import drawing
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.tiles import tile_pictures, tiled_detection
from tfod_csf.study.pictures import PixelPicture
from tfod_csf.study.tile_grid import TileGrid, TileSettings


def save(folder, pixels):
    grid = TileGrid(pixels.shape[1], pixels.shape[0], TileSettings(200, 150, 50))
    picture = PixelPicture(pixels)
    cells = tiled_detection.detect(Darkness(), picture, grid, ScoreThresholds(), "day1/scan.tif").cells
    tile_pictures.save(picture, cells, grid, folder, "day1/scan.tif", unknown_below=0.0)
    return cells


def test_a_picture_per_tile_and_an_overview(tmp_path):
    pixels = np.full((150, 350, 3), SLIDE, np.uint8)
    pixels[60:90, 50:80] = 20  # in the first tile only
    pixels[60:90, 180:196] = 20  # in both; the cores meet at 175
    assert len(save(tmp_path, pixels).detections) == 2
    folder = tmp_path / "day1" / "scan.tif.tiles"
    assert sorted(path.name for path in folder.iterdir()) == ["row_01_column_01.jpg", "row_01_column_02.jpg"]
    first, second = (np.array(Image.open(path)) for path in sorted(folder.iterdir()))
    assert first.shape == second.shape == (150, 200, 3)
    # Outside of its core (from 175 on) the first tile is pale: 240 / 2 + 128.
    assert abs(int(first[10, 100].mean()) - SLIDE) <= 3
    assert abs(int(first[10, 190].mean()) - 248) <= 3
    assert abs(int(second[10, 10].mean()) - 248) <= 3  # 160 of the whole
    assert abs(int(second[10, 100].mean()) - SLIDE) <= 3
    # The cell of both tiles is drawn in both; the other's place (50 to 80) is empty slide in the second.
    assert first[75, 185].mean() < 180
    assert second[75, 35].mean() < 60
    for path in (tmp_path / "day1" / "scan.tif.jpg", *folder.iterdir()):
        assert drawing.is_drawn(path.read_bytes())


def test_the_overview_is_small_and_shows_every_cell(tmp_path, monkeypatch):
    monkeypatch.setattr(tile_pictures, "OVERVIEW_PX", 100)
    pixels = np.full((300, 400, 3), SLIDE, np.uint8)
    pixels[120:160, 80:120] = 20
    save(tmp_path, pixels)
    overview = np.array(Image.open(tmp_path / "day1" / "scan.tif.jpg")).astype(int)
    assert overview.shape == (75, 100, 3)
    # The box of the cell at a quarter of its size, rows 30 to 40, in the color of its class.
    color = np.array(rgb_of(LABELS.names[1]))
    assert np.abs(overview[30, 22:28].mean(axis=0) - color).max() < 60
    assert abs(overview[71, 80].mean() - SLIDE) < 10
