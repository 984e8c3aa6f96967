"""A command in a process that kills itself at a chosen moment; `kill_and_rerun` starts it.

    python -m tfod_csf.benchmarks.robustness.killed_command --below=FOLDER --kill_at=7 -- report --inference_dir=...

Each time the command is about to change the file system below FOLDER is counted: opening a file for writing, renaming,
removing, linking, making a folder, exchanging two. At the given number the process and its group are killed, as by
kill -9. What TensorFlow writes by itself is not counted.

The clock stands still, stopwatches tick once a call and random keys are constant, so that an undisturbed run and a
resumed one can be compared byte by byte.
"""

import argparse
import itertools
import os
import pathlib
import runpy
import signal
import sys
import time
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfod_csf import provenance
from tfod_csf.detections import Detections
from tfod_csf.model_folder import ModelFolder, fingerprint

_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_LEAST_AREA_PX = 20
_STANDING_CLOCK = "2022-01-24T09:30:00+08:00"


class ChangeCounter:
    """An audit hook that counts changes of the file system below a folder.

    Args:
      folder: absolute path.
      kill_at: number of the change, from 1, before which the process is killed; 0 never.
    """

    def __init__(self, folder: str, kill_at: int):
        self._folder, self._kill_at = folder, kill_at
        self.count = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._is_change(event, arguments):
            return
        self.count += 1
        if self.count == self._kill_at:
            os.killpg(os.getpgrp(), signal.SIGKILL)

    def _is_change(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "ctypes.dlsym":
            return arguments[1] == "renameat2"
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITES):
            return False
        if event != "open" and event not in _CHANGES:
            return False
        path = arguments[0]
        return isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(self._folder)


class DarkCells:
    """A detector that needs no TensorFlow: what is darker than the slide is a cell, its class and score by its shade.

    See `image_detector.ImageDetector`.
    """

    def __init__(self, folder: ModelFolder):
        self.name, self.label_map = folder.name, folder.label_map
        self.fingerprint = fingerprint(folder.network_dir)
        self.max_detections_per_class = None
        self.temperature = 1.0

    def decode_jpeg(self, jpeg: bytes) -> np.ndarray | None:
        """None: JPEGs are decoded by Pillow."""
        return None

    def detect(self, pixels: np.ndarray, image: str = "", jpeg: bytes | None = None) -> Detections:
        """The dark regions of an image."""
        from scipy import ndimage

        shade = pixels.mean(axis=2)
        labels, _ = ndimage.label(shade < np.median(shade) - 25)
        boxes, shades = [], []
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
            region = labels[rows, columns] == number
            if region.sum() >= _LEAST_AREA_PX:
                boxes.append([rows.start, columns.start, rows.stop, columns.stop])
                shades.append(shade[rows, columns][region].mean())
        num_classes = len(self.label_map)
        classes = np.array([int(value) % num_classes for value in shades], int)
        best = 0.55 + 0.4 * (np.array(shades) % 1)
        scores = np.repeat((1 - best)[:, None] / num_classes, num_classes + 1, axis=1)
        scores[np.arange(len(best)), classes + 1] = best
        height, width = pixels.shape[:2]
        return Detections(image, width, height, boxes, classes + 1, best, scores)


def _stand_still() -> None:
    """Time, keys and random names become constants."""
    import secrets

    real = secrets.token_bytes
    provenance.now = lambda: _STANDING_CLOCK
    ticks = itertools.count()
    time.perf_counter = lambda: float(next(ticks))  # one second from call to call
    secrets.token_bytes = lambda size=None: bytes(range(32)) if size == 32 else real(size)
    uuid.uuid4 = lambda: uuid.UUID(int=1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command behind "--" as the console script would."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--below", required=True, help="folder whose changes are counted")
    parser.add_argument("--kill_at", type=int, default=0, help="number of the change; 0: not at all")
    parser.add_argument("--count_into", help="file that gets the number of changes at the end")
    parser.add_argument("--dark_cells", action="store_true", help="batch_infer with a detector without TensorFlow")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    _stand_still()
    if options.dark_cells:
        from tfod_csf.inference.runs import batch_run

        batch_run.open_detectors = lambda folders, settings: [DarkCells(folder) for folder in folders]
    counter = ChangeCounter(os.path.abspath(options.below), options.kill_at)
    sys.addaudithook(counter)
    sys.argv = ["tfod_csf", *options.command]
    try:
        runpy.run_module("tfod_csf", run_name="__main__")
    finally:
        if options.count_into:
            pathlib.Path(options.count_into).write_text(str(counter.count), encoding="ascii")


if __name__ == "__main__":
    main()
