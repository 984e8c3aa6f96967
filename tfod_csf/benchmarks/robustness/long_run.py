"""Memory, open files and speed of batch_infer over many small images: do they stay the same?

    python -m tfod_csf.benchmarks.robustness.long_run --images=10000

Writes images of 96 x 72 pixels in patients of 100, and a model that finds 12 cells on each in no time, so that what is
measured is everything around the model. Prints a line for each tenth of the run.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

import numpy as np
import psutil
from PIL import Image

from tfod_csf import run_folder
from tfod_csf.benchmarks.robustness import trials

_OF_A_PATIENT = 100
_LINES = 10


def write_images(folder: pathlib.Path, num_images: int) -> None:
    """Noise, every image another, in patients of 100."""
    rng = np.random.default_rng(1)
    for number in range(num_images):
        path = folder / f"patient_{number // _OF_A_PATIENT:05d}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, [72, 96, 3], np.uint8)).save(path)


def measure(command: Sequence[str], output_dir: pathlib.Path, num_images: int) -> Iterator[dict[str, float]]:
    """Runs batch_infer and looks at its process after each tenth of the patients.

    Yields:
      Rows with images, memory_mb (resident), open_files and seconds_per_image (since the row before).

    Raises:
      RuntimeError: the run failed.
    """
    log = output_dir.with_name("log.txt")
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=trials.environment())
    watched, tenths = psutil.Process(process.pid), 0
    num_patients = -(-num_images // _OF_A_PATIENT)
    done, since = 0, 0.0
    while process.poll() is None:
        time.sleep(0.05)
        finished = len(list(output_dir.glob(f"{run_folder.PATIENTS_DIR}/*/stamp.json")))
        if finished and not since:
            done, since = finished, time.monotonic()  # TensorFlow has started, the first patient is done
        if finished < num_patients * (tenths + 1) / _LINES or finished <= done:
            continue
        try:
            memory, files = watched.memory_info().rss / 2**20, watched.num_fds()
        except psutil.NoSuchProcess:
            break
        seconds = (time.monotonic() - since) / ((finished - done) * _OF_A_PATIENT)
        yield {
            "images": finished * _OF_A_PATIENT,
            "memory_mb": memory,
            "open_files": files,
            "seconds_per_image": seconds,
        }
        tenths += 1
        done, since = finished, time.monotonic()
    if process.returncode:
        raise RuntimeError(f"batch_infer ended with {process.returncode}: {log.read_text(errors='replace')[-1000:]}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000, help="number of images (default 10,000)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="long_run_") as temporary:
        folder = pathlib.Path(temporary)
        write_images(folder / "images", options.images)
        code = "from tfod_csf.benchmarks.robustness import trials; import sys; trials.save_grid_model(sys.argv[1])"
        subprocess.run([sys.executable, "-c", code, str(folder / "model")], check=True, env=trials.environment())
        flags = [f"--images_dir={folder / 'images'}", f"--model={folder / 'model'}", f"--output_dir={folder / 'run'}"]
        command = [sys.executable, "-m", "tfod_csf", "batch_infer", *flags]
        print("| images | memory, MB | open files | seconds per image |\n|---|---|---|---|")
        for row in measure(command, folder / "run", options.images):
            numbers = f"{row['images']:,} | {row['memory_mb']:.0f} | {row['open_files']}"
            print(f"| {numbers} | {row['seconds_per_image']:.4f} |", flush=True)


if __name__ == "__main__":
    main()
