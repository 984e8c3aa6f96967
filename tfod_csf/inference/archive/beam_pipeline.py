"""The pipeline on Apache Beam: a list of patients, spread over machines, each patient examined where the models are.

    python -m tfod_csf.inference.archive.beam_pipeline OUT/archive/job.json --runner=... [further options of Beam]

What moves between machines is one line of text per patient (`PatientWork`): no pixels, no results. Every process loads
the models once and reads images and writes results in the shared folders itself, so that Beam decides only who examines
which patient, and sends a patient out again when a process or machine is lost. Beam's own handler of TensorFlow models
loads with Keras, which cannot load TFOD's SavedModels; `ExaminingModelHandler` uses the detector of batch_infer.

The only module that imports Beam (the extra [archive]).
"""

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write
from tfod_csf.inference.archive import local_workers
from tfod_csf.inference.archive.archive_job import ArchiveJob, PatientWork
from tfod_csf.inference.archive.patient_worker import PatientWorker


class ExaminingModelHandler(ModelHandler[str, str, PatientWorker]):
    """Beam's view of the models: loaded once per process, shared by its threads, fed with one patient at a time.

    Args:
      job: path of job.json.
    """

    def __init__(self, job: str):
        super().__init__()
        self._job = job

    def load_model(self) -> PatientWorker:
        """Loads the models of the job with `tf.saved_model.load`."""
        job = ArchiveJob.read(self._job)
        with _reported(job):
            return PatientWorker.open(job)

    def run_inference(
        self, batch: Sequence[str], model: PatientWorker, inference_args: Mapping[str, Any] | None = None
    ) -> Iterable[str]:
        """Examines the patients of a batch; yields the names of their folders."""
        for line in batch:
            work = PatientWork.from_line(line)
            with _reported(ArchiveJob.read(self._job)):
                model.examine(work)
            yield work.folder

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """A batch is one patient, which is work enough; what waits for others to fill a batch would be lost time."""
        return {"min_batch_size": 1, "max_batch_size": 1}


class _reported:
    """Context manager: what no further attempt would repair is written down for the command, which then ends.

    That is a user's mistake, and here a full disk or a share that is gone; of many machines, that may be one's alone.
    """

    def __init__(self, job: ArchiveJob):
        self._job = job

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, UserError if self._job.runner else (UserError, OSError)):
            atomic_write.write_text(self._job.error, f"{error}\n")


def _lines(path: str) -> Iterator[str]:
    with open(path, encoding="utf-8") as file:
        yield from (line.rstrip("\n") for line in file)


def build(pipeline: beam.Pipeline, job_path: str) -> None:
    """Adds the steps. The list is read on a machine of the pipeline: in the pipeline itself it would be too large."""
    work_list = str(ArchiveJob.read(job_path).work_list)
    _ = (
        pipeline
        | "List" >> beam.Create([work_list])
        | "Patients" >> beam.FlatMap(_lines)
        | "Spread" >> beam.Reshuffle()
        | "Examine" >> RunInference(ExaminingModelHandler(job_path))
    )


def main(arguments: Sequence[str]) -> None:
    """Runs the pipeline to its end.

    Args:
      arguments: path of job.json, then options of Beam.
    """
    logging.getLogger().setLevel(logging.INFO)
    local_workers.end_with_parent()
    local_workers.end_with_a_lost_worker(ArchiveJob.read(arguments[0]))
    local_workers.listen_on_loopback_only()
    with beam.Pipeline(options=PipelineOptions(list(arguments[1:]))) as pipeline:
        build(pipeline, arguments[0])


if __name__ == "__main__":
    main(sys.argv[1:])
