"""Export final reports for the laboratory's system, as FHIR R4 bundles or as a table.

Only a report that is reviewed and signed (sign_report), and whose numbers are still those that were signed, is
exported. The numbers are taken from the signature, so no flag can change them. With --patient all named patients must
have a final report, or nothing is written; without, those that have one are exported and the others counted.
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags

FLAGS = flags.FlagValues()
common_flags.define_inference_dir(FLAGS, "Output folder of review_import with the signatures; it is only read.")
common_flags.define_output_dir(FLAGS, "Folder to write to.")
flags.DEFINE_enum(
    "format",
    "fhir",
    ["fhir", "csv"],
    "With fhir, a Bundle with a DiagnosticReport per patient (<patient>.fhir.json); with csv, report_export.csv.",
    flag_values=FLAGS,
)
common_flags.define_patient(FLAGS)
flags.DEFINE_string(
    "signing_key", None, "Key file of sign_report; only signatures that were made with it count.", flag_values=FLAGS
)


def main() -> None:
    """Reads the final reports, writes them, and says how many are not final."""
    inference_dir, output_dir = common_flags.inference_dir(FLAGS), common_flags.output_dir(FLAGS)
    from tfod_csf.cytology.signing import report_export
    from tfod_csf.files import folder_lock, key_files
    from tfod_csf.progress_bar import bar_over
    from tfod_csf.wording import plural

    key = key_files.read_key(FLAGS.signing_key) if FLAGS.signing_key else None
    with folder_lock.only_writer(output_dir):
        summary = report_export.export_reports(
            inference_dir, output_dir, FLAGS.format, FLAGS.patient, key, bar_over("patient"), _say_removed
        )
    left = f"; {plural(len(summary.not_final), 'patient')} without one not exported" if summary.not_final else ""
    print(f"{plural(summary.exported, 'final report')} written to {output_dir}{left}.")


def _say_removed(path: pathlib.Path) -> None:
    print(f"{path}: removed; a report that was exported there is not final any more.")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "export_report"))
