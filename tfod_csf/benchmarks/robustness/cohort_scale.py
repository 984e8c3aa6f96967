"""Seconds and memory of the commands that read tables, over many patients: seconds should grow as they do, memory not.

    python -m tfod_csf.benchmarks.robustness.cohort_scale --patients=1000,4000,16000
    python -m tfod_csf.benchmarks.robustness.cohort_scale --patients=100000 --folder=FOLDER

Makes runs of simulated patients (57 KB and three files each), a hospital's table of them, and gives them to
`differential`, `saturation`, `report --pages=cohort` and `agreement`. The patients are those of one cohort of a
thousand, again and again under other ids, so that 100,000 are there in minutes. Prints a line for each command:
seconds on the clock and of all processors, also per patient, and the largest memory of one process.

With `--folder` runs and results stay there, and what was measured is not measured again. A command that was stopped
resumes; its seconds are then those of the rest.
"""

import argparse
import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from tfod_csf import cell_classes, run_folder
from tfod_csf.benchmarks.robustness import command_usage
from tfod_csf.files import atomic_write, csv_tables, given_files
from tfod_csf.synthetic import cohort_folder, cohorts

_DISTINCT = 1_000
_HOSPITAL = "hospital.csv"


def write_run(folder: pathlib.Path, model_run: pathlib.Path, num_patients: int) -> None:
    """A finished run of the patients of another, each under as many ids as are needed, and hospital.csv.

    Args:
      folder: gets the run, unless it is a finished one.
      model_run: a run with truth.csv of `cohort_folder.write_cohort`.
    """
    if (folder / run_folder.RUN_JSON).exists():
        return
    run = run_folder.read_run(model_run)
    truth = csv_tables.read_rows(model_run / "truth.csv")
    originals = {row["patient_id"]: _tables_of(model_run, row["patient_id"]) for row in truth}
    rng, hospital, patients = np.random.default_rng(0), [], {}
    for number in range(num_patients):
        row = truth[number % len(truth)]
        name, old = f"patient_{number + 1:06d}", row["patient_id"]
        for table, text in originals[old].items():
            path = folder / run_folder.PATIENTS_DIR / name / table
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace(old, name), encoding="utf-8")
        patients[name] = {**run["patients"][old], "folder": name}
        true = np.array([float(row[of_class]) for of_class in cell_classes.WHITE_CELLS])
        counts = rng.multinomial(200, true / true.sum())
        hospital.append({"patient_id": name, **dict(zip(cell_classes.WHITE_CELLS, counts.tolist(), strict=True))})
    csv_tables.write_rows(folder / _HOSPITAL, ("patient_id", *cell_classes.WHITE_CELLS), hospital)
    run_folder.finish(folder, {**run, "patients": patients})


def _tables_of(run: pathlib.Path, name: str) -> dict[str, str]:
    return {table: given_files.read_text(run / run_folder.PATIENTS_DIR / name / table) for table in run_folder.TABLES}


def commands(run: pathlib.Path, out: pathlib.Path) -> dict[str, list[str]]:
    """{command: its flags}, in an order in which each finds what it needs."""
    where = [f"--inference_dir={run}"]
    machine, hospital = f"--machine={out / 'differential'}", f"--hospital={run / _HOSPITAL}"
    return {
        "differential": [*where, f"--output_dir={out / 'differential'}"],
        "saturation": [
            *where,
            f"--output_dir={out / 'saturation'}",
            f"--differentials={out / 'differential' / 'differentials.csv'}",
        ],
        "report": [*where, f"--output_dir={out / 'report'}", "--pages=cohort", "--date=2022-01-24"],
        "agreement": [machine, hospital, "--hospital_unit=cells", f"--output_dir={out / 'agreement'}"],
    }


@contextlib.contextmanager
def _folder(path: str | None) -> Iterator[pathlib.Path]:
    if path is not None:
        yield pathlib.Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="cohort_scale_") as temporary:
        yield pathlib.Path(temporary)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", default="1000,4000,16000", help="numbers of patients, with commas between")
    parser.add_argument(
        "--commands", default="differential,saturation,report,agreement", help="which of them to measure"
    )
    parser.add_argument("--folder", help="where runs and results are made and stay; default: a temporary folder")
    parser.add_argument("--num_processes", type=int, help="of each command; default: its own")
    options = parser.parse_args(arguments)
    wanted = options.commands.split(",")
    with _folder(options.folder) as folder:
        model_run = folder / "distinct"
        if not (model_run / run_folder.RUN_JSON).exists():
            numbers = [int(number) for number in options.patients.split(",")]
            settings = cohorts.CohortSettings(
                patients=min(_DISTINCT, *numbers), erythrocytes_per_image=3, correlation=0.05, seed=5
            )
            cohort_folder.write_cohort(model_run, cohorts.simulate(settings))
        print("| patients | command | seconds | CPU seconds | CPU ms per patient | memory, MB |")
        print("|---|---|---|---|---|---|")
        for number in map(int, options.patients.split(",")):
            run, out = folder / f"run_{number}", folder / f"out_{number}"
            write_run(run, model_run, number)
            for name, flags in commands(run, out).items():
                if name in wanted:
                    more = [f"--num_processes={options.num_processes}"] if options.num_processes else []
                    found = _measured(out / f"{name}.json", [name, *flags, *(more if name != "agreement" else [])])
                    print(f"| {number:,} | {name} | {_row(found, number)} |", flush=True)


def _measured(kept: pathlib.Path, command: Sequence[str]) -> dict[str, float]:
    """What was measured earlier, or is now."""
    if kept.exists():
        return given_files.read_json(kept)
    found = dataclasses.asdict(command_usage.measure(["-m", "tfod_csf", *command]))
    atomic_write.write_json(kept, found)
    return found


def _row(found: dict[str, float], num_patients: int) -> str:
    per_patient = 1000 * found["cpu_seconds"] / num_patients
    return f"{found['seconds']:.0f} | {found['cpu_seconds']:.0f} | {per_patient:.1f} | {found['memory_mb']:.0f}"


if __name__ == "__main__":
    main()
