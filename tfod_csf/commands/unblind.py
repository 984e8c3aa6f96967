"""Put the names back into results of blinded images.

Copies the results and replaces every pseudonym in tables, JSON, HTML and XML and in the names of folders and files. The
key must be that of the blinding, and each row of its table must fit it. Letters inside pictures stay as they are; the
blinded results are only read.
"""

import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags

FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "results_dir", None, "Results of any command on the blinded copies.", required=True, flag_values=FLAGS
)
flags.DEFINE_string("key_file", None, "Key file that blind wrote.", required=True, flag_values=FLAGS)
flags.DEFINE_string(
    "mapping",
    None,
    "Table of names and pseudonyms that blind wrote; default: KEY_FILE.mapping.csv.",
    flag_values=FLAGS,
)
common_flags.define_output_dir(FLAGS, "New folder for the results with names.")


def main() -> None:
    """Checks the table with the key, then copies."""
    results_dir, output_dir = (
        common_flags.existing_folder(FLAGS, "results_dir", "give results on the blinded copies"),
        common_flags.output_dir(FLAGS),
    )
    from tfod_csf.cytology.blinding import blind, pseudonyms, unblind
    from tfod_csf.files import folder_lock, key_files
    from tfod_csf.progress_bar import bar_over

    key = key_files.read_key(FLAGS.key_file)
    blind.SecretFiles.beside(FLAGS.key_file).check_finished()
    rows = pseudonyms.read_mapping(FLAGS.mapping or blind.SecretFiles.beside(FLAGS.key_file).mapping, key)
    with folder_lock.only_writer(output_dir, swapped=True):
        num_files, num_named = unblind.unblind(results_dir, output_dir, rows, progress=bar_over("file"))
    print(f"{num_files} files, names put back in {num_named}; written to {output_dir}. They hold patients' names.")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "unblind"))
