"""Checks that need no TensorFlow, one function for each thing that can be found wrong before the first step.

Each raises a `TrainingSetupError` of one sentence. preflight.py runs them, the cheapest and most often failing first.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import tarfile
from collections import Counter
from collections.abc import Sequence

from tfod_csf import model_folder
from tfod_csf.config.protos import input_reader_pb2, pipeline_pb2
from tfod_csf.data.records.record_statistics import RecordStatistics, record_statistics
from tfod_csf.errors import UserError
from tfod_csf.label_map import LabelMap, check_num_classes, load_label_map
from tfod_csf.shipped_models import by_name
from tfod_csf.training.checkpoints import run_checkpoints


class TrainingSetupError(UserError):
    """A command, config, records or folder that cannot be used for training or evaluation."""


@dataclasses.dataclass(frozen=True)
class CheckedInput:
    """One input reader after its checks.

    Attributes:
      label_map: None when the reader names none (its records then carry class numbers).
      statistics: what its records hold.
      unnamed_ids: ids up to num_classes that the label map does not name.
    """

    label_map: LabelMap | None
    statistics: RecordStatistics
    unnamed_ids: tuple[int, ...] = ()

    @property
    def absent_classes(self) -> list[str]:
        """Classes of the label map that have no box: they cannot be learned, and their AP is not defined."""
        if self.label_map is None:
            return []
        present = self._counts().keys()
        return [name for name in self.label_map.names if name not in present]

    def _counts(self) -> Counter[str]:
        """Objects by class: by the label map's name of their text or label, or as the records call them without one."""
        counts = Counter[str]()
        for text, count in (+self.statistics.objects_per_class).items():
            ids = self.statistics.class_ids[text]
            if self.label_map is None:
                name = text
            elif text in self.label_map.ids_by_text:
                name = self.label_map.name_of(self.label_map.id_of(text))
            else:
                name = self.label_map.name_of(next(iter(ids)))
            counts[name] += count
        return counts

    def digest(self) -> str:
        """32 letters that are equal for the same images with the same objects, in any order of the records."""
        return hashlib.blake2b(b"".join(sorted(self.statistics.record_digests)), digest_size=16).hexdigest()

    def describe(self) -> str:
        """For example "90 images, 2,000 boxes (lymphocyte 900, monocyte 1,100), at most 41 in one"."""
        found = self.statistics
        classes = ", ".join(f"{name} {count:,}" for name, count in sorted(self._counts().items()))
        return f"{found.num_examples:,} images, {found.num_boxes:,} boxes ({classes}), at most {found.max_boxes} in one"


def check_model_dir(model_dir: str) -> None:
    """Refuses a model_dir that is a file or cannot be written."""
    path = pathlib.Path(model_dir)
    if path.exists() and not path.is_dir():
        raise TrainingSetupError(f"--model_dir={model_dir}: is a file; name a folder for checkpoints and logs.")
    nearest = path
    while not nearest.exists():
        nearest = nearest.parent
    if not os.access(nearest, os.W_OK):
        raise TrainingSetupError(f"--model_dir={model_dir}: {nearest} cannot be written; choose another folder.")


def check_resumable(folder: str, flag: str) -> None:
    """Refuses a run's folder of which files were left behind when it was copied: training would start from 0 in it.

    Args:
      flag: that named the folder.
    """
    reason = run_checkpoints.why_not_resumable(folder)
    if reason:
        raise TrainingSetupError(f"{flag}={folder}: {reason}, or give another {flag}.")


def check_train_config(config: pipeline_pb2.TrainEvalPipelineConfig, num_workers: int) -> None:
    """Refuses numbers that cannot train, and a batch that does not divide among the machines."""
    train = config.train_config
    if train.num_steps < 1:
        raise TrainingSetupError("train_config.num_steps is 0; set it, or pass --num_train_steps.")
    if train.batch_size < 1:
        raise TrainingSetupError("train_config.batch_size is 0; it must be at least 1.")
    optimizer = train.optimizer.WhichOneof("optimizer")
    if optimizer is None:
        raise TrainingSetupError("train_config.optimizer is missing; for example rms_prop_optimizer.")
    if getattr(train.optimizer, optimizer).learning_rate.WhichOneof("learning_rate") is None:
        raise TrainingSetupError(f"train_config.optimizer.{optimizer}.learning_rate is missing.")
    check_batch_divides(train.batch_size, num_workers, f"--num_workers={num_workers}")


