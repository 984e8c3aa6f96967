"""The output folder of batch_infer: names that inference writes and cytology reads, and whether the run is finished.

OUT/run.json                               settings, models, thresholds; checksums of the patients' tables
OUT/patients/<id>/cells.csv, images.csv    one patient
OUT/classification/<model>.json            copy of the model's classification.json, where it has one
OUT/rounds/<n>/patients/<id>/...           round n = 2, 3, ... of the same images
OUT/shards/<i>-of-<n>/...                  what is kept of part i of a divided run (`inference.runs.shards`)

A run is unfinished from `begin` to `finish`: run.json then has no time under `finished`. `finished_run` refuses such a
folder, and one whose tables are not those that run.json names. Whoever writes tables of patients calls both. Runs of
earlier versions hold no checksums: they are read with a warning, unless patients or stamps contradict run.json.
"""

import concurrent.futures
import csv
import functools
import hashlib
import io
import json
import logging
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from tfod_csf import provenance
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, given_files, inner_paths
from tfod_csf.files.checksums import file_sha256
from tfod_csf.progress_bar import progress_bar
from tfod_csf.shipped_models import by_name

RUN_JSON = "run.json"
PATIENTS_DIR = "patients"
ROUNDS_DIR = "rounds"
SHARDS_DIR = "shards"
# The tables that every other number of a patient is counted from.
TABLES = ("cells.csv", "images.csv")
# Folder of the copies, and key of a model's entry in run.json that names its own: {"file", "sha256"}.
CLASSIFICATION = "classification"
# Statuses in images.csv: an image that was examined, and one that could not be used.
OK = "ok"
FAILED = "failed"

PICTURES = "pictures"  # of a patient: folder of the images with the cells marked
STAMP = "stamp.json"  # of a patient: the images, settings and files behind the tables
_log = logging.getLogger("tfod_csf")
_MAX_RUN_BYTES = 2_000_000_000  # 100,000 patients make run.json 40 to 80 MB
_KEPT_FROM_BYTES = 1_000_000  # a smaller run.json is read again faster than anybody notices
# Tables are read by several threads, because a disk on the network answers slowly, some hundred patients at a time.
_READERS, _PATIENTS_AT_ONCE = 8, 256
_BAR_FROM_PATIENTS = 5_000

# {patient's folder: {table: sha256}}, the key `tables` of run.json.
Tables = Mapping[str, Mapping[str, str]]
# Pages for readers beside the tables they are made from, the one that the others are printed from first.
PAGES = ("report.html", "report.pdf")
# Beside report.html of very many patients: folder of the pages that have some of them each.
COHORT_PAGES_DIR = "report_pages"
# What a page begins with (report/templates/base.html.j2).
_PAGE_MARK, _HEAD_BYTES = b'<meta name="generator" content="tfod_csf', 4096


class RunError(UserError):
    """A folder that is not a finished run, or not the one that its run.json describes."""


def results_with_pictures(folder: pathlib.Path) -> pathlib.Path | None:
    """The patient's folder of results whose pictures/ the folder is, or lies in; None for any other."""
    for path in (folder, *folder.parents):
        if path.name == PICTURES:
            own = path.parent
            if (own / STAMP).is_file() or all((own / name).is_file() for name in TABLES):
                return own
    return None


def begin(output_dir: str | os.PathLike, record: Mapping[str, Any]) -> None:
    """Marks a run as unfinished, before its first table is touched.

    Args:
      record: what is known of run.json at the start.
    """
    record = {**record, "started": record.get("started") or provenance.now(), "finished": None}
    atomic_write.write_json(pathlib.Path(output_dir, RUN_JSON), record)


def finish(output_dir: str | os.PathLike, record: Mapping[str, Any], tables: Tables | None = None) -> dict[str, Any]:
    """Marks a run as finished, after everything else has been written.

    Args:
      record: contents of run.json.
      tables: checksums of the patients' tables as they were written; None takes the tables as they are now.

    Returns:
      What was written.
    """
    tables = tables_of(output_dir) if tables is None else tables
    record = {**record, "finished": record.get("finished") or provenance.now(), "tables": tables}
    atomic_write.write_json(pathlib.Path(output_dir, RUN_JSON), record)
    return record


def folders_of(inference_dir: str | os.PathLike, run: Mapping[str, Any]) -> list[pathlib.Path]:
    """Folders of the patients that run.json names, sorted by their names."""
    return [pathlib.Path(inference_dir, PATIENTS_DIR, name) for name in sorted(run["tables"])]


def table_checksums(patient_folder: pathlib.Path) -> dict[str, str]:
    """{table: sha256} of a patient's tables.

    Raises:
      OSError: one of them cannot be read.
    """
    return {name: file_sha256(patient_folder / name) for name in TABLES}


