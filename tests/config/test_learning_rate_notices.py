"""The numbers are worked out from TFOD's formulas by hand."""

import pytest
from google.protobuf import text_format

from tfod_csf.config import learning_rate_notices
from tfod_csf.config.protos import train_pb2


def notices(schedule, num_steps):
    config = train_pb2.TrainConfig(num_steps=num_steps)
    text_format.Merge(f"optimizer {{ momentum_optimizer {{ learning_rate {{ {schedule} }} }} }}", config)
    return learning_rate_notices.notices(config)


@pytest.mark.parametrize(
    ("schedule", "num_steps", "words"),
    [
        (
            "cosine_decay_learning_rate { total_steps: 3 warmup_steps: 0 }",
            6,
            "the learning rate is 0 from step 3 on, num_steps is 6; set total_steps to 6",
        ),
        (
            "cosine_decay_learning_rate { total_steps: 900 warmup_steps: 600 }",
            600,
            "the warm-up takes 600 steps, num_steps is 600",
        ),
        # Half of the cosine is over after half of its steps: the rate is half the base.
        (
            "cosine_decay_learning_rate { total_steps: 1200 warmup_steps: 200 }",
            700,
            "the run ends with 50 % of learning_rate_base",
        ),
        ("cosine_decay_learning_rate { total_steps: 1000 warmup_steps: 5 hold_base_rate_steps: 900 }", 600, "100 % of"),
        ("constant_learning_rate { learning_rate: 0 }", 6, "the learning rate is 0, so nothing is learned"),
        (
            "exponential_decay_learning_rate { decay_steps: 800720 decay_factor: 0.95 }",
            200_000,
            "falls by a factor of 0.95 every 800,720 steps, num_steps is 200,000: it does not fall that often",
        ),
        # 0.1^6 is a millionth.
        (
            "exponential_decay_learning_rate { initial_learning_rate: 0.01 decay_steps: 10 decay_factor: 0.1 }",
            1000,
            "is below a millionth of 0.01 from step ",
        ),
        ("exponential_decay_learning_rate { decay_steps: 1 burnin_steps: 500 }", 500, "the burn-in takes 500 steps"),
        ("exponential_decay_learning_rate { decay_steps: 1 decay_factor: 1.5 }", 50, "the learning rate rises"),
        (
            "manual_step_learning_rate { schedule { step: 5 } schedule { step: 900 } schedule { step: 1200 } }",
            900,
            "the steps 900, 1,200 never come, because num_steps is 900",
        ),
        ("manual_step_learning_rate { warmup: true schedule { step: 500 } }", 500, "the warm-up takes 500 steps"),
        # What is never reached is said of a short run too.
        ("cosine_decay_learning_rate { total_steps: 20 warmup_steps: 10 }", 6, "the warm-up takes 10 steps"),
        ("exponential_decay_learning_rate { decay_steps: 1 burnin_steps: 10 }", 6, "the burn-in takes 10 steps"),
        ("manual_step_learning_rate { schedule { step: 10 } schedule { step: 20 } }", 6, "the steps 10, 20 never"),
        (
            "manual_step_learning_rate { schedule { step: 5 learning_rate: 0 } }",
            50,
            "the learning rate is 0 from step 5 on; num_steps is 50",
        ),
    ],
)
def test_schedules_that_do_not_fit_the_run(schedule, num_steps, words):
    (notice,) = notices(schedule, num_steps)
    assert notice.startswith("train_config.optimizer.momentum_optimizer.learning_rate.")
    assert words in notice


@pytest.mark.parametrize(
    ("schedule", "num_steps"),
    [
        ("cosine_decay_learning_rate { total_steps: 25000 warmup_steps: 2000 }", 25_000),
        ("cosine_decay_learning_rate { total_steps: 26000 warmup_steps: 2000 }", 25_000),
        ("constant_learning_rate { learning_rate: 0.1 }", 6),
        ("exponential_decay_learning_rate { decay_steps: 44 decay_factor: 0.95 }", 2000),
        ("exponential_decay_learning_rate { decay_steps: 10 decay_factor: 0.1 min_learning_rate: 1e-4 }", 1000),
        ("manual_step_learning_rate { schedule { step: 5 } schedule { step: 899 } }", 900),
        ("manual_step_learning_rate { initial_learning_rate: 0 warmup: true schedule { step: 5 } }", 900),
        ("", 900),
        # Trials of a few steps.
        ("cosine_decay_learning_rate { total_steps: 25000 warmup_steps: 2 }", 5),
        ("exponential_decay_learning_rate { decay_steps: 44 decay_factor: 0.95 }", 2),
    ],
)
def test_schedules_that_fit(schedule, num_steps):
    assert notices(schedule, num_steps) == []


def test_without_an_optimizer_there_is_nothing_to_say():
    assert learning_rate_notices.notices(train_pb2.TrainConfig(num_steps=5)) == []


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("cosine_decay_learning_rate { total_steps: 6 warmup_steps: 10 }", ".total_steps: 6 is less than warmup_steps"),
        (
            "cosine_decay_learning_rate { learning_rate_base: 0.01 warmup_learning_rate: 0.1 warmup_steps: 10 "
            "total_steps: 60 }",
            ".learning_rate_base: 0.01 is less than warmup_learning_rate: 0.1",
        ),
        ("manual_step_learning_rate { schedule { step: 5 } schedule { step: 2 } }", "steps [5, 2] do not rise"),
        ("manual_step_learning_rate { schedule { step: 5 } schedule { step: 8 } }", ""),
        ("manual_step_learning_rate { schedule { step: 0 } schedule { step: 8 } }", ""),
        ("manual_step_learning_rate { warmup: true schedule { step: 0 } }", "do not rise from above 0"),
        ("constant_learning_rate { learning_rate: 0.1 }", ""),
        ("cosine_decay_learning_rate { total_steps: 60 warmup_steps: 0 warmup_learning_rate: 0.9 }", ""),
        ("", ""),
    ],
)
def test_schedules_that_contradict_themselves(schedule, words):
    config = train_pb2.TrainConfig()
    text_format.Merge(f"optimizer {{ adam_optimizer {{ learning_rate {{ {schedule} }} }} }}", config)
    found = list(learning_rate_notices.contradictions(config))
    assert len(found) == bool(words)
    assert all(words in sentence for sentence in found)
    assert list(learning_rate_notices.contradictions(train_pb2.TrainConfig())) == []
