"""Samples the minibatch of anchors (or proposals) that a stage is trained on, with a given share of positives.

Shape shorthand in this module:

  B: images; N: examples (anchors or proposals) of an image; S: minibatch size of one image

An example has an `indicator` (True: may be sampled) and a `label` (True: positive, False: negative).

Two variants, as in TFOD. With P the positives among the indicated and P_max = int(positive_fraction * S):
  dynamic  min(P, P_max) positives and the rest of S negatives, or all of them if there are fewer: at most S examples.
  static   the indicator is filled up to S examples, with the first ones that are not indicated; then min(P, P_max)
           positives and the rest of S negatives. Where there are too few negatives, one more random example is sampled
           if there are any that are not indicated, and positives beyond P_max if even those would not suffice.

official.vision's sampler is not used: it takes its random numbers from TensorFlow's global generator (not repeatable
where images are mapped in parallel) and, in the static variant, multiplies by N x N matrices (1.5 GB for 19,200
anchors). tests/modeling/test_balanced_sampler.py compares the static variant with official.vision's, bit by bit.
"""

import contextlib
import threading
from collections.abc import Iterator

import numpy as np
import tensorflow as tf


def subsample(
    indicator: tf.Tensor,
    batch_size: int,
    labels: tf.Tensor,
    *,
    positive_fraction: float,
    is_static: bool = False,
    seed: tf.Tensor | None = None,
) -> tf.Tensor:
    """Which examples are sampled: bool [B, N].

    Args:
      indicator, labels: bool [B, N].
      batch_size: S.
      positive_fraction: upper limit of the share of positives, 0 to 1.
      is_static: which variant.
      seed: int32 [2]; the same seed gives the same sample; None takes one from TensorFlow's global generator
          (repeatable after tf.random.set_seed), or that of `seeds_from`.
    """
    order = _random_order(tf.shape(indicator), random_seed() if seed is None else seed)
    # The product is taken in float32, as TFOD does, so that e.g. 0.3 * 10 rounds the same way.
    max_positives = int(np.float32(positive_fraction) * np.float32(batch_size))
    if is_static:
        return _static_subsample(indicator, batch_size, labels, max_positives, order)
    positives = _first_in_order(indicator & labels, max_positives, order)
    num_positives = _count(positives)
    return positives | _first_in_order(indicator & ~labels, batch_size - num_positives, order)


class _Seeds(threading.local):
    """Of the innermost `seeds_from` of this thread: its arguments, and how many seeds were taken."""

    seed: tf.Tensor | None = None
    num_taken = 0
    replica: tf.Tensor | int = 0
    num_replicas = 1


_seeds = _Seeds()


@contextlib.contextmanager
def seeds_from(seed: tf.Tensor, replica: tf.Tensor | int = 0, num_replicas: int = 1) -> Iterator[None]:
    """Inside it `random_seed` gives seeds that follow from this one: the first call the first, and so on.

    Args:
      seed: int32 [2], the same on all replicas.
      replica: of num_replicas that each have as many images of a batch; an image's sample is the one that it has where
          one replica has the whole batch.
    """
    before = vars(_seeds).copy()
    _seeds.seed, _seeds.num_taken, _seeds.replica, _seeds.num_replicas = seed, 0, replica, num_replicas
    try:
        yield
    finally:
        vars(_seeds).clear()
        vars(_seeds).update(before)


def random_seed() -> tf.Tensor:
    """A seed int32 [2]: of `seeds_from`, else from TensorFlow's global generator, in the order of the program."""
    if _seeds.seed is not None:
        _seeds.num_taken += 1
        return tf.random.experimental.stateless_fold_in(_seeds.seed, _seeds.num_taken)
    return tf.random.uniform([2], maxval=np.iinfo(np.int32).max, dtype=tf.int32)


def _static_subsample(indicator, batch_size, labels, max_positives, order):
    num_missing = batch_size - _count(indicator)
    indicator |= _running_count(~indicator) <= num_missing
    positives, negatives = indicator & labels, indicator & ~labels

    num_positives = tf.minimum(_count(positives), max_positives)
    num_negatives = batch_size - num_positives
    sampled = _first_in_order(positives, num_positives, order) | _first_in_order(negatives, num_negatives, order)

    num_short = num_negatives - _count(negatives)
    num_not_indicated = _count(~indicator)
    last_in_order = tf.one_hot(order[:, -1], tf.shape(order)[1], on_value=True, off_value=False)
    sampled |= last_in_order & (tf.minimum(num_short, num_not_indicated) > 0)
    return sampled | _first_in_order(positives, num_short - num_not_indicated, tf.reverse(order, axis=[1]))


def _random_order(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """One random permutation of 0..N-1 per image: int32 [B, N]; random integers, because floats tie more often."""
    num_images, num_examples = shape[0], shape[1]
    # Those of the whole batch, of which this replica takes its images': a few thousand integers.
    of_batch = [num_images * _seeds.num_replicas, num_examples]
    priority = tf.random.stateless_uniform(of_batch, seed=seed, minval=None, maxval=None, dtype=tf.int32)
    first = num_images * _seeds.replica
    return tf.argsort(priority[first : first + num_images], axis=1)


def _first_in_order(candidates: tf.Tensor, count: tf.Tensor | int, order: tf.Tensor) -> tf.Tensor:
    """The first `count` (int or int32 [B, 1]) of the candidates (bool [B, N]) in the order given: bool [B, N]."""
    ordered = tf.gather(candidates, order, batch_dims=1)
    chosen = ordered & (_running_count(ordered) <= count)
    place_in_order = tf.argsort(order, axis=1)
    return tf.gather(chosen, place_in_order, batch_dims=1)


def _count(flags: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(flags, tf.int32), axis=1, keepdims=True)


def _running_count(flags: tf.Tensor) -> tf.Tensor:
    return tf.cumsum(tf.cast(flags, tf.int32), axis=1)
