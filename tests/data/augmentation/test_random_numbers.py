import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.data.augmentation.random_numbers import StatelessSampler

NO_BOXES = tf.zeros([0, 4])


def sampler(seed=(1, 2)):
    return StatelessSampler(tf.constant(seed))


def all_three(source):
    """One number of each method, in this order."""
    begin, size = source.window("w", tf.constant([40, 60, 3]), NO_BOXES, 0.1, (0.5, 2.0), (0.1, 0.9))
    return [float(source.uniform("u")), int(source.integer("i", 0, 1000)), *begin.numpy(), *size.numpy()]


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others():
    assert all_three(sampler()) == all_three(sampler())
    assert all_three(sampler()) != all_three(sampler((1, 3)))


def test_each_call_has_a_stream_of_its_own_whatever_its_name():
    source = sampler()
    numbers = [float(source.uniform("same")) for _ in range(20)]
    assert len(set(numbers)) == 20


def test_uniform_is_in_its_range_and_spreads_over_it():
    numbers = sampler().uniform("u", -2.0, 3.0, [10_000]).numpy()
    assert numbers.min() >= -2
    assert numbers.max() < 3
    # The mean of 10,000 numbers has a standard deviation of 5 / sqrt(12) / 100 = 0.014.
    assert numbers.mean() == pytest.approx(0.5, abs=0.06)
    assert float(sampler().uniform("u", 1.5, 1.5)) == 1.5


def test_integer_never_reaches_maxval():
    source = sampler()
    assert {int(source.integer("i", 4, 7)) for _ in range(60)} == {4, 5, 6}
    assert int(source.integer("i", 4, 4)) == 4  # an empty range
    assert int(source.integer("i", 4, 2)) == 4


def test_windows_hold_enough_of_a_box_and_lie_in_the_image():
    box = np.array([0.2, 0.3, 0.5, 0.6])
    top, left, bottom, right = box * [40, 60, 40, 60]
    for seed in range(20):
        begin, size = sampler((seed, 0)).window(
            "w", tf.constant([40, 60, 3]), tf.constant(box[np.newaxis], tf.float32), 0.5, (0.5, 2.0), (0.1, 1.0)
        )
        (y, x), (height, width) = begin.numpy(), size.numpy()
        assert 0 <= y <= y + height <= 40
        assert 0 <= x <= x + width <= 60
        inside = max(0, min(bottom, y + height) - max(top, y)) * max(0, min(right, x + width) - max(left, x))
        # TensorFlow compares with the box in whole pixels, so the share is a little off.
        assert inside >= 0.45 * (bottom - top) * (right - left)


def test_a_window_that_cannot_be_is_the_whole_image():
    # No window of a twentieth of the image holds all of a box as large as the image.
    begin, size = sampler().window(
        "w", tf.constant([40, 60, 3]), tf.constant([[0.0, 0, 1, 1]]), 1.0, (1.0, 1.0), (0.04, 0.05)
    )
    assert (begin.numpy().tolist(), size.numpy().tolist()) == ([0, 0], [40, 60])
