"""Copies a study's images without names: pseudonyms from a secret key, metadata removed, LabelImg XML cleaned.

Plain JPEGs keep their picture byte for byte; other images become PNG with the same pixels. The key and the table that
leads back to names (--key_file, and beside it .mapping.csv and .problems.csv) are written apart from the copies, for
their owner only. Names that are written into a picture itself are not found: look at the pictures.
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string("images_dir", None, "Folder of patients, as for batch_infer.", flag_values=FLAGS)
flags.DEFINE_string("annotations_dir", None, "Folder of LabelImg XML; default: beside the images.", flag_values=FLAGS)
flags.DEFINE_string("manifest", None, "CSV with the columns image, patient_id: whose image it is.", flag_values=FLAGS)
flags.DEFINE_string(
    "patient_pattern", None, "Regular expression with (?P<patient>...), searched in each path.", flag_values=FLAGS
)
flags.DEFINE_string("output_dir", None, "Folder for the copies; nothing secret is written there.", flag_values=FLAGS)
flags.DEFINE_string("key_file", None, "New file for the secret key, outside --output_dir.", flag_values=FLAGS)
flags.DEFINE_boolean(
    "reuse_key", False, "Use the key in --key_file again: the same patients get the same pseudonyms.", flag_values=FLAGS
)
flags.DEFINE_boolean("strict", False, "End at the first file that is skipped or mended.", flag_values=FLAGS)
flags.DEFINE_float(
    "max_skipped_fraction", 0.1, "Exit with an error if more of the images were skipped.", 0, 1, flag_values=FLAGS
)
flags.mark_flags_as_required(["images_dir", "output_dir", "key_file"], flag_values=FLAGS)


def main() -> None:
    """Checks that secrets and copies lie apart, copies, and writes the table."""
    images_dir, output_dir = pathlib.Path(FLAGS.images_dir), pathlib.Path(FLAGS.output_dir)
    if output_dir.resolve().is_relative_to(images_dir.resolve()):
        raise UserError(f"--output_dir={output_dir} lies in --images_dir; its copies would be read as images.")
    from tfod_csf.cytology.blinding import blind, pseudonyms
    from tfod_csf.files import key_files
    from tfod_csf.problems import ProblemLog
    from tfod_csf.progress_bar import bar_over
    from tfod_csf.study import patients

    secret = blind.SecretFiles.beside(FLAGS.key_file)
    secret.check_apart(output_dir)
    problems = ProblemLog(strict=FLAGS.strict)
    whose = {"manifest": FLAGS.manifest, "patient_pattern": FLAGS.patient_pattern}
    images = patients.find_images(images_dir, problems, **whose)
    annotations = blind.find_annotations(images_dir, FLAGS.annotations_dir, problems, **whose)
    key, known = secret.open(FLAGS.reuse_key, output_dir)
    try:
        rows = blind.blind(
            images,
            annotations,
            output_dir,
            key,
            known,
            problems,
            progress=bar_over("image"),
        )
        pseudonyms.write_mapping(secret.mapping, rows)
    finally:
        with key_files.owner_only():
            problems.write_csv(secret.problems)
    stripped = sum(row.written == blind.JPEG_STRIPPED for row in rows)
    print(
        f"{len({row.pseudonym for row in rows})} patients, {len(rows)} images: {stripped} JPEG with the picture byte "
        f"for byte, {len(rows) - stripped} as PNG with the same pixels; {problems.summary()} ({secret.problems}); "
        f"written to {output_dir}. Keep {secret.key} and {secret.mapping} apart from it; without both, names are lost."
    )
    copied = {(row.patient_id, row.image) for row in rows}
    num_skipped = sum((image.patient_id, image.name) not in copied for image in images)
    problems.check_skipped_files(num_skipped, len(images), FLAGS.max_skipped_fraction, "--max_skipped_fraction")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "blind"))
