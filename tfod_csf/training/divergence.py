"""When has a loss that is still finite exploded?

A network that knows nothing has a certain loss: that of its first step. A hard batch, a jump of the learning rate or
another phase of training can raise the loss to a multiple of it for some steps. Where it stays a hundred times above it
for a hundred steps in a row, the weights have run away: their outputs no longer depend on the images in a useful way,
and no further step brings them back, because gradients of that size are as wrong as the weights. Then the run stops,
and while the loss is that high no checkpoint is saved, so that the good ones are not pushed out by worthless ones. A
network that was trained before starts with a small loss, which says nothing about what an untrained one has; 1 is the
least that counts as the loss of a network that knows nothing (cross-entropy of two equally likely classes: 0.7).
"""

TIMES_FIRST_LOSS = 100.0
STEPS_IN_A_ROW = 100
_LEAST_FIRST_LOSS = 1.0


class LossWatch:
    """Follows the total loss from step to step.

    Args:
      first_loss: of the run's step 1; None takes the first one seen.

    Attributes:
      first_loss: the same.
    """

    def __init__(self, first_loss: float | None = None):
        self.first_loss = first_loss
        self._loss = 0.0
        self._steps_in_a_row = 0

    def add(self, total_loss: float) -> None:
        """Notes the loss of the next step; it must be finite."""
        if self.first_loss is None:
            self.first_loss = total_loss
        self._loss = total_loss
        self._steps_in_a_row = self._steps_in_a_row + 1 if total_loss > self.limit else 0

    @property
    def limit(self) -> float:
        """The loss above which it is far too high."""
        return TIMES_FIRST_LOSS * max(self.first_loss or 0.0, _LEAST_FIRST_LOSS)

    @property
    def is_high(self) -> bool:
        """Whether the last loss is above the limit."""
        return self._steps_in_a_row > 0

    @property
    def has_exploded(self) -> bool:
        """Whether it has been for so long that the run cannot recover."""
        return self._steps_in_a_row >= STEPS_IN_A_ROW

    def __str__(self) -> str:
        """For example "the total loss is 5.7e+11, for 18 steps in a row more than 240 (that of step 1 was 2.4)"."""
        steps = "1 step" if self._steps_in_a_row == 1 else f"{self._steps_in_a_row} steps in a row"
        return (
            f"the total loss is {self._loss:.3g}, for {steps} more than {self.limit:.3g} (that of step 1 was "
            f"{self.first_loss or 0.0:.3g})"
        )
