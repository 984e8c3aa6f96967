"""When a finite loss counts as exploded."""

from tfod_csf.training.divergence import LossWatch


def _after(losses, first_loss=None):
    watch = LossWatch(first_loss)
    for loss in losses:
        watch.add(loss)
    return watch


def test_a_hundred_steps_in_a_row_above_a_hundred_times_the_first_loss():
    assert not _after([3.0] + [301.0] * 99).has_exploded
    assert _after([3.0] + [301.0] * 100).has_exploded
    assert not _after([3.0] + [299.0] * 1000).has_exploded
    assert not _after([3.0] + [301.0] * 99 + [5.0] + [301.0] * 99).has_exploded


def test_high_is_the_last_loss():
    assert _after([3.0, 301.0]).is_high
    assert not _after([3.0, 301.0, 4.0]).is_high
    assert not _after([]).is_high


def test_a_small_first_loss_of_a_trained_network_is_no_measure():
    assert not _after([0.001, 99.0]).is_high
    assert _after([0.001, 101.0]).is_high


def test_a_resumed_run_keeps_the_first_loss():
    assert _after([500.0], first_loss=2.0).is_high
    assert not _after([500.0]).is_high
    assert str(_after([500.0, 570.0], first_loss=2.0)) == (
        "the total loss is 570, for 2 steps in a row more than 200 (that of step 1 was 2)"
    )
