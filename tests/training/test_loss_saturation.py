import numpy as np
import pytest

from tfod_csf.training import loss_saturation


def _curve(function, noise=0.0, seed=0, last_step=40000):
    steps = np.arange(100, last_step + 1, 100)
    losses = np.asarray([function(step) for step in steps], np.float64)
    return steps, losses * (1 + noise * np.random.default_rng(seed).standard_normal(len(steps)))


def _first_saturated_step(steps, losses, **rule):
    for count in range(1, len(steps) + 1):
        if loss_saturation.why_saturated(steps[:count], losses[:count], **rule):
            return int(steps[count - 1])
    return None


def test_quarters_by_hand():
    # 20 blocks of 100 steps: older quarter is steps 1001..1500 (losses 4, 2, 4, 2, 3), newer one 1501..2000 (all 2.4).
    losses = [9.0] * 10 + [4.0, 2.0, 4.0, 2.0, 3.0] + [2.4] * 5
    comparison = loss_saturation.compare_quarters(range(100, 2001, 100), losses)
    assert (comparison.first_step, comparison.middle_step, comparison.last_step) == (1000, 1500, 2000)
    assert comparison.older_mean == pytest.approx(3.0)
    assert comparison.relative_fall == pytest.approx(0.2)
    # variance of the older quarter: (1 + 1 + 1 + 1 + 0) / 4 = 1, of the newer one 0; 1.6449 * sqrt(1 / 5)
    assert comparison.uncertainty == pytest.approx(0.73562, abs=1e-5)


@pytest.mark.parametrize("count", [0, 1, 19])
def test_too_few_blocks_decide_nothing(count):
    steps = [100 * (i + 1) for i in range(count)]
    assert loss_saturation.compare_quarters(steps, [1.0] * count) is None
    assert loss_saturation.why_saturated(steps, [1.0] * count, min_steps=0) == ""


def test_nothing_is_decided_before_min_steps():
    steps, losses = _curve(lambda step: 1.0)
    assert _first_saturated_step(steps, losses, min_steps=10000, checks_in_a_row=1) == 10000
    # five checks in a row, the first of them at min_steps
    assert _first_saturated_step(steps, losses, min_steps=10000) == 10400


def test_falling_as_a_plus_b_over_steps():
    # Quarter means of a + b / step at step s: a + (4 b / s) ln(3 / 2) and a + (4 b / s) ln(4 / 3). With a = 0.5 and
    # b = 500 the fall is 235.6 / s, and 2 % of the older mean are 0.01 + 16.2 / s: equal at s = 21,900 (and then some
    # blocks, because the scatter of a falling curve within its quarter counts as uncertainty).
    stopped = _first_saturated_step(*_curve(lambda step: 0.5 + 500 / step))
    assert 21900 < stopped < 26000


@pytest.mark.parametrize("seed", range(5))
def test_noise_delays_the_decision_rather_than_hastening_it(seed):
    stopped = _first_saturated_step(*_curve(lambda step: 0.5 + 500 / step, noise=0.03, seed=seed))
    assert stopped is None or stopped > 18000
    flat = _first_saturated_step(*_curve(lambda step: 0.5, noise=0.03, seed=seed))
    assert 2000 < flat < 12000


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize(
    "function",
    [lambda step: 500 / step, lambda step: 30 / step**0.5, lambda step: 0.5 + 2000 / step],
    ids=["1/x", "1/sqrt(x)", "0.5+2000/x"],
)
def test_a_loss_that_still_falls_has_not_saturated(function, noise):
    assert _first_saturated_step(*_curve(function, noise)) is None


def test_a_rising_loss_has_saturated_and_the_sentence_says_so():
    steps, losses = _curve(lambda step: 0.5 + step / 40000, last_step=4000)
    sentence = loss_saturation.why_saturated(steps, losses)
    # older quarter 2,100..3,000: mean 0.56375; newer 3,100..4,000: 0.58875 (printed 0.5887), 4.4 % more
    assert "rose by 4.4 %, from 0.5637 (steps 2,001 to 3,000) to 0.5887 (steps 3,001 to 4,000)" in sentence
    assert "less than 2 % counts as saturated" in sentence


def test_a_plateau_shorter_than_a_third_of_the_steps_before_it_is_passed():
    def with_plateau(step):
        return 2 - step / 6000 if step <= 6000 else 1.0 if step <= 8000 else 0.2 + 0.8 * np.exp(-(step - 8000) / 4000)

    stopped = _first_saturated_step(*_curve(with_plateau))
    assert stopped is None or stopped > 20000


def test_a_missing_block_only_makes_its_neighbour_longer():
    # Losses 1, 3, 1, 3, ... over blocks of 100 steps; block 36 (steps 3,501 to 3,600) is folded into block 37.
    steps = np.delete(np.arange(100, 4001, 100), 35)
    losses = np.delete(np.tile([1.0, 3.0], 20), 35)
    comparison = loss_saturation.compare_quarters(steps, losses)
    # newer quarter: 1 1 1 1 (steps 3,001.. by twos) ... = (5 * 1 + 4 * 3 + 1) / 10 with block 37 (loss 1) counted twice
    assert comparison.newer_mean == pytest.approx(1.8)
    assert comparison.older_mean == pytest.approx(2.0)