def check_tf_config(num_workers: int) -> None:
    """Refuses --num_workers without a TF_CONFIG that lists as many workers and says which of them this one is."""
    if num_workers < 1:
        raise TrainingSetupError(f"--num_workers={num_workers}: must be at least 1.")
    if num_workers == 1:
        return
    addresses, task = _read_tf_config(num_workers)
    workers = [address for job in ("chief", "worker") for address in addresses.get(job, [])]
    if len(workers) != num_workers:
        raise TrainingSetupError(
            f"--num_workers={num_workers}, but TF_CONFIG lists {len(workers)} workers; make them equal."
        )
    for address in workers:
        port = str(address).rpartition(":")[2]
        if ":" not in str(address) or not port.isdecimal() or not 0 < int(port) < 65536:
            raise TrainingSetupError(f"TF_CONFIG: {address!r} is not host:port with a port from 1 to 65535.")
        if workers.count(address) > 1:
            raise TrainingSetupError(f"TF_CONFIG lists {address} twice; give each worker a host and port of its own.")
    kind, index = task.get("type"), task.get("index")
    if isinstance(index, str) and index.isdecimal():
        index = int(index)  # as TensorFlow reads it
    if kind not in addresses or type(index) is not int or not 0 <= index < len(addresses[kind]):
        jobs = ", ".join(f"{job} 0 to {len(hosts) - 1}" for job, hosts in addresses.items())
        raise TrainingSetupError(
            f"TF_CONFIG: task is {kind} {index}, but the cluster has {jobs}; give every machine its own index, from 0."
        )


