"""Pixels of the network's input per pixel of the image."""

from tfod_csf.domain.input_scale import input_scale


def test_the_longer_side_limits_the_scale():
    # 600 / 480 = 1.25 would make the longer side 1600.
    info = {"input_size": {"min_dimension": 600, "max_dimension": 1024}}
    assert input_scale(info, 1280, 480) == (0.8, 0.8)


def test_a_network_that_takes_images_as_they_are_or_does_not_say():
    assert input_scale({"input_size": {"resizer": "identity_resizer"}}, 640, 480) == (1.0, 1.0)
    assert input_scale({}, 640, 480) == (1.0, 1.0)
