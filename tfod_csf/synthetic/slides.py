"""Synthetic slides with known truth: JPEG fields of patients, LabelImg XML and a table of counts.

Patients are of the paper's five kinds (section "Validating the DNN"). `truth.csv` counts what a technician could count:
a cell cut by the edge counts when at least `MIN_VISIBLE` of it is in the field.
"""

import dataclasses
import functools
import io
import itertools
import math
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

from tfod_csf import worker_pool
from tfod_csf.cell_classes import STUDY_CLASSES, UNKNOWN, WHITE_CELLS
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, csv_schemas, given_files
from tfod_csf.progress_bar import progress_bar
from tfod_csf.study import labelimg
from tfod_csf.synthetic import cells

MIN_VISIBLE = 0.4
MAX_COVERED = 0.3
REFERENCE_WIDTH_PX = 640
CLASSES = (*STUDY_CLASSES, UNKNOWN)


@dataclasses.dataclass(frozen=True)
class Case:
    """One of the paper's five kinds of patients.

    Attributes:
      name: as in the paper.
      white_cells_per_field: range of the mean number of white cells in one 640 x 480 field.
      erythrocytes_per_field: likewise.
      white_cell_weights: Dirichlet parameters of lymphocyte, monocyte, neutrophil.
    """

    name: str
    white_cells_per_field: tuple[float, float]
    erythrocytes_per_field: tuple[float, float]
    white_cell_weights: tuple[float, float, float]


CASES = (
    Case("low WBC", (1.5, 4), (0, 4), (14, 6, 0.6)),
    Case("high neutrophil", (12, 22), (0, 6), (2, 2, 12)),
    Case("high RBC", (4, 8), (14, 26), (6, 3, 4)),
    Case("medium WBC", (7, 14), (0, 6), (6, 4, 3)),
    Case("high WBC", (16, 26), (0, 5), (9, 4, 3)),
)


@dataclasses.dataclass(frozen=True)
class FieldSettings:
    """What one field looks like.

    Attributes:
      width_px: width of the JPEG.
      height_px: height of the JPEG.
      rare_fraction: share of white cells that are rare kinds, labeled "unknown".
    """

    width_px: int = 640
    height_px: int = 480
    rare_fraction: float = 0.02


@dataclasses.dataclass(frozen=True)
class Patient:
    """A synthetic patient: what is in each field, and the seed.

    Attributes:
      patient_id: folder name.
      case: kind of patient.
      shares: lymphocyte, monocyte, neutrophil, adding up to 1.
      white_cells_per_field: mean number in a field of the reference area.
      erythrocytes_per_field: likewise.
      seed: source of stain and fields.
    """

    patient_id: str
    case: Case
    shares: tuple[float, float, float]
    white_cells_per_field: float
    erythrocytes_per_field: float
    seed: int


def plan_patients(num_patients: int, seed: int) -> list[Patient]:
    """Plans patients, one case after the other (patient i has case i mod 5)."""
    patients = []
    for index in range(num_patients):
        rng = np.random.default_rng([seed, index])
        case = CASES[index % len(CASES)]
        patients.append(
            Patient(
                patient_id=f"patient_{index + 1:03d}",
                case=case,
                shares=tuple(rng.dirichlet(case.white_cell_weights)),
                white_cells_per_field=rng.uniform(*case.white_cells_per_field),
                erythrocytes_per_field=rng.uniform(*case.erythrocytes_per_field),
                seed=int(rng.integers(2**31)),
            )
        )
    return patients


def _reference_areas(settings: FieldSettings) -> float:
    """How many fields of 640 x 480 reference pixels, in which cells have their typical size, one field is."""
    return settings.width_px * settings.height_px / (settings.width_px / REFERENCE_WIDTH_PX) ** 2 / (640 * 480)


def num_fields(patient: Patient, settings: FieldSettings, at_least: int, white_cells: int = 0) -> int:
    """Fields of a patient: `at_least`, or as many as are expected to hold `white_cells`, rare kinds included."""
    expected_per_field = patient.white_cells_per_field * _reference_areas(settings)
    return max(at_least, math.ceil(white_cells / expected_per_field))


def _kinds_in_field(patient: Patient, settings: FieldSettings, rng: np.random.Generator) -> list[str]:
    area = _reference_areas(settings)
    num_white = rng.poisson(patient.white_cells_per_field * area)
    kinds = list(rng.choice(WHITE_CELLS, size=num_white, p=patient.shares))
    kinds = [str(rng.choice(cells.RARE_KINDS)) if rng.uniform() < settings.rare_fraction else kind for kind in kinds]
    kinds += ["erythrocyte"] * rng.poisson(patient.erythrocytes_per_field * area)
    return [kinds[i] for i in rng.permutation(len(kinds))]


