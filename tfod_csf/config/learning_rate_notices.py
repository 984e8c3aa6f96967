"""What a learning rate schedule does to a run of num_steps that its author cannot have meant.

TFOD computes the same rates and says nothing. These are notices: the run is what the config says. Only a schedule that
contradicts itself, which TFOD does not build either, is refused.
"""

import math
from collections.abc import Iterator, Sequence

from tfod_csf.config.protos import optimizer_pb2, train_pb2

# From here on a rate is as good as 0, and above the other share a cosine has not come down.
_NOTHING = 1e-6
_STILL_HIGH = 0.1
# A shorter run is a trial, in which no rate has to come down.
_TRIAL_STEPS = 100


def notices(train_config: train_pb2.TrainConfig) -> list[str]:
    """Sentences about the schedule of the config's optimizer; none without a schedule or without num_steps."""
    optimizer = train_config.optimizer.WhichOneof("optimizer")
    if optimizer is None or not train_config.num_steps:
        return []
    rate = getattr(train_config.optimizer, optimizer).learning_rate
    kind = rate.WhichOneof("learning_rate")
    if kind is None:
        return []
    path = f"train_config.optimizer.{optimizer}.learning_rate.{kind}"
    return [f"{path}: {sentence}." for sentence in _SENTENCES[kind](getattr(rate, kind), train_config.num_steps)]


def contradictions(train_config: train_pb2.TrainConfig) -> Iterator[str]:
    """Why the schedule of the config's optimizer cannot be built, as `training.learning_schedules` has it."""
    optimizer = train_config.optimizer.WhichOneof("optimizer")
    if optimizer is None:
        return
    rate = getattr(train_config.optimizer, optimizer).learning_rate
    path = f"train_config.optimizer.{optimizer}.learning_rate.{rate.WhichOneof('learning_rate')}"
    cosine, steps = rate.cosine_decay_learning_rate, [entry.step for entry in rate.manual_step_learning_rate.schedule]
    if rate.HasField("cosine_decay_learning_rate") and (
        complaint := cosine_complaint(
            cosine.learning_rate_base, cosine.total_steps, cosine.warmup_learning_rate, cosine.warmup_steps
        )
    ):
        yield f"{path}.{complaint}"
    if complaint := manual_step_complaint(steps, rate.manual_step_learning_rate.warmup):
        yield f"{path}.{complaint}"


def cosine_complaint(
    learning_rate_base: float, total_steps: int, warmup_learning_rate: float, warmup_steps: int
) -> str:
    """Why a cosine's numbers contradict each other, without a full stop; "" where they do not."""
    if total_steps < warmup_steps:
        return (
            f"total_steps: {total_steps} is less than warmup_steps: {warmup_steps}; make it larger, it counts the "
            "steps of the warm-up too"
        )
    if warmup_steps and learning_rate_base < warmup_learning_rate:
        return (
            f"learning_rate_base: {learning_rate_base:g} is less than warmup_learning_rate: "
            f"{warmup_learning_rate:g}; a warm-up rises"
        )
    return ""


def manual_step_complaint(steps: Sequence[int], warmup: bool) -> str:
    """Why manual steps contradict themselves, without a full stop; "" where they do not.

    TFOD's samples of 2017 and 2018 have a first step of 0, which a warm-up cannot rise to.
    """
    if all(later > earlier for earlier, later in zip([0 if warmup else -1, *steps], steps)):
        return ""
    return (
        f"schedule: steps {list(steps)} do not rise from {'above 0' if warmup else '0'}; list them in order, the rate "
        "before them is initial_learning_rate"
    )


def _constant(schedule: optimizer_pb2.ConstantLearningRate, num_steps: int) -> Iterator[str]:
    if not schedule.learning_rate:
        yield "the learning rate is 0, so nothing is learned; set learning_rate"


def _cosine(schedule: optimizer_pb2.CosineDecayLearningRate, num_steps: int) -> Iterator[str]:
    total, warmup = schedule.total_steps, schedule.warmup_steps
    if total < num_steps:
        yield (
            f"the learning rate is 0 from step {total:,} on, num_steps is {num_steps:,}; set total_steps to {num_steps}"
        )
        return
    if warmup >= num_steps:
        yield (
            f"the warm-up takes {warmup:,} steps, num_steps is {num_steps:,}: learning_rate_base is never reached; "
            "lower warmup_steps"
        )
        return
    if num_steps < _TRIAL_STEPS:
        return
    start = warmup + schedule.hold_base_rate_steps
    share = 0.5 * (1 + math.cos(math.pi * max(num_steps - start, 0) / max(total - start, 1)))
    if share > _STILL_HIGH:
        yield (
            f"total_steps is {total:,}, num_steps {num_steps:,}: the run ends with {100 * share:.0f} % of "
            f"learning_rate_base, before the rate has come down; set total_steps to {num_steps}"
        )


def _exponential(schedule: optimizer_pb2.ExponentialDecayLearningRate, num_steps: int) -> Iterator[str]:
    first, factor = schedule.initial_learning_rate, schedule.decay_factor
    if not first:
        yield "the learning rate is 0, so nothing is learned; set initial_learning_rate"
    elif factor > 1:
        yield f"decay_factor {factor:g} is above 1: the learning rate rises"
    elif schedule.burnin_steps >= num_steps:
        yield (
            f"the burn-in takes {schedule.burnin_steps:,} steps, num_steps is {num_steps:,}: initial_learning_rate is "
            "never reached; lower burnin_steps"
        )
    elif num_steps < _TRIAL_STEPS:
        return
    elif schedule.decay_steps >= num_steps - schedule.burnin_steps:
        yield (
            f"the learning rate falls by a factor of {factor:g} every {schedule.decay_steps:,} steps, num_steps is "
            f"{num_steps:,}: it does not fall that often within the run; lower decay_steps"
        )
    elif factor < 1 and schedule.min_learning_rate < _NOTHING * first:
        periods = math.ceil(math.log(_NOTHING) / math.log(factor))
        step = schedule.burnin_steps + periods * schedule.decay_steps
        if step < num_steps:
            yield (
                f"the learning rate is below a millionth of {first:g} from step {step:,} on, num_steps is "
                f"{num_steps:,}; raise decay_steps"
            )


def _manual_step(schedule: optimizer_pb2.ManualStepLearningRate, num_steps: int) -> Iterator[str]:
    late = [entry.step for entry in schedule.schedule if entry.step >= num_steps]
    if late and schedule.warmup and schedule.schedule[0].step in late:
        yield (
            f"the warm-up takes {schedule.schedule[0].step:,} steps, num_steps is {num_steps:,}: its end is never "
            "reached; lower the first step"
        )
    elif late:
        yield f"the steps {', '.join(f'{step:,}' for step in late)} never come, because num_steps is {num_steps:,}"
    rates = {0: schedule.initial_learning_rate, **{entry.step: entry.learning_rate for entry in schedule.schedule}}
    zero = next((step for step, rate in rates.items() if not rate and step < num_steps), None)
    if zero is not None and not (zero == 0 and schedule.warmup):
        yield f"the learning rate is 0 from step {zero:,} on; num_steps is {num_steps:,}"


_SENTENCES = {
    "constant_learning_rate": _constant,
    "cosine_decay_learning_rate": _cosine,
    "exponential_decay_learning_rate": _exponential,
    "manual_step_learning_rate": _manual_step,
}
