"""Flags behind every differential, shared by the commands that compute one: thresholds, ranges, patients, rules."""

import dataclasses
import datetime
import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from absl import flags

from tfod_csf import cell_classes
from tfod_csf.commands import common_flags

if TYPE_CHECKING:
    from tfod_csf.cytology.counting.corrected_differential import Corrections
    from tfod_csf.cytology.counting.differential import DifferentialRules
    from tfod_csf.cytology.counting.reference_ranges import ReferenceRange
    from tfod_csf.cytology.patient_facts import PatientFacts
    from tfod_csf.cytology.report.page_template import RunFacts
    from tfod_csf.cytology.run_tables import Thresholds


@dataclasses.dataclass(frozen=True)
class DifferentialInputs:
    """What the flags say.

    Attributes:
      thresholds: how cells are to be counted; `changed` when that is not how the run counted them.
      references: ranges of the chosen population, from `ranges_path`.
      patient_facts: {patient_id: row of the table of patients}.
      unmatched: sentences on rows of that table about no patient of the run, and on patients without a row, or "".
      rules: numbers of the rules.
      corrections: confusion matrices of the run's models; None where there are none.
    """

    thresholds: "Thresholds"
    changed: bool
    references: Mapping[str, "ReferenceRange"]
    ranges_path: pathlib.Path
    patient_facts: Mapping[str, "PatientFacts"]
    unmatched: str
    rules: "DifferentialRules"
    corrections: "Corrections | None"

    @property
    def cells_per_ul(self) -> dict[str, float]:
        """{patient_id: white cells per uL} of the patients with a count."""
        counts = {patient: facts.cells_per_ul for patient, facts in self.patient_facts.items()}
        return {patient: count for patient, count in counts.items() if count is not None}


def define(flag_values: flags.FlagValues) -> None:
    """Defines the flags in a command's FlagValues."""
    common_flags.define_min_score(flag_values, default="the run's, which is also the lowest possible")
    common_flags.define_unknown_below(flag_values, default="the run's")
    common_flags.define_count_unknown(flag_values, default=None)
    flags.DEFINE_integer(
        "min_white_cells",
        30,
        "White cells below which a patient gets counts only, no percentages.",
        lower_bound=0,
        flag_values=flag_values,
    )
    common_flags.define_tolerance_points(flag_values)
    common_flags.define_max_unknown_percent(flag_values)
    define_reference_ranges(flag_values)
    flags.DEFINE_string(
        "patient_table",
        None,
        "CSV with the columns patient_id and cells_per_ul (white cells per uL), for pleocytosis and cases; it may also "
        "give sample, date of puncture, operator and blood counts (docs/OUTPUTS.md).",
        flag_values=flag_values,
    )
    _define_case_rules(flag_values)


def define_reference_ranges(flag_values: flags.FlagValues) -> None:
    """--reference_ranges and --population: what is normal."""
    flags.DEFINE_string(
        "reference_ranges",
        None,
        "CSV of reference ranges; default: the table that comes with the package.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "population",
        "adult",
        "Population in the table of reference ranges whose ranges are used.",
        flag_values=flag_values,
    )


def _define_case_rules(flag_values: flags.FlagValues) -> None:
    """The numbers that decide to which of the study's five cases a patient belongs."""
    flags.DEFINE_float(
        "low_below_per_ul",
        5,
        "Case 1, few white cells: fewer white cells per uL than this.",
        lower_bound=0,
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        "neutrophil_percent",
        50,
        "Case 2, many neutrophils: at least this percentage of the white cells; asked after case 3.",
        lower_bound=0,
        upper_bound=100,
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        "erythrocytes_per_100",
        100,
        "Case 3, many erythrocytes: at least this many per 100 white cells, and at least 30 in all.",
        lower_bound=0,
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        "high_from_per_ul",
        50,
        "Case 5, many white cells: at least this many per uL. Case 4 is between cases 1 and 5.",
        lower_bound=0,
        flag_values=flag_values,
    )


