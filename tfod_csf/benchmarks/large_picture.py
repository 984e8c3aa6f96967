"""Memory and time that a scan needs: a synthetic one is written, cut into tiles, and its cells are counted.

    python -m tfod_csf.benchmarks.large_picture /tmp/scan --side_px 20000

The detector takes what is dark for a cell and needs no TensorFlow: what is measured is reading, cutting, merging and
drawing. The scan (a tiled TIFF, JPEG, of repeated synthetic fields of 2592 x 1944 pixels) is written by a process of
its own, and removed at the end.
"""

import argparse
import pathlib
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import ndimage

from tfod_csf.detections import Detections
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.runs import batch_run
from tfod_csf.label_map import label_map_from_names
from tfod_csf.problems import ProblemLog
from tfod_csf.synthetic import slides

FIELD = slides.FieldSettings(width_px=2592, height_px=1944)
BLOCK_PX = 256
_NUM_FIELDS = 4
_LEAST_SIDE_PX = 40
_DARK = 140  # gray level; an empty slide has 190 or more


class DarkCells:
    """A detector without a network: dark regions, all of one class; see `ImageDetector`."""

    name = fingerprint = "dark_cells"
    label_map = label_map_from_names(["lymphocyte"])
    max_detections_per_class = None
    temperature = 1.0

    def decode_jpeg(self, jpeg: bytes) -> None:
        """None: JPEGs are decoded by Pillow."""

    def detect(self, pixels: np.ndarray, image: str = "", *, jpeg: bytes | None = None) -> Detections:
        """The dark regions of an image."""
        shade = ndimage.uniform_filter(pixels[:, :, 1], 5)
        labels, _ = ndimage.label(shade < _DARK)
        boxes = np.array([[y.start, x.start, y.stop, x.stop] for y, x in ndimage.find_objects(labels)]).reshape(-1, 4)
        boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=10**6) >= _LEAST_SIDE_PX]
        number = len(boxes)
        return Detections(image, pixels.shape[1], pixels.shape[0], boxes, np.ones(number), np.full(number, 0.9))


def write_scan(path: pathlib.Path, side_px: int) -> None:
    """Writes a tiled TIFF of side_px x side_px pixels, one row of its blocks in memory at a time."""
    import tifffile

    patient = slides.plan_patients(1, seed=11)[0]  # few white cells, which seldom touch
    fields = [slides.render_field(patient, number, FIELD)[0] for number in range(_NUM_FIELDS)]
    num_blocks = -(-side_px // BLOCK_PX)

    def blocks() -> Iterator[np.ndarray]:
        for y in range(0, num_blocks * BLOCK_PX, BLOCK_PX):
            rows = np.arange(y, y + BLOCK_PX)
            for x in range(0, num_blocks * BLOCK_PX, BLOCK_PX):
                columns = np.arange(x, x + BLOCK_PX)
                field = fields[(y // FIELD.height_px + x // FIELD.width_px) % _NUM_FIELDS]
                yield field[np.ix_(rows % FIELD.height_px, columns % FIELD.width_px)]

    shape = {"shape": (side_px, side_px, 3), "dtype": np.uint8, "tile": (BLOCK_PX, BLOCK_PX)}
    tifffile.imwrite(path, blocks(), photometric="rgb", compression="jpeg", bigtiff=True, **shape)


def measure(folder: pathlib.Path, tile_size: str, tile_overlap: int, draw: bool) -> str:
    """Counts the cells of the scans in folder/images and says what that took."""
    started, cpu = time.perf_counter(), time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    problems = ProblemLog(quiet=True)
    settings = batch_run.RunSettings(str(folder / "images"), draw=draw, tile_size=tile_size, tile_overlap=tile_overlap)
    done = batch_run.run(
        settings,
        lambda: [DarkCells()],
        ScoreThresholds(),
        folder / f"out_{tile_size}",
        problems,
        write_differentials=lambda folder, record: None,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cells = sum(summary.cells.get(DarkCells.name, 0) for summary in done.result.summaries.values())
    return (
        f"tiles of {tile_size}, overlap {tile_overlap}: {cells} cells, {time.perf_counter() - started:.0f} s "
        f"({time.process_time() - cpu:.0f} s of CPU), {before / 1024:.0f} MiB before, at most {peak / 1024:.0f} MiB; "
        f"{problems.summary()}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the scan, measures each way to cut it in a process of its own, and removes everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="new folder for the scan and the results; removed at the end")
    parser.add_argument("--side_px", type=int, default=20_000)
    parser.add_argument("--tiles", default="2592x1944,1944x1944", help="sizes of tiles, with commas")
    parser.add_argument("--overlap", type=int, default=500)
    parser.add_argument("--draw", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--write", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.write:
        write_scan(options.write, options.side_px)
        return
    if options.measure:
        print(measure(options.folder, options.measure, options.overlap, options.draw), flush=True)
        return
    options.folder.mkdir(parents=True)  # refuses one that is there, because it is removed at the end
    scan = options.folder / "images" / "patient" / "scan.tif"
    try:
        scan.parent.mkdir(parents=True)
        # What this process needs would count as needed by those that it starts.
        run = [sys.executable, "-m", "tfod_csf.benchmarks.large_picture", str(options.folder)]
        subprocess.run([*run, "--side_px", str(options.side_px), "--write", str(scan)], check=True)
        print(f"{options.side_px} x {options.side_px} pixels, {scan.stat().st_size / 1e6:.0f} MB", flush=True)
        for tile_size in options.tiles.split(","):
            own = ["--overlap", str(options.overlap), "--draw" if options.draw else "--no-draw", "--measure", tile_size]
            subprocess.run([*run, *own], check=True)
    finally:
        shutil.rmtree(options.folder)


if __name__ == "__main__":
    main()