def _read_tf_config(num_workers: int) -> tuple[dict[str, list], dict]:
    """The cluster's addresses by job, and this worker's task."""
    example = '{"cluster": {"worker": ["host1:port", "host2:port"]}, "task": {"type": "worker", "index": 0}}'
    try:
        tf_config = json.loads(os.environ.get("TF_CONFIG", ""))
        addresses = {job: list(hosts) for job, hosts in tf_config["cluster"].items()}
        return addresses, dict(tf_config["task"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingSetupError(
            f"--num_workers={num_workers} needs the environment variable TF_CONFIG on every machine, such as {example}."
        ) from error


def check_batch_divides(batch_size: int, num_replicas: int, because: str) -> None:
    """The global batch is split evenly, because an uneven split would weigh images differently."""
    if batch_size % num_replicas:
        raise TrainingSetupError(
            f"train_config.batch_size: {batch_size} is the global batch and does not divide by {num_replicas} replicas "
            f"({because}); use a multiple of {num_replicas}."
        )


def check_fine_tune_checkpoint(path: str, model_dir: str) -> None:
    """Refuses a fine_tune_checkpoint that does not exist or is in the run's own folder."""
    field = f"train_config.fine_tune_checkpoint: {path!r}"
    if "PATH_TO_BE_CONFIGURED" in path:
        raise TrainingSetupError(f"{field} is a placeholder; put a checkpoint's path there, or remove the field.")
    given = by_name.find(path)
    if given != pathlib.Path(path):
        model_folder.check_unchanged(given)
    is_one_file = path.endswith(".ckpt") and given.is_file()  # the first format, of slim's classifiers
    if given.is_file() and path.endswith((".tar.gz", ".tgz")):
        if not tarfile.is_tarfile(given):
            raise TrainingSetupError(f"{field} is not a tar archive; download it again.")
    elif given.is_dir():
        if not any(given.glob("**/*.index")) and not any(given.glob("**/*.ckpt")):
            raise TrainingSetupError(f"{field}: the folder holds no checkpoint (no .index file).")
    elif not (os.path.isfile(path.removesuffix(".index") + ".index") or is_one_file):
        raise TrainingSetupError(
            f"{field}: there is no such checkpoint (looked for {path}.index from {os.getcwd()}); name the folder, the "
            "prefix such as .../checkpoint/ckpt-0, the .tar.gz, or a model that ships with this package "
            f"({by_name.listed()})."
        )
    if given.resolve().parent == pathlib.Path(model_dir).resolve():
        raise TrainingSetupError(
            f"{field} is in --model_dir, where this run writes its own checkpoints; use another folder for one of them."
        )


def check_same_classes(train: input_reader_pb2.InputReader, evals: Sequence[input_reader_pb2.InputReader]) -> None:
    """Refuses label maps that give one id two names: metrics and the best checkpoint would be of other classes.

    A training label map that is not on this machine is not compared.

    Raises:
      TrainingSetupError: naming both files and the id.
    """
    if not os.path.isfile(train.label_map_path):
        return
    expected = load_label_map(train.label_map_path)
    for index, reader in enumerate(evals):
        if not os.path.isfile(reader.label_map_path):
            continue
        label_map = load_label_map(reader.label_map_path)
        for class_id in label_map.ids:
            name = label_map.name_of(class_id)
            if expected.calls_otherwise(class_id, name):
                raise TrainingSetupError(
                    f"eval_input_reader[{index}].label_map_path: {reader.label_map_path} calls id {class_id} "
                    f"{name!r}, and {train.label_map_path} of the training calls it "
                    f"{expected.name_of(class_id)!r}; give one label map to both."
                )


def check_input(
    reader: input_reader_pb2.InputReader, num_classes: int, field: str, max_train_boxes: int | None = None
) -> CheckedInput:
    """Checks one input reader: label map, files, records, classes, and the number of boxes in each image.

    Args:
      reader: train_input_reader or one eval_input_reader.
      num_classes: of the model.
      field: the reader's path in the config, for messages.
      max_train_boxes: for training records, how many boxes of an image are kept; an image with more is an error,
        because the rest would silently become background. None for evaluation, which keeps all boxes.

    Raises:
      TrainingSetupError: of the first of these that is wrong.
    """
    for path in (reader.label_map_path, *reader.tf_record_input_reader.input_path):
        if "PATH_TO_BE_CONFIGURED" in path:
            raise TrainingSetupError(f"{field}: {path!r} is a placeholder; put the path of your file there.")
    label_map = None
    if reader.label_map_path:
        label_map = load_label_map(reader.label_map_path)
        check_num_classes(label_map, num_classes, reader.label_map_path)
    try:
        statistics = record_statistics(reader.tf_record_input_reader.input_path)
    except UserError as error:
        raise TrainingSetupError(f"{field}: {error}") from error
    _check_classes(statistics, label_map, num_classes, field, reader.label_map_path)
    if max_train_boxes is not None and not statistics.num_boxes:
        raise TrainingSetupError(
            f"{field}: none of {statistics.num_examples} images has a box; there is nothing to learn."
        )
    if max_train_boxes is not None and statistics.max_boxes > max_train_boxes:
        raise TrainingSetupError(
            f"train_config.max_number_of_boxes: {max_train_boxes} is less than the {statistics.max_boxes} boxes of "
            f"{statistics.max_boxes_image}, the rest of which would count as background; set it to "
            f"{statistics.max_boxes} or more."
        )
    unnamed = label_map.unnamed_ids(num_classes) if label_map else []
    return CheckedInput(label_map, statistics, tuple(unnamed))


def _check_classes(
    statistics: RecordStatistics, label_map: LabelMap | None, num_classes: int, field: str, label_map_path: str
) -> None:
    """Refuses classes that the model does not have. As in TFOD, the class text has priority over the class number."""
    known = label_map.ids_by_text if label_map is not None else {}
    for name, count in statistics.objects_per_class.items():
        if name in known:
            continue
        ids = statistics.class_ids[name]
        allowed = range(1, num_classes + 1) if label_map is None else label_map.ids
        is_number = name.startswith("id ") or label_map is None
        if is_number and ids and all(class_id in allowed for class_id in ids):
            continue
        what = f"{count} objects of class {name!r}" + (f" (number {min(ids)})" if label_map is None and ids else "")
        expected = (
            f"{label_map_path} has {', '.join(label_map.names)}" if label_map else f"num_classes is {num_classes}"
        )
        raise TrainingSetupError(
            f"{field}: the records hold {what}, but {expected}; use the label map the records were written with."
        )
