"""The parts of a benchmark: what is measured for one row of benchmark.csv, in a process of its own."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from tfod_csf import worker_pool
from tfod_csf.benchmarks import machine
from tfod_csf.config.protos import pipeline_pb2

_MAX_IMAGES_OF_EXPORTED_MODEL = 5
_STAND_IN_SECONDS = 0.02  # about what a GPU takes for an image


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions:
    """What to measure, and how; names and meanings are those of the command's flags."""

    parts: Sequence[str]
    networks: Sequence[str]
    compute_dtypes: Sequence[str] = ("float32",)
    models: Sequence[str] = ()
    trust: bool = False
    input_path: str = ""
    max_images: int = 100
    input_size: str = ""
    max_proposals: int = 300
    batch_size: int = 4
    num_images: int = 40
    image_width: int = 640
    image_height: int = 480
    repeats: int = 7
    seconds: float = 5.0


@dataclasses.dataclass(frozen=True)
class Job:
    """One row of benchmark.csv; fields that do not apply to the part are empty."""

    part: str
    network: str = ""
    compute_dtype: str = ""
    model: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.part, self.network, self.compute_dtype, self.model)))


def write_records(work_dir: str) -> None:
    """Writes the synthetic slides of work_dir/slides as records, which the parts read from work_dir/records."""
    from tfod_csf.benchmarks import record_writing

    record_writing.write(f"{work_dir}/slides", f"{work_dir}/records")


def run(job: Job, options: BenchmarkOptions, work_dir: str) -> list[dict]:
    """The columns of benchmark.csv that the part fills; peak memory is the process's unless the part measures it."""
    measured = PARTS[job.part](job, options, work_dir)
    rows = measured if isinstance(measured, list) else [measured]
    return [{"peak_memory_mb": machine.peak_memory_mb(), "threads": _threads()} | row for row in rows]


def _measure_record_writing(job: Job, options: BenchmarkOptions, work_dir: str) -> dict:
    from tfod_csf.benchmarks import record_writing

    return record_writing.measure(f"{work_dir}/slides", f"{work_dir}/again", options.repeats)


def _measure_input_pipeline(job: Job, options: BenchmarkOptions, work_dir: str) -> dict:
    from tfod_csf.benchmarks import input_pipeline

    config = network_config(job.network, options, work_dir)
    records = list(config.train_input_reader.tf_record_input_reader.input_path)
    return input_pipeline.measure(records, config, options.seconds, options.repeats)


def _measure_training_step(job: Job, options: BenchmarkOptions, work_dir: str) -> dict:
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as in model_main_tf2
    from tfod_csf.benchmarks import train_step

    row = train_step.measure(network_config(job.network, options, work_dir), options.repeats)
    return row | {"max_proposals": options.max_proposals}


def _measure_inference(job: Job, options: BenchmarkOptions, work_dir: str) -> dict:
    from tfod_csf.benchmarks import forward_pass

    config = network_config(job.network, options, work_dir)
    row = forward_pass.measure(config.model, _images(work_dir)[0], job.compute_dtype, options.repeats)
    return row | {"max_proposals": options.max_proposals}


def _measure_exported_model(job: Job, options: BenchmarkOptions, work_dir: str) -> dict:
    from tfod_csf.benchmarks import detector
    from tfod_csf.model_folder import ModelFolder

    return detector.measure(
        ModelFolder.open(job.model, options.trust), _images(work_dir)[:_MAX_IMAGES_OF_EXPORTED_MODEL], options.repeats
    ) | {"batch_size": 1}


def _measure_end_to_end(job: Job, options: BenchmarkOptions, work_dir: str) -> dict:
    from tfod_csf.benchmarks import end_to_end
    from tfod_csf.inference.detector import Detector
    from tfod_csf.model_folder import ModelFolder

    detector = Detector.open(ModelFolder.open(job.model, options.trust))
    slides, workers = pathlib.Path(work_dir, "slides"), worker_pool.available_cores()
    return end_to_end.measure(detector, slides, workers, 0, options.repeats) | {"batch_size": 1}


def _measure_stand_in(job: Job, options: BenchmarkOptions, work_dir: str) -> dict:
    from tfod_csf.benchmarks import end_to_end

    detector, slides = end_to_end.StandInNetwork(_STAND_IN_SECONDS), pathlib.Path(work_dir, "slides")
    return end_to_end.measure(detector, slides, worker_pool.available_cores(), 1, options.repeats) | {"batch_size": 1}


def _measure_formats(job: Job, options: BenchmarkOptions, work_dir: str) -> list[dict]:
    from tfod_csf.benchmarks import formats
    from tfod_csf.model_folder import ModelFolder

    folders = [ModelFolder.open(model, options.trust) for model in options.models]
    rows = formats.measure(folders, options.input_path, options.max_images)
    return [row | {"image_width_px": None, "image_height_px": None} for row in rows]


# In the order in which they are measured.
PARTS: dict[str, Callable[[Job, BenchmarkOptions, str], dict | list[dict]]] = {
    "record_writing": _measure_record_writing,
    "input_pipeline": _measure_input_pipeline,
    "training_step": _measure_training_step,
    "inference": _measure_inference,
    "exported_model": _measure_exported_model,
    "end_to_end": _measure_end_to_end,
    "stand_in": _measure_stand_in,
    "formats": _measure_formats,
}


def network_config(network: str, options: BenchmarkOptions, work_dir: str) -> pipeline_pb2.TrainEvalPipelineConfig:
    """The paper's config for that network, size and number of proposals, on the records in work_dir."""
    from tfod_csf.config import detection_limits, network_presets, paper_settings

    limits = dataclasses.replace(detection_limits.limits_for(0), first_stage_max_proposals=options.max_proposals)
    records = f"{work_dir}/records"
    return paper_settings.generate(
        network_presets.network_preset(network, options.input_size),
        paper_settings.Records(
            4, f"{records}/label_map.pbtxt", f"{records}/train.record-*", f"{records}/test.record-*"
        ),
        paper_settings.Training(batch_size=options.batch_size, fine_tune_checkpoint=""),
        limits,
    )


def _images(work_dir: str) -> list[np.ndarray]:
    """The synthetic slides, uint8 [H, W, 3] RGB."""
    return [
        np.asarray(Image.open(path).convert("RGB")) for path in sorted(pathlib.Path(work_dir).glob("slides/*/*.jpg"))
    ]


def _threads() -> int:
    """Threads that TensorFlow spreads one operation over."""
    import tensorflow as tf

    return tf.config.threading.get_intra_op_parallelism_threads() or machine.describe().cores
