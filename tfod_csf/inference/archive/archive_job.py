"""What the processes of archive_infer are told, on whatever machine they run: one small file, and a list of patients.

    OUT/archive/job.json         settings of the run: `ArchiveJob`
    OUT/archive/patients.jsonl   one patient a line, with the names of the images: `PatientWork`
    OUT/archive/rows/            which patients are done: `finished_rows`
    OUT/archive/attempts/        which patients are under way, or ended their process: `attempts`

Every machine sees the folders of images, models and results under the same paths.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from tfod_csf.files import atomic_write, given_files
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.run_folder import PATIENTS_DIR
from tfod_csf.study.patients import ImageFile

FOLDER = "archive"


@dataclasses.dataclass(frozen=True)
class PatientWork:
    """One patient, small enough to be sent from machine to machine.

    Attributes:
      patient_id: the patient.
      folder: name of the patient's folder below patients/.
      images: (name, key) of each `ImageFile`.
    """

    patient_id: str
    folder: str
    images: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, folder: str, images: Iterable[ImageFile]) -> "PatientWork":
        """The work on a patient's images, at least one."""
        images = list(images)
        return cls(images[0].patient_id, folder, tuple((image.name, image.key) for image in images))

    @classmethod
    def from_line(cls, line: str) -> "PatientWork":
        """The opposite of `line`."""
        patient_id, folder, images = json.loads(line)
        return cls(patient_id, folder, tuple((name, key) for name, key in images))

    @property
    def line(self) -> str:
        """One line of JSON."""
        return json.dumps([self.patient_id, self.folder, self.images])

    def image_files(self, images_dir: str | os.PathLike) -> list[ImageFile]:
        """The patient's images as `patients.find_images` found them in this folder."""
        folder = pathlib.Path(images_dir)
        return [ImageFile(folder / key, self.patient_id, name, key) for name, key in self.images]


@dataclasses.dataclass(frozen=True)
class ArchiveJob:
    """How the patients of one run are examined.

    Attributes:
      run_id: of this run of the command.
      images_dir: the folder of images as the user gave it, which messages name.
      output_dir: OUT, an absolute path.
      models: folders of the exported models, absolute paths, or names of models that ship with this package.
      trust, ensemble, deterministic, draw, strict: flags of the command.
      thresholds: fields of `ScoreThresholds`.
      settings: `Examination.settings` as the command has them; a machine that has other models or another version of
        this package refuses to work.
      tiles: fields of `TileSettings`; None where images are not cut.
      runner: a runner of Beam; "" for this machine.
      max_attempts: how often a patient may end its process.
    """

    run_id: str
    images_dir: str
    output_dir: str
    models: tuple[str, ...]
    trust: bool
    ensemble: str
    deterministic: bool
    draw: bool
    strict: bool
    thresholds: Mapping[str, Any]
    settings: Mapping[str, Any]
    tiles: Mapping[str, Any] | None = None
    runner: str = ""
    max_attempts: int = 3

    @classmethod
    def read(cls, path: str | os.PathLike) -> "ArchiveJob":
        """The opposite of `write`."""
        content = given_files.read_json(pathlib.Path(path))
        return cls(**{**content, "models": tuple(content["models"])})

    def write(self) -> pathlib.Path:
        """Writes job.json and returns its path."""
        path = self.folder / "job.json"
        atomic_write.write_json(path, dataclasses.asdict(self))
        return path

    @property
    def folder(self) -> pathlib.Path:
        """OUT/archive."""
        return pathlib.Path(self.output_dir, FOLDER)

    @property
    def work_list(self) -> pathlib.Path:
        """The list of the patients to be examined."""
        return self.folder / "patients.jsonl"

    @property
    def rows_dir(self) -> pathlib.Path:
        """Folder of the rows of finished patients."""
        return self.folder / "rows"

    @property
    def attempts_dir(self) -> pathlib.Path:
        """Folder of the attempts at patients."""
        return self.folder / "attempts"

    @property
    def trials_dir(self) -> pathlib.Path:
        """Folder of the results of images that are tried one by one; nobody reads them."""
        return self.folder / "trials"

    @property
    def error(self) -> pathlib.Path:
        """File with the sentence of a mistake that no further attempt would repair."""
        return self.folder / "error.txt"

    @property
    def log(self) -> pathlib.Path:
        """What Beam and its processes said."""
        return self.folder / "beam.log"

    def attempts_path(self, work: PatientWork) -> pathlib.Path:
        """The file of the attempts at a patient."""
        return self.attempts_dir / f"{work.folder}.json"

    @property
    def score_thresholds(self) -> ScoreThresholds:
        """What counts as a cell."""
        return ScoreThresholds(**self.thresholds)

    def patient_folder(self, work: PatientWork) -> pathlib.Path:
        """The patient's folder of results."""
        return pathlib.Path(self.output_dir, PATIENTS_DIR, work.folder)

    def write_work_list(self, patients: Iterable[PatientWork]) -> None:
        """Writes the list of patients."""
        with atomic_write.replacing(self.work_list, newline="\n") as file:
            file.writelines(f"{work.line}\n" for work in patients)
