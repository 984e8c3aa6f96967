"""Flags behind every differential, shared by the commands that compute one: thresholds, ranges, patients, rules."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from tfod_csf.cytology.counting.differential import DifferentialRules
    from tfod_csf.cytology.counting.reference_ranges import ReferenceRange
    from tfod_csf.cytology.run_tables import Thresholds


@dataclasses.dataclass(frozen=True)
class DifferentialInputs:
    """What the flags say.

    Attributes:
      thresholds: how cells are to be counted; `changed` when that is not the run's way.
      references: ranges of the asked-for population, from `ranges_path`.
      cells_per_ul: {patient_id: white cells per uL}.
      rules: numbers of the rules.
    """

    thresholds: "Thresholds"
    changed: bool
    references: Mapping[str, "ReferenceRange"]
    ranges_path: pathlib.Path
    cells_per_ul: Mapping[str, float]
    rules: "DifferentialRules"


def define(flag_values: flags.FlagValues) -> None:
    """Defines the flags in a command's FlagValues."""
    more = {"flag_values": flag_values}
    flags.DEFINE_float("min_score", None, "What counts as a cell; not below the run's own.", **more)
    flags.DEFINE_float("unknown_below", None, "A cell with a lower score is unknown; default: the run's.", **more)
    flags.DEFINE_enum(
        "count_unknown",
        None,
        ["apart", "as_predicted"],
        "Whether such a cell is counted apart or under its predicted class; default: the run's.",
        **more,
    )
    flags.DEFINE_integer("min_white_cells", 30, "Under this many, counts only.", 0, **more)
    flags.DEFINE_float(
        "tolerance_points", 10.0, "enough_cells: every interval within +- this many points.", 0.1, 50, **more
    )
    flags.DEFINE_string("reference_ranges", None, "CSV of reference ranges; default: the package's.", **more)
    flags.DEFINE_string("population", "adult", "Whose ranges of that table.", **more)
    flags.DEFINE_string("patient_table", None, "CSV with patient_id and cells_per_ul.", **more)
    flags.DEFINE_float("low_below_per_ul", 5, "Case 1: white cells per uL below this.", 0, **more)
    flags.DEFINE_float("high_from_per_ul", 50, "Case 5: white cells per uL from this on.", 0, **more)
    flags.DEFINE_float("neutrophil_percent", 50, "Case 2: neutrophils from this percentage on.", 0, 100, **more)
    flags.DEFINE_float("erythrocytes_per_100", 100, "Case 3: erythrocytes per 100 white cells from this on.", 0, **more)


def read(flag_values: flags.FlagValues) -> DifferentialInputs:
    """Reads the tables the flags name; the command has checked --inference_dir.

    Raises:
      UserError: a table or a value that cannot be used.
    """
    from tfod_csf.cytology import run_tables
    from tfod_csf.cytology.counting import cases, reference_ranges
    from tfod_csf.cytology.counting.differential import DifferentialRules

    ranges_path = pathlib.Path(flag_values.reference_ranges or reference_ranges.DEFAULT_TABLE)
    thresholds, changed = run_tables.new_thresholds(
        flag_values.inference_dir, flag_values.min_score, flag_values.unknown_below, flag_values.count_unknown
    )
    return DifferentialInputs(
        thresholds=thresholds,
        changed=changed,
        references=reference_ranges.load_reference_ranges(ranges_path, flag_values.population),
        ranges_path=ranges_path,
        cells_per_ul=run_tables.read_cells_per_ul(flag_values.patient_table) if flag_values.patient_table else {},
        rules=DifferentialRules(
            min_white_cells=flag_values.min_white_cells,
            tolerance_points=flag_values.tolerance_points,
            cases=cases.CaseRules(
                low_below_per_ul=flag_values.low_below_per_ul,
                high_from_per_ul=flag_values.high_from_per_ul,
                erythrocytes_per_100=flag_values.erythrocytes_per_100,
                neutrophil_percent=flag_values.neutrophil_percent,
            ),
        ),
    )
