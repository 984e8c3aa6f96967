import pathlib

import numpy as np
import pytest
from PIL import Image

from tfod_csf import np_box_ops
from tfod_csf.benchmarks.csf_small import training_fields
from tfod_csf.benchmarks.csf_small.source_images import NOT_SURE, SourceImage
from tfod_csf.benchmarks.csf_small.training_fields import FIELD_PX, FieldComposer, FieldSettings
from tfod_csf.problems import ProblemLog
from tfod_csf.study import labelimg
from tfod_csf.study.labelimg import LabeledObject

COLORS = {"erythrocyte": (200, 60, 60), "lymphocyte": (60, 60, 200), "neutrophil": (140, 0, 140)}
GLASS = (235, 225, 215)


def source(folder: pathlib.Path, kind: str, objects) -> SourceImage:
    """A drawn image of 400 x 300 px with squares of the classes' colors: (class, xmin, ymin, side)."""
    pixels = np.full((300, 400, 3), GLASS, np.uint8)
    labeled = []
    for name, x, y, side in objects:
        pixels[y : y + side, x : x + side] = COLORS[name]
        labeled.append(LabeledObject(name, x, y, x + side, y + side))
    path = folder / f"{kind}.png"
    Image.fromarray(pixels).save(path)
    return SourceImage(path, kind, "block_00", labeled, 0)


@pytest.fixture
def images(tmp_path):
    red = [("erythrocyte", x, y, 40) for x in (20, 120, 320) for y in (10, 110, 220)]
    return [
        source(tmp_path, "pbc_dense", [*red, ("neutrophil", 180, 80, 90)]),
        source(tmp_path, "pbc_mgg", [("lymphocyte", 150, 100, 80)]),
    ]


def share_of_color(part, one: LabeledObject) -> float:
    """Share of the box's pixels that have the color of its class."""
    inside = part.pixels[round(one.ymin) : round(one.ymax), round(one.xmin) : round(one.xmax)].astype(int)
    return float(np.mean(np.abs(inside - COLORS[one.name]).max(axis=-1) < 40))


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_boxes_stay_on_their_cells_whatever_turns_and_scales(images, mosaic):
    composer = FieldComposer(images, FieldSettings(60, seed=3, mosaic=mosaic, dense=0.5))
    seen = []
    for number in range(60):
        part = composer.field(number)
        assert part.pixels.shape == (FIELD_PX, FIELD_PX, 3)
        named = [one for one in part.objects if one.name != NOT_SURE]
        for one in named:
            assert 0 <= one.xmin < one.xmax <= FIELD_PX
            assert 0 <= one.ymin < one.ymax <= FIELD_PX
            if min(one.xmax - one.xmin, one.ymax - one.ymin) > 15:
                assert share_of_color(part, one) > 0.85
        seen += [one.name for one in named]
        covered = sum((one.xmax - one.xmin) * (one.ymax - one.ymin) for one in part.objects)
        colored = np.any(np.abs(part.pixels.astype(int) - GLASS).max(axis=-1) > 60, axis=None)
        assert not colored or covered > 0  # no cell without a box
    assert set(seen) == {"erythrocyte", "neutrophil", "lymphocyte"}


def test_a_number_gives_the_same_field_whatever_came_before(images):
    settings = FieldSettings(9, seed=5, pasted=2, dense=0.5, sparse=0.3)
    first, second = FieldComposer(images, settings), FieldComposer(images, settings)
    list(map(first.field, range(8)))
    np.testing.assert_array_equal(first.field(8).pixels, second.field(8).pixels)
    assert first.field(8).objects == second.field(8).objects


def test_pasted_white_cells_are_boxed_and_do_not_lie_on_each_other(images):
    composer = FieldComposer(images, FieldSettings(40, seed=1, mosaic=0.0, pasted=3, dense=1.0, scales=(0.7, 0.8)))
    counts = []
    for number in range(40):
        part = composer.field(number)
        white = [one for one in part.objects if one.name in ("lymphocyte", "neutrophil")]
        counts.append(len(white))
        overlaps = np_box_ops.iou(labelimg.boxes_of(white), labelimg.boxes_of(white)) - np.eye(len(white))
        assert overlaps.max(initial=0.0) < 0.12
        for one in white:  # an ellipse of its color fills pi / 4 of the box, the whole square the box
            assert share_of_color(part, one) > 0.7
    assert max(counts) >= 3


def test_sparse_parts_hold_cut_out_cells_on_glass_only(images):
    composer = FieldComposer(images, FieldSettings(30, seed=2, mosaic=0.0, dense=0.0, sparse=1.0, scales=(0.6, 0.7)))
    names = set()
    for number in range(30):
        part = composer.field(number)
        assert 1 <= len(part.objects) <= 10
        names |= {one.name for one in part.objects}
        outside = np.ones((FIELD_PX, FIELD_PX), bool)
        for one in part.objects:
            top, left = max(int(one.ymin) - 4, 0), max(int(one.xmin) - 4, 0)
            outside[top : int(one.ymax) + 5, left : int(one.xmax) + 5] = False
        assert np.abs(part.pixels[outside].astype(int) - GLASS).max() < 30
    assert names == {"erythrocyte", "lymphocyte", "neutrophil"}


