"""What of an unlabeled image says whether its labels would teach a model something.

Uncertainty, after Brust, Käding, Denzler (Active Learning for Deep Object Detection, VISAPP 2019): of each cell the
margin between its two most likely classes ("1-vs-2"; no cell is one), summed over the cells of an image; classes with
few labels weigh more. Images are compared by the cells they hold and by their colors, because an exported model gives
no features.

Shape shorthand in this module: N detections of an image, K classes of the label map in its order.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
from PIL import Image

from tfod_csf.detections import Detections
from tfod_csf.label_map import LabelMap

LEAST_SCORE = 0.1  # detections that are less sure are noise, of which there are many
NO_CELL = "no cell"
_DOUBTFUL = 0.25  # uncertainty from which a cell is named as doubtful: a margin of a half
_SIDE = 32  # of the small copy whose colors describe an image
NUM_COLORS = 6


@dataclasses.dataclass(frozen=True)
class Description:
    """What images are compared by.

    Attributes:
      cells: [K] square roots of the numbers of cells, so that one cell more means more where there are few.
      colors: [NUM_COLORS] of `colors`.
    """

    cells: np.ndarray
    colors: np.ndarray


@dataclasses.dataclass(frozen=True)
class ImageMeasures:
    """An unlabeled image as a model sees it.

    Attributes:
      image: path below the images folder.
      patient_id: whose it is.
      expected: [K] how many cells of each class there are, by the model's probabilities.
      doubts: [K] uncertainty summed over the cells, each cell's divided among the classes by their probabilities.
      doubtful: {(likeliest, second): number of cells for which the two are close}; NO_CELL is one of them, too.
      description: for comparing images.
    """

    image: str
    patient_id: str
    expected: np.ndarray
    doubts: np.ndarray
    doubtful: Counter
    description: Description


def measure(image: str, patient_id: str, pixels: np.ndarray, cells: Detections, label_map: LabelMap) -> ImageMeasures:
    """Measures an image.

    Args:
      image, patient_id: of the result.
      pixels: uint8 [H, W, 3] RGB.
      cells: what the model found from LEAST_SCORE on, each cell once.
      label_map: the model's.
    """
    probabilities = _probabilities(cells, label_map)
    uncertainty = margin_uncertainty(probabilities)
    of_classes = probabilities[:, 1:]
    shares = of_classes / np.maximum(of_classes.sum(axis=1, keepdims=True), 1e-9)
    names = [NO_CELL, *label_map.names]
    order = np.argsort(-probabilities, axis=1, kind="stable")[uncertainty >= _DOUBTFUL, :2]
    expected = of_classes.sum(axis=0)
    return ImageMeasures(
        image=image,
        patient_id=patient_id,
        expected=expected,
        doubts=(uncertainty[:, np.newaxis] * shares).sum(axis=0),
        doubtful=Counter((names[first], names[second]) for first, second in order.tolist()),
        description=Description(np.sqrt(expected), colors(pixels)),
    )


def describe_labeled(pixels: np.ndarray, classes: Sequence[int], label_map: LabelMap) -> Description:
    """The description of an image that people have labeled.

    Args:
      pixels: uint8 [H, W, 3] RGB.
      classes: label-map ids of its cells.
      label_map: the model's.
    """
    numbers = [list(classes).count(class_id) for class_id in label_map.ids]
    return Description(np.sqrt(np.array(numbers, float)), colors(pixels))


def margin_uncertainty(probabilities: np.ndarray) -> np.ndarray:
    """[N] of the detections: (1 - (largest - second largest probability))^2, 0 for a sure and 1 for a tossed coin.

    Args:
      probabilities: [N, 2 or more], no cell among them.

    >>> margin_uncertainty(np.array([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0], [0.25, 0.75, 0.0]])).tolist()
    [0.0, 1.0, 0.25]
    """
    largest = np.sort(probabilities, axis=1)[:, -2:]
    return (1 - (largest[:, 1] - largest[:, 0])) ** 2


def class_weights(numbers: np.ndarray) -> np.ndarray:
    """[K] how much the doubt about a cell of each class counts: 1 for all where classes are equally frequent.

    Args:
      numbers: [K] labels of each class.

    >>> class_weights(np.array([9, 9])).tolist(), class_weights(np.array([97, 0])).round(2).tolist()
    ([1.0, 1.0], [0.51, 49.5])
    """
    return (numbers.sum() + len(numbers)) / (len(numbers) * (numbers + 1.0))


def colors(pixels: np.ndarray) -> np.ndarray:
    """[NUM_COLORS]: median of red, green and blue (0 .. 255), which is the background, and their standard deviations.

    Of a small copy, so that neither noise nor the number of pixels matters.
    """
    small = Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    flat = np.asarray(small, float).reshape(-1, 3)
    return np.concatenate([np.median(flat, axis=0), flat.std(axis=0)])


def _probabilities(cells: Detections, label_map: LabelMap) -> np.ndarray:
    """[N, 1 + K]: no cell, then the classes; of a model that gives one score alone the rest is no cell's."""
    ids = list(label_map.ids)
    if cells.multiclass_scores is not None:
        return np.asarray(cells.multiclass_scores[:, [0, *ids]], float)
    found = (cells.classes[:, np.newaxis] == ids) * np.asarray(cells.scores, float)[:, np.newaxis]
    return np.concatenate([1 - found.sum(axis=1, keepdims=True), found], axis=1)
