"""Puts names back into results of a blinded study: a copy of the results with every pseudonym replaced.

Tables, JSON, HTML and XML, and the names of folders and files. The key must be the one of the blinding, and each row of
its table must fit it. Letters inside pictures stay as they are; the blinded results are only read.
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string("results_dir", None, "Results of any command on the blinded copies.", flag_values=FLAGS)
flags.DEFINE_string("key_file", None, "The key file blind wrote.", flag_values=FLAGS)
flags.DEFINE_string("mapping", None, "Its table; default: beside the key file.", flag_values=FLAGS)
flags.DEFINE_string("output_dir", None, "New folder for the results with names.", flag_values=FLAGS)
flags.mark_flags_as_required(["results_dir", "key_file", "output_dir"], flag_values=FLAGS)


def main() -> None:
    """Checks the table with the key, then copies."""
    results_dir = pathlib.Path(FLAGS.results_dir)
    if not results_dir.is_dir():
        raise UserError(f"--results_dir={results_dir}: no such folder.")
    from tfod_csf.cytology.blinding import blind, pseudonyms, unblind
    from tfod_csf.files import key_files
    from tfod_csf.progress_bar import bar_over

    key = key_files.read_key(FLAGS.key_file)
    rows = pseudonyms.read_mapping(FLAGS.mapping or blind.SecretFiles.beside(FLAGS.key_file).mapping, key)
    num_files, num_named = unblind.unblind(
        results_dir,
        pathlib.Path(FLAGS.output_dir),
        rows,
        progress=bar_over("file"),
    )
    print(
        f"{num_files} files, names put back in {num_named}; written to {FLAGS.output_dir}. They hold patients' names."
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "unblind"))
