"""Runs the checks that need no TensorFlow before it is imported, so that mistakes are reported within two seconds."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from tfod_csf.config import supported
from tfod_csf.config.protos import input_reader_pb2, pipeline_pb2
from tfod_csf.data.records.record_files import shard_notices
from tfod_csf.data.records.record_statistics import image_digests
from tfod_csf.errors import UserError
from tfod_csf.training import preflight_checks
from tfod_csf.training.checkpoints import run_checkpoints, trained_classes
from tfod_csf.training.preflight_checks import CheckedInput, TrainingSetupError


@dataclasses.dataclass(frozen=True)
class Preflight:
    """What the checks found.

    Attributes:
      train: the training records; None for evaluation only.
      evals: the evaluation records, one entry for each eval_input_reader.
      notices: sentences for the user: fields without effect, classes without boxes.
    """

    train: CheckedInput | None
    evals: tuple[CheckedInput, ...]
    notices: tuple[str, ...]


def check_training(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    config_path: str,
    model_dir: str,
    num_workers: int = 1,
    evaluates: bool = False,
) -> Preflight:
    """Checks everything a training run needs.

    Args:
      config: with all overrides merged.
      config_path: for messages.
      model_dir: the run's folder; if it holds a checkpoint, the run resumes from it and needs no fine_tune_checkpoint.
      num_workers: machines that train together.
      evaluates: the run also evaluates.

    Raises:
      UserError: the first mistake found, in one sentence.
    """
    supported.check_supported(config, source=config_path)
    preflight_checks.check_model_dir(model_dir)
    preflight_checks.check_tf_config(num_workers)
    preflight_checks.check_train_config(config, num_workers)
    if config.train_config.fine_tune_checkpoint and not run_checkpoints.all_checkpoints(model_dir):
        preflight_checks.check_fine_tune_checkpoint(config.train_config.fine_tune_checkpoint, model_dir)
    preflight_checks.check_resumable(model_dir, "--model_dir")
    num_classes = config.model.faster_rcnn.num_classes
    train = preflight_checks.check_input(
        config.train_input_reader, num_classes, "train_input_reader", config.train_config.max_number_of_boxes
    )
    if run_checkpoints.all_checkpoints(model_dir):
        trained_classes.check_same(pathlib.Path(model_dir), train.label_map, config.train_input_reader.label_map_path)
    evals = _check_eval_inputs(config) if evaluates else ()
    notices = [*supported.notices(config), f"Training records: {train.describe()}."]
    notices += shard_notices(config.train_input_reader.tf_record_input_reader.input_path)
    notices += _unnamed_classes(config.train_input_reader, num_classes, train) + _oddities("Training", train)
    notices += [f"Training records: no box of class {name!r}; it cannot be learned." for name in train.absent_classes]
    notices += _batch_notices(config.train_config.batch_size, train)
    shared = _shared_records(config, evals, train.statistics.image_digests) if evaluates else []
    return Preflight(train, evals, (*notices, *_eval_notices(config, evals), *shared))


def check_evaluation(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    config_path: str,
    checkpoint_dir: str,
    on_train_data: bool = False,
    eval_once: bool = False,
) -> Preflight:
    """Checks everything an evaluation of checkpoints needs.

    Args:
      config, config_path: as for `check_training`.
      checkpoint_dir: folder in which checkpoints are or will be; it must exist, and hold one if `eval_once`.
      on_train_data: the run also evaluates on training records.
      eval_once: the run evaluates the newest checkpoint and does not wait for others.

    Raises:
      UserError: the first mistake found, in one sentence.
    """
    if not os.path.isdir(checkpoint_dir):
        raise TrainingSetupError(
            f"--checkpoint_dir={checkpoint_dir}: there is no such folder; name a run's --model_dir."
        )
    preflight_checks.check_resumable(checkpoint_dir, "--checkpoint_dir")
    if eval_once and run_checkpoints.latest_checkpoint(checkpoint_dir) is None:
        raise TrainingSetupError(f"--checkpoint_dir={checkpoint_dir}: holds no checkpoint to evaluate.")
    parts = ("model", "eval_config", "eval_input_reader")
    supported.check_supported(config, parts=parts, source=config_path)
    train = None
    if on_train_data:
        num_classes = config.model.faster_rcnn.num_classes
        train = preflight_checks.check_input(config.train_input_reader, num_classes, "train_input_reader")
    evals = _check_eval_inputs(config)
    for reader, checked in zip(config.eval_input_reader, evals):
        trained_classes.check_same(pathlib.Path(checkpoint_dir), checked.label_map, reader.label_map_path)
    trained_on = _images_trained_on(config)
    shared = _shared_records(config, evals, trained_on or set())
    if trained_on is None:
        shared.append(
            "The training records cannot be read here, so it is not known whether evaluation images are among them."
        )
    return Preflight(train, evals, (*supported.notices(config, parts=parts), *_eval_notices(config, evals), *shared))


def eval_readers(config: pipeline_pb2.TrainEvalPipelineConfig) -> list[input_reader_pb2.InputReader]:
    """The eval_input_readers; there must be one, and no two of the same name (their logs would mix).

    Raises:
      TrainingSetupError: there is none, or two have the same name.
    """
    readers = list(config.eval_input_reader)
    if not readers:
        raise TrainingSetupError("eval_input_reader is missing; it names the records to evaluate on.")
    names = [reader.name for reader in readers]
    for name in names:
        if names.count(name) > 1:
            raise TrainingSetupError(
                f"eval_input_reader.name: {name!r} is used by {names.count(name)} eval_input_readers; give each its "
                "own name."
            )
    return readers


def _check_eval_inputs(config: pipeline_pb2.TrainEvalPipelineConfig) -> tuple[CheckedInput, ...]:
    num_classes = config.model.faster_rcnn.num_classes
    preflight_checks.check_same_classes(config.train_input_reader, config.eval_input_reader)
    return tuple(
        preflight_checks.check_input(reader, num_classes, f"eval_input_reader[{index}]")
        for index, reader in enumerate(eval_readers(config))
    )


def _unnamed_classes(reader: input_reader_pb2.InputReader, num_classes: int, checked: CheckedInput) -> list[str]:
    if not checked.unnamed_ids:
        return []
    ids = ", ".join(map(str, checked.unnamed_ids))
    return [
        f"{reader.label_map_path}: num_classes is {num_classes}, but no class has the id {ids}; such a class has no "
        f'objects, cannot be learned and is called "id {checked.unnamed_ids[0]}".'
    ]


def _oddities(of: str, checked: CheckedInput) -> list[str]:
    """What records hold that training takes, although nobody can have meant it."""
    found = checked.statistics
    notices = []
    if found.num_other_sizes:
        notices.append(
            f"{of} records: {found.num_other_sizes} of {found.num_examples} images are of another size than "
            f"image/width and image/height say, so their boxes may lie beside the cells; the first: "
            f"{found.first_other_size}."
        )
    if found.num_flat_boxes:
        notices.append(
            f"{of} records: {found.num_flat_boxes} boxes have no width or no height; the first: "
            f"{found.first_flat_box}. Leave them out and write the records again."
        )
    repeats = found.num_examples - len(found.image_digests)
    if repeats:
        notices.append(
            f"{of} records: {len(found.image_digests):,} different images in {found.num_examples:,} records; "
            f"{repeats:,} are there again, by the pictures' bytes, and count each time. Is a file a copy?"
        )
    return notices


def _batch_notices(batch_size: int, train: CheckedInput) -> list[str]:
    num_images = train.statistics.num_examples
    if batch_size <= num_images:
        return []
    return [
        f"train_config.batch_size is {batch_size}, but there are only {num_images} training images: each batch holds "
        "some of them more than once."
    ]


def _eval_notices(config: pipeline_pb2.TrainEvalPipelineConfig, evals: tuple[CheckedInput, ...]) -> list[str]:
    notices = []
    for reader, checked in zip(eval_readers(config), evals):
        notices.append(f"Evaluation records: {checked.describe()}.")
        notices += shard_notices(reader.tf_record_input_reader.input_path)
        notices += _oddities("Evaluation", checked)
        absent = ", ".join(checked.absent_classes)
        if not checked.statistics.num_boxes:
            notices.append(
                "Evaluation records: no image has a box; there is no average precision, and no checkpoint can be "
                "chosen as the best one."
            )
        elif absent:
            notices.append(f"Evaluation records: no box of {absent}; such a class has no average precision.")
    return notices


def _images_trained_on(config: pipeline_pb2.TrainEvalPipelineConfig) -> set[bytes] | None:
    """Digests of the training images; None where their records cannot be read, or are not on this computer."""
    try:
        return image_digests(config.train_input_reader.tf_record_input_reader.input_path)
    except (UserError, OSError):
        return None


def _shared_records(
    config: pipeline_pb2.TrainEvalPipelineConfig, evals: Sequence[CheckedInput], trained_on: set[bytes]
) -> list[str]:
    """A warning when images serve training and evaluation both: on them a network looks better than it is."""
    train_paths = set(config.train_input_reader.tf_record_input_reader.input_path)
    notices = []
    for reader, checked in zip(config.eval_input_reader, evals):
        paths = list(reader.tf_record_input_reader.input_path)
        images = checked.statistics.image_digests
        shared = len(images & trained_on)
        if train_paths & set(paths):
            what = f"the training records ({', '.join(sorted(train_paths & set(paths)))})"
        elif shared:
            what = f"training images ({shared:,} of {len(images):,} in {', '.join(paths)}, by the pictures' bytes)"
        else:
            continue
        about = "" if shared in (0, len(images)) else " as far as they are of these"
        notices.append(f"Evaluation uses {what}: its metrics say nothing about new images{about}.")
    return notices
