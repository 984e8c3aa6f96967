"""Compare people with each other, and runs of the machine with each other (Table 1).

Give a folder of LabelImg XML per person, output folders of repeated batch_infer runs, or both. Writes counts, standard
deviations, coefficients of variation, the intraclass correlation of counts per image, Fleiss' kappa cell by cell, and
every image on which two runs of the machine differ in any number. With both, also whether the machine lies within the
people: its counts beside theirs, and its agreement with them beside theirs with each other. Table 1 is the paper's.
"""

import pathlib
import sys

from absl import flags

from tfod_csf import run_folder
from tfod_csf.commands import command_line, common_flags
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_multi_string(
    "person", [], "NAME=FOLDER of the LabelImg XML of one person; repeat for every person.", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "round",
    [],
    "Output folder of one batch_infer run over the same images; repeat for every run. The folder of a run with "
    "--rounds=N holds all N of them.",
    flag_values=FLAGS,
)
common_flags.define_output_dir(FLAGS)
common_flags.define_class_map(FLAGS)
common_flags.define_model_name(FLAGS)
common_flags.define_matching_iou_threshold(FLAGS, old_name="iou")


def _people() -> dict[str, str]:
    people: dict[str, str] = {}
    for entry in FLAGS.person:
        name, separator, folder = entry.partition("=")
        if not separator or not name.strip() or not folder or name.strip() in people:
            raise UserError(f"--person={entry}: write NAME=FOLDER, with every name once.")
        people[name.strip()] = folder
    return people


def _rounds() -> list[str]:
    """The given folders, each followed by the further rounds in it (OUT/rounds/2, OUT/rounds/3, ...)."""
    if len({pathlib.Path(folder).resolve() for folder in FLAGS.round}) < len(FLAGS.round):
        raise UserError("--round: a folder is given twice; every round needs its own run of batch_infer.")
    found = []
    for folder in FLAGS.round:
        further = [path for path in pathlib.Path(folder, run_folder.ROUNDS_DIR).glob("*") if path.name.isdigit()]
        found += [folder, *(str(path) for path in sorted(further, key=lambda path: int(path.name)))]
    return found


def main() -> None:
    """Reads all observers, compares them, writes, and prints the paper's table."""
    people, rounds = _people(), _rounds()
    if not people and not rounds:
        raise UserError("give people with --person=NAME=FOLDER, rounds of the machine with --round=FOLDER, or both.")
    for folder in [*people.values(), *rounds]:
        if not pathlib.Path(folder).is_dir():
            raise UserError(f"{folder}: no such folder.")
    output_dir, class_map = common_flags.output_dir(FLAGS), common_flags.class_map(FLAGS)
    from tfod_csf import run_folder
    from tfod_csf.cytology import annotated_cells
    from tfod_csf.cytology.studies import observer_tables
    from tfod_csf.files import folder_lock
    from tfod_csf.problems import ProblemLog
    from tfod_csf.wording import plural

    problems = ProblemLog()
    classes = (name for folder in rounds for name in run_folder.classes(folder))
    annotated_cells.check_class_map(class_map, people.values(), classes)
    cells = {name: annotated_cells.read_annotations(folder, problems, class_map) for name, folder in people.items()}
    with folder_lock.only_writer(output_dir):
        studies, differing = observer_tables.write_observers(
            output_dir, cells, rounds, problems, FLAGS.model, FLAGS.matching_iou_threshold
        )
        problems.write_csv(output_dir / "problems.csv")
    for group, found in studies.items():
        print(f"{group} on {len(found.images)} images:\n{observer_tables.table_text(found)}")
    among = observer_tables.machine_text(output_dir / "observers_summary.csv")
    if among:
        print(f"{among}; a few people can only show that it is not within them.")
    if differing is not None:
        verdict = "all rounds are identical, number by number"
        if differing:
            verdict = plural(differing, "image differs", "images differ")
        print(f"{len(rounds)} rounds of the machine: {verdict} (observers_differences.csv)")
    print(f"{problems.summary()}; written to {output_dir}.")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "observers"))
