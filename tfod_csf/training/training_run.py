"""From a pipeline.config to a running training: strategy, network, data, optimizer, checkpoints, loop.

The only module of this package that reads train_config and eval_config to build from them; it passes plain values on.
"""

import contextlib
import dataclasses
import logging
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator

import tensorflow as tf
import tf_keras

from tfod_csf import __version__
from tfod_csf.config import pipeline_config
from tfod_csf.config.protos import input_reader_pb2, pipeline_pb2
from tfod_csf.data import input_errors, inputs
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, folder_lock
from tfod_csf.label_map import label_map_from_names
from tfod_csf.modeling import model_builder
from tfod_csf.modeling.faster_rcnn import FasterRCNN
from tfod_csf.training import optimizer as optimizers
from tfod_csf.training import preflight, preflight_checks, run_start, strategies, training_record
from tfod_csf.training.checkpoints import checkpoint_view, fine_tuning, run_checkpoints, trained_classes
from tfod_csf.training.checkpoints.best_checkpoint import BEST_FOLDER
from tfod_csf.training.checkpoints.checkpoint_keeper import CheckpointKeeper
from tfod_csf.training.evaluation import continuous_evaluation
from tfod_csf.training.evaluation.evaluation_run import EvaluationRun
from tfod_csf.training.evaluation.evaluator import FasterRcnnEvaluator, make_metric_evaluators
from tfod_csf.training.evaluation.side_by_side import DrawingSettings
from tfod_csf.training.learning_schedules import LearningRate
from tfod_csf.training.run_start import RunOptions
from tfod_csf.training.trainer import FasterRcnnTrainer, UpdateSettings, updated_variables
from tfod_csf.training.training_loop import LoopSettings, TrainingLoop

DEFAULT_RMS_PROP_RULE = "tf1"
EVAL_FOLDER = "eval"
_log = logging.getLogger("tfod_csf")


@dataclasses.dataclass(frozen=True)
class TrainingState:
    """What the steps of a run change and its checkpoints hold; made inside the strategy's scope.

    Attributes:
      model: with its variables.
      optimizer: tf_keras legacy optimizer, with its slots.
      learning_rate: update to learning rate.
      global_step: int64 variable, the number of steps of all runs together.
      keeper: saves and restores all of these.
    """

    model: FasterRCNN
    optimizer: tf_keras.optimizers.legacy.Optimizer
    learning_rate: LearningRate
    global_step: tf.Variable
    keeper: CheckpointKeeper


def train(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    model_dir: str,
    settings: LoopSettings,
    options: RunOptions,
    checked: preflight.Preflight,
    strategy: tf.distribute.Strategy | None = None,
) -> training_record.TrainingRecord:
    """Trains, from the newest checkpoint in model_dir if there is one.

    Args:
      config: with all overrides merged.
      model_dir: checkpoints, `train/`, `eval/`, `best/`, loss_history.csv, training.json and pipeline.config.
      settings: what happens at which steps.
      options: see `RunOptions`.
      checked: of `preflight.check_training`.
      strategy: None chooses by the visible devices and num_workers.

    Returns:
      How the run ended.

    Raises:
      UserError: the config, its records or the newest checkpoint cannot be used, or a loss became non-finite.
      StoppedError: after Ctrl-C or SIGTERM; see `TrainingLoop.run`.
    """
    strategy = strategy or strategies.make_strategy(
        options.num_workers, config.train_config.batch_size, options.worker_start_timeout, options.worker_timeout
    )
    _log.info("Training on %s.", strategies.describe(strategy))
    workers = strategies.Workers(strategy)
    with workers.failing_together(), contextlib.ExitStack() as until_end:
        if not workers.is_chief:
            scratch = until_end.enter_context(tempfile.TemporaryDirectory(prefix="tfod_csf_worker_"))
            return _train(config, model_dir, settings, options, checked, strategy, workers, scratch)
        until_end.enter_context(folder_lock.only_writer(model_dir))
        if settings.eval_every_n:
            until_end.enter_context(folder_lock.only_writer(pathlib.Path(model_dir) / EVAL_FOLDER))
        gone = run_checkpoints.remove_leftovers(model_dir)
        if gone:
            _log.info("%s: removed what a killed run left: %s.", model_dir, ", ".join(path.name for path in gone))
        return _train(config, model_dir, settings, options, checked, strategy, workers, model_dir)