def read(flag_values: flags.FlagValues) -> DifferentialInputs:
    """Reads the tables the flags name; the command has checked --inference_dir.

    Raises:
      UserError: a table or a value that cannot be used.
    """
    from tfod_csf.cytology import patient_facts, run_tables
    from tfod_csf.cytology.counting import cases, corrected_differential, reference_ranges
    from tfod_csf.cytology.counting.differential import DifferentialRules

    ranges_path = pathlib.Path(flag_values.reference_ranges or reference_ranges.DEFAULT_TABLE)
    thresholds, changed = run_tables.new_thresholds(
        flag_values.inference_dir, flag_values.min_score, flag_values.unknown_below, flag_values.count_unknown
    )
    facts, unmatched = {}, ""
    if flag_values.patient_table:
        facts = patient_facts.read_patient_table(flag_values.patient_table)
        ids = run_tables.folders_by_patient(flag_values.inference_dir)
        facts, unmatched = patient_facts.of_run(flag_values.patient_table, facts, ids)
    return DifferentialInputs(
        thresholds=thresholds,
        changed=changed,
        references=reference_ranges.load_reference_ranges(ranges_path, flag_values.population),
        ranges_path=ranges_path,
        patient_facts=facts,
        unmatched=unmatched,
        rules=DifferentialRules(
            min_white_cells=flag_values.min_white_cells,
            tolerance_points=flag_values.tolerance_points,
            max_unknown_percent=flag_values.max_unknown_percent,
            cases=cases.CaseRules(
                low_below_per_ul=flag_values.low_below_per_ul,
                high_from_per_ul=flag_values.high_from_per_ul,
                erythrocytes_per_100=flag_values.erythrocytes_per_100,
                neutrophil_percent=flag_values.neutrophil_percent,
            ),
        ),
        corrections=corrected_differential.read_corrections(flag_values.inference_dir, thresholds),
    )


def warn_of_classes(model: str, classes: Sequence[str]) -> None:
    """A line in the log where a model's classes are not those that percentages are of."""
    remark = cell_classes.classes_remark(classes)
    if remark:
        logging.getLogger("tfod_csf").warning("%s: %s", model, remark)


def warn_of_other_rules(inputs: DifferentialInputs, population: str, run_dir: str | os.PathLike) -> None:
    """Says in the log what differentials.csv beside the pages was counted with, where that is something else.

    Args:
      inputs: of `read`.
      population: of the reference ranges.
      run_dir: folder of the run and its differentials.
    """
    from tfod_csf.cytology.counting import cohort

    noted = cohort.differing_rules(run_dir, dataclasses.asdict(inputs.thresholds), inputs.rules, population=population)
    if noted:
        logging.getLogger("tfod_csf").warning(
            "%s: differentials.csv was counted with %s. Percentages here may differ from that table; give the same "
            "flags to both.",
            run_dir,
            ", ".join(f"{name} {of_table} (here {here})" for name, (of_table, here) in noted.items()),
        )


def run_facts(
    flag_values: flags.FlagValues,
    inputs: DifferentialInputs,
    run_dir: str | os.PathLike,
    replicates: int = 1000,
    date: str | None = None,
) -> "RunFacts":
    """What every page of a report says about how its results were made.

    Args:
      inputs: of `read`.
      run_dir: folder with the run.json that the pages are about.
      replicates: random orders and bootstrap samples of the saturation.
      date: printed on the pages; None for today.
    """
    from tfod_csf import run_folder
    from tfod_csf.cytology.counting.saturation import SaturationRules
    from tfod_csf.cytology.report.page_template import RunFacts

    return RunFacts(
        run=run_folder.read_run(run_dir),
        thresholds=inputs.thresholds,
        changed=inputs.changed,
        rules=inputs.rules,
        saturation_rules=SaturationRules(
            tolerance_points=flag_values.tolerance_points,
            replicates=replicates,
            min_white_cells=max(flag_values.min_white_cells, 1),
        ),
        references=inputs.references,
        population=flag_values.population,
        made=date or datetime.date.today().isoformat(),
        corrections=inputs.corrections,
    )
