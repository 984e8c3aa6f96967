"""Copy a study's images without names: pseudonyms instead, metadata removed.

Plain JPEGs keep their picture byte for byte; other images become PNG with the same pixels. LabelImg XML is copied with
boxes, classes and marks only. The key and the table that leads back to names (KEY_FILE, KEY_FILE.mapping.csv and
KEY_FILE.problems.csv) must be outside the folder of the copies and can be read by their owner only. Names that are part
of a picture are not found: look at the pictures.
"""

import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags

FLAGS = flags.FlagValues()
common_flags.define_images_dir(FLAGS)
common_flags.define_annotations_dir(FLAGS)
common_flags.define_output_dir(FLAGS, "Folder for the copies; nothing secret is written there.")
flags.DEFINE_string(
    "key_file", None, "New file for the secret key, outside --output_dir.", required=True, flag_values=FLAGS
)
flags.DEFINE_boolean(
    "reuse_key",
    False,
    "Use the key that is in --key_file already: the same patients get the same pseudonyms.",
    flag_values=FLAGS,
)
common_flags.define_problem_limits(FLAGS)


def main() -> None:
    """Copies, writes the table, and says what must be kept."""
    images_dir, output_dir = common_flags.images_dir_apart_from_output(FLAGS)
    from tfod_csf.cytology.blinding import blind, blind_study
    from tfod_csf.files import folder_lock
    from tfod_csf.problems import ProblemLog
    from tfod_csf.progress_bar import bar_over

    problems, secret = ProblemLog(strict=FLAGS.strict), blind.SecretFiles.beside(FLAGS.key_file)
    secret.check_apart(output_dir)
    # Two blindings with one key would each write the table without the other's images.
    with folder_lock.only_writer(secret.key, swapped=True), folder_lock.only_writer(output_dir):
        study = blind_study.blind_study(
            images_dir,
            FLAGS.annotations_dir,
            output_dir,
            secret,
            FLAGS.reuse_key,
            problems,
            FLAGS.manifest,
            FLAGS.patient_pattern,
            progress=bar_over("image"),
        )
    blind.forget_when(output_dir)
    print(
        f"{study}; {problems.summary()} ({secret.problems}); written to {output_dir}. Keep {secret.key} and "
        f"{secret.mapping} on another disk; without both, names are lost."
    )
    problems.check_skipped_files(
        study.num_skipped, study.num_images, FLAGS.max_skipped_fraction, "--max_skipped_fraction"
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "blind"))