def _train(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    model_dir: str,
    settings: LoopSettings,
    options: RunOptions,
    checked: preflight.Preflight,
    strategy: tf.distribute.Strategy,
    workers: strategies.Workers,
    checkpoint_dir: str,
) -> training_record.TrainingRecord:
    """As `train`; checkpoint_dir is model_dir, or a scratch folder for workers other than the chief."""
    run_start.check_same_on_all(config, settings, options, checked, workers)
    latest, before = run_start.start_of(model_dir, options, workers)
    rule = _rms_prop_rule(config, latest, options.rms_prop_rule)
    tf_keras.utils.set_random_seed(before.seed)
    with strategy.scope():
        state = _build_in_scope(config, rule or DEFAULT_RMS_PROP_RULE, checkpoint_dir)
        _restore(state, latest, config, options, checked.train)
    step = int(state.global_step.numpy())
    trainer = _trainer(state, strategy, config, before.seed, step)
    if workers.is_chief:
        _keep_config(config, model_dir)
    record = dataclasses.replace(
        before,
        step=step,
        num_steps=settings.num_steps,
        rms_prop_rule=rule,
        classes=before.classes | trained_classes.by_id(checked.train.label_map if checked.train else None),
        version=__version__,
    )
    evaluations = []
    if settings.eval_every_n:
        eval_dir = model_dir if workers.is_chief else None
        evaluations = _evaluations(config, state.model, state.optimizer, checked, eval_dir, options)
    loop = TrainingLoop(
        trainer,
        state.keeper,
        evaluations,
        settings,
        lambda at_step: float(state.learning_rate(at_step)),
        record,
        model_dir,
    )
    with input_errors.explained([config.train_input_reader, *config.eval_input_reader], config.model):
        return loop.run()


def _build_in_scope(
    config: pipeline_pb2.TrainEvalPipelineConfig, rms_prop_rule: str, folder: str | os.PathLike
) -> TrainingState:
    """Makes all variables of a run with their initial values; to be called in the strategy's scope."""
    model = model_builder.build(config.model, is_training=True)
    model.build_variables()
    global_step = tf.Variable(
        0,
        dtype=tf.int64,
        trainable=False,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        name="global_step",
    )
    optimizer, learning_rate = optimizers.build(config.train_config.optimizer, rms_prop_rule)
    optimizers.create_slots(optimizer, updated_variables(model, UpdateSettings.from_config(config.train_config)))
    checkpoint = tf.train.Checkpoint(
        step=global_step, model=checkpoint_view.checkpoint_view(model), optimizer=optimizer
    )
    variables = [*model.variables, *optimizer.variables()]
    keeper = CheckpointKeeper(checkpoint, folder, global_step, variables)
    return TrainingState(model, optimizer, learning_rate, global_step, keeper)


def _restore(
    state: TrainingState,
    latest: str | None,
    config: pipeline_pb2.TrainEvalPipelineConfig,
    options: RunOptions,
    checked_input: preflight_checks.CheckedInput | None,
) -> None:
    """Gives the variables the values of the run's newest checkpoint, else those of fine_tune_checkpoint, if any."""
    train_config, label_map = config.train_config, checked_input.label_map if checked_input else None
    if latest is not None:
        for change in _settings_of_checkpoint(state.optimizer, latest):
            _log.warning("Optimizer: %s.", change)
        state.keeper.restore(latest)
        _log.info("Resuming from %s (step %d).", latest, int(state.global_step.numpy()))
    elif train_config.fine_tune_checkpoint:
        report = fine_tuning.restore_fine_tune_checkpoint(
            state.model,
            train_config.fine_tune_checkpoint,
            train_config.fine_tune_checkpoint_type,
            from_detection_checkpoint=train_config.from_detection_checkpoint,
            leave_out_class_heads=options.leave_out_class_heads,
            load_all_detection_checkpoint_vars=train_config.load_all_detection_checkpoint_vars,
            label_map=label_map.with_all_ids(config.model.faster_rcnn.num_classes) if label_map else None,
        )
        _log.info("%s", report)


def _trainer(
    state: TrainingState,
    strategy: tf.distribute.Strategy,
    config: pipeline_pb2.TrainEvalPipelineConfig,
    seed: int,
    step: int,
) -> FasterRcnnTrainer:
    """The trainer on the config's training records from a step on; `seed` decides order, augmentation and sampling."""

    def make_dataset(input_context: tf.distribute.InputContext) -> tf.data.Dataset:
        return inputs.train_input(
            config.train_config,
            config.train_input_reader,
            config.model,
            seed=seed,
            input_context=input_context,
            num_batches_done=step,
        )

    return FasterRcnnTrainer(
        state.model,
        strategy.distribute_datasets_from_function(make_dataset),
        state.optimizer,
        state.global_step,
        strategy,
        update=UpdateSettings.from_config(config.train_config),
        add_regularization_loss=config.train_config.add_regularization_loss,
        seed=seed,
    )


