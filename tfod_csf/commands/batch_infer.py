"""Find the cells in folders of patients, and count them: tables and pictures.

Writes OUT/patients/<id>/{cells.csv, images.csv, differential.csv, pictures/}, OUT/differentials.csv, OUT/run.json and
OUT/problems.csv. A second run with the same flags repeats only the patients whose images, models or thresholds have
changed. An unreadable image is reported and marks its patient; it does not stop the run. Several models are averaged:
the percentages of each patient (the paper's way, with the spread between models), or cell by cell (--ensemble=cell).
A model is a program: one that was changed after its export, or that does more than compute, is refused without --trust.
Five processes or machines divide the patients with --shard=1/5 to --shard=5/5 (docs/ARCHIVE.md); then run merge_shards.

Example: tfod_csf batch_infer --model=exported_models/csf --images_dir=patients --output_dir=results
"""

import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags, inference_flags
from tfod_csf.errors import UserError

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
common_flags.define_trust(FLAGS)
common_flags.define_problem_limits(FLAGS)


def main() -> None:
    """Runs the models over all patients, or those of one shard."""
    _, output_dir = common_flags.images_dir_apart_from_output(FLAGS)
    from tfod_csf.inference.runs.image_workers import WorkerLimits
    from tfod_csf.problems import ProblemLog

    limits = WorkerLimits.chosen(FLAGS.num_workers, FLAGS.max_memory_mb)
    problems = ProblemLog(FLAGS.strict)
    if FLAGS.shard is None:
        inference_flags.run(FLAGS, output_dir, problems, num_rounds=FLAGS.rounds, limits=limits)
        return
    if FLAGS.rounds > 1:
        raise UserError("--shard with --rounds: rounds compare runs of all patients; give one of the two.")
    from tfod_csf.inference.runs.shards import Shard

    inference_flags.run_shard(FLAGS, Shard.parse(FLAGS.shard), output_dir, problems, limits)


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "batch_infer"))
