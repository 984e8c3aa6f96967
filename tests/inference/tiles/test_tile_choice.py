import pytest

from tfod_csf.inference.tiles import tile_choice
from tfod_csf.study.tile_grid import TileError, TileSettings

# A model that saw cells of up to 300 pixels on images of 2592 x 1944, which reached it 600 / 1944 as large.
RESIZER = {"resizer": "keep_aspect_ratio_resizer", "min_dimension": 600, "max_dimension": 1024}
INFO = {"input_size": RESIZER, "training_images": {"width": 2592, "height": 1944, "images": 200, "largest_box": 300}}
OLD = {"input_size": RESIZER}


def reasons(tiles, **models):
    return [reason for _, reason, _ in tile_choice.notices(tiles, models)]


def test_without_the_flag_nothing_is_cut():
    assert tile_choice.choose(None, None, {"m": INFO}) is None
    with pytest.raises(TileError, match="--tile_overlap is of use with --tile_size only"):
        tile_choice.choose(None, 100, {"m": INFO})


def test_the_models_size_and_an_overlap_for_its_largest_cell():
    # An eighth of 1944 is 243; the largest cell needs 300.
    assert tile_choice.choose("model", None, {"m": INFO}) == TileSettings(2592, 1944, 300)
    assert tile_choice.choose("model", 250, {"m": INFO, "n": INFO}) == TileSettings(2592, 1944, 250)
    assert tile_choice.choose("1944", None, {"m": OLD}) == TileSettings(1944, 1944, 243)


def test_a_model_that_does_not_say_or_models_that_differ_need_a_size():
    with pytest.raises(TileError, match=r"model\.json of old does not say how large"):
        tile_choice.choose("model", None, {"m": INFO, "old": OLD})
    other = {**INFO, "training_images": {"width": 640, "height": 480}}
    with pytest.raises(TileError, match=r"several sizes \(m: 2592x1944, n: 640x480\)"):
        tile_choice.choose("model", None, {"m": INFO, "n": other})


@pytest.mark.parametrize("found", [None, {}, [], "large", {"width": "wide", "height": 3}, {"height": 3}])
def test_nonsense_in_model_json_is_as_if_it_said_nothing(found):
    assert tile_choice.TrainingImages.of({"training_images": found}) is None


def test_tiles_like_the_training_images_need_no_notice():
    assert reasons(TileSettings(2592, 1944, 300), m=INFO) == []
    assert reasons(TileSettings(1944, 1944, 300), m=INFO) == []  # 600 / 1944 too


def test_cells_that_look_larger_or_smaller_than_in_training_are_noted():
    # 600 / 1000 against 600 / 1944 is 1.944; 1024 / 4000 (the longer side decides) against it 0.83.
    (small,) = reasons(TileSettings(1000, 1000, 300), m=INFO)
    assert "in tiles of 1000x1000 cells reach the model 1.9 times as large as in training" in small
    (large,) = reasons(TileSettings(4000, 2000, 300), m=INFO)
    assert "0.83 times as large" in large


def test_a_fixed_shape_stretches_tiles_of_another_shape():
    fixed = {**INFO, "input_size": {"resizer": "fixed_shape_resizer", "height": 640, "width": 640}}
    assert reasons(TileSettings(2592, 1944, 300), m=fixed) == []
    assert "1.3 times" in reasons(TileSettings(1944, 1944, 300), m=fixed)[0]  # 2592 / 1944 along x


def test_an_overlap_below_the_largest_cell_and_an_unknown_training_are_noted():
    (small,) = reasons(TileSettings(2592, 1944, 243), m=INFO)
    assert small.startswith("the largest annotated cell of the training is 300 pixels long, and tiles overlap by 243;")
    (unknown,) = reasons(TileSettings(2592, 1944, 243), old=OLD)
    assert "does not say how large the training images were, nor the largest cell in them" in unknown
    assert unknown.endswith("no larger than the overlap of 243 pixels, is not known")
