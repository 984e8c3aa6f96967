"""Train and test on each patient in turn: k-fold cross-validation by patient or laboratory.

Divides the labeled images into folds of whole patients (or laboratories). For each fold, records as of
create_csf_tf_record, generate_pipeline_config, model_main_tf2, exporter_main_v2 and evaluate follow each other, with
that fold as test side. The last checkpoint is exported, because choosing the best one by the test patients would
flatter it. OUTPUT_DIR holds folds.csv, everything of each fold in fold_1/ and so on, and cross_validation.csv, one
table with 95 % intervals, with a page of charts beside it (docs/EVALUATION.md). Stopped and given again, the command
resumes.

Example: tfod_csf cross_validate --images_dir=slides --output_dir=cross_validation
--generate_flags="--feature_extractor=resnet50 --num_steps=8000"
"""

import glob
import os
import pathlib
import shlex
import sys

from absl import flags

from tfod_csf.commands import command_line, command_steps, common_flags, record_flags
from tfod_csf.data.annotated.fold_folder import FoldFolder
from tfod_csf.errors import UserError
from tfod_csf.files import csv_schemas, folder_lock

STATE = "cross_validation.json"
_RECORDS_STEP = "records"
# What the command gives to the others itself, or what would make a fold another than the others.
_OWN_GENERATE_FLAGS = ("records_dir", "output_path")
_OWN_TRAIN_FLAGS = (
    *("pipeline_config_path", "model_dir", "config_override", "seed", "num_workers"),
    *("checkpoint_dir", "eval_once", "eval_on_train_data"),
)
# They change nothing of the result.
_FREE_FLAGS = ("output_dir", "num_processes", "data_page")

FLAGS = flags.FlagValues()
common_flags.define_images_dir(FLAGS)
common_flags.define_annotations_dir(FLAGS)
common_flags.define_output_dir(FLAGS)
flags.DEFINE_integer(
    "num_folds", None, "Number of folds; default: 5, of laboratories one each.", lower_bound=2, flag_values=FLAGS
)
flags.DEFINE_enum(
    "split_by",
    "patient",
    ["patient", "laboratory"],
    "What is kept in one fold: all images of a patient, or of a laboratory (--laboratory_pattern), which shows how a "
    "model does on stains and microscopes that it has not seen.",
    flag_values=FLAGS,
)
record_flags.define_laboratory_pattern(FLAGS)
record_flags.define_keep_together(FLAGS)
flags.DEFINE_integer(
    "seed", 0, "Seed of the folds and of the trainings: another seed, other folds.", lower_bound=0, flag_values=FLAGS
)
record_flags.define_labels(FLAGS)
flags.DEFINE_multi_string(
    "generate_flags",
    [],
    'Flags of generate_pipeline_config for all folds, for example "--feature_extractor=resnet18 --num_steps=2000".',
    flag_values=FLAGS,
)
flags.DEFINE_multi_string(
    "train_flags",
    [],
    'Flags of model_main_tf2 for all folds, for example "--stop_when_saturated --checkpoint_every_n=500".',
    flag_values=FLAGS,
)
common_flags.define_min_score(FLAGS, default="0.5")
record_flags.define_num_processes(FLAGS)
record_flags.define_data_page(FLAGS)
common_flags.define_problem_limits(FLAGS)


def main() -> None:
    """Checks the flags of all steps, runs those that are not finished, and prints the table."""
    _, output_dir = common_flags.images_dir_apart_from_output(FLAGS)
    if FLAGS.split_by == "laboratory" and not FLAGS.laboratory_pattern:
        raise UserError("--split_by=laboratory needs --laboratory_pattern, which says whose each image is.")
    generate = _further_flags("generate_flags", _OWN_GENERATE_FLAGS)
    train = _further_flags("train_flags", _OWN_TRAIN_FLAGS)
    for name, arguments in _steps(FoldFolder(output_dir, 1), generate, train):
        command_line.check_arguments(name, arguments)
    from tfod_csf.cytology.studies.cross_validation import (
        cross_validation_page,
        cross_validation_table,
        fold_results,
    )

    _refuse_foreign_files(output_dir)
    with folder_lock.only_writer(output_dir):
        steps = command_steps.CommandSteps(output_dir / STATE, _settings())
        if not steps.is_finished(_RECORDS_STEP):
            _write_records(output_dir)
            steps.finish(_RECORDS_STEP)
        patient_of = fold_results.read_folds_csv(output_dir / "folds.csv")
        for number in patient_of:
            fold = FoldFolder(output_dir, number)
            for name, arguments in _steps(fold, generate, train):
                result = fold.evaluation_dir if name == "evaluate" else None
                steps.run(fold.path.name, name, arguments, result)
        results = [
            fold_results.read_fold(FoldFolder(output_dir, number).evaluation_dir, number, patients)
            for number, patients in patient_of.items()
        ]
        rows = cross_validation_table.measure_rows(results)
        cross_validation_table.write(output_dir, rows)
        members = fold_results.read_members(output_dir / "folds.csv")
        cross_validation_page.write_page(output_dir, results, members, rows, FLAGS.split_by)
    print()
    for number, of_fold in members.items():
        print(f"fold {number} tests on {of_fold.words}")
    print(f"\n{cross_validation_table.text(rows, FLAGS.split_by)}")
    print(f"\nWrote cross_validation.csv and .html to {output_dir}.")


