"""Which cells of a run count as the same, and what the model or a person has decided on them."""

from typing import NamedTuple

from tfod_csf import cell_classes


class CellKind(NamedTuple):
    """What cells have in common that count as the same."""

    model: str
    image: str
    predicted_class: str
    status: str
    counted_as: str

    @property
    def is_undecided(self) -> bool:
        """Whether neither the model nor a person has decided on such a cell, however it is counted.

        A model may have a class `unknown` of its own; such a cell is undecided however high its score is.
        """
        is_own_class = self.status == cell_classes.COUNTED and self.counted_as == cell_classes.UNKNOWN
        return self.status in cell_classes.UNDECIDED_STATUS or is_own_class

    @property
    def is_left_unknown(self) -> bool:
        """Whether a person looked at such a cell and left it unknown, or made it so."""
        return self.counted_as == cell_classes.UNKNOWN and not self.is_undecided

    @property
    def is_named(self) -> bool:
        """Whether such a cell counts under a class."""
        return not self.is_undecided and self.counted_as != cell_classes.UNKNOWN

    @property
    def likely_when_left_unknown(self) -> str:
        """The most likely class of a cell that a person left unknown.

        The person saw the model's guess and did not take it, so it is not repeated here. Only an unknown cell that the
        model finds most likely an erythrocyte, and that the person left as it was, remains a likely erythrocyte.
        """
        predicted = cell_classes.canonical_name(self.predicted_class)
        is_erythrocyte = self.status == cell_classes.CONFIRMED and predicted == cell_classes.ERYTHROCYTE
        return predicted if is_erythrocyte else cell_classes.UNKNOWN
