"""Train a detector, or evaluate the checkpoints of a training run.

This is TFOD's command with TFOD's flags. To train, give --pipeline_config_path and --model_dir; given again, the same
command resumes where it stopped. --eval_every_n evaluates during training and keeps the best checkpoint in
MODEL_DIR/best. With --checkpoint_dir the command evaluates instead: every new checkpoint in that folder until the
training has ended, or with --eval_once the newest one. To watch: tensorboard --logdir=MODEL_DIR.

Example: tfod_csf model_main_tf2 --pipeline_config_path=pipeline.config --model_dir=model --eval_every_n=1000
"""

import logging
import os
import sys
from typing import TYPE_CHECKING

from absl import flags

from tfod_csf.commands import command_line, config_flags, stop_signals
from tfod_csf.errors import UserError

if TYPE_CHECKING:
    from tfod_csf.config.protos.pipeline_pb2 import TrainEvalPipelineConfig

FLAGS = flags.FlagValues()
config_flags.define_pipeline_config_path(FLAGS)
flags.DEFINE_string(
    "model_dir", None, "Folder for checkpoints and TensorBoard event files.", required=True, flag_values=FLAGS
)
config_flags.define_config_override(FLAGS)
# Training.
flags.DEFINE_integer(
    "num_train_steps", None, "Steps to train; default: those of the config.", lower_bound=1, flag_values=FLAGS
)
flags.DEFINE_integer("checkpoint_every_n", 1000, "Steps between checkpoints.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer(
    "eval_every_n", 0, "Steps between evaluations during training; 0: none.", lower_bound=0, flag_values=FLAGS
)
flags.DEFINE_integer(
    "log_every_n",
    100,
    "Steps between lines in the log and entries in the event file.",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.DEFINE_bool("record_summaries", True, "Write training images into the event file.", flag_values=FLAGS)
flags.DEFINE_bool(
    "stop_when_saturated", False, "End the training when the smoothed loss has saturated.", flag_values=FLAGS
)
flags.DEFINE_float(
    "saturation_min_fall",
    0.02,
    "Relative drop between the last two quarters of the run below which the loss counts as saturated.",
    lower_bound=0.0,
    upper_bound=1.0,
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "saturation_min_steps",
    2000,
    "Earliest step at which training may stop as saturated.",
    lower_bound=0,
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "seed",
    None,
    "Seed of weights, order of images, augmentation and sampling; default: a new one each time.",
    lower_bound=0,
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "rms_prop_rule",
    None,
    ["tf1", "tf2"],
    "Update rule of rms_prop_optimizer: that of TFOD on TensorFlow 1 or on TensorFlow 2; default: tf1, and a resumed "
    "run keeps its own.",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "leave_out_class_heads",
    False,
    "With fine_tune_checkpoint_type full: do not restore the predictors whose size depends on num_classes.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "num_workers",
    1,
    "Machines that train together; with more than 1 the environment variable TF_CONFIG must be set.",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "worker_start_timeout",
    600.0,
    "With --num_workers: seconds to wait at the start until all workers are there.",
    lower_bound=1.0,
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "worker_timeout",
    60.0,
    "With --num_workers: seconds without a sign of life after which a worker counts as gone, and the others end.",
    lower_bound=1.0,
    flag_values=FLAGS,
)
# Evaluation.
flags.DEFINE_string(
    "checkpoint_dir", None, "Evaluate the checkpoints in this folder instead of training.", flag_values=FLAGS
)
flags.DEFINE_bool(
    "eval_once",
    False,
    "Evaluate the newest checkpoint of --checkpoint_dir (or else --model_dir) once, instead of training.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "eval_timeout",
    3600,
    "Seconds to wait for a new checkpoint before evaluation ends.",
    lower_bound=0,
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "sample_1_of_n_eval_examples",
    None,
    "Evaluate on every n-th evaluation image; default: as in the config.",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.DEFINE_bool("eval_on_train_data", False, "Evaluate on the training images too.", flag_values=FLAGS)
flags.DEFINE_integer(
    "sample_1_of_n_eval_on_train_examples",
    5,
    "With --eval_on_train_data: evaluate on every n-th training image.",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.DEFINE_bool("use_tpu", False, "Not supported; exists because TFOD has it.", flag_values=FLAGS)
flags.DEFINE_string("tpu_name", None, "Not supported; exists because TFOD has it.", flag_values=FLAGS)


def main() -> None:
    """Trains or evaluates."""
    if FLAGS.use_tpu or FLAGS.tpu_name:
        raise UserError("--use_tpu, --tpu_name: TPUs are not supported; train on GPUs or the CPU.")
    logging.getLogger("tfod_csf").setLevel(logging.INFO)
    config = _config()
    if FLAGS.checkpoint_dir or FLAGS.eval_once:
        _evaluate(config)
    else:
        _refuse_flags_without_effect(config)
        _train(config)


def _refuse_flags_without_effect(config: "TrainEvalPipelineConfig") -> None:
    """Flags of this package alone: TFOD's own that have no effect when training are ignored as TFOD ignores them."""
    for name in ("saturation_min_fall", "saturation_min_steps"):
        if FLAGS[name].present and not FLAGS.stop_when_saturated:
            raise UserError(f"--{name}: has no effect without --stop_when_saturated; add that flag, or omit this one.")
    train_config = config.train_config
    optimizer = train_config.optimizer.WhichOneof("optimizer")
    if FLAGS.rms_prop_rule and optimizer not in (None, "rms_prop_optimizer"):
        raise UserError(
            f"--rms_prop_rule={FLAGS.rms_prop_rule}: is of rms_prop_optimizer, and the config has {optimizer}; omit "
            "the flag, or change the optimizer."
        )
    kind = train_config.fine_tune_checkpoint_type
    if FLAGS.leave_out_class_heads and kind != "full":
        raise UserError(
            f'--leave_out_class_heads: is for fine_tune_checkpoint_type "full", and the config has "{kind}"; omit the '
            "flag, or change the type."
        )


def _config():
    """The config with the flags' values in it."""
    config = config_flags.load_config(FLAGS)
    if FLAGS.num_train_steps is not None:
        config.train_config.num_steps = FLAGS.num_train_steps
    if FLAGS.sample_1_of_n_eval_examples is not None:
        for reader in config.eval_input_reader:
            reader.sample_1_of_n_examples = FLAGS.sample_1_of_n_eval_examples
    return config


def _train(config: "TrainEvalPipelineConfig") -> None:
    from tfod_csf.training import preflight

    evaluates = FLAGS.eval_every_n > 0
    checked = preflight.check_training(
        config, FLAGS.pipeline_config_path, FLAGS.model_dir, FLAGS.num_workers, evaluates
    )
    _say(checked.notices)
    # Without AVX-512 TensorFlow leaves oneDNN out, and a step takes a third longer.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    from tfod_csf.training import training_loop, training_run

    settings = training_loop.LoopSettings(
        num_steps=config.train_config.num_steps,
        checkpoint_every_n=FLAGS.checkpoint_every_n,
        eval_every_n=FLAGS.eval_every_n,
        log_every_n=FLAGS.log_every_n,
        record_summaries=FLAGS.record_summaries,
        stop_when_saturated=FLAGS.stop_when_saturated,
        saturation_min_relative_fall=FLAGS.saturation_min_fall,
        saturation_min_steps=FLAGS.saturation_min_steps,
    )
    try:
        training_run.train(config, FLAGS.model_dir, settings, _options(training_run), checked)
    except training_loop.StoppedError as error:
        print(f"tfod_csf model_main_tf2: {error}", file=sys.stderr)
        raise stop_signals.Stopped(error.signal_number) from None


def _evaluate(config: "TrainEvalPipelineConfig") -> None:
    from tfod_csf.training import preflight

    checkpoint_dir = FLAGS.checkpoint_dir or FLAGS.model_dir
    checked = preflight.check_evaluation(
        config, FLAGS.pipeline_config_path, checkpoint_dir, FLAGS.eval_on_train_data, FLAGS.eval_once
    )
    _say(checked.notices)
    from tfod_csf.training import training_run

    training_run.evaluate_checkpoints(
        config,
        checkpoint_dir,
        FLAGS.model_dir,
        _options(training_run),
        checked,
        timeout_seconds=FLAGS.eval_timeout,
        eval_once=FLAGS.eval_once,
    )


def _options(training_run):
    return training_run.RunOptions(
        num_workers=FLAGS.num_workers,
        worker_start_timeout=FLAGS.worker_start_timeout,
        worker_timeout=FLAGS.worker_timeout,
        seed=FLAGS.seed,
        rms_prop_rule=FLAGS.rms_prop_rule,
        leave_out_class_heads=FLAGS.leave_out_class_heads,
        eval_on_train_data=FLAGS.eval_on_train_data,
        sample_1_of_n_eval_on_train_examples=FLAGS.sample_1_of_n_eval_on_train_examples,
    )


def _say(notices: tuple[str, ...]) -> None:
    for notice in notices:
        logging.getLogger("tfod_csf").info("%s", notice)


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "model_main_tf2"))
