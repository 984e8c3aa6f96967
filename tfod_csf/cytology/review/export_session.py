"""One export over all patients of a run: the images are found again, and every patient gets a folder for LabelImg."""

import dataclasses
import os
import pathlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tfod_csf import cell_classes, run_folder
from tfod_csf.cytology import cell_rows, run_tables
from tfod_csf.cytology.review import export
from tfod_csf.cytology.review.sidecar import ReviewError, Sidecar
from tfod_csf.problems import ProblemLog
from tfod_csf.study import patients
from tfod_csf.wording import plural


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
    folders = {patients.patient_id_of(folder.name): folder for folder in run_tables.patient_folders(inference_dir)}
    unknown = [patient for patient in settings.patients if patient not in folders]
    if unknown:
        raise ReviewError(f"--patient={unknown[0]}: no such patient in {inference_dir} ({len(folders)} patients).")
    chosen = settings.patients or list(folders)
    export.check_is_new(output_dir / folders[patient_id].name for patient_id in chosen)
    model = cell_rows.one_model(cell_rows.run_models(inference_dir), settings.model)
    files = _files_by_patient(settings, run.get("settings", {}))
    export_id, thresholds, shown = str(uuid.uuid4()), run.get("thresholds", {}), {}
    for patient_id in progress(chosen):
        source = export.ExportSource(folders[patient_id], files.get(patient_id, {}), model, thresholds)
        shown[patient_id] = export.export_patient(
            source, output_dir, export_id, settings.extra_names, problems, settings.sample_images
        )
    export.write_instructions(output_dir)
    problems.write_csv(output_dir / "problems.csv")
    return ExportSession(shown)


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
