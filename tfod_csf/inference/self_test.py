"""The self-test of a model folder: drawn images, and what the model found in them when it was exported.

    FOLDER/self_test/drawn_1.png, ...   the images
    FOLDER/self_test/expected.json      the detections in each, and how far another run may be from them

SHA256SUMS tells whether files were changed. The self-test tells whether the same files still give the same cells: with
another version of TensorFlow or OpenVINO, on another processor, through another driver.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from tfod_csf.detections import Detections
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, given_files, inner_paths
from tfod_csf.inference.detection_differences import DetectionDifferences
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.model_folder import SELF_TEST_DIR

_EXPECTED = "expected.json"
# Detections below it are not compared, even where the model is surer of nothing else.
_WEAKEST_SCORE = 0.05


class SelfTestError(UserError):
    """A model folder without a self-test, or with one that cannot be read."""


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far another run of the same model may be; see `DetectionDifferences` for the quantities."""

    missing_fraction: float
    largest_score: float
    largest_box_px: float


# The same graph: on one machine nothing differs, on another the last bits of sums do, and with them the order of two
# proposals that are nearly equal. Fewer bits: what one processor computes in 8 or 16 bits, another computes in 32.
FLOAT32 = Tolerance(missing_fraction=0.05, largest_score=0.01, largest_box_px=1.0)
FEWER_BITS = Tolerance(missing_fraction=0.1, largest_score=0.25, largest_box_px=8.0)


@dataclasses.dataclass(frozen=True)
class SelfTest:
    """Drawn images and what is expected in them.

    Attributes:
      images: uint8 [H, W, 3] RGB each.
      expected: the detections in each image; boxes in its pixels.
      min_score: 0..1, detections from this score on are compared.
      tolerance: how far they may be.
    """

    images: tuple[np.ndarray, ...]
    expected: tuple[Detections, ...]
    min_score: float
    tolerance: Tolerance

    @classmethod
    def made_of(
        cls, images: Sequence[np.ndarray], found: Sequence[Detections], min_score: float, tolerance: Tolerance
    ) -> "SelfTest":
        """The self-test of a model that has found these detections.

        Compared are detections from min_score on, or from half of the strongest score on where that is less: a model
        that is sure of nothing in drawn images is tested, too.

        Args:
          images: uint8 [H, W, 3] RGB each.
          found: all detections in each, low scores included.
          min_score: score from which the model's detections are cells.
          tolerance: how far another run may be.
        """
        strongest = max((float(detections.raw_scores.max(initial=0)) for detections in found), default=0.0)
        lowest = max(_WEAKEST_SCORE, min(min_score, strongest / 2))
        # Those a little below it are kept too: what another run finds a little above it is looked for among them.
        kept = tuple(detections.select(detections.raw_scores >= lowest / 2) for detections in found)
        return cls(tuple(images), kept, lowest, tolerance)

    @classmethod
    def read(cls, folder: pathlib.Path) -> "SelfTest":
        """The self-test of a model folder.

        Raises:
          SelfTestError: there is none, or it cannot be read.
        """
        path = folder / SELF_TEST_DIR / _EXPECTED
        try:
            stored = given_files.read_json(path)
            images = tuple(_read_image(path.parent, one["file"]) for one in stored["images"])
            expected = tuple(_detections(one, image) for one, image in zip(stored["images"], images, strict=True))
            return cls(images, expected, float(stored["min_score"]), Tolerance(**stored["tolerance"]))
        except FileNotFoundError as error:
            raise SelfTestError(
                f"{error.filename}: no such file; a model that TFOD or an earlier version exported has no self-test: "
                "export it again."
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SelfTestError(f"{path}: cannot be read ({error}); copy or export the model again.") from error

    def write(self, folder: pathlib.Path) -> None:
        """Writes it into a model folder that is being made."""
        target = folder / SELF_TEST_DIR
        target.mkdir()
        rows = []
        for number, (image, detections) in enumerate(zip(self.images, self.expected, strict=True), start=1):
            name = f"drawn_{number}.png"
            Image.fromarray(image).save(target / name)
            boxes = detections.boxes.astype(float).round(3).tolist()
            scores = detections.raw_scores.astype(float).round(6).tolist()
            cells = zip(boxes, detections.classes.tolist(), scores, strict=True)
            found = [{"box": box, "class": class_id, "score": score} for box, class_id, score in cells]
            rows.append({"file": name, "detections": found})
        tolerance = dataclasses.asdict(self.tolerance)
        contents = {"format": 1, "min_score": self.min_score, "tolerance": tolerance, "images": rows}
        atomic_write.write_json(target / _EXPECTED, contents)

    def run(self, detector: ImageDetector) -> DetectionDifferences:
        """How far what a model finds now is from what is expected."""
        differences = DetectionDifferences(self.min_score)
        for image, expected in zip(self.images, self.expected, strict=True):
            differences.add(expected, detector.detect(image))
        return differences

    def faults(self, differences: DetectionDifferences) -> list[str]:
        """What exceeds the tolerance, in words; [] when nothing does."""
        allowed, found = self.tolerance, differences
        faults = []
        if found.missing_fraction > allowed.missing_fraction:
            faults.append(
                f"{found.num_missing} of {found.num_cells} detections (the export's and today's) are missing in the "
                f"other run (allowed {allowed.missing_fraction:.0%})"
            )
        if found.largest_score > allowed.largest_score:
            faults.append(f"a score differs by {found.largest_score:.3g} (allowed {allowed.largest_score:g})")
        if found.largest_box_px > allowed.largest_box_px:
            faults.append(f"a box differs by {found.largest_box_px:.3g} px (allowed {allowed.largest_box_px:g})")
        return faults


def detections_of(outputs: Mapping[str, np.ndarray], image: np.ndarray) -> Detections:
    """One image's detections from TFOD's outputs for a batch of it alone.

    Args:
      outputs: detection_boxes [1, R, 4] ymin, xmin, ymax, xmax normalized, detection_scores and detection_classes
        [1, R], num_detections [1].
      image: uint8 [H, W, 3].
    """
    (height, width), number = image.shape[:2], int(outputs["num_detections"][0])
    boxes = np.clip(outputs["detection_boxes"][0, :number], 0, 1) * [height, width, height, width]
    classes = np.round(outputs["detection_classes"][0, :number])
    return Detections("", width, height, boxes, classes, outputs["detection_scores"][0, :number])


def _read_image(folder: pathlib.Path, name: str) -> np.ndarray:
    if not inner_paths.is_plain_name(name):
        raise ValueError(f"{name!r} is not the name of a file beside it")
    with Image.open(folder / name) as image:
        return np.asarray(image.convert("RGB"))


def _detections(stored: Mapping, image: np.ndarray) -> Detections:
    cells = stored["detections"]
    boxes, classes, scores = (np.array([cell[key] for cell in cells]) for key in ("box", "class", "score"))
    return Detections("", image.shape[1], image.shape[0], boxes.reshape(-1, 4), classes, scores)
