import numpy as np
import pytest

from tfod_csf.inference.tiles import seams
from tfod_csf.study.tile_grid import TileGrid, TileSettings

# Two tiles, x from 0 to 100 and from 80 to 180; they share 80 to 100, and their cores meet at 90.
PAIR = TileGrid(180, 100, TileSettings(100, 100, 20))
# Four tiles of 100 x 100, overlapping by 20 both ways; the cores meet at (90, 90).
FOUR = TileGrid(180, 180, TileSettings(100, 100, 20))


def kept(rows, grid=PAIR):
    """Rows of (box as ymin, xmin, ymax, xmax; score; tile) that stay."""
    boxes, scores, tiles = zip(*rows)
    return seams.merge(np.array(boxes, float), np.array(scores), np.array(tiles), grid).kept.tolist()


def test_one_cell_seen_by_two_tiles_is_one_cell_and_the_better_score_stays():
    assert kept([((40, 84, 52, 96), 0.7, 0), ((40, 85, 52, 96), 0.9, 1)]) == [1]


def test_a_cell_on_the_border_of_the_cores_is_not_lost_where_each_tile_sees_its_middle_in_the_others_core():
    # Middle at 90.5 (core of tile 1) as tile 0 sees it, at 89.5 (core of tile 0) as tile 1 sees it.
    assert kept([((40, 83, 56, 98), 0.9, 0), ((40, 82, 56, 97), 0.8, 1)]) == [0]


def test_a_piece_of_a_cell_is_dropped_for_the_whole_cell_of_the_neighbor_whatever_the_scores():
    # 90 to 106 is whole in tile 1; tile 0 sees 90 to 100, its middle 95 is no farther than 5 from its core.
    assert kept([((40, 90, 56, 100), 0.99, 0), ((40, 90, 56, 106), 0.6, 1)]) == [1]
    # A thin piece: its middle is farther out than that.
    assert kept([((40, 96, 56, 100), 0.99, 0), ((40, 96, 56, 112), 0.6, 1)]) == [1]


def test_a_piece_that_ends_some_hundredths_of_the_cell_off_the_border_is_a_piece():
    # x 155 to 233 is whole in the second tile; the first sees 155 to 200, and places the side 7 px off: 9 % of 78.
    grid = TileGrid(320, 200, TileSettings(200, 200, 80))
    assert kept([((60, 155, 138, 193), 0.9, 0), ((60, 155, 138, 233), 0.8, 1)], grid) == [1]


def test_two_cells_side_by_side_are_two_cells():
    assert kept([((40, 74, 56, 90), 0.9, 0), ((40, 90, 56, 106), 0.8, 1)]) == [0, 1]
    # One upon the other: IoU of 16 x 16 pixels moved by 6 is 10 x 16 / (22 x 16) = 0.45.
    assert kept([((40, 79, 56, 95), 0.9, 0), ((40, 85, 56, 101), 0.8, 1)]) == [0, 1]


def test_detections_of_one_tile_are_left_to_the_rule_for_duplicates():
    assert kept([((40, 40, 56, 56), 0.9, 0), ((40, 40, 56, 56), 0.8, 0)]) == [0, 1]


def test_a_cell_seen_by_four_tiles_is_one_cell():
    box = (84, 84, 96, 96)
    assert kept([(box, 0.6 + tile / 10, tile) for tile in range(4)], FOUR) == [3]


def test_of_a_cell_larger_than_the_overlap_the_larger_piece_stays_and_it_is_named():
    # 60 to 120 (60 wide): tile 0 sees 60 to 100, tile 1 sees 80 to 120, both cut; half of each lies in the other.
    rows = [((30, 60, 80, 100), 0.7, 0), ((30, 80, 82, 120), 0.9, 1)]
    assert kept(rows) == [1]  # 52 x 40 is more than 50 x 40
    boxes, scores, tiles = zip(*rows)
    assert seams.merge(np.array(boxes, float), np.array(scores), np.array(tiles), PAIR).too_large.tolist() == [1]


def test_a_cell_is_too_large_only_in_a_direction_in_which_there_are_several_tiles():
    merged = seams.merge(np.array([[10.0, 20, 90, 38]]), np.array([0.9]), np.array([0]), PAIR)
    assert (merged.kept.tolist(), merged.too_large.tolist()) == ([0], [])


def test_a_cell_at_the_edge_of_the_picture_is_not_cut_by_a_tile():
    assert kept([((0, 0, 10, 14), 0.9, 0), ((40, 170, 56, 180), 0.9, 1)]) == [0, 1]


def test_nothing_is_merged_to_nothing():
    merged = seams.merge(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), PAIR)
    assert len(merged.kept) == len(merged.too_large) == 0


def _seen(rng, truth, tile):
    """What a good detector sees of [N, 4] cells in a tile: pieces too, sides wrong by some hundredths of the size."""
    limits = np.array(tile.box, float)
    seen = np.concatenate([np.maximum(truth[:, :2], limits[:2]), np.minimum(truth[:, 2:], limits[2:])], axis=1)
    sides = np.maximum(seen[:, 2:] - seen[:, :2], 0)
    rows = np.flatnonzero(sides.prod(axis=1) >= 0.2 * (truth[:, 2:] - truth[:, :2]).prod(axis=1))
    wrong = rng.normal(0, 0.03, (len(rows), 4)) * np.tile(sides[rows], 2)
    return np.clip(seen[rows] + wrong, np.tile(limits[:2], 2), np.tile(limits[2:], 2)), rows


@pytest.mark.parametrize("tile", [(150, 130, 50), (200, 100, 50), (260, 260, 60), (500, 400, 52)])
def test_every_cell_up_to_the_overlap_is_counted_once_however_the_slide_is_cut(tile):
    rng = np.random.default_rng(sum(tile))
    # A lattice of cells 18 to 46 wide, moved at random: neighbors touch and overlap, and none hides another.
    corners = np.stack(np.meshgrid(np.arange(0, 560, 40), np.arange(0, 760, 40), indexing="ij"), -1).reshape(-1, 2)
    sides = rng.uniform(18, 46, (len(corners), 2))
    corners = corners + rng.uniform(0, 8, corners.shape)
    truth = np.concatenate([corners, corners + sides], axis=1)
    grid = TileGrid(820, 620, TileSettings(*tile))
    seen = [_seen(rng, truth, one) for one in grid]
    boxes, cells = np.concatenate([boxes for boxes, _ in seen]), np.concatenate([rows for _, rows in seen])
    tiles = np.repeat(np.arange(len(grid)), [len(rows) for _, rows in seen])
    assert len(boxes) > 1.1 * len(truth)
    merged = seams.merge(boxes, rng.uniform(0.5, 1, len(boxes)), tiles, grid)
    assert np.bincount(cells[merged.kept], minlength=len(truth)).tolist() == [1] * len(truth)
    assert len(merged.too_large) == 0
