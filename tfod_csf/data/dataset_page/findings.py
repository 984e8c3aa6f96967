"""Everything that the data page tells, before it is a page."""

import dataclasses
from collections.abc import Mapping, Sequence

from tfod_csf.data.dataset_page.anchor_fit import Anchors, ClassSizes
from tfod_csf.data.dataset_page.appearance import Appearance
from tfod_csf.data.dataset_page.data_warnings import DataWarning
from tfod_csf.data.dataset_page.leaks import Leak
from tfod_csf.data.dataset_page.record_survey import Survey
from tfod_csf.wording import visible


@dataclasses.dataclass(frozen=True)
class DataFindings:
    """Everything that the page tells.

    Attributes:
      names: classes, in the order of the label map.
      groups: of laboratories, then of patients.
    """

    survey: Survey
    names: Sequence[str]
    leaks: Sequence[Leak]
    groups: Sequence[Appearance]
    anchors: Anchors | None
    sizes: Mapping[str, ClassSizes]
    warnings: Sequence[DataWarning]

    def warning_text(self) -> str:
        """The warnings as printed, a line each."""
        lines = [f"{warning.level:<5} {visible(warning.text)}" for warning in self.warnings]
        return "\n".join(lines) or "The data page has no warning."
