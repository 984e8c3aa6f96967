"""One export over all patients of a run: the images are found again, and every patient gets a folder for LabelImg.

While it is under way, the output folder holds `UNFINISHED`, from which the same command resumes after it was stopped.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tfod_csf import cell_classes, provenance, run_folder
from tfod_csf.cytology import cell_rows, run_tables
from tfod_csf.cytology.review import export
from tfod_csf.cytology.review.export import ExportMark
from tfod_csf.cytology.review.sidecar import FILE_NAME, ReviewError, Sidecar, read_sidecar
from tfod_csf.files import atomic_write, checksums
from tfod_csf.problems import ProblemLog
from tfod_csf.study import folder_names, patients
from tfod_csf.wording import plural

UNFINISHED = "unfinished_export.json"


@dataclasses.dataclass(frozen=True)
class ExportSettings:
    """Which cells of a run are exported, and where their images are.

    Attributes:
      images_dir, manifest, patient_pattern: as in `patients.find_images`; None takes what batch_infer was given.
      patients: ids; empty for all.
      model: whose cells; None takes the only one.
      extra_names: classes that the reviewer may use besides those of the model.
      sample_images: images per patient to be verified by the rule of `sampling`; None for all.
    """

    images_dir: str | None = None
    manifest: str | None = None
    patient_pattern: str | None = None
    patients: Sequence[str] = ()
    model: str | None = None
    extra_names: Sequence[str] = ()
    sample_images: int | None = None


@dataclasses.dataclass(frozen=True)
class ExportSession:
    """What an export did.

    Attributes:
      shown: {patient id: what the reviewer sees; None when none of the patient's images could be given}.
    """

    shown: dict[str, Sidecar | None]

    def __str__(self) -> str:
        sidecars = [sidecar for sidecar in self.shown.values() if sidecar]
        images = [image for sidecar in sidecars for image in sidecar.images.values()]
        cells = [cell for image in images for cell in image.cells]
        num_unknown = sum(cell.name == cell_classes.UNKNOWN for cell in cells)
        return (
            f"{len(sidecars)} of {plural(len(self.shown), 'patient')}, {plural(len(images), 'image')}, "
            f"{plural(len(cells), 'cell')}, {num_unknown} of them unknown"
        )


def export_run(
    inference_dir: str | os.PathLike,
    output_dir: pathlib.Path,
    settings: ExportSettings,
    problems: ProblemLog,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> ExportSession:
    """Writes a folder for every patient, instructions for the reviewer, and problems.csv.

    Args:
      inference_dir: output of batch_infer or review_import.
      output_dir: may hold other patients' folders already.
      settings: which cells, and where their images are.
      problems: gets images that could not be given.
      progress: wraps the list of patients.

    Raises:
      UserError: a patient or model that the run does not have, images that cannot be found, or a folder that exists.
    """
    run = run_folder.read_run(inference_dir)
    folders = {folder_names.patient_id_of(folder.name): folder for folder in run_tables.patient_folders(inference_dir)}
    unknown = [patient for patient in settings.patients if patient not in folders]
    if unknown:
        raise ReviewError(f"--patient={unknown[0]}: no such patient in {inference_dir} ({len(folders)} patients).")
    chosen = settings.patients or list(folders)
    model = cell_rows.one_model(cell_rows.run_models(inference_dir), settings.model)
    files = _files_by_patient(settings, run.get("settings", {}))
    thresholds = run.get("thresholds", {})
    shown: dict[str, Sidecar | None] = {}
    mark, done = _begin(inference_dir, output_dir, settings, [folders[patient_id].name for patient_id in chosen])
    for patient_id in progress(chosen):
        if folders[patient_id].name in done:
            shown[patient_id] = done[folders[patient_id].name]
            continue
        source = export.ExportSource(folders[patient_id], files.get(patient_id, {}), model, thresholds)
        shown[patient_id] = export.export_patient(
            source, output_dir, mark, settings.extra_names, problems, settings.sample_images
        )
    export.write_instructions(output_dir)
    problems.write_csv(output_dir / "problems.csv")
    (output_dir / UNFINISHED).unlink()
    return ExportSession(shown)


def check_made_with(folders: Sequence[pathlib.Path], settings: ExportSettings, problems: ProblemLog) -> None:
    """Refuses an export that was made with another sample, model, other classes or patients than are asked for.

    Args:
      folders: the patients' folders of the export; one whose cells.json is damaged is reported where it is read.
      settings: what is None or empty is not compared. Places of images are not compared: cells.json has none.
      problems: those of the export; a patient whose images could not be shown has no folder, but a row here.

    Raises:
      ReviewError: the first difference.
    """
    sidecars = []
    for folder in folders:
        with contextlib.suppress(ReviewError):
            sidecars.append((folder, read_sidecar(folder / FILE_NAME)))
    for folder, sidecar in sidecars:
        _check_sample(folder, sidecar, settings.sample_images)
        if settings.model is not None and settings.model != sidecar.model:
            raise _made_otherwise(f"--model={settings.model}", folder, f"--model={sidecar.model}")
        for name in settings.extra_names:
            if name not in sidecar.names:
                raise _made_otherwise(f"--extra_class={name}", folder, f"the classes {', '.join(sidecar.names)}")
    if settings.patients and len(sidecars) == len(folders):
        there = {sidecar.patient_id for _, sidecar in sidecars}
        not_shown = {folder_names.patient_id_of(pathlib.Path(problem.file).name) for problem in problems.problems}
        different = (there - set(settings.patients)) | (set(settings.patients) - there - not_shown)
        if different:
            asked = " ".join(f"--patient={patient_id}" for patient_id in settings.patients)
            raise _made_otherwise(asked, folders[0].parent, f"the patients {', '.join(sorted(there))}")


def _check_sample(folder: pathlib.Path, sidecar: Sidecar, asked: int | None) -> None:
    """A patient with fewer images than were asked for has all of them in the sample."""
    size = len(sidecar.sampled)
    has_all = {image.image for image in sidecar.images.values()} <= set(sidecar.sampled)
    if asked is None or size == asked or (size < asked and has_all):
        return
    made_with = f"--sample_images={size}" if size else "all images to be verified"
    raise _made_otherwise(f"--sample_images={asked}", folder, made_with)


def _made_otherwise(asked: str, folder: pathlib.Path, made_with: str) -> ReviewError:
    return ReviewError(
        f"{asked}: {folder}: this export was made with {made_with}; leave the flag out or give another --review_dir."
    )


def _begin(
    inference_dir: str | os.PathLike, output_dir: pathlib.Path, settings: ExportSettings, names: Sequence[str]
) -> tuple[ExportMark, dict[str, Sidecar]]:
    """Marks the export as unfinished, or finds the one that was stopped.

    Args:
      names: folders that are to be written.

    Returns:
      (mark of the export, {folder: what is shown in it} of the folders that are done).

    Raises:
      ReviewError: a folder exists that is not of this export, or another export was stopped here.
    """
    path = output_dir / UNFINISHED
    wanted = {"run": checksums.file_sha256(pathlib.Path(inference_dir, "run.json")), **dataclasses.asdict(settings)}
    wanted = json.loads(json.dumps(wanted))
    if not path.exists():
        export.check_is_new(output_dir / name for name in names)
        mark = ExportMark(str(uuid.uuid4()), provenance.now())
        atomic_write.write_json(path, {**dataclasses.asdict(mark), "of": wanted})
        return mark, {}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        mark, of_what = ExportMark(stored["export_id"], stored["exported"]), stored["of"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReviewError(f"{path}: cannot be read ({error}); give another --output_dir.") from None
    if of_what != wanted:
        raise ReviewError(
            f"{path}: an export of another run, or with other flags, was stopped here; run that command again, or give "
            "another --output_dir."
        )
    done = {}
    for name in names:
        if (output_dir / name).exists():
            done[name] = read_sidecar(output_dir / name / FILE_NAME)
            if done[name].export_id != mark.export_id:
                export.check_is_new([output_dir / name])
    return mark, done


def _files_by_patient(settings: ExportSettings, run_settings: Mapping[str, Any]) -> dict[str, dict[str, pathlib.Path]]:
    """{patient id: {image's name as in cells.csv: file}}."""
    images_dir = settings.images_dir or run_settings.get("images_dir")
    if not images_dir:
        raise ReviewError("--images_dir is needed: run.json does not say where the images are.")
    manifest = settings.manifest or run_settings.get("manifest")
    pattern = settings.patient_pattern or run_settings.get("patient_pattern")
    files: dict[str, dict[str, pathlib.Path]] = {}
    for image in patients.find_images(images_dir, ProblemLog(quiet=True), manifest, pattern):
        files.setdefault(image.patient_id, {})[image.name] = image.path
    return files