def _refuse_foreign_files(output_dir: pathlib.Path) -> None:
    """Refuses a folder of somebody else's that holds files with names that are written.

    Tables of folds and problems are what a run leaves that was stopped before its records were finished.
    """
    if (output_dir / STATE).exists():
        return
    for name in ("folds.csv", "problems.csv", "cross_validation.csv", "cross_validation.html"):
        path = output_dir / name
        if path.exists() and not any(csv_schemas.is_table(left, path) for left in ("folds", "problems")):
            raise UserError(
                f"--output_dir={output_dir}: holds {name}, but no {STATE}, so it is not known whose it is; give a new "
                "folder, or move it away."
            )


def _further_flags(name: str, own: tuple[str, ...]) -> list[str]:
    """The flags in a flag.

    Raises:
      UserError: a quotation mark is missing, or a flag is given that this command gives itself.
    """
    given = " ".join(FLAGS[name].value)
    try:
        arguments = shlex.split(given)
    except ValueError as error:
        raise UserError(f"--{name}={given}: {error}; put values with blanks in quotation marks.") from error
    for argument in arguments:
        given = argument.lstrip("-").partition("=")[0]
        if given in own or given.removeprefix("no") in own:
            remedy = " put it into --generate_flags" if given == "config_override" else " leave it out"
            raise UserError(f"--{name}: --{given} cannot be given for a fold;{remedy}.")
    return arguments


def _settings() -> dict[str, object]:
    """What must be the same when the run is resumed."""
    values = {name: FLAGS[name].value for name in FLAGS if FLAGS[name].name == name and name not in _FREE_FLAGS}
    values |= {name: " ".join(FLAGS[name].value) for name in ("generate_flags", "train_flags")}
    return {**values, "images_dir": os.path.abspath(FLAGS.images_dir)}


def _write_records(output_dir: pathlib.Path) -> None:
    """Writes the records of all folds, and their data pages."""
    from tfod_csf.data.annotated import fold_records
    from tfod_csf.data.annotated.create_tf_record import RecordOptions
    from tfod_csf.data.dataset_page.data_page import PageOptions, write_data_page
    from tfod_csf.problems import ProblemLog

    problems = ProblemLog(strict=FLAGS.strict)
    of_reading = {name: FLAGS[name].value for name in RecordOptions.__dataclass_fields__ if name in FLAGS}
    options = fold_records.FoldOptions(FLAGS.split_by, FLAGS.num_folds, FLAGS.laboratory_pattern, FLAGS.seed)
    folds = fold_records.write_fold_records(RecordOptions(**of_reading), options, problems)
    print(f"\n{problems.table()}\n")
    for fold in folds:
        print(fold.text())
    page_options = PageOptions(None, FLAGS.laboratory_pattern, FLAGS.num_processes)
    for fold in folds if FLAGS.data_page else []:
        records_dir = FoldFolder(output_dir, fold.number).records_dir
        page = write_data_page(records_dir, records_dir, page_options, ProblemLog(strict=FLAGS.strict))
        print(f"\nfold {fold.number}, {records_dir}/dataset_report.html:\n{page.warning_text()}")


def _steps(fold: FoldFolder, generate: list[str], train: list[str]) -> list[tuple[str, list[str]]]:
    """(command, its flags) of a fold, in order."""
    config = f"--pipeline_config_path={fold.pipeline_config}"
    test_records = f"{glob.escape(str(fold.records_dir))}/test.record-?????-of-?????"
    evaluate = [f"--model={fold.exported_model}", f"--input_path={test_records}", f"--output_dir={fold.evaluation_dir}"]
    if FLAGS.min_score is not None:
        evaluate.append(f"--min_score={FLAGS.min_score}")
    return [
        (
            "generate_pipeline_config",
            [f"--records_dir={fold.records_dir}", f"--output_path={fold.pipeline_config}", *generate],
        ),
        ("model_main_tf2", [config, f"--model_dir={fold.model_dir}", f"--seed={FLAGS.seed}", *train]),
        (
            "exporter_main_v2",
            [config, f"--trained_checkpoint_dir={fold.model_dir}", f"--output_directory={fold.exported_model}"],
        ),
        ("evaluate", evaluate),
    ]


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "cross_validate"))