def _place(
    placed: list[tuple[float, float, float]], diameter: float, width: int, height: int, rng: np.random.Generator
) -> tuple[float, float] | None:
    """Finds a center (x, y) where the cell covers little of others; None when the field is full."""
    for _ in range(60):
        x, y = (
            rng.uniform(-0.1 * diameter, width + 0.1 * diameter),
            rng.uniform(-0.1 * diameter, height + 0.1 * diameter),
        )
        overlap = 1 - MAX_COVERED * rng.uniform(0, 1)
        if all(np.hypot(x - px, y - py) > overlap * (diameter + other) / 2 for px, py, other in placed):
            return x, y
    return None


def _background(stain: cells.Stain, height: int, width: int, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Empty field with faint protein haze, [height, width, 3] float."""
    small = rng.normal(size=(height // 16 + 2, width // 16 + 2))
    haze = ndimage.zoom(ndimage.gaussian_filter(small, 1.5), 16, order=1)[:height, :width]
    field = stain.background * (1 + 0.02 * haze[..., None] / max(haze.std(), 1e-9))
    yy, xx = np.mgrid[:height, :width]
    for _ in range(rng.poisson(5)):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(1.5, 9) * scale
        color = stain.nucleus if rng.uniform() < 0.5 else stain.red_cell
        spot = np.exp(-((((xx - x) ** 2 + (yy - y) ** 2) / radius**2) ** 2)) * rng.uniform(0.2, 0.75)
        field = field * (1 - spot[..., None]) + color * spot[..., None]
    return field


def _optics(field: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Focus, uneven lamp and camera noise; returns uint8 [height, width, 3]."""
    blur = rng.gamma(1.5, 0.35) * scale
    field = ndimage.gaussian_filter(field, (blur, blur, 0))
    height, width, _ = field.shape
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    tilt_x, tilt_y = rng.normal(0, 0.03, 2)
    lamp = rng.uniform(0.88, 1.04) * (1 + tilt_x * x + tilt_y * y - rng.uniform(0, 0.08) * (x**2 + y**2))
    noisy = field * lamp[..., None] + rng.normal(0, rng.uniform(0.5, 3), field.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _paste(field: np.ndarray, patch: np.ndarray, x: float, y: float) -> tuple[tuple[int, int, int, int], float] | None:
    """Blends a cell at center (x, y); returns its visible box (xmin, ymin, xmax, ymax) and the share of it in view."""
    side = patch.shape[0]
    left, top = round(x - side / 2), round(y - side / 2)
    height, width, _ = field.shape
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if x0 >= x1 or y0 >= y1:
        return None
    visible = patch[y0 - top : y1 - top, x0 - left : x1 - left]
    inside = visible[..., 3] > 0.5
    share = inside.sum() / max((patch[..., 3] > 0.5).sum(), 1)
    if share < MIN_VISIBLE:
        return None
    field[y0:y1, x0:x1] = field[y0:y1, x0:x1] * (1 - visible[..., 3:]) + visible[..., :3] * visible[..., 3:]
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return (x0 + columns[0], y0 + rows[0], x0 + columns[-1] + 1, y0 + rows[-1] + 1), float(share)


def render_field(
    patient: Patient, image_index: int, settings: FieldSettings
) -> tuple[np.ndarray, list[labelimg.LabeledObject]]:
    """Renders one field of a patient.

    Returns:
      uint8 [height_px, width_px, 3] RGB, and its objects: boxes in pixels of the image, rare kinds named "unknown",
      `truncated` 1 for cells cut by the edge. The same arguments give the same pixels.
    """
    stain = cells.random_stain(np.random.default_rng([patient.seed, 0]))
    rng = np.random.default_rng([patient.seed, 1 + image_index])
    scale = settings.width_px / REFERENCE_WIDTH_PX
    field = _background(stain, settings.height_px, settings.width_px, scale, rng)
    objects: list[labelimg.LabeledObject] = []
    placed: list[tuple[float, float, float]] = []
    for kind in _kinds_in_field(patient, settings, rng):
        diameter = rng.uniform(*cells.DIAMETERS_PX[kind]) * scale
        center = _place(placed, diameter, settings.width_px, settings.height_px, rng)
        if center is None:
            continue
        pasted = _paste(field, cells.render_cell(kind, diameter, stain, rng), *center)
        if pasted is None:
            continue
        (xmin, ymin, xmax, ymax), share = pasted
        placed.append((*center, diameter))
        name = "unknown" if kind in cells.RARE_KINDS else kind
        objects.append(labelimg.LabeledObject(name, xmin, ymin, xmax, ymax, truncated=int(share < 0.999)))
    return _optics(field, scale, rng), objects


def _image_name(patient: Patient, image_index: int) -> str:
    return f"{patient.patient_id}_{image_index + 1:03d}.jpg"


def _refuse_other_files(output_dir: pathlib.Path, jobs: Sequence[tuple[Patient, int]]) -> None:
    """Refuses a folder of patients that holds more than what an interrupted run of the same settings wrote.

    Raises:
      UserError: naming the first other file.
    """
    own = {(patient.patient_id, _image_name(patient, index)) for patient, index in jobs}
    own |= {(folder, f"{pathlib.Path(name).stem}.xml") for folder, name in own}
    for folder in {patient.patient_id for patient, _ in jobs}:
        if not (output_dir / folder).is_dir():
            continue
        for path in map(pathlib.Path, given_files.files_below(output_dir / folder)):
            if (path.parent.name, path.name) not in own:
                raise UserError(f"{path}: is not of these slides; name an empty folder or delete this one.")


def _write_new(path: pathlib.Path, data: bytes) -> None:
    """Writes a file that may be there already, from an interrupted run.

    Raises:
      UserError: another content is there.
    """
    if path.exists() and given_files.read_bytes(path) != data:
        raise UserError(f"{path}: is there with other contents; name an empty folder or delete this one.")
    atomic_write.write_bytes(path, data)


def _write_field(output_dir: pathlib.Path, settings: FieldSettings, job: tuple[Patient, int]) -> dict[str, int]:
    patient, image_index = job
    pixels, objects = render_field(patient, image_index, settings)
    folder = output_dir / patient.patient_id
    name = _image_name(patient, image_index)
    quality = int(np.random.default_rng([patient.seed, 1 + image_index, 7]).integers(86, 96))
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format="JPEG", quality=quality)
    _write_new(folder / name, encoded.getvalue())
    annotation = labelimg.Annotation(
        path=folder / name,
        filename=name,
        width=settings.width_px,
        height=settings.height_px,
        objects=objects,
        folder=patient.patient_id,
    )
    labelimg.write_annotation(annotation, folder / f"{pathlib.Path(name).stem}.xml")
    return {cell_class: sum(item.name == cell_class for item in objects) for cell_class in CLASSES}


def synthesize(
    output_dir: str | os.PathLike,
    num_patients: int,
    images_per_patient: int,
    seed: int = 0,
    settings: FieldSettings | None = None,
    num_processes: int | None = None,
    white_cells_per_patient: int = 0,
) -> list[dict]:
    """Writes patients to `output_dir/<patient_id>/<patient_id>_NNN.{jpg,xml}`, and `truth.csv` to `output_dir`.

    The files do not depend on `num_processes`. A patient has `images_per_patient` fields, or more where that many are
    not expected to hold `white_cells_per_patient`; what they hold is random.

    Returns:
      The rows of truth.csv: patient_id, case, images and the number of cells of each of `CLASSES`.

    Raises:
      UserError: a number or size that is too small, or a folder that already holds synthetic slides.
    """
    settings = settings or FieldSettings()
    output_dir = pathlib.Path(output_dir)
    if num_patients < 1 or images_per_patient < 1:
        raise UserError(f"{num_patients} patients x {images_per_patient} images: at least 1 of each is needed.")
    if min(settings.width_px, settings.height_px) < 64:
        raise UserError(f"image size {settings.width_px} x {settings.height_px}: at least 64 px a side is needed.")
    if (output_dir / "truth.csv").exists():
        raise UserError(f"{output_dir}: already holds synthetic slides; name an empty folder or delete this one.")
    patients = plan_patients(num_patients, seed)
    num_images = [num_fields(patient, settings, images_per_patient, white_cells_per_patient) for patient in patients]
    jobs = [(patient, index) for patient, own in zip(patients, num_images, strict=True) for index in range(own)]
    write = functools.partial(_write_field, output_dir, settings)
    _refuse_other_files(output_dir, jobs)
    written = worker_pool.ordered_map(write, jobs, num_processes or min(worker_pool.available_cores(), len(jobs)))
    counts = iter(list(progress_bar(written, unit="image", total=len(jobs), desc="rendering")))
    rows = []
    for patient, images in zip(patients, num_images, strict=True):
        own = list(itertools.islice(counts, images))
        totals = {cell_class: sum(count[cell_class] for count in own) for cell_class in CLASSES}
        rows.append({"patient_id": patient.patient_id, "case": patient.case.name, "images": len(own), **totals})
    csv_schemas.load("truth").write_into(output_dir, rows)
    return rows
