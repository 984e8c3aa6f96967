"""Sign the reports of reviewed patients, which makes them final.

Every patient must be named with --patient. Only a report on which nothing is left to check can be signed: no cell
that may be white is undecided, and all images are verified, or a sample of them (review_export --sample_images). The
signature is a record in patients/<id>/signatures/ over the numbers that these flags give and the checksums of the
tables. It counts as long as exactly these numbers are reported: give report the same flags. When a table, a threshold
or a row of the patient table changes, the report is no longer final, and the signature is not shown.
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line, common_flags, differential_flags
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
common_flags.define_inference_dir(FLAGS, "Output folder of review_import; the signatures are written into it.")
common_flags.define_patient(FLAGS)
flags.DEFINE_string(
    "signed_by", None, "Name of the person who looked at the slides and signs.", required=True, flag_values=FLAGS
)
flags.DEFINE_string(
    "comment",
    "",
    "The person's own finding, printed with the signature, for example on cells that the model does not know.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "signing_key", None, "Key file (as of review_import) that protects the signatures.", flag_values=FLAGS
)
flags.DEFINE_boolean("report", True, "Write report.html of the signed patients.", flag_values=FLAGS)
common_flags.define_run_images_dir(FLAGS)
differential_flags.define(FLAGS)


def main() -> None:
    """Signs all named patients or none, and writes their pages."""
    signed_by = " ".join(FLAGS.signed_by.split())
    if not signed_by:
        raise UserError("--signed_by is empty; a signature needs a name.")
    if not FLAGS.patient:
        raise UserError("--patient is missing; name every patient whose report you sign.")
    folder = common_flags.inference_dir(FLAGS)
    from tfod_csf.cytology.report import pages
    from tfod_csf.cytology.signing import sign
    from tfod_csf.files import folder_lock, key_files

    inputs = differential_flags.read(FLAGS)
    facts = differential_flags.run_facts(FLAGS, inputs, folder)
    if facts.calls_fewer_unknown:
        raise UserError(
            f"--unknown_below={FLAGS.unknown_below:g} is below that of the run: cells that reviewers saw as unknown "
            "would count as decided. Sign without the flag, or run batch_infer with it and review again."
        )
    if facts.counts_fewer_cells:
        raise UserError(
            f"--min_score={FLAGS.min_score:g} is above that of the run: cells that nobody has decided would not be "
            "counted, and not be missed. Sign without the flag, or run batch_infer with it and review again."
        )
    differential_flags.warn_of_other_rules(inputs, FLAGS.population, folder)
    key = key_files.read_key(FLAGS.signing_key) if FLAGS.signing_key else None
    pages_written: list[pathlib.Path] = []
    with folder_lock.only_writer(folder):
        signed = sign.sign_reports(
            folder, FLAGS.patient, signed_by, FLAGS.comment.strip(), facts.basis, inputs.patient_facts, key
        )
        if FLAGS.report:
            images_dir = pathlib.Path(FLAGS.images_dir) if FLAGS.images_dir else None
            options = pages.ReportOptions(images_dir=images_dir, patients=tuple(signed))
            pages_written = pages.write_report(folder, folder, facts, options, inputs.patient_facts).pages
    for patient, signature in signed.items():
        print(f"{patient}: signed by {signature.signed_by} on {signature.signed_at}, checksum {signature.sha256}")
    if inputs.unmatched:
        print(inputs.unmatched)
    if FLAGS.report:
        print(f"{len(pages_written)} report.html written; run report with the same flags for the page of all patients.")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "sign_report"))
