"""Train a detector, or evaluate the checkpoints of a training run; TFOD's command and flags.

Training: --pipeline_config_path and --model_dir; the same command goes on where the last one stopped. --eval_every_n
evaluates inside training and keeps the best checkpoint in <model_dir>/best. With --checkpoint_dir the command evaluates
instead: each checkpoint that appears there until the training has ended, or with --eval_once the newest one.
TensorBoard: tensorboard --logdir=<model_dir>.
"""

import logging
import sys

from absl import flags

from tfod_csf.commands import command_line
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string("pipeline_config_path", None, "Path to the pipeline.config.", required=True, flag_values=FLAGS)
flags.DEFINE_string("model_dir", None, "Folder for checkpoints and event files.", required=True, flag_values=FLAGS)
flags.DEFINE_integer("num_train_steps", None, "Steps to train; default: the config's.", 1, flag_values=FLAGS)
flags.DEFINE_integer("checkpoint_every_n", 1000, "Steps between checkpoints.", 1, flag_values=FLAGS)
flags.DEFINE_integer("eval_every_n", 0, "Steps between evaluations inside training; 0: none.", 0, flag_values=FLAGS)
flags.DEFINE_integer("log_every_n", 100, "Steps between log lines and event file entries.", 1, flag_values=FLAGS)
flags.DEFINE_bool("record_summaries", True, "Write training images to the event file.", flag_values=FLAGS)
flags.DEFINE_bool("stop_when_saturated", False, "End when the smoothed loss has saturated.", flag_values=FLAGS)
flags.DEFINE_float(
    "saturation_min_fall",
    0.02,
    "A fall of the loss from one quarter of the run to the next that is smaller than this fraction counts as none.",
    0.0,
    1.0,
    flag_values=FLAGS,
)
flags.DEFINE_integer("saturation_min_steps", 2000, "Saturation is not looked for before.", 0, flag_values=FLAGS)
flags.DEFINE_integer(
    "seed", None, "Seed of weights, order, augmentation and sampling; default: another each time.", 0, flag_values=FLAGS
)
flags.DEFINE_enum(
    "rms_prop_rule",
    None,
    ["tf1", "tf2"],
    "What rms_prop_optimizer means: TFOD's rule on TensorFlow 1 (default) or 2; a resumed run keeps its own.",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "leave_out_class_heads",
    False,
    "With fine_tune_checkpoint_type full: leave out the predictors whose size depends on num_classes.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "num_workers", 1, "Machines that train together; above 1 TF_CONFIG must be set.", 1, flag_values=FLAGS
)
flags.DEFINE_string(
    "checkpoint_dir", None, "Evaluate the checkpoints of this folder instead of training.", flag_values=FLAGS
)
flags.DEFINE_integer("eval_timeout", 3600, "Seconds to wait for a new checkpoint.", 0, flag_values=FLAGS)
flags.DEFINE_bool(
    "eval_once", False, "Evaluate the newest checkpoint of --checkpoint_dir (or model_dir) once.", flag_values=FLAGS
)
flags.DEFINE_bool("eval_on_train_data", False, "Evaluate on training records too.", flag_values=FLAGS)
flags.DEFINE_integer(
    "sample_1_of_n_eval_examples", None, "Evaluate on every n-th image; default: the config's.", 1, flag_values=FLAGS
)
flags.DEFINE_integer(
    "sample_1_of_n_eval_on_train_examples", 5, "The same for --eval_on_train_data.", 1, flag_values=FLAGS
)
flags.DEFINE_string("config_override", "", "Config text merged over the file's.", flag_values=FLAGS)
flags.DEFINE_bool("use_tpu", False, "Not supported; exists because TFOD has it.", flag_values=FLAGS)
flags.DEFINE_string("tpu_name", None, "Not supported; exists because TFOD has it.", flag_values=FLAGS)


def main() -> None:
    if FLAGS.use_tpu or FLAGS.tpu_name:
        raise UserError("--use_tpu, --tpu_name: TPUs are not supported; train on GPUs or the CPU.")
    logging.getLogger("tfod_csf").setLevel(logging.INFO)
    config = _config()
    if FLAGS.checkpoint_dir or FLAGS.eval_once:
        _evaluate(config)
    else:
        _train(config)


def _config():
    """The config with the flags' values in it."""
    from tfod_csf.config import pipeline_config

    config = pipeline_config.load_pipeline_config(FLAGS.pipeline_config_path)
    if FLAGS.config_override:
        config = pipeline_config.override(config, FLAGS.config_override)
    if FLAGS.num_train_steps is not None:
        config.train_config.num_steps = FLAGS.num_train_steps
    if FLAGS.sample_1_of_n_eval_examples is not None:
        for reader in config.eval_input_reader:
            reader.sample_1_of_n_examples = FLAGS.sample_1_of_n_eval_examples
    return config


def _train(config) -> None:
    from tfod_csf.training import preflight

    evaluates = FLAGS.eval_every_n > 0
    checked = preflight.check_training(
        config, FLAGS.pipeline_config_path, FLAGS.model_dir, FLAGS.num_workers, evaluates
    )
    _say(checked.notices)
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
        raise KeyboardInterrupt from None


def _evaluate(config) -> None:
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
