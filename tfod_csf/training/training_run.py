"""From a pipeline.config to a running training: strategy, network, data, optimizer, checkpoints, loop.

This is the one room of the package that reads train_config and eval_config and hands plain values on.
"""

import dataclasses
import logging
import pathlib
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import tensorflow as tf
import tf_keras

from tfod_csf.config import pipeline_config
from tfod_csf.config.protos import input_reader_pb2, pipeline_pb2
from tfod_csf.data import input_errors, inputs
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write
from tfod_csf.label_map import LabelMap, label_map_from_names
from tfod_csf.modeling import model_builder
from tfod_csf.modeling.faster_rcnn import FasterRCNN
from tfod_csf.training import optimizer as optimizers
from tfod_csf.training import preflight, preflight_checks, strategies, training_record
from tfod_csf.training.checkpoints import checkpoint_view, fine_tuning
from tfod_csf.training.checkpoints.checkpoint_keeper import CheckpointKeeper
from tfod_csf.training.evaluation import continuous_evaluation
from tfod_csf.training.evaluation.evaluation_run import EvaluationRun
from tfod_csf.training.evaluation.evaluator import FasterRcnnEvaluator, make_metric_evaluators
from tfod_csf.training.evaluation.side_by_side import DrawingSettings
from tfod_csf.training.trainer import FasterRcnnTrainer, UpdateSettings
from tfod_csf.training.training_loop import LoopSettings, TrainingLoop