def evaluate_checkpoints(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    checkpoint_dir: str,
    model_dir: str,
    options: RunOptions,
    checked: preflight.Preflight,
    timeout_seconds: float,
    eval_once: bool = False,
) -> dict[str, float]:
    """Evaluates the checkpoints that appear in a folder.

    Args:
      config: with all overrides merged.
      checkpoint_dir: where checkpoints appear.
      model_dir: where `eval/` and `best/` are written.
      options: see `RunOptions`.
      checked: of `preflight.check_evaluation`.
      timeout_seconds, eval_once: see `continuous_evaluation.evaluate_continuously`.

    Returns:
      The metrics of the last evaluation (of the first eval_input_reader).

    Raises:
      UserError: there is no checkpoint, or not one of the model in the config.
    """
    tf.config.set_soft_device_placement(True)
    # A training that does not evaluate writes other files, and may run in the same model_dir.
    with folder_lock.only_writer(pathlib.Path(model_dir) / EVAL_FOLDER):
        atomic_write.remove_leftovers_of(pathlib.Path(model_dir) / BEST_FOLDER)
        return _evaluate_checkpoints(config, checkpoint_dir, model_dir, options, checked, timeout_seconds, eval_once)


def _evaluate_checkpoints(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    checkpoint_dir: str,
    model_dir: str,
    options: RunOptions,
    checked: preflight.Preflight,
    timeout_seconds: float,
    eval_once: bool,
) -> dict[str, float]:
    model = model_builder.build(config.model, is_training=True)
    model.build_variables()
    optimizer = None
    if config.eval_config.use_moving_averages:
        optimizer, _ = optimizers.build(config.train_config.optimizer)
        optimizers.create_slots(optimizer, updated_variables(model, UpdateSettings.from_config(config.train_config)))
    with input_errors.explained(config.eval_input_reader, config.model):
        return continuous_evaluation.evaluate_continuously(
            _checkpoint_reader(model, optimizer, config, checked),
            _evaluations(config, model, optimizer, checked, model_dir, options),
            checkpoint_dir,
            model_dir,
            num_steps=config.train_config.num_steps,
            timeout_seconds=timeout_seconds,
            eval_once=eval_once,
        )


def _checkpoint_reader(
    model: FasterRCNN, optimizer, config: pipeline_pb2.TrainEvalPipelineConfig, checked: preflight.Preflight
) -> Callable[[str], int]:
    """A function that loads a training checkpoint into the model (and the optimizer unless None); returns its step.

    It refuses checkpoints of other classes than those of the eval_input_readers: the training may have begun after the
    evaluation's own checks.
    """
    step = tf.Variable(0, dtype=tf.int64, trainable=False)
    restored = {"step": step, "model": checkpoint_view.checkpoint_view(model)}
    if optimizer is not None:
        restored["optimizer"] = optimizer
    checkpoint = tf.train.Checkpoint(**restored)

    def read(path: str) -> int:
        for reader, one in zip(config.eval_input_reader, checked.evals):
            trained_classes.check_same(pathlib.Path(path), one.label_map, reader.label_map_path)
        try:
            checkpoint.read(path).assert_existing_objects_matched().expect_partial()
        except (tf.errors.OpError, AssertionError, ValueError, RuntimeError, IndexError) as error:
            raise UserError(
                f"{path}: is damaged or not a checkpoint of the model in the config "
                f"({str(error).strip().partition(chr(10))[0]})."
            ) from error
        return int(step.numpy())

    return read


def _rms_prop_rule(config: pipeline_pb2.TrainEvalPipelineConfig, checkpoint_path: str | None, asked: str | None) -> str:
    """The RMSProp rule of the run, "" for other optimizers; a resumed run keeps that of its checkpoint.

    Raises:
      UserError: the checkpoint was made with another rule than was asked for, or with another optimizer.
    """
    optimizer_config = config.train_config.optimizer
    if optimizer_config.WhichOneof("optimizer") != "rms_prop_optimizer":
        return ""
    if checkpoint_path is None:
        return asked or DEFAULT_RMS_PROP_RULE
    stored = optimizers.rms_prop_rule_of_checkpoint(checkpoint_path, optimizer_config.rms_prop_optimizer.decay)
    if stored is None:
        raise preflight_checks.TrainingSetupError(
            f"{checkpoint_path}: was not trained with rms_prop_optimizer, which the config asks for; restore the "
            "optimizer in the config, or use an empty --model_dir."
        )
    if asked and asked != stored:
        raise preflight_checks.TrainingSetupError(
            f"--rms_prop_rule={asked}: {checkpoint_path} was trained with rule {stored}; omit the flag to "
            "resume with it, or use an empty --model_dir."
        )
    return stored


