"""A detector without a network: one cell on every image, and images at which it ends its process, as a decoder may."""

import os
import pathlib
import signal

import numpy as np

from tfod_csf.detections import Detections
from tfod_csf.inference.image_detector import DetectionFailedError
from tfod_csf.label_map import label_map_from_names

CLASSES = ("lymphocyte", "monocyte", "neutrophil", "erythrocyte")
DEADLY = 13  # gray value
DEADLY_ONCE = 14
ONCE = "TFOD_CSF_TEST_DEADLY_ONCE"  # variable with the path of a file; while it is there, DEADLY_ONCE is deadly


class ConstantDetector:
    """Finds a lymphocyte of the score 0.9, in a place that depends on the image's gray value."""

    name = "constant"
    fingerprint = "0" * 64
    label_map = label_map_from_names(CLASSES)
    max_detections_per_class = None
    temperature = 1.0

    def decode_jpeg(self, jpeg: bytes) -> np.ndarray | None:
        """None: JPEGs are decoded by Pillow."""
        return None

    def detect(self, pixels: np.ndarray, image: str = "", jpeg: bytes | None = None) -> Detections:
        """The cell, or the end of this process."""
        gray = int(pixels[0, 0, 0])
        once = pathlib.Path(os.environ.get(ONCE, "/nonexistent"))
        if gray == DEADLY or (gray == DEADLY_ONCE and once.exists()):
            once.unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return Detections(
            image=image,
            width=pixels.shape[1],
            height=pixels.shape[0],
            boxes=np.array([[1.0, gray % 50, 21.0, gray % 50 + 20]]),
            classes=np.array([1], np.int32),
            scores=np.array([0.9], np.float32),
            multiclass_scores=np.array([[0.1, 0.9, 0, 0, 0]], np.float32),
        )


class CountingDetector(ConstantDetector):
    """Counts how often it was asked; fails when `fails` is set."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False

    def detect(self, pixels: np.ndarray, image: str = "", jpeg: bytes | None = None) -> Detections:
        """The cell, or a failure."""
        self.asked += 1
        if self.fails:
            raise DetectionFailedError("no memory")
        return super().detect(pixels, image, jpeg)
