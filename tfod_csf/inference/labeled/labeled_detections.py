"""A detector on labeled images: what it found and what people labeled, image by image, as the evaluators take it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from tfod_csf.inference.cell_selection import Cells, ScoreThresholds, select_cells
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.inference.labeled.ground_truth import LabeledImage, detections_dict


class LabeledDetections(NamedTuple):
    """One image; boxes are [N, 4] (ymin, xmin, ymax, xmax) in pixels of the original image.

    Attributes:
      image_id: unique in the data.
      groundtruth: {reading of cells labeled unknown: the evaluators' groundtruth dictionary}.
      detections: the evaluators' dictionary of everything that was detected.
      cells: the same of what counts as a cell.
      has_unknown: whether a cell was labeled unknown, or by a name that is not a class.
    """

    image_id: str
    groundtruth: dict[str, dict[str, Any]]
    detections: dict[str, Any]
    cells: dict[str, Any]
    has_unknown: bool


def detect_labeled(
    detector: ImageDetector,
    images: Iterable[LabeledImage],
    thresholds: ScoreThresholds,
    readings: Mapping[str, Callable[[LabeledImage], LabeledImage]],
    on_cells: Callable[[LabeledImage, Cells], Any] = lambda image, cells: None,
) -> Iterator[LabeledDetections]:
    """Runs the detector over the images, one in memory at a time.

    Args:
      detector: the model.
      images: of `ground_truth.read_labeled_folder` or `record_reader.read_records`, with this detector's decoder.
      thresholds: what counts as a cell.
      readings: of `ground_truth.unknown_readings`.
      on_cells: called with each image and the cells found on it.
    """
    for image in images:
        detections = detector.detect(image.pixels, image.image_id, jpeg=image.jpeg)
        selected = select_cells(detections, detector.label_map, thresholds)
        on_cells(image, selected)
        cells = selected.detections
        yield LabeledDetections(
            image_id=image.image_id,
            groundtruth={name: reading(image).groundtruth_dict for name, reading in readings.items()},
            detections=detections_dict(detections),
            cells=detections_dict(cells),
            has_unknown=image.has_unknown(detector.label_map),
        )
