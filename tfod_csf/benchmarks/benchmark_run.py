"""All parts of a benchmark, each in a process of its own, and benchmark.csv.

In a process of its own, the peak memory is that of the part alone, and no part warms up the next one, slows it down or
takes memory from it.
"""

import concurrent.futures
import dataclasses
import datetime
import functools
import importlib.metadata
import multiprocessing
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool

from tfod_csf import __version__
from tfod_csf.benchmarks import machine, parts
from tfod_csf.benchmarks.parts import BenchmarkOptions, Job
from tfod_csf.config import network_presets
from tfod_csf.errors import UserError
from tfod_csf.files import csv_schemas
from tfod_csf.model_folder import ModelFolder
from tfod_csf.progress_bar import progress_bar
from tfod_csf.synthetic import slides

NETWORK_PARTS = ("input_pipeline", "training_step", "inference")
_MAX_IMAGES_PER_PATIENT = 15  # as many as the study has of a patient


class BenchmarkError(UserError):
    """A part that cannot be measured."""


def run(options: BenchmarkOptions, output_csv: str | os.PathLike, say: Callable[[dict], None]) -> list[dict]:
    """Measures all parts and rewrites benchmark.csv after each, so that an interrupted run keeps its results.

    Args:
      options: what to measure.
      output_csv: the table.
      say: called with each row as soon as it is measured.

    Raises:
      UserError: a network, size or exported model that cannot be used, or a part that ran out of memory.
    """
    presets = {name: network_presets.network_preset(name, options.input_size).name for name in options.networks}
    for model in options.models:
        ModelFolder.open(model, options.trust)
    jobs = list(_jobs(options))
    if not jobs:
        raise BenchmarkError("there is nothing to measure; name --parts and --networks, or exported --models.")
    about = dataclasses.asdict(machine.describe()) | {
        "image_width_px": options.image_width,
        "image_height_px": options.image_height,
        "tensorflow": importlib.metadata.version("tensorflow"),
        "tfod_csf": __version__,
    }
    rows = []
    with tempfile.TemporaryDirectory(prefix="tfod_csf_benchmark_") as work_dir, progress_bar(jobs, unit="part") as bar:
        _synthesize_slides(options, pathlib.Path(work_dir) / "slides")
        _in_new_process("record_writing", functools.partial(parts.write_records, work_dir))
        for job in bar:
            bar.set_description(str(job))
            started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
            before = {"started": started, "load_average": machine.load_average()}
            named = dataclasses.asdict(job) | {"network": presets.get(job.network)}
            for measured in _in_new_process(str(job), functools.partial(parts.run, job, options, work_dir)):
                rows.append(named | before | about | measured)
                say(rows[-1])
            csv_schemas.load("benchmark").write(output_csv, rows)
    return rows


def describe(row: dict) -> str:
    """One line about a row of benchmark.csv."""
    what = " ".join(row[name] for name in ("part", "network", "compute_dtype", "model") if row.get(name))
    text = (
        f"{what}: {row['images_per_second']:.2f} images/s, {row['seconds_per_image']:.3f} s per image "
        f"({row['cpu_seconds_per_image']:.3f} s CPU), {row['peak_memory_mb']:.0f} MiB"
    )
    if "percent_of_matmul" in row:
        text += (
            f", {row['gflop_per_image']:.1f} GFLOP per image at {row['percent_of_matmul']:.0f} % of the matrix "
            f"product's speed ({row['cpu_percent_of_matmul']:.0f} % by CPU time)"
        )
    if "network_percent" in row:
        than = f"{row['compared_workers']} workers" if row["compared_workers"] else "in turn"
        text += (
            f", the network has {row['network_percent']:.0f} % of the time; {row['workers']} workers are "
            f"{row['times_compared']:.2f} times as fast as {than}"
        )
    if "map" in row:
        text += f", mAP {row['map']:.4f}"
    if "map_change" in row:
        text += (
            f" ({row['map_change']:+.4f}), {row['speed_ratio']:.2f} times as fast ({row['cpu_speed_ratio']:.2f} by CPU "
            f"time); {_percentage_changes(row)}; scores differ by up to {row['score_difference']:.3f}, boxes by up to "
            f"{row['box_difference_px']:.1f} px; {row['cells_missing']} of {row['cells_compared']} cells are missing"
        )
    return text


def _percentage_changes(row: dict) -> str:
    if row["percent_change"] is None:
        return "too few white cells for percentages"
    text = f"percentages of all images together change by up to {row['percent_change']:.1f} points"
    if row["patient_percent_change"] is not None:
        text += f", of {row['patients_compared']} patients by up to {row['patient_percent_change']:.1f}"
    return text


def _jobs(options: BenchmarkOptions) -> Iterator[Job]:
    if "record_writing" in options.parts:
        yield Job("record_writing")
    for network in options.networks:
        for part in NETWORK_PARTS:
            if part in options.parts:
                dtypes = {"inference": options.compute_dtypes, "input_pipeline": [""]}.get(part, ["float32"])
                yield from (Job(part, network, dtype) for dtype in dtypes)
    if "formats" in options.parts and options.input_path:
        yield Job("formats")
    if "exported_model" in options.parts:
        yield from (Job("exported_model", model=model) for model in options.models)
    if "end_to_end" in options.parts:
        yield from (Job("end_to_end", model=model) for model in options.models)
    if "stand_in" in options.parts:
        yield Job("stand_in")


def _synthesize_slides(options: BenchmarkOptions, folder: pathlib.Path) -> None:
    num_patients = -(-options.num_images // _MAX_IMAGES_PER_PATIENT)
    field = slides.FieldSettings(options.image_width, options.image_height)
    slides.synthesize(folder, num_patients, -(-options.num_images // num_patients), settings=field)


def _in_new_process(what: str, function: Callable[[], object]):
    # Spawned, not forked: a copy of this process would count this one's memory as its own.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        try:
            return executor.submit(function).result()
        except BrokenProcessPool as error:
            raise BenchmarkError(
                f"the process that measured {what} was killed, most likely for lack of memory; try --batch_size=1, a "
                "smaller --input_size or fewer --max_proposals."
            ) from error
