import importlib

import numpy as np
import pytest
import tensorflow as tf

from tfod_csf.modeling import balanced_sampler

# After tfod_csf, which chooses Keras 2.
official_sampler = importlib.import_module("official.vision.utils.object_detection.balanced_positive_negative_sampler")

SEED = tf.constant([3, 4])


def sample(indicator, batch_size, labels, **options):
    options = {"positive_fraction": 0.5, "seed": SEED} | options
    sampled = balanced_sampler.subsample(
        tf.constant(indicator, tf.bool)[tf.newaxis], batch_size, tf.constant(labels, tf.bool)[tf.newaxis], **options
    )
    return sampled[0].numpy()


@pytest.mark.parametrize(
    ("num_positives", "num_negatives", "positives", "negatives"),
    [
        (10, 90, 4, 4),  # enough of both: int(0.5 * 8) positives
        (2, 90, 2, 6),  # negatives fill up
        (50, 1, 4, 1),  # positives do not fill up
        (0, 90, 0, 8),
        (3, 0, 3, 0),
        (0, 0, 0, 0),
    ],
)
def test_numbers_of_the_dynamic_variant(num_positives, num_negatives, positives, negatives):
    rng = np.random.default_rng(0)
    kind = rng.permutation([1] * num_positives + [0] * num_negatives + [2, 3] * 5)  # 2, 3: not to be sampled
    sampled = sample(kind < 2, 8, kind % 2 == 1)
    assert np.sum(sampled & (kind == 1)) == positives
    assert np.sum(sampled & (kind == 0)) == negatives
    assert not sampled[kind >= 2].any()


def test_static_fills_up_with_the_first_that_are_not_indicated():
    # 3 indicated, minibatch 6: the first three of the others come in, with their own labels.
    indicator = np.array([0, 0, 1, 0, 0, 1, 1, 0], bool)
    labels = np.array([0, 0, 1, 0, 0, 0, 0, 0], bool)
    np.testing.assert_array_equal(sample(indicator, 6, labels, is_static=True), [1, 1, 1, 1, 0, 1, 1, 0])


def test_minibatch_larger_than_the_image_takes_all():
    indicator = np.array([0, 1, 1, 0], bool)
    labels = np.array([0, 1, 0, 0], bool)
    np.testing.assert_array_equal(sample(indicator, 256, labels), indicator)
    np.testing.assert_array_equal(sample(indicator, 256, labels, is_static=True), np.ones(4))


@pytest.mark.parametrize("positive_fraction", [0.0, 0.25, 0.5, 1.0])
def test_static_is_officials_for_the_same_permutation(monkeypatch, positive_fraction):
    """Covers the corners too: too few negatives, with and without others to fall back on, too few of everything."""
    rng = np.random.default_rng(1)
    for case in range(40):
        size, batch_size = rng.integers(4, 30), int(rng.integers(1, 20))
        indicator = rng.random(size) < rng.choice([0.2, 0.7, 1.0])
        labels = rng.random(size) < rng.choice([0.1, 0.5, 0.95])
        seed = tf.constant([case, 5])
        # Official takes positives and negatives from the far end of its permutation, we from the near one.
        permutation = balanced_sampler._random_order([1, size], seed)[0, ::-1]
        monkeypatch.setattr(official_sampler.tf.random, "shuffle", lambda _, permutation=permutation: permutation)
        sampler = official_sampler.BalancedPositiveNegativeSampler(positive_fraction, is_static=True)
        expected = sampler.subsample(tf.constant(indicator), batch_size, tf.constant(labels))
        computed = sample(indicator, batch_size, labels, positive_fraction=positive_fraction, is_static=True, seed=seed)
        np.testing.assert_array_equal(computed, expected)


def test_every_example_is_equally_likely():
    labels = tf.tile(tf.range(20)[tf.newaxis] < 10, [400, 1])
    sampled = balanced_sampler.subsample(tf.ones_like(labels), 8, labels, positive_fraction=0.5, seed=SEED)
    # 4 of 10 each: 0.4, standard deviation over 400 images sqrt(0.4 * 0.6 / 400) = 0.024.
    np.testing.assert_allclose(np.mean(sampled, axis=0), 0.4, atol=0.1)


def test_images_of_a_batch_are_sampled_separately_and_runs_repeat():
    flags = tf.ones([2, 1000], tf.bool)
    sampled = balanced_sampler.subsample(flags, 100, ~flags, positive_fraction=0.5, seed=SEED)
    again = balanced_sampler.subsample(flags, 100, ~flags, positive_fraction=0.5, seed=SEED)
    np.testing.assert_array_equal(sampled, again)
    assert np.any(sampled[0] != sampled[1])

    @tf.function
    def unseeded():
        return balanced_sampler.subsample(flags, 100, ~flags, positive_fraction=0.5)

    tf.random.set_seed(7)
    first, second = unseeded(), unseeded()
    tf.random.set_seed(7)
    unseeded_again = tf.function(unseeded.python_function)
    np.testing.assert_array_equal(unseeded_again(), first)
    assert np.any(first != second)


@pytest.mark.parametrize("is_static", [False, True])
def test_each_of_two_replicas_samples_as_one_that_has_the_whole_batch(is_static):
    rng = np.random.default_rng(5)
    indicator, labels = (tf.constant(rng.random([4, 40]) < share) for share in (0.8, 0.4))
    options = {"positive_fraction": 0.5, "is_static": is_static}
    with balanced_sampler.seeds_from(SEED):
        whole = balanced_sampler.subsample(indicator, 8, labels, **options).numpy()
    halves = []
    for replica in range(2):
        rows = slice(2 * replica, 2 * replica + 2)
        with balanced_sampler.seeds_from(SEED, tf.constant(replica), num_replicas=2):
            halves.append(balanced_sampler.subsample(indicator[rows], 8, labels[rows], **options).numpy())
    np.testing.assert_array_equal(np.concatenate(halves), whole)
    assert (whole[:2] != whole[2:]).any()
