"""The shards of a run become one run: the files of an undivided one, byte for byte but for times and measured seconds.

No image and no model is read. Images are listed once more, so that a patient who is missing, there twice, or has other
images than the shard saw is found; everything else is in the patients' stamps, whose checksums are compared with the
tables and with the shards' manifests. Nothing is changed unless everything fits.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tfod_csf import classification, run_folder
from tfod_csf.classification import Classification
from tfod_csf.errors import UserError
from tfod_csf.files.csv_tables import TableError
from tfod_csf.inference.runs import batch, batch_run, inference_record, patient_manifest, shards
from tfod_csf.inference.runs.batch_run import BatchRun
from tfod_csf.inference.runs.patient_examination import PatientOutcome, recorded_outcome, recorded_problems
from tfod_csf.inference.runs.patient_folder import PatientFolder
from tfod_csf.inference.runs.patient_manifest import ManifestRow
from tfod_csf.inference.runs.shards import Shard, ShardError
from tfod_csf.problems import Problem, ProblemLog
from tfod_csf.study import patients
from tfod_csf.study.folder_names import folder_names
from tfod_csf.study.patients import ImageFile
from tfod_csf.wording import MAX_NAMED, named, plural

# What the tables of one run have in common. Folders are named as each machine knows them and may differ.
_IN_COMMON = ("version", "models", "thresholds", shards.EXAMINATION, shards.COUNTING, "models_vouched_for_by")
_SETTINGS_IN_COMMON = ("patient_pattern", "ensemble", "deterministic", "draw")
_OF_MODELS = ("name", "fingerprint", "temperature", "classes", "domain_guards", run_folder.CLASSIFICATION)
_NEEDED = (*_IN_COMMON, shards.NOTED_FIRST, "settings", "started", "versions", "machine")  # of a shard.json
_AT_START = ("version", "started", "finished", "settings", "models", "thresholds")


class MergeError(UserError):
    """Shards that do not make up one run; the message names shards and patients."""


@dataclasses.dataclass(frozen=True)
class Whose:
    """Which images, and whose, where that is not as the shards were told; see `batch_run.RunSettings`."""

    images_dir: str | None = None
    manifest: str | None = None
    patient_pattern: str | None = None


def run(
    output_dir: pathlib.Path,
    problems: ProblemLog,
    write_differentials: Callable[[pathlib.Path, Mapping[str, Any], Mapping[str, Any]], Any],
    whose: Whose | None = None,
) -> BatchRun:
    """Makes run.json and the tables of all patients from what the shards have left in an output folder.

    Args:
      output_dir: OUT of the module `shards`.
      problems: gets everything that an undivided run would report; written to OUT/problems.csv.
      write_differentials: as in `batch_run.run`; its third argument is what the shards were given as `counting`.
      whose: the images as this machine knows them.

    Raises:
      MergeError: shards are missing, not finished or of different settings, or patients are missing or there twice.
      UserError: as `batch_run.run`.
    """
    if not output_dir.is_dir():
        raise MergeError(f"{output_dir}: no such folder; give the --output_dir of the shards.")
    with shards.only_process_of_all(output_dir) as lock:
        records = _finished_shards(output_dir)
        _check_in_common(records)
        settings = _settings(records, whose or Whose())
        matrices = _matrices(output_dir, records)
        first = next(iter(records.values()))
        problems.extend(Problem(**noted) for noted in first[shards.NOTED_FIRST])
        result, num_files = _gather(output_dir, records, settings, problems)
        _note_versions(output_dir, records, problems)
        lock.check()
        at_start = {name: first[name] for name in _AT_START} | {"settings": settings}
        at_start["num_patients"] = len(result.summaries)
        at_start["started"] = min(record["started"] for record in records.values())
        at_start["models"] = [_without_measurements(model) for model in first["models"]]
        run_folder.begin(output_dir, {**at_start, "shards": len(records)})
        record = inference_record.make_record(at_start, result, problems)
        record["versions"] = _joined(record["versions"] for record in records.values())
        record["machine"] = _joined(record["machine"] for record in records.values())
        record, differentials = batch_run.write_tables(
            output_dir,
            record,
            result.tables,
            problems,
            matrices,
            first["models_vouched_for_by"],
            lambda folder, record: write_differentials(folder, record, first[shards.COUNTING]),
        )
    return BatchRun(result, record, differentials, num_files)


def _finished_shards(output_dir: pathlib.Path) -> dict[Shard, dict[str, Any]]:
    """{shard: its shard.json} of all shards of the run, in their order."""
    records, faults = {}, []
    for shard in shards.all_of(shards.one_division(output_dir)):
        try:
            records[shard] = shards.read(shard, output_dir)
        except ShardError as error:
            faults.append(str(error))
            continue
        missing = [name for name in _NEEDED if name not in records[shard]]
        if missing:
            path = shard.folder(output_dir) / shards.SHARD_JSON
            faults.append(f"shard {shard}: {path} has no {missing[0]}; another version wrote it, or it was changed")
    if faults:
        raise MergeError(f"{output_dir}: {_some(faults)}. Run batch_infer with --shard for each, then merge again.")
    return records


def _check_in_common(records: Mapping[Shard, Mapping[str, Any]]) -> None:
    """Refuses shards whose patients do not fit into one table."""
    (first, expected), *others = ((shard, _common(record)) for shard, record in records.items())
    for shard, found in others:
        differing = [name for name, value in expected.items() if found[name] != value]
        if differing:
            name = differing[0]
            raise MergeError(
                f"shards {first} and {shard} differ in {', '.join(differing)} ({name}: {expected[name]!r} and "
                f"{found[name]!r}), so they are not of one run; run the ones again that are not as they should be."
            )


def _common(record: Mapping[str, Any]) -> dict[str, Any]:
    models = [{name: model.get(name) for name in _OF_MODELS} for model in record["models"]]
    settings = {name: record["settings"][name] for name in _SETTINGS_IN_COMMON}
    return {name: record[name] for name in _IN_COMMON} | settings | {"models": models}


def _settings(records: Mapping[Shard, Mapping[str, Any]], whose: Whose) -> dict[str, Any]:
    """`settings` of run.json: those of the first shard, where this machine is not told otherwise."""
    told = {name: value for name, value in dataclasses.asdict(whose).items() if value is not None}
    return {**next(iter(records.values()))["settings"], **told}


def _without_measurements(model: Mapping[str, Any]) -> dict[str, Any]:
    """A model as `inference_record.record_at_start` gives it."""
    return {name: model[name] for name in _OF_MODELS if name != run_folder.CLASSIFICATION}


class _Faults:
    """What does not fit, by shard and kind, with the patients it is said of."""

    def __init__(self) -> None:
        self._patients: dict[tuple[Shard, str], list[str]] = collections.defaultdict(list)

    def add(self, shard: Shard, patient_id: str, what: str) -> None:
        """Notes a patient; `what` is a clause such as "has not been examined"."""
        self._patients[shard, what].append(patient_id)

    def check(self) -> None:
        """Raises MergeError if there is any."""
        if self._patients:
            said = [
                f"shard {shard}: {plural(len(ids), 'patient')} ({named(ids)}): {what}"
                for (shard, what), ids in sorted(self._patients.items())
            ]
            raise MergeError(f"{_some(said)}. Run batch_infer with --shard for each of them, then merge again.")


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - MAX_NAMED
    return "; ".join(texts[:MAX_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _gather(
    output_dir: pathlib.Path,
    records: Mapping[Shard, Mapping[str, Any]],
    settings: Mapping[str, Any],
    problems: ProblemLog,
) -> tuple[batch.BatchResult, int]:
    """What happened to every patient, from the manifests and stamps, and the number of files that were found.

    Args:
      settings: `_settings`.
    """
    images = patients.find_images(settings["images_dir"], problems, settings["manifest"], settings["patient_pattern"])
    by_patient = batch.images_by_patient(images)
    examination = next(iter(records.values()))[shards.EXAMINATION]
    patients_dir = output_dir / run_folder.PATIENTS_DIR
    names = folder_names(list(by_patient))
    rows = _manifest_rows(output_dir, list(records), names, patient_manifest.settings_digest(examination))
    result = batch.BatchResult.beside(batch.earlier_patients(patients_dir, names, examination))
    owners: dict[str, str] = {}
    faults = _Faults()
    for patient_id, own_images in by_patient.items():
        folder, row = PatientFolder.open(patients_dir / names[patient_id]), rows.pop(patient_id)
        found = _recorded(row, folder, own_images, examination)
        if isinstance(found, str):
            faults.add(Shard.parse(row.shard), patient_id, found)
            continue
        outcome, own_problems = found
        problems.extend(own_problems)
        result.add(outcome)
        batch.note_shared_images(own_images, outcome, owners, problems)
    faults.check()
    return result, batch_run.num_files_of(images, problems)


def _manifest_rows(
    output_dir: pathlib.Path, parts: Sequence[Shard], names: Mapping[str, str], settings_sha256: str
) -> dict[str, ManifestRow]:
    """{patient: row} of all shards, one for every patient and no other.

    Args:
      names: {patient: folder} of everybody who has images now.
    """
    rows: dict[str, ManifestRow] = {}
    faults = _Faults()
    for shard in parts:
        path = shard.folder(output_dir) / patient_manifest.FILE_NAME
        for row in patient_manifest.read(path):
            if row.shard != str(shard):
                raise TableError(f"{path}: names the shard {row.shard}; it is the manifest of another one.")
            if row.patient_id in rows:
                faults.add(shard, row.patient_id, f"is in the manifest of shard {rows[row.patient_id].shard} too")
            elif row.patient_id not in names:
                faults.add(shard, row.patient_id, "has no images any more")
            elif row.folder != names[row.patient_id]:
                what = "was examined under another folder's name, before ids came or went that differ in capitals only"
                faults.add(shard, row.patient_id, what)
            elif row.settings_sha256 != settings_sha256:
                faults.add(shard, row.patient_id, "was examined with other models, thresholds or tiles")
            rows.setdefault(row.patient_id, row)
    for patient_id in names.keys() - rows.keys():
        faults.add(Shard.of(patient_id, len(parts)), patient_id, "has not been examined")
    faults.check()
    return rows


def _recorded(
    row: ManifestRow, folder: PatientFolder, images: Sequence[ImageFile], examination: Mapping[str, Any]
) -> tuple[PatientOutcome, list[Problem]] | str:
    """What the patient's stamp says, or in what it contradicts the manifest, the tables or the images."""
    try:
        outcome, problems = recorded_outcome(row.patient_id, folder), recorded_problems(folder)
    except (KeyError, TypeError):
        return "its folder is gone, or is that of a patient who was interrupted"
    if folder.stamp.get("settings") != examination or outcome.tables != row.tables or folder.tables() != row.tables:
        return "its tables are not those that the shard wrote"
    if outcome.summary.input_hash != row.images_sha256 or list(outcome.checksums) != [image.name for image in images]:
        return "images were added or removed since"
    return dataclasses.replace(outcome, reused=row.done_in_earlier_run), problems


