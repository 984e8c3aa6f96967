"""Find the cells in folders of patients, and count them: tables and pictures.

Writes OUT/patients/<id>/{cells.csv, images.csv, differential.csv, pictures/}, OUT/differentials.csv, OUT/run.json and
OUT/problems.csv. A second run with the same flags repeats only the patients whose images, models or thresholds have
changed. An unreadable image is reported and marks its patient; it does not stop the run. Several models are averaged:
the percentages of each patient (the paper's way, with the spread between models), or cell by cell (--ensemble=cell).
A model is a program: one that was changed after its export, or that does more than compute, is refused without --trust.
With --watch images are counted while they are taken, until Ctrl-C; OUT/live.html says whether there are enough cells.
Five processes or machines divide the patients with --shard=1/5 to --shard=5/5 (docs/ARCHIVE.md); then run merge_shards.

Example: tfod_csf batch_infer --model=exported_models/csf --images_dir=patients --output_dir=results
"""

import sys
from typing import TYPE_CHECKING

from absl import flags

from tfod_csf.commands import command_line, common_flags, inference_flags
from tfod_csf.errors import UserError

if TYPE_CHECKING:
    import pathlib

    from tfod_csf.inference.runs.image_workers import WorkerLimits
    from tfod_csf.problems import ProblemLog

FLAGS = flags.FlagValues()
inference_flags.define(FLAGS)
flags.DEFINE_integer(
    "rounds",
    1,
    "Number of times that all images are examined, to see whether anything differs; further rounds are in OUT/rounds/2 "
    "and so on.",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "shard",
    None,
    "Part of the patients to examine, i/n, beside other processes or machines with the same --output_dir and the "
    "other parts; merge_shards then makes the tables of all patients.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "num_workers",
    None,
    "Threads that read and decode images and draw and save pictures while the network works; 0 does everything in "
    "turn. Results are the same with any number. Default: one for each core.",
    lower_bound=0,
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "max_memory_mb",
    None,
    "MiB for the images that these threads hold at a time, beside the network's own memory; an image that needs more "
    "is taken alone. Default: 200 for each worker, which are three images of five megapixels.",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.DEFINE_boolean(
    "watch",
    False,
    "Count the images as they arrive in --images_dir, while the microscope's camera writes them; a file that is still "
    "being written is waited for. OUT/live.html (open it in a browser) and a line per image say how many white cells "
    "there are, how certain the percentages are, and whether there are enough. Ctrl-C ends the counting, and the "
    "tables are written as by a run without --watch.",
    flag_values=FLAGS,
)
common_flags.define_trust(FLAGS)
common_flags.define_problem_limits(FLAGS)


def main() -> None:
    """Runs the models over all patients, or those of one shard."""
    _, output_dir = common_flags.images_dir_apart_from_output(FLAGS)
    from tfod_csf.inference.runs.image_workers import WorkerLimits
    from tfod_csf.problems import ProblemLog

    limits = WorkerLimits.chosen(FLAGS.num_workers, FLAGS.max_memory_mb)
    problems = ProblemLog(FLAGS.strict)
    if FLAGS.watch:
        _watch(output_dir, problems, limits)
        return
    if FLAGS.shard is None:
        inference_flags.run(FLAGS, output_dir, problems, num_rounds=FLAGS.rounds, limits=limits)
        return
    if FLAGS.rounds > 1:
        raise UserError("--shard with --rounds: rounds compare runs of all patients; give one of the two.")
    from tfod_csf.inference.runs.shards import Shard

    inference_flags.run_shard(FLAGS, Shard.parse(FLAGS.shard), output_dir, problems, limits)


def _watch(output_dir: "pathlib.Path", problems: "ProblemLog", limits: "WorkerLimits") -> None:
    """Counts while images arrive."""
    if FLAGS.shard is not None or FLAGS.rounds > 1:
        raise UserError("--watch: goes together neither with --shard nor with --rounds; leave these out.")
    from tfod_csf.commands.live_display import LiveDisplay
    from tfod_csf.commands.stop_signals import EndOnInterrupt

    with EndOnInterrupt() as user, LiveDisplay(output_dir, FLAGS.max_unknown_percent) as display:
        inference_flags.run(
            FLAGS, output_dir, problems, limits=limits, show=display.show, wants_to_end=user.wait, watch=True
        )
        display.is_complete = True


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "batch_infer"))