def digest_of(patient_folder: pathlib.Path, tables: Mapping[str, str] | None = None) -> str:
    """sha256 of what was found for a patient: the bytes of cells.csv, and images.csv without the measured seconds.

    The same images and models give the same digest in every run.

    Args:
      tables: `table_checksums` of the folder, where they are known, so that cells.csv is not read again.

    Raises:
      OSError, UnicodeDecodeError: a table cannot be read.
    """
    cells, images = (patient_folder / name for name in TABLES)
    rows = list(csv.reader(io.StringIO(given_files.read_text(images))))
    kept = [number for number, name in enumerate(rows[0] if rows else []) if name != "seconds"]
    content = [[row[number] for number in kept if number < len(row)] for row in rows]
    of_cells = tables[cells.name] if tables else file_sha256(cells)
    return hashlib.sha256((of_cells + json.dumps(content)).encode()).hexdigest()


def tables_of(output_dir: str | os.PathLike) -> dict[str, dict[str, str]]:
    """{patient's folder: {table: sha256}} of all patients in a folder, sorted."""
    folders = given_files.folders_with(pathlib.Path(output_dir, PATIENTS_DIR), "images.csv")
    return {folder.name: table_checksums(folder) for folder in folders}


def read_run(inference_dir: str | os.PathLike) -> dict[str, Any]:
    """run.json of a finished run; the tables are not compared with it (see `finished_run`).

    A large one is kept in memory until another is read or it changes; what is in it must not be changed by the caller.

    Raises:
      RunError: there is none, it cannot be read, or the run is not finished.
    """
    path = pathlib.Path(inference_dir, RUN_JSON)
    try:
        run = _contents(path)
    except FileNotFoundError as error:
        raise RunError(f"{path}: no such file; give the output folder of a finished batch_infer.") from error
    except ValueError as error:
        raise RunError(f"{path}: not JSON ({error}); run batch_infer again.") from error
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}); give the output folder of batch_infer.") from error
    if not isinstance(run, dict):
        raise RunError(f"{path}: expected an object with the run's models and thresholds.")
    if not run.get("finished"):
        completes = "run the same command again, which completes it"
        if run.get("shards"):
            completes = f"it is divided into {run['shards']} shards: when all are done, run merge_shards"
        raise RunError(
            f"{path}: the run that began at {run.get('started', 'a time not noted')} is not finished; {completes}."
        )
    check_inner_names(path, run)
    return run