DEFAULT_RMS_PROP_RULE = "tf1"
_log = logging.getLogger("tfod_csf")


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What a command may ask for beside the config and the loop's settings.

    Attributes:
      num_workers: machines that train together (TF_CONFIG names them).
      seed: of initial weights, order, augmentation and sampling; None draws one.
      rms_prop_rule: "tf1" or "tf2" (see `optimizer`); None: tf1 for a new run, the checkpoint's own for a resumed one.
      leave_out_class_heads: with fine_tune_checkpoint_type full, do not take the predictors that depend on num_classes.
      eval_on_train_data: evaluate on training records too.
      sample_1_of_n_eval_on_train_examples: of which every n-th is taken.
    """

    num_workers: int = 1
    seed: int | None = None
    rms_prop_rule: str | None = None
    leave_out_class_heads: bool = False
    eval_on_train_data: bool = False
    sample_1_of_n_eval_on_train_examples: int = 5


def train(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    model_dir: str,
    settings: LoopSettings,
    options: RunOptions,
    checked: preflight.Preflight,
    strategy: tf.distribute.Strategy | None = None,
) -> training_record.RunRecord:
    """Trains, from the newest checkpoint in model_dir if there is one.

    Args:
      config: with all overrides merged.
      model_dir: checkpoints, `train/`, `eval/`, `best/`, loss_history.csv, training.json and pipeline.config.
      settings: when what happens.
      options: see `RunOptions`.
      checked: of `preflight.check_training`.
      strategy: None chooses by the visible devices and num_workers.

    Returns:
      How the run ended.
    """
    train_config = config.train_config
    strategy = strategy or strategies.make_strategy(options.num_workers, train_config.batch_size)
    is_chief = strategies.is_chief(strategy)
    _log.info("Training on %s.", strategies.describe(strategy))
    latest = tf.train.latest_checkpoint(model_dir)
    rule = _rms_prop_rule(config, latest, options.rms_prop_rule)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**31)
    tf_keras.utils.set_random_seed(seed)
    with strategy.scope():
        model = model_builder.build(config.model, is_training=True)
        model.build_variables()
        global_step = tf.Variable(
            0,
            dtype=tf.int64,
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            name="global_step",
        )
        optimizer, learning_rate = optimizers.build(train_config.optimizer, rule or DEFAULT_RMS_PROP_RULE)
        update = _update_settings(train_config)
        trained = optimizers.select_trainable(
            model.trainable_variables, update.update_trainable_variables, update.freeze_variables
        )
        optimizers.create_slots(optimizer, trained)
        checkpoint = tf.train.Checkpoint(
            step=global_step, model=checkpoint_view.checkpoint_view(model), optimizer=optimizer
        )
        folder = model_dir if is_chief else tempfile.mkdtemp(prefix="tfod_csf_worker_")
        keeper = CheckpointKeeper(checkpoint, folder, global_step, model.trainable_variables)
        if latest is not None:
            for change in _settings_of_checkpoint(optimizer, latest):
                _log.warning("Optimizer: %s.", change)
            keeper.restore_latest(latest)
            _log.info("Going on from %s (step %d).", latest, int(global_step.numpy()))
        elif train_config.fine_tune_checkpoint:
            _log.info("%s", _restore_fine_tune_checkpoint(model, train_config, options))
    step = int(global_step.numpy())
    trainer = FasterRcnnTrainer(
        model,
        strategy.distribute_datasets_from_function(_train_dataset_fn(config, seed + step)),
        optimizer,
        global_step,
        strategy,
        update=update,
        add_regularization_loss=train_config.add_regularization_loss,
    )
    if is_chief:
        _keep_config(config, model_dir)
    record = training_record.RunRecord(step=step, num_steps=settings.num_steps, rms_prop_rule=rule, seed=seed)
    evaluations = _evaluations(config, model, optimizer, checked, model_dir if is_chief else None, options)
    loop = TrainingLoop(
        trainer,
        keeper,
        evaluations if settings.eval_every_n else [],
        settings,
        lambda at_step: float(learning_rate(at_step)),
        record,
        model_dir,
        is_chief,
    )
    with input_errors.explained([config.train_input_reader, *config.eval_input_reader], config.model):
        return loop.run()


def evaluate_checkpoints(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    checkpoint_dir: str,
    model_dir: str,
    options: RunOptions,
    checked: preflight.Preflight,
    timeout_seconds: float,
    eval_once: bool = False,
) -> dict[str, float]:
    """Evaluates the checkpoints that appear in a folder; see `continuous_evaluation`."""
    tf.config.set_soft_device_placement(True)
    model = model_builder.build(config.model, is_training=True)
    model.build_variables()
    step = tf.Variable(0, dtype=tf.int64, trainable=False)
    restored = {"step": step, "model": checkpoint_view.checkpoint_view(model)}
    optimizer = None
    if config.eval_config.use_moving_averages:
        optimizer, _ = optimizers.build(config.train_config.optimizer)
        update = _update_settings(config.train_config)
        averaged = optimizers.select_trainable(
            model.trainable_variables, update.update_trainable_variables, update.freeze_variables
        )
        optimizers.create_slots(optimizer, averaged)
        restored["optimizer"] = optimizer
    checkpoint = tf.train.Checkpoint(**restored)

    def restore(path: str) -> int:
        try:
            checkpoint.read(path).assert_existing_objects_matched().expect_partial()
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            raise UserError(
                f"{path}: is not a checkpoint of the model in the config ({str(error).strip().splitlines()[0]})."
            ) from error
        return int(step.numpy())

    with input_errors.explained(config.eval_input_reader, config.model):
        return continuous_evaluation.evaluate_continuously(
            restore,
            _evaluations(config, model, optimizer, checked, model_dir, options),
            checkpoint_dir,
            model_dir,
            num_steps=config.train_config.num_steps,
            timeout_seconds=timeout_seconds,
            eval_once=eval_once,
        )


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
            f"--rms_prop_rule={asked}: {checkpoint_path} was trained with rule {stored}; leave the flag out to go on "
            "with it, or use an empty --model_dir."
        )
    return stored


def _settings_of_checkpoint(optimizer, checkpoint_path: str) -> list[str]:
    """Optimizer settings that a checkpoint changes when it is restored (they are stored in it, as in TFOD)."""
    reader = tf.train.load_checkpoint(checkpoint_path)
    changed = []
    for key, variable in checkpoint_view.variables_by_key(optimizer=optimizer).items():
        name = key.removesuffix(checkpoint_view.VALUE_SUFFIX).rsplit("/", 1)[-1]
        if variable.shape.rank == 0 and name != "iter" and reader.has_tensor(key):
            stored, asked = float(reader.get_tensor(key)), float(variable.numpy())
            if abs(stored - asked) > 1e-6:
                changed.append(f"{name} stays {stored:.6g} as in {checkpoint_path} (config: {asked:.6g})")
    return changed


def _update_settings(train_config) -> UpdateSettings:
    return UpdateSettings(
        gradient_clipping_by_norm=train_config.gradient_clipping_by_norm,
        bias_grad_multiplier=train_config.bias_grad_multiplier,
        update_trainable_variables=tuple(train_config.update_trainable_variables),
        freeze_variables=tuple(train_config.freeze_variables),
    )


def _restore_fine_tune_checkpoint(model: FasterRCNN, train_config, options: RunOptions) -> fine_tuning.MatchReport:
    return fine_tuning.restore_fine_tune_checkpoint(
        model,
        train_config.fine_tune_checkpoint,
        train_config.fine_tune_checkpoint_type,
        from_detection_checkpoint=train_config.from_detection_checkpoint,
        leave_out_class_heads=options.leave_out_class_heads,
    )


def _train_dataset_fn(
    config: pipeline_pb2.TrainEvalPipelineConfig, seed: int
) -> Callable[[tf.distribute.InputContext], tf.data.Dataset]:
    def make_dataset(input_context: tf.distribute.InputContext) -> tf.data.Dataset:
        return inputs.train_input(
            config.train_config, config.train_input_reader, config.model, seed=seed, input_context=input_context
        )

    return make_dataset


def _keep_config(config: pipeline_pb2.TrainEvalPipelineConfig, model_dir: str) -> None:
    """Leaves the config beside the checkpoints; one that is there already is the user's own and stays."""
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
    """One evaluation for each eval_input_reader, and one on training records if asked for."""
    if not checked.evals:
        return []
    runs = []
    for reader, checked_input in zip(config.eval_input_reader, checked.evals):
        folder = pathlib.Path(model_dir) / "eval" / reader.name if model_dir else None
        runs.append(_evaluation(config, model, optimizer, reader, checked_input, folder))
    if options.eval_on_train_data:
        reader = input_reader_pb2.InputReader()
        reader.CopyFrom(config.train_input_reader)
        reader.sample_1_of_n_examples = max(1, options.sample_1_of_n_eval_on_train_examples)
        reader.shuffle = False
        folder = pathlib.Path(model_dir) / "eval_on_train_data" if model_dir else None
        runs.append(_evaluation(config, model, optimizer, reader, checked.train, folder))
    return runs


def _evaluation(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    model: FasterRCNN,
    optimizer,
    reader: input_reader_pb2.InputReader,
    checked_input: preflight_checks.CheckedInput,
    folder: pathlib.Path | None,
) -> EvaluationRun:
    eval_config = config.eval_config
    num_classes = config.model.faster_rcnn.num_classes
    label_map = checked_input.label_map or _numbered_label_map(num_classes)
    evaluator = FasterRcnnEvaluator(
        model,
        inputs.eval_input(eval_config, reader, config.model),
        make_metric_evaluators(eval_config.metrics_set, label_map),
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
    return EvaluationRun(evaluator, folder, num_images, weights=lambda: _averaged(averages))


def _numbered_label_map(num_classes: int) -> LabelMap:
    """Names for the classes of records whose reader names no label map."""
    return label_map_from_names([f"class {index + 1}" for index in range(num_classes)])


@contextmanager
def _averaged(optimizer) -> Iterator[None]:
    """Inside, the network has its moving averages for weights (None: its own)."""
    if optimizer is None:
        yield
        return
    optimizer.swap_weights()
    try:
        yield
    finally:
        optimizer.swap_weights()