def _settings_of_checkpoint(optimizer, checkpoint_path: str) -> list[str]:
    """Optimizer settings that change when a checkpoint is restored, because it stores them, as in TFOD."""
    reader = tf.train.load_checkpoint(checkpoint_path)
    changed = []
    for key, variable in checkpoint_view.variables_by_key(optimizer=optimizer).items():
        name = key.removesuffix(checkpoint_view.VALUE_SUFFIX).rsplit("/", 1)[-1]
        if variable.shape.rank == 0 and name != "iter" and reader.has_tensor(key):
            stored, asked = float(reader.get_tensor(key)), float(variable.numpy())
            if abs(stored - asked) > 1e-6:
                changed.append(f"{name} stays {stored:.6g} as in {checkpoint_path} (config: {asked:.6g})")
    return changed


def _keep_config(config: pipeline_pb2.TrainEvalPipelineConfig, model_dir: str) -> None:
    """Stores the config beside the checkpoints; one that is already there is the user's own and is not changed."""
    path = pathlib.Path(model_dir) / "pipeline.config"
    text = pipeline_config.config_text(config)
    if not path.exists():
        atomic_write.write_text(path, text)
    elif pipeline_config.load_pipeline_config(path) != config:
        _log.info("%s differs from the config of this run and is left as it is.", path)


def _evaluations(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    model: FasterRCNN,
    optimizer,
    checked: preflight.Preflight,
    model_dir: str | None,
    options: RunOptions,
) -> list[EvaluationRun]:
    """One evaluation for each eval_input_reader, and one on training records if asked for; [] without any reader."""
    if not checked.evals:
        return []
    runs = []
    for reader, checked_input in zip(config.eval_input_reader, checked.evals):
        run = f"{EVAL_FOLDER}/{reader.name}".rstrip("/")
        runs.append(_evaluation(config, model, optimizer, reader, checked_input, model_dir, run))
    if options.eval_on_train_data:
        reader = input_reader_pb2.InputReader()
        reader.CopyFrom(config.train_input_reader)
        reader.sample_1_of_n_examples = max(1, options.sample_1_of_n_eval_on_train_examples)
        reader.shuffle = False
        runs.append(_evaluation(config, model, optimizer, reader, checked.train, model_dir, "eval_on_train_data"))
    return runs


def _evaluation(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    model: FasterRCNN,
    optimizer,
    reader: input_reader_pb2.InputReader,
    checked_input: preflight_checks.CheckedInput,
    model_dir: str | None,
    run: str,
) -> EvaluationRun:
    """The evaluation of one reader; `run` is its folder in model_dir, where that is not None."""
    eval_config = config.eval_config
    num_classes = config.model.faster_rcnn.num_classes
    numbered = label_map_from_names([f"class {number}" for number in range(1, num_classes + 1)])
    label_map = (checked_input.label_map or numbered).with_all_ids(num_classes)
    evaluator = FasterRcnnEvaluator(
        model,
        inputs.eval_input(eval_config, reader, config.model),
        make_metric_evaluators(eval_config, label_map),
        {category["id"]: category["name"] for category in label_map.categories},
        add_regularization_loss=config.train_config.add_regularization_loss,
        num_visualizations=eval_config.num_visualizations if eval_config.retain_original_images else 0,
        drawing=DrawingSettings(
            min_score_threshold=eval_config.min_score_threshold,
            max_num_boxes_to_visualize=eval_config.max_num_boxes_to_visualize,
        ),
    )
    num_images = -(-checked_input.statistics.num_examples // max(1, reader.sample_1_of_n_examples))
    averages = optimizer if eval_config.use_moving_averages else None
    about = {
        "run": run,
        "input_path": list(reader.tf_record_input_reader.input_path),
        "images": f"{checked_input.digest()}, 1 of {max(1, reader.sample_1_of_n_examples)}",
    }
    folder = pathlib.Path(model_dir) / run if model_dir else None
    return EvaluationRun(evaluator, folder, num_images, lambda: _averaged(averages), about)


@contextlib.contextmanager
def _averaged(optimizer) -> Iterator[None]:
    """A context in which the network's weights are their moving averages; its own weights if `optimizer` is None."""
    if optimizer is None:
        yield
        return
    optimizer.swap_weights()
    try:
        yield
    finally:
        optimizer.swap_weights()