def _note_versions(output_dir: pathlib.Path, records: Mapping[Shard, Mapping[str, Any]], problems: ProblemLog) -> None:
    """Notes libraries of which the shards had different versions, and so perhaps different last digits of scores."""
    for package, joined in _joined(record["versions"] for record in records.values()).items():
        if any(record["versions"].get(package) != joined for record in records.values()):
            reason = f"the shards ran with different versions of {package}: {joined}"
            problems.noted(output_dir / run_folder.SHARDS_DIR, reason, "Install the same versions on all machines.")


def _joined(values: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What several shards say of versions or machines: one value where they agree, else all of them as a text."""
    found: dict[str, list[Any]] = {}
    for mapping in values:
        for name, value in mapping.items():
            known = found.setdefault(name, [])
            known += [] if value in known else [value]
    return {name: known[0] if len(known) == 1 else ", ".join(map(str, known)) for name, known in found.items()}


def _matrices(output_dir: pathlib.Path, records: Mapping[Shard, Mapping[str, Any]]) -> dict[str, Classification]:
    """{model: matrix} from the copies of the first shard, which are those of all shards."""
    shard, record = next(iter(records.items()))
    folder = shard.folder(output_dir)
    entries = {model["name"]: model.get(run_folder.CLASSIFICATION) for model in record["models"]}
    found = {name: classification.read_from_run(folder, entry) for name, entry in entries.items() if entry}
    wrong = [name for name, matrix in found.items() if matrix.model != name]
    if wrong:
        raise MergeError(f"{folder}: the confusion matrix of model {wrong[0]!r} is that of {found[wrong[0]].model!r}.")
    return found
