import numpy as np
import pytest

from tfod_csf.synthetic import cells


@pytest.mark.parametrize("kind", cells.DIAMETERS_PX)
def test_cell_lies_in_the_middle_and_has_its_diameter(kind):
    rng = np.random.default_rng(5)
    patch = cells.render_cell(kind, 60, cells.random_stain(rng), rng)
    assert patch.shape == (78, 78, 4)
    inside = patch[..., 3] > 0.5
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    for ends in (rows, columns):
        # An ellipse with a wavy outline: within a sixth of the diameter, and centered.
        assert 48 <= ends[-1] - ends[0] + 1 <= 72
        assert abs((ends[-1] + ends[0]) / 2 - 38.5) <= 5
    assert patch[0, 0, 3] == 0
    assert patch[..., :3].min() >= 0
    assert patch[..., :3].max() <= 255.5


def test_same_state_same_pixels_and_other_state_other_pixels():
    def render(seed):
        rng = np.random.default_rng(seed)
        return cells.render_cell("neutrophil", 50, cells.random_stain(rng), rng)

    np.testing.assert_array_equal(render(1), render(1))
    assert np.abs(render(1) - render(2)).max() > 1


def _dark_share(kind, seed):
    rng = np.random.default_rng(seed)
    stain = cells.random_stain(rng)
    patch = cells.render_cell(kind, 70, stain, rng)
    inside = patch[..., 3] > 0.9
    nearer_nucleus = np.linalg.norm(patch[..., :3] - stain.nucleus, axis=-1) < 60
    return (inside & nearer_nucleus).sum() / inside.sum()


def test_nucleus_fills_lymphocytes_and_is_absent_in_erythrocytes():
    lymphocytes = [_dark_share("lymphocyte", seed) for seed in range(20)]
    neutrophils = [_dark_share("neutrophil", seed) for seed in range(20)]
    erythrocytes = [_dark_share("erythrocyte", seed) for seed in range(20)]
    assert np.mean(lymphocytes) > 0.45 > np.mean(neutrophils) > 0.1
    assert np.mean(erythrocytes) < 0.05


def test_sizes_of_white_cells_overlap():
    lymphocyte, monocyte, neutrophil = (cells.DIAMETERS_PX[kind] for kind in ("lymphocyte", "monocyte", "neutrophil"))
    assert monocyte[0] < lymphocyte[1]
    assert neutrophil[0] < lymphocyte[1]
    assert monocyte[0] < neutrophil[1]
