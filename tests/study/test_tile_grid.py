import numpy as np
import pytest

from tfod_csf.study.tile_grid import TileError, TileGrid, TileSettings, parse_tile_size


def test_tiles_of_one_size_overlap_by_what_is_asked_or_more():
    # (250 - 20) / (100 - 20) = 2.9 along x: 3 tiles; starts 0, 75, 150, so neighbors share 25 pixels.
    grid = TileGrid(250, 90, TileSettings(100, 100, 20))
    assert [tile.box for tile in grid] == [(0, 0, 90, 100), (0, 75, 90, 175), (0, 150, 90, 250)]
    # Borders in the middle of what is shared: (100 + 75) / 2 and (175 + 150) / 2, rounded down.
    assert [tile.core for tile in grid] == [(0, 0, 90, 87), (0, 87, 90, 162), (0, 162, 90, 250)]
    assert grid.overlaps == (0, 25)
    assert (len(grid), grid.num_rows, grid.num_columns) == (3, 1, 3)


@pytest.mark.parametrize("length", [101, 180, 181, 999, 1000, 20_000])
def test_cores_cover_every_pixel_once_and_a_cell_as_large_as_the_overlap_is_whole_in_one_tile(length):
    grid = TileGrid(length, 400, TileSettings(100, 100, 20))
    row = [tile for tile in grid if tile.row == 0]
    assert [tile.core[1] for tile in row] == [0, *(tile.core[3] for tile in row[:-1])]
    assert row[-1].core[3] == length
    for tile in row:
        assert tile.box[3] - tile.box[1] == 100
        assert tile.box[1] == 0 or tile.core[1] - tile.box[1] >= 10
        assert tile.box[3] == length or tile.box[3] - tile.core[3] >= 10


def test_a_picture_no_larger_than_a_tile_is_one_tile():
    (tile,) = TileGrid(100, 64, TileSettings(100, 100, 20))
    assert tile.box == tile.core == (0, 0, 64, 100)
    assert tile.name == "row 1, column 1"


def test_the_tile_of_a_box_is_the_one_whose_core_holds_its_middle():
    grid = TileGrid(250, 250, TileSettings(100, 100, 20))  # borders at 87 and 162 both ways
    boxes = np.array([[0, 0, 10, 10], [80, 80, 92, 96], [0, 86, 4, 88], [240, 240, 260, 260]])
    assert grid.numbers_of(boxes).tolist() == [0, 1, 1, 8]


@pytest.mark.parametrize(
    ("size", "message"),
    [((63, 100, 10), "at least 64"), ((100, 100, 0), "from 1 to 50"), ((100, 200, 51), "from 1 to 50")],
)
def test_settings_that_make_no_sense_are_refused(size, message):
    with pytest.raises(TileError, match=message):
        TileSettings(*size)


@pytest.mark.parametrize("text", ["", "a", "10x", "1e3", "-5", "1x2x3"])
def test_a_tile_size_that_is_none_is_refused(text):
    with pytest.raises(TileError, match="WIDTHxHEIGHT"):
        parse_tile_size(text)
