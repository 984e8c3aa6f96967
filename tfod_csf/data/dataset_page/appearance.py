"""Color and focus of the images of each patient and each laboratory, and which of them look unlike the others."""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from tfod_csf.data.dataset_page.record_survey import ImageFacts
from tfod_csf.domain.cell_measures import to_lab
from tfod_csf.errors import UserError

PATIENT, LABORATORY = "patient", "laboratory"
OTHER_COLOR = 15.0  # Delta E from the typical color; 2.3 is just seen, 15 is another color at a glance
BLURRED = 2.0  # edges so many times as wide as typical


class LaboratoryPatternError(UserError):
    """--laboratory_pattern cannot be used."""


@dataclasses.dataclass(frozen=True)
class Appearance:
    """How the images of a patient or of a laboratory look; medians over its images.

    Attributes:
      level: PATIENT or LABORATORY.
      name: of the group.
      train, test: number of its images on each side.
      background, nucleus: RGB 0 .. 255; nucleus is None where no image has a white cell.
      background_distance, nucleus_distance: Delta E (CIE 1976) from the median over all groups of the level.
      edge_width: pixels; None where no image has an edge to measure.
      blurred: its images whose edges are more than BLURRED times as wide as those of the median image of the set.
    """

    level: str
    name: str
    train: int
    test: int
    background: tuple[float, ...]
    nucleus: tuple[float, ...] | None
    background_distance: float
    nucleus_distance: float | None
    edge_width: float | None
    blurred: int

    @property
    def farthest(self) -> float:
        """The larger one of the two distances."""
        return max(self.background_distance, self.nucleus_distance or 0.0)


def typical_edge_width(images: Sequence[ImageFacts]) -> float | None:
    """Median edge width of all images that have one, in pixels."""
    widths = [image.edge_width for image in images if image.edge_width is not None]
    return float(np.median(widths)) if widths else None


def is_blurred(image: ImageFacts, typical: float | None) -> bool:
    """Whether an image's edges are much wider than is typical of the set."""
    return typical is not None and image.edge_width is not None and image.edge_width > BLURRED * typical


def laboratory_reader(pattern: str) -> Callable[[str], str]:
    """A function from an image's name to its laboratory, "" where the pattern does not fit.

    Args:
      pattern: regular expression with a group (?P<laboratory>...), searched in the name.

    Raises:
      LaboratoryPatternError: it is none, or has no such group.

    >>> laboratory_reader("^(?P<laboratory>[A-Z]+)-")("HH-0012/3.jpg")
    'HH'
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise LaboratoryPatternError(f"--laboratory_pattern={pattern}: {error}; write a regular expression.") from error
    if "laboratory" not in compiled.groupindex:
        raise LaboratoryPatternError(
            f"--laboratory_pattern={pattern}: has no group; write (?P<laboratory>...) around the part of the image's "
            "path that names the laboratory."
        )

    def laboratory(name: str) -> str:
        found = compiled.search(name)
        return (found["laboratory"] or "") if found else ""

    return laboratory


def appearances(images: Sequence[ImageFacts], level: str, name_of: Callable[[ImageFacts], str]) -> list[Appearance]:
    """The groups of one level, those whose color is farthest from typical first.

    Args:
      name_of: the group of an image; images of group "" are ignored.
    """
    groups: dict[str, list[ImageFacts]] = defaultdict(list)
    for image in images:
        if name := name_of(image):
            groups[name].append(image)
    typical = typical_edge_width(images)
    backgrounds = {name: np.median([image.background for image in some], axis=0) for name, some in groups.items()}
    nuclei = {name: _median_nucleus(some) for name, some in groups.items()}
    background_distances, nucleus_distances = _distances(backgrounds), _distances(nuclei)
    found = [
        Appearance(
            level=level,
            name=name,
            train=sum(image.side == "train" for image in some),
            test=sum(image.side == "test" for image in some),
            background=tuple(backgrounds[name].tolist()),
            nucleus=None if nuclei[name] is None else tuple(nuclei[name].tolist()),
            background_distance=background_distances[name] or 0.0,
            nucleus_distance=nucleus_distances[name],
            edge_width=typical_edge_width(some),
            blurred=sum(is_blurred(image, typical) for image in some),
        )
        for name, some in groups.items()
    ]
    return sorted(found, key=lambda group: (-round(group.farthest, 3), group.name))


def _median_nucleus(images: Sequence[ImageFacts]) -> np.ndarray | None:
    colors = [image.nucleus for image in images if image.nucleus is not None]
    return np.median(colors, axis=0) if colors else None


def _distances(colors: dict[str, np.ndarray | None]) -> dict[str, float | None]:
    """{group: Delta E from the median of the groups that have a color, each weighing the same}."""
    lab = {name: to_lab(color) for name, color in colors.items() if color is not None}
    if not lab:
        return dict.fromkeys(colors)
    middle = np.median(list(lab.values()), axis=0)
    return {name: float(np.linalg.norm(lab[name] - middle)) if name in lab else None for name in colors}