def _contents(path: pathlib.Path) -> Any:
    status = os.stat(path)
    if status.st_size < _KEPT_FROM_BYTES:
        return given_files.read_json(path)
    run = _kept_contents(path, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return dict(run) if isinstance(run, dict) else run


@functools.lru_cache(maxsize=1)
def _kept_contents(path: pathlib.Path, identity: tuple[int, ...]) -> Any:
    """The JSON value of a file; `identity` changes whenever the file does."""
    return given_files.read_json(path, _MAX_RUN_BYTES)


def restrictions(run: Mapping[str, Any]) -> list[str]:
    """What a reader of the results has to know of the run's models that ship with this package, a sentence each.

    Args:
      run: contents of run.json; [] for one of an earlier version, which does not say what vouches for its models.
    """
    vouched_for_by = run.get("models_vouched_for_by") or {}
    return by_name.restrictions({str(name): str(words) for name, words in vouched_for_by.items()})


def check_inner_names(path: pathlib.Path, run: Mapping[str, Any]) -> None:
    """Refuses names in run.json that would lead out of the run's folder; a run may come from somebody else.

    Args:
      path: of run.json, or of the shard.json of a divided run.
      run: its contents.

    Raises:
      RunError: a model's name is none, or its classification is elsewhere.
    """
    for model in run.get("models") or []:
        name, matrix = str(model.get("name", "")), model.get(CLASSIFICATION)
        if name and not inner_paths.is_plain_name(name):
            raise RunError(f"{path}: the model's name {name!r} is a path; expected the name of a folder.")
        if matrix and inner_paths.leads_out(str(matrix["file"])):
            raise RunError(f"{path}: the file {matrix['file']!r} is outside of the run's folder.")


def classes(inference_dir: str | os.PathLike) -> set[str]:
    """Class names of the models of a finished run; none where run.json does not say.

    Raises:
      RunError: as `read_run`.
    """
    return {name for model in read_run(inference_dir).get("models") or [] for name in model.get("classes") or []}


def finished_run(inference_dir: str | os.PathLike) -> dict[str, Any]:
    """run.json of a finished run whose patients' tables are those that it names.

    Reads every patient's tables once: less than a second for 2,000 patients, and with a progress bar where there are
    many. A run of an earlier version gets its key `tables` from the tables that are there.

    Raises:
      RunError: as `read_run`; or as `check_tables`; or the checksums in run.json are damaged; or the patients and
        stamps of a run without checksums are not those of run.json.
    """
    run = read_run(inference_dir)
    if "tables" not in run:
        _check_earlier_version(inference_dir, run)
        _log.warning(
            "%s: its run.json holds no checksums, as an earlier version or another program writes it; whether a table "
            "was edited since cannot be told.",
            inference_dir,
        )
        return {**run, "tables": tables_of(inference_dir)}
    tables = run["tables"]
    if not isinstance(tables, dict) or not all(isinstance(of_patient, dict) for of_patient in tables.values()):
        raise RunError(f"{pathlib.Path(inference_dir, RUN_JSON)}: its `tables` are damaged; run batch_infer again.")
    check_tables(inference_dir, tables)
    return run


def _check_earlier_version(inference_dir: str | os.PathLike, run: Mapping[str, Any]) -> None:
    """What can be told of a run without checksums: whether an interrupted second run has left a mixture.

    Raises:
      RunError: patients of run.json have no tables, others are there, or a stamp names other thresholds or models.
    """
    patients = pathlib.Path(inference_dir, PATIENTS_DIR)
    found = {folder.name for folder in given_files.folders_with(patients, "images.csv")}
    again = "an interrupted run may have left it so; run batch_infer again"
    if isinstance(run.get("patients"), dict):
        named = {str(patient.get("folder")) for patient in run["patients"].values() if isinstance(patient, dict)}
        named |= set(map(str, run.get("kept_from_earlier_runs") or ()))
        if found != named:
            one = sorted(found ^ named)[0]
            contradiction = "is not named by run.json" if one in found else "is named by run.json and has no tables"
            raise RunError(f"{patients / one}: {contradiction}; {again}.")
    for name in sorted(found):
        try:
            settings = given_files.read_json(patients / name / STAMP)["settings"]
            models = {model: entry["fingerprint"] for model, entry in settings["models"].items()}
            thresholds = settings["thresholds"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # without a stamp, as in folders of other commands
        if _differs(thresholds, run.get("thresholds")) or _differs(models, _fingerprints(run)):
            raise RunError(f"{patients / name / STAMP}: names other thresholds or models than run.json; {again}.")


def _fingerprints(run: Mapping[str, Any]) -> dict[str, Any]:
    return {str(model.get("name")): model.get("fingerprint") for model in run.get("models") or []}


def _differs(stamped: Mapping[str, Any], recorded: Mapping[str, Any] | None) -> bool:
    """Whether two settings contradict each other in what both of them name."""
    return any(recorded[name] != value for name, value in stamped.items() if recorded and name in recorded)


def check_tables(inference_dir: str | os.PathLike, tables: Tables) -> None:
    """Compares the patients' tables in a folder with their checksums.

    Raises:
      RunError: a table is missing or was changed, or there is a patient without checksums.
    """
    patients = pathlib.Path(inference_dir, PATIENTS_DIR)
    found = given_files.folder_names(patients)
    unknown = [name for name in found if name not in tables and _has_table(patients / name)]
    if unknown:
        raise RunError(
            f"{patients / unknown[0]}: a patient that run.json does not name ({len(unknown)} such), so it is not of "
            "this run; move it away."
        )
    missing = sorted(set(tables) - set(found))
    if missing:
        raise RunError(
            f"{patients / missing[0]}: the tables of this patient of the run are gone ({len(missing)} such of "
            f"{len(tables)}); run the same command again."
        )

    def check(name: str) -> None:
        for table in TABLES:
            _check_table(patients / name / table, tables[name].get(table, ""))

    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        for some in _in_parts(list(tables)):
            for _ in readers.map(check, some):
                pass


def _has_table(folder: pathlib.Path) -> bool:
    return any((folder / name).is_file() for name in TABLES)


def _in_parts(names: list[str]) -> Iterator[list[str]]:
    """The names, some at a time, with a progress bar where there are many."""
    quiet = len(names) < _BAR_FROM_PATIENTS
    with progress_bar(total=len(names), unit="patient", desc="checking tables", quiet=quiet) as bar:
        for start in range(0, len(names), _PATIENTS_AT_ONCE):
            some = names[start : start + _PATIENTS_AT_ONCE]
            yield some
            bar.update(len(some))


def _check_table(path: pathlib.Path, expected: str) -> None:
    try:
        found = file_sha256(path)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}); run the same command again.") from error
    if found != expected:
        raise RunError(
            f"{path}: was changed after the run had written it; put the file back, or move it away and run the same "
            "command again (cells are changed with review_import)."
        )


def remove_pages(patient_folder: pathlib.Path) -> None:
    """Removes a patient's pages and those of all patients, before anything changes that they are made from.

    A page of this name that `report` did not write stays.
    """
    remove_cohort_pages(patient_folder.parent.parent)
    _remove_page(patient_folder)


def remove_cohort_pages(folder: pathlib.Path) -> None:
    """Removes the pages of all patients from a folder; one of this name that `report` did not write stays."""
    _remove_page(folder)
    for page in sorted(folder.glob(f"{COHORT_PAGES_DIR}/[0-9]*.html")):
        if is_our_page(page):
            page.with_suffix(".pdf").unlink(missing_ok=True)
            page.unlink()


def _remove_page(folder: pathlib.Path) -> None:
    if is_our_page(folder / PAGES[0]):
        for name in reversed(PAGES):  # the printed one first, so that a kill between the two leaves none unnoticed
            (folder / name).unlink(missing_ok=True)


def is_our_page(path: pathlib.Path) -> bool:
    """Whether this program wrote a page."""
    try:
        with given_files.open_file(path) as file:
            return _PAGE_MARK in file.read(_HEAD_BYTES)
    except OSError:
        return False
