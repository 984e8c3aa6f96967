"""Find and count the cells of an archive of patients, on many machines under Apache Beam.

Writes what batch_infer writes, byte for byte apart from times, and takes its flags. The extra [archive] is needed. On
this machine --num_processes share the patients; --runner hands them to a cluster whose machines see the same
folders under the same paths (docs/ARCHIVE.md). Run the same command again to resume, or to repeat only what has
changed. An image that ends the process that examines it is given up after --max_attempts, listed in
OUT/archive/dead_letters.csv, and marks its patient as an unreadable image does.

Example: tfod_csf archive_infer --model=exported_models/csf --images_dir=patients --output_dir=results --num_processes=8
"""

import logging
import os
import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags, inference_flags
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
inference_flags.define(FLAGS)
flags.DEFINE_integer(
    "num_processes",
    2,
    "Processes on this machine that examine patients, each with the models loaded; without --runner.",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "runner",
    None,
    "Runner of Beam that has the machines, for example FlinkRunner, SparkRunner or DataflowRunner; default: this one.",
    flag_values=FLAGS,
)
flags.DEFINE_multi_string(
    "beam_option",
    [],
    "Option of Beam without its dashes, for example flink_master=host:8081; repeat for several.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "max_attempts",
    3,
    "How often a patient may end the process that examines it before images of it are given up.",
    lower_bound=2,
    flag_values=FLAGS,
)
flags.DEFINE_boolean(
    "retry_dead_letters", False, "Open the images again that earlier runs have given up.", flag_values=FLAGS
)
common_flags.define_trust(FLAGS)
common_flags.define_problem_limits(FLAGS)


def main() -> None:
    """Checks that Beam is there, then runs the models over all patients."""
    _, output_dir = common_flags.images_dir_apart_from_output(FLAGS)
    from tfod_csf.inference.archive import archive_run
    from tfod_csf.problems import ProblemLog
    from tfod_csf.wording import plural

    archive_run.check_beam()
    if FLAGS.runner and not os.path.isabs(FLAGS.images_dir):
        raise UserError(
            f"--images_dir={FLAGS.images_dir}: with --runner, give an absolute path that is the same on every machine."
        )
    logging.getLogger("tfod_csf").setLevel(logging.INFO)
    engine = archive_run.ArchiveEngine(
        inference_flags.settings(FLAGS),
        output_dir,
        trust=FLAGS.trust,
        strict=FLAGS.strict,
        num_processes=FLAGS.num_processes,
        runner=FLAGS.runner or "",
        beam_options=[f"--{option}" for option in FLAGS.beam_option],
        max_attempts=FLAGS.max_attempts,
        retry_dead_letters=FLAGS.retry_dead_letters,
    )
    engine.hide_gpus()
    try:
        inference_flags.run(FLAGS, output_dir, ProblemLog(FLAGS.strict), engine=engine)
    finally:
        given_up = archive_run.num_dead_letters(output_dir)
        if given_up:
            print(
                f"Not opened, because they ended the process before: {plural(given_up, 'image')} "
                "(archive/dead_letters.csv); --retry_dead_letters opens them again.",
                file=sys.stderr,
            )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "archive_infer"))
