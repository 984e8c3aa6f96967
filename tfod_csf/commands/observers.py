"""How much people differ on the same images, and whether the machine repeats itself (the paper's Table 1).

Give a folder of LabelImg XML per person, output folders of repeated batch_infer runs, or both. Writes counts, standard
deviations, coefficients of variation, intraclass correlation of counts per image, Fleiss' kappa cell by cell, and every
image on which two rounds of the machine differ in any number.
"""

import pathlib
import sys

from absl import flags

from tfod_csf import run_folder
from tfod_csf.commands import command_line
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_multi_string(
    "person", [], "NAME=FOLDER of that person's LabelImg XML; repeat for every person.", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "round",
    [],
    "Output folder of batch_infer, one per round of the same images; repeat. That of --rounds=N holds all N.",
    flag_values=FLAGS,
)
flags.DEFINE_string("output_dir", None, "Folder to write to.", flag_values=FLAGS)
flags.DEFINE_multi_string("class_map", [], "OLD=NEW renames a class of the XML, OLD= drops it.", flag_values=FLAGS)
flags.DEFINE_string("model", None, "Whose cells; default: the first model.", flag_values=FLAGS)
flags.DEFINE_float("iou", 0.5, "Boxes that overlap at least this much are one cell.", 0.05, 1, flag_values=FLAGS)
flags.mark_flags_as_required(["output_dir"], flag_values=FLAGS)


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
    from tfod_csf.cytology import annotated_cells
    from tfod_csf.cytology.studies import observer_tables
    from tfod_csf.label_map import parse_class_map
    from tfod_csf.problems import ProblemLog

    problems, class_map = ProblemLog(), parse_class_map(FLAGS.class_map)
    cells = {name: annotated_cells.read_annotations(folder, problems, class_map) for name, folder in people.items()}
    studies, differing = observer_tables.write_observers(
        FLAGS.output_dir, cells, rounds, problems, FLAGS.model, FLAGS.iou
    )
    problems.write_csv(pathlib.Path(FLAGS.output_dir) / "problems.csv")
    for group, found in studies.items():
        print(f"{group} on {len(found.images)} images:\n{observer_tables.table_text(found)}")
    if differing is not None:
        verdict = "all rounds are identical, number by number" if not differing else f"{differing} images differ"
        print(f"{len(rounds)} rounds of the machine: {verdict} (observers_differences.csv)")
    print(f"{problems.summary()}; written to {FLAGS.output_dir}.")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "observers"))
