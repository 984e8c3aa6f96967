"""What archive_infer costs beside batch_infer, and whether its memory grows with the number of patients.

    python -m tfod_csf.benchmarks.archive_overhead --model=exported_models/csf --patients=10000 --num_processes=2

Makes tiny patients of one image each (96 x 72 pixels, gray), runs both commands over them, and prints for each the
seconds and CPU seconds, and for archive_infer the memory (proportional set size) of the command, of Beam's process and
of the workers during the run. Run it with the Python of an environment that has the extra [archive].
"""

import argparse
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np
from PIL import Image

_INTERVAL = 5.0  # s between two looks at the memory
_PARTS = {"beam_pipeline": "Beam's process", "sdk_worker_main": "workers", "archive_infer": "command"}


def make_patients(folder: pathlib.Path, number: int) -> None:
    """Writes patients of one gray image each; no two are the same picture."""
    for patient in range(number):
        path = folder / f"p{patient:06d}" / "a.png"
        path.parent.mkdir(parents=True)
        pixels = np.full([72, 96, 3], patient % 256, np.uint8)
        pixels[0, :3, 0] = [patient // 65536, patient // 256 % 256, patient % 256]
        Image.fromarray(pixels).save(path)


def _descendants(process: int) -> Iterator[int]:
    """The process and those that it has started."""
    yield process
    try:
        for task in pathlib.Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _descendants(int(child))
    except OSError:
        return  # ended in the meantime


def _megabytes(process: int) -> dict[str, float]:
    """{part: MB} of a running archive_infer."""
    found = dict.fromkeys(_PARTS.values(), 0.0)
    for one in _descendants(process):
        try:
            command = pathlib.Path(f"/proc/{one}/cmdline").read_text()
            lines = pathlib.Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        part = next((name for word, name in _PARTS.items() if word in command), None)
        if part:
            found[part] += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0) / 1024
    return found


def measure(command: list[str]) -> tuple[float, float, list[tuple[float, dict[str, float]]]]:
    """(seconds, CPU seconds, [(seconds from the start, MB of each part)]) of a command with those that it starts."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "tfod_csf", *command], stdout=subprocess.DEVNULL)
    memory = []
    while process.poll() is None:
        time.sleep(_INTERVAL)
        memory.append((time.perf_counter() - started, _megabytes(process.pid)))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with status {process.returncode}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu, memory


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--patients", type=int, default=10_000)
    parser.add_argument("--num_processes", type=int, default=2)
    parser.add_argument("--images_dir", help="patients to take instead of tiny ones")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = arguments.images_dir or os.path.join(folder, "images")
        if not arguments.images_dir:
            make_patients(pathlib.Path(images), arguments.patients)
        flags = [f"--model={arguments.model}", f"--images_dir={images}", "--nodraw"]
        archive = ["archive_infer", *flags, f"--output_dir={folder}/many", f"--num_processes={arguments.num_processes}"]
        one, one_cpu, _ = measure(["batch_infer", *flags, f"--output_dir={folder}/one"])
        many, many_cpu, memory = measure(archive)
    ratios = f"{many / one:.2f} of batch_infer, CPU {many_cpu / one_cpu:.2f}"
    print(f"batch_infer:   {one:.1f} s, {one_cpu:.1f} CPU s")
    print(f"archive_infer: {many:.1f} s, {many_cpu:.1f} CPU s ({ratios})")
    step = max(1, len(memory) // 20)
    for seconds, parts in memory[::step]:
        print(f"{seconds:7.0f} s  " + "  ".join(f"{part} {megabytes:.0f} MB" for part, megabytes in parts.items()))


if __name__ == "__main__":
    main()
