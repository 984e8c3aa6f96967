"""Boxes that the input pipeline cannot pass on are counted and reported, never dropped silently."""

import collections
import logging
import threading

import tensorflow as tf

_log = logging.getLogger("tfod_csf")

MAX_NAMED_IMAGES = 10


class LeftOutBoxes:
    """Collects, for each reason, which images lost how many boxes.

    Each image is named once in a warning, up to MAX_NAMED_IMAGES for a reason; later ones are only counted.

    Attributes:
      boxes: reason -> {image's source_id: number of boxes it loses each time it is read}.
    """

    def __init__(self) -> None:
        self.boxes: dict[str, dict[str, int]] = collections.defaultdict(dict)
        self._lock = threading.Lock()  # tf.data reads images in several threads

    def note(self, num_boxes: tf.Tensor, source_id: tf.Tensor, reason: str) -> None:
        """Notes a loss from within a tf.data function; nothing happens where num_boxes (scalar) is 0."""

        def add() -> tf.Operation:
            return tf.py_function(lambda *lost: self._add(reason, *lost), [source_id, num_boxes], [])

        tf.cond(num_boxes > 0, lambda: [add(), tf.constant(True)][1], lambda: tf.constant(False))

    def _add(self, reason: str, source_id: tf.Tensor, num_boxes: tf.Tensor) -> None:
        image = source_id.numpy().decode("utf-8", "replace")
        with self._lock:
            images = self.boxes[reason]
            if image not in images:
                images[image] = int(num_boxes)
                self._say(image, len(images), images[image], reason)

    def _say(self, image: str, number: int, num_boxes: int, reason: str) -> None:
        """Names the image, which is the number-th, or says that no further one is named."""
        if number <= MAX_NAMED_IMAGES:
            plural = "es are" if num_boxes > 1 else " is"
            _log.warning("%s: %d box%s ignored: %s", image or "image without a name", num_boxes, plural, reason)
        if number == MAX_NAMED_IMAGES:
            _log.warning("Further images that lose boxes for this reason are not named.")
