import numpy as np

from tfod_csf.modeling.anchor_generator import GridAnchorGenerator, multiscale_anchor_generators


def test_order_size_and_centers():
    generator = GridAnchorGenerator(
        scales=[0.5, 1.0],
        aspect_ratios=[1.0, 4.0],
        height=8,
        width=16,
        height_stride=10,
        width_stride=20,
        height_offset=3,
        width_offset=5,
    )
    assert generator.num_anchors_per_location == 4
    anchors = generator.generate(1, 2)
    # Sizes (height, width): ratio 1: 4x8, 8x16; ratio 4: height / 2, width * 2: 2x16, 4x32. Centers (3, 5), (3, 25).
    expected = [
        [3 - 2, 5 - 4, 3 + 2, 5 + 4],
        [3 - 4, 5 - 8, 3 + 4, 5 + 8],
        [3 - 1, 5 - 8, 3 + 1, 5 + 8],
        [3 - 2, 5 - 16, 3 + 2, 5 + 16],
        [3 - 2, 25 - 4, 3 + 2, 25 + 4],
        [3 - 4, 25 - 8, 3 + 4, 25 + 8],
        [3 - 1, 25 - 8, 3 + 1, 25 + 8],
        [3 - 2, 25 - 16, 3 + 2, 25 + 16],
    ]
    np.testing.assert_allclose(anchors, expected)


def test_defaults_are_those_of_the_config():
    anchors = GridAnchorGenerator(scales=[1.0], aspect_ratios=[1.0]).generate(2, 1)
    np.testing.assert_allclose(anchors, [[-128, -128, 128, 128], [16 - 128, -128, 16 + 128, 128]])


def test_map_without_cells_has_no_anchors():
    assert GridAnchorGenerator(scales=[1.0], aspect_ratios=[1.0]).generate(0, 3).shape == (0, 4)


def test_multiscale_anchors_lie_around_the_cells_centers_and_grow_by_octaves():
    levels = multiscale_anchor_generators(
        min_level=3, max_level=4, anchor_scale=4.0, aspect_ratios=[1.0, 4.0], scales_per_octave=2
    )
    assert [level.num_anchors_per_location for level in levels] == [4, 4]
    # Level 3: cells of 8 px, the first center at (4, 4). Sides 32 and 32 * sqrt(2); ratio 4: height / 2, width * 2.
    root = 32 * 2**0.5
    expected = [
        [4 - 16, 4 - 16, 4 + 16, 4 + 16],
        [4 - root / 2, 4 - root / 2, 4 + root / 2, 4 + root / 2],
        [4 - 8, 4 - 32, 4 + 8, 4 + 32],
        [4 - root / 4, 4 - root, 4 + root / 4, 4 + root],
    ]
    np.testing.assert_allclose(levels[0].generate(1, 1), expected, rtol=1e-6)
    # Level 4: cells of 16 px, sides from 64 on; the second column's center is at x = 24.
    np.testing.assert_allclose(levels[1].generate(1, 2)[4], [8 - 32, 24 - 32, 8 + 32, 24 + 32], rtol=1e-6)
