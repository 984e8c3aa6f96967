"""Review the cells of a run in a web browser on this computer.

Serves a reviewer's own export of the run (made at the first start) at an address that is printed: a gallery by class
with unknown white cells first, and each image with its boxes. Every decision is on the disk before the page shows it
as saved; stopped with Ctrl-C or killed, the same command resumes. A sign-off imports the patient as review_import does.
review_times.csv in the reviewer's folder holds the minutes per patient for turnaround --review_times.
"""

import pathlib
import sys
from typing import TYPE_CHECKING

from absl import flags

from tfod_csf.commands import command_line, common_flags, differential_flags, review_flags

if TYPE_CHECKING:
    from collections.abc import Callable

    from tfod_csf.cytology.browser_review import sign_off

FLAGS = flags.FlagValues()
common_flags.define_inference_dir(FLAGS, "Output folder of the batch_infer run to review; it is only read.")
flags.DEFINE_string(
    "review_dir",
    None,
    "Folder of this reviewer alone: an export of review_export that nobody has worked on, or a folder that is made.",
    required=True,
    flag_values=FLAGS,
)
common_flags.define_output_dir(FLAGS, "Folder of the reviewed results; use the same one for all reviews of a run.")
review_flags.define_reviewer(FLAGS)
flags.DEFINE_integer(
    "port",
    0,
    "Port on 127.0.0.1; default: any free one.",
    lower_bound=0,
    upper_bound=65535,
    flag_values=FLAGS,
)
review_flags.define_disagreements(FLAGS)
common_flags.define_run_images_dir(FLAGS, whose=True)
common_flags.define_patient(FLAGS)
common_flags.define_needed_model_name(FLAGS)
common_flags.define_extra_class(FLAGS)
review_flags.define_sample_images(FLAGS)
differential_flags.define(FLAGS)


def main() -> None:
    """Exports what is missing, prints the address, and serves until it is stopped."""
    reviewer = review_flags.reviewer(FLAGS)
    inference_dir, output_dir = common_flags.inference_dir(FLAGS), common_flags.output_dir(FLAGS)
    from tfod_csf.cytology.browser_review import desk, server
    from tfod_csf.cytology.review import session as review_session

    review_dir = pathlib.Path(FLAGS.review_dir)
    # Before the export: one of a reviewed state would show this reviewer what colleagues decided.
    review_session.check_places(review_dir, inference_dir, output_dir)
    _export_if_absent(inference_dir, review_dir)
    review_session.folders_to_import(review_dir, inference_dir, output_dir)
    take = _import(inference_dir, output_dir)
    with desk.open_desk(review_dir, reviewer) as one:
        if one.cut_bytes:
            print("The server was killed while it wrote a decision, which the page had not shown as saved; it is lost.")
        token = server.new_token()
        application = server.ReviewApplication(one, take, _check(inference_dir, output_dir), token)
        running = server.make_review_server(application, FLAGS.port)
        print(
            f"{len(one.patients)} patients for {one.reviewer}: open http://{server.HOST}:{running.port}/{token}/\n"
            "Whoever has this address on this computer can review in this name. Ctrl-C stops the server.",
            flush=True,
        )
        running.serve_forever()
    print(f"Stopped; every decision is in {review_dir}, and the same command resumes. Minutes: {desk.TIMES}.")


def _export_if_absent(inference_dir: pathlib.Path, review_dir: pathlib.Path) -> None:
    """Gives the reviewer an export of the run unless there is one; one that was stopped is completed."""
    from tfod_csf.cytology.review import export_session, sidecar
    from tfod_csf.files import folder_lock, given_files
    from tfod_csf.problems import ProblemLog
    from tfod_csf.progress_bar import bar_over

    folders = given_files.folders_with(review_dir, sidecar.FILE_NAME)
    settings = review_flags.export_settings(FLAGS)
    if folders and not (review_dir / export_session.UNFINISHED).exists():
        earlier = ProblemLog(quiet=True)
        earlier.read_csv(review_dir / "problems.csv")
        export_session.check_made_with(folders, settings, earlier)
        given = [f"--{name}" for name in ("images_dir", "manifest", "patient_pattern") if FLAGS[name].value]
        if given:
            print(f"{', '.join(given)}: no effect; {review_dir} holds the export, with its images, already.")
        return
    problems = ProblemLog()
    with folder_lock.only_writer(review_dir):
        session = export_session.export_run(inference_dir, review_dir, settings, problems, bar_over("patient"))
    print(f"{session}; {problems.summary()}; exported to {review_dir}.")


def _import(inference_dir: pathlib.Path, output_dir: pathlib.Path) -> "sign_off.Import":
    """What a sign-off does: `review_import` of the patient's folder."""
    from tfod_csf.cytology.report import page_state
    from tfod_csf.cytology.review import session as review_session
    from tfod_csf.files import folder_lock
    from tfod_csf.problems import Problem, ProblemLog

    inputs = differential_flags.read(FLAGS)
    counting = review_flags.counting(FLAGS, inputs)
    facts = differential_flags.run_facts(FLAGS, inputs, inference_dir)
    settings = review_flags.import_settings(FLAGS)

    def take(folders: list[pathlib.Path]) -> tuple[review_session.Session, list[Problem]]:
        problems = ProblemLog(quiet=True)
        with folder_lock.only_writer(output_dir):
            # Those of patients who were signed off before, and of other reviewers' imports.
            earlier = review_session.problems_of_others(output_dir, [*folders, inference_dir, output_dir])
            page_state.remove_outdated(output_dir, facts, inputs.patient_facts)
            try:
                session = review_session.run(folders, inference_dir, output_dir, settings, counting, problems)
            finally:
                all_problems = ProblemLog(quiet=True)
                all_problems.extend([*earlier, *problems.problems])
                all_problems.write_csv(output_dir / "problems.csv")
        return session, problems.problems

    return take


def _check(inference_dir: pathlib.Path, output_dir: pathlib.Path) -> "Callable[[pathlib.Path], None]":
    """What refuses a patient's folder that could not be signed off."""
    from tfod_csf.cytology.review import session as review_session

    settings = review_flags.import_settings(FLAGS)
    return lambda folder: review_session.check_importable(folder, inference_dir, output_dir, settings)


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "review_serve"))