def test_stain_jitter_changes_colors_and_not_shapes_or_boxes(images):
    plain = FieldComposer(images, FieldSettings(4, seed=5, mosaic=0.0, dense=1.0))
    stained = FieldComposer(images, FieldSettings(4, seed=5, mosaic=0.0, dense=1.0, stain=0.15))
    for number in range(4):
        before, after = plain.field(number), stained.field(number)
        assert before.objects == after.objects
        glass = np.abs(before.pixels.astype(int) - GLASS).max(axis=-1) < 5
        assert after.pixels[glass].std(axis=0).max() < 3  # glass stays even
        cells = np.abs(before.pixels.astype(int) - GLASS).max(axis=-1) > 100
        assert after.pixels[cells].mean() < after.pixels[glass].mean() - 20  # and cells darker than it
        assert np.abs(before.pixels.astype(int) - after.pixels).mean() > 1


class Unmoved:
    """Random numbers that are all their mean, uniform ones the upper end."""

    def normal(self, mean, deviation, size=None):
        return mean if size is None else np.full(size, mean)

    def uniform(self, low, high):
        return high


def test_more_stain_is_darker():
    pixels = np.full((6, 9, 3), 255, np.uint8)
    pixels[:2] = 63
    np.testing.assert_array_equal(training_fields._restained(Unmoved(), pixels, 0.2, (0.5, 1.0)), pixels)
    # Gray 63 under glass of 255 has the density ln 4; with 1.5 times of it, 256 / 4 ** 1.5 - 1 = 31 is left.
    again = training_fields._restained(Unmoved(), pixels, 0.2, (0.5, 1.5))
    np.testing.assert_array_equal(again[:2], 31)
    np.testing.assert_array_equal(again[2:], 255)


def test_half_of_the_parts_are_blurred(images):
    sharp = FieldComposer(images, FieldSettings(20, seed=5, mosaic=0.0, dense=1.0))
    blurred = FieldComposer(images, FieldSettings(20, seed=5, mosaic=0.0, dense=1.0, blur=3.0))
    changed = []
    for number in range(20):
        before, after = sharp.field(number), blurred.field(number)
        assert before.objects == after.objects
        edges = [np.abs(np.diff(part.pixels.astype(int), axis=0)).max() for part in (before, after)]
        changed.append(edges[1] < edges[0])
    assert 4 <= sum(changed) <= 16


@pytest.mark.parametrize(("changed", "least", "most"), [(0.0, 0, 0), (0.5, 4, 16), (1.0, 20, 20)])
def test_a_share_of_the_parts_stays_as_photographed(images, changed, least, most):
    plain = FieldComposer(images, FieldSettings(20, seed=5, mosaic=0.0, dense=1.0))
    some = FieldComposer(images, FieldSettings(20, seed=5, mosaic=0.0, dense=1.0, stain=0.2, changed=changed))
    different = [(plain.field(number).pixels != some.field(number).pixels).any() for number in range(20)]
    assert least <= sum(different) <= most


@pytest.mark.parametrize(
    ("xmin", "name"),
    [
        (-4, "lymphocyte"),  # 6 of 10 px are inside
        (-5, NOT_SURE),
        (-8, NOT_SURE),  # 2 of 10
        (-9, None),
    ],
)
def test_an_object_at_the_edge(xmin, name):
    kept = training_fields._within(LabeledObject("lymphocyte", xmin, 0, xmin + 10, 10), 100, 100)
    assert (kept and kept.name) == name
    assert kept is None or (kept.xmin, kept.xmax) == (0, xmin + 10)


def test_written_fields_are_a_study_of_labelimg(images, tmp_path):
    settings = FieldSettings(3, seed=4, dense=1.0, mosaic=0.0)
    training_fields.write_fields(images, settings, tmp_path / "fields")
    paths = sorted((tmp_path / "fields").glob("*/*.xml"))
    assert [path.name for path in paths] == [f"field_{number:06d}.xml" for number in range(3)]
    composer, problems = FieldComposer(images, settings), ProblemLog(quiet=True)
    for number, path in enumerate(paths):
        annotation = labelimg.read_annotation(path, problems)
        with Image.open(path.with_suffix(".jpg")) as image:
            assert (annotation.width, annotation.height) == image.size == (320, 320)
        expected = composer.field(number).objects
        assert [one.name for one in annotation.objects] == [one.name for one in expected]
        np.testing.assert_allclose(labelimg.boxes_of(annotation.objects), labelimg.boxes_of(expected), atol=0.51)
