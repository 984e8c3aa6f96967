"""What the pages of an evaluation say of it."""

import dataclasses

NOTICE = "Research software, not a medical device."


@dataclasses.dataclass(frozen=True)
class PageFacts:
    """What the pages of an evaluation say of it.

    Attributes:
      model: its name.
      data: where the labels are from.
      min_score: from which detections count as cells.
      remarks: sentences at the top of the page.
      made: date, as printed.
    """

    model: str
    data: str
    min_score: float
    remarks: tuple[str, ...] = ()
    made: str = ""
