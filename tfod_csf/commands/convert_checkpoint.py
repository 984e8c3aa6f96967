"""Write a TensorFlow 1 checkpoint of TFOD as a checkpoint of this package.

For the TensorFlow 1 types (faster_rcnn_inception_v2, faster_rcnn_resnet101, ...). exporter_main_v2 takes the folder as
--trained_checkpoint_dir, training as fine_tune_checkpoint of type full or detection. Fine-tuning needs no conversion:
it takes TensorFlow 1 checkpoints as they are.

Example: tfod_csf convert_checkpoint --pipeline_config_path=pipeline.config --trained_checkpoint_prefix=model.ckpt
--output_directory=converted
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line, config_flags

FLAGS = flags.FlagValues()
config_flags.define_pipeline_config_path(FLAGS)
flags.DEFINE_string(
    "trained_checkpoint_prefix",
    None,
    "The checkpoint: its prefix such as model.ckpt-200000, its folder, or the .tar.gz of the model zoo.",
    required=True,
    flag_values=FLAGS,
)
flags.DEFINE_string("output_directory", None, "Folder to write the checkpoint to.", required=True, flag_values=FLAGS)
flags.DEFINE_bool(
    "use_moving_averages",
    None,
    "Take the moving averages of a training checkpoint; default: as eval_config.use_moving_averages says.",
    flag_values=FLAGS,
)
config_flags.define_config_override(FLAGS)


def main() -> None:
    """Checks config and output folder, converts, and says what of the checkpoint was used."""
    from tfod_csf.config import supported
    from tfod_csf.export import export_checks
    from tfod_csf.files import folder_lock

    output_directory = pathlib.Path(FLAGS.output_directory)
    inputs = ("pipeline_config_path", "trained_checkpoint_prefix")
    export_checks.check_inputs_are_elsewhere(output_directory, {name: FLAGS[name].value for name in inputs})
    config = config_flags.load_config(FLAGS)
    supported.check_supported(config, parts=("model",))

    from tfod_csf.export import checkpoint_conversion
    from tfod_csf.training.checkpoints.match_report import count_parts

    with folder_lock.only_writer(output_directory, swapped=True):
        conversion = checkpoint_conversion.convert(
            config, FLAGS.trained_checkpoint_prefix, output_directory, FLAGS.use_moving_averages
        )
    for part, count in count_parts(conversion.unused).items():
        print(f"{part}: {count} of the checkpoint not used")
    values = "moving averages" if conversion.moving_averages else "plain values"
    step = "no step" if conversion.step is None else f"step {conversion.step}"
    print(f"Wrote {output_directory}: {conversion.num_variables} variables, {values}, {step}.")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "convert_checkpoint"))
