"""What all workers of a training have to agree on before its first step: what they do, and where the run begins."""

import dataclasses
import hashlib
import os
import random
from typing import Any

from tfod_csf import __version__
from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.training import preflight, preflight_checks, strategies, training_record
from tfod_csf.training.checkpoints import run_checkpoints, sound_checkpoint
from tfod_csf.training.training_loop import LoopSettings


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What a command can ask for besides the config and the loop's settings.

    Attributes:
      num_workers: machines that train together (TF_CONFIG names them).
      worker_start_timeout, worker_timeout: see `strategies.make_strategy`.
      seed: of initial weights, order, augmentation and sampling; None: a random one, for a resumed run the one it has.
      rms_prop_rule: "tf1" or "tf2" (see `optimizer`); None: tf1 for a new run, the checkpoint's own for a resumed one.
      leave_out_class_heads: with fine_tune_checkpoint_type full, skip the predictors that depend on num_classes.
      eval_on_train_data: evaluate on training records too.
      sample_1_of_n_eval_on_train_examples: evaluate on every n-th training image.
    """

    num_workers: int = 1
    worker_start_timeout: float = 600.0
    worker_timeout: float = 60.0
    seed: int | None = None
    rms_prop_rule: str | None = None
    leave_out_class_heads: bool = False
    eval_on_train_data: bool = False
    sample_1_of_n_eval_on_train_examples: int = 5


def check_same_on_all(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    settings: LoopSettings,
    options: RunOptions,
    checked: preflight.Preflight,
    workers: strategies.Workers,
) -> None:
    """Workers that do different things at a step would wait for each other forever, or share out different images.

    Raises:
      TrainingSetupError: this worker has other flags, config or images than the first. Seeds (the first
        worker's counts), timeouts and names of files may differ.
    """
    own: dict[str, Any] = {**dataclasses.asdict(settings), **dataclasses.asdict(options)}
    for name in ("seed", "worker_start_timeout", "worker_timeout"):
        del own[name]
    without_files = pipeline_pb2.TrainEvalPipelineConfig()
    without_files.CopyFrom(config)
    without_files.train_config.fine_tune_checkpoint = ""
    for reader in [without_files.train_input_reader, *without_files.eval_input_reader]:
        reader.label_map_path = ""
        reader.tf_record_input_reader.ClearField("input_path")
    own |= {"pipeline config": str(without_files), "version of tfod_csf": __version__}
    if checked.train is not None:
        digests = sorted(checked.train.statistics.image_digests)
        own["training images"] = hashlib.sha256(b"".join(digests)).hexdigest()
    of_chief = workers.of_chief(own)
    different = [name for name, value in own.items() if of_chief.get(name) != value]
    if different:
        raise preflight_checks.TrainingSetupError(
            f"this worker is not as the first one in: {', '.join(different)}; start the same command with the "
            "same config and records on every machine."
        )


def start_of(
    model_dir: str, options: RunOptions, workers: strategies.Workers
) -> tuple[str | None, training_record.TrainingRecord]:
    """Where the run begins, on all workers alike: what the chief finds in model_dir, or chooses at random.

    Returns:
      Prefix of the checkpoint to resume from (None: step 0), and the record of the run so far, with its seed.

    Raises:
      TrainingSetupError: this worker does not see the chief's checkpoint.
    """
    latest, record = None, training_record.TrainingRecord()
    if workers.is_chief:
        latest = sound_checkpoint.newest_sound(model_dir)
        if latest is not None and latest != run_checkpoints.latest_checkpoint(model_dir):
            _forget_later_checkpoints(model_dir, latest)
        record = (training_record.load(model_dir) if latest is not None else None) or record
        record.seed = record.seed if options.seed is None else options.seed
        record.seed = random.SystemRandom().randrange(2**31) if record.seed is None else record.seed
    name, fields = workers.of_chief([latest and os.path.basename(latest), dataclasses.asdict(record)])
    if not workers.is_chief and name is not None:
        latest = os.path.join(model_dir, name)
        if not os.path.isfile(f"{latest}.index"):
            raise preflight_checks.TrainingSetupError(
                f"--model_dir={model_dir}: {name}, from which the first worker resumes, is not there on this machine; "
                "give all workers the same folder, on a disk that all of them reach."
            )
    return latest, training_record.TrainingRecord(**fields)


def _forget_later_checkpoints(model_dir: str, latest: str) -> None:
    """Makes `latest` the newest that the file `checkpoint` names; the same numbers will be written again."""
    names = [os.path.basename(prefix) for prefix in run_checkpoints.all_checkpoints(model_dir)]
    earlier = names[names.index(os.path.basename(latest)) :]
    there = [name for name in earlier if os.path.isfile(os.path.join(model_dir, f"{name}.index"))]
    run_checkpoints.write_state(model_dir, there[::-1])
