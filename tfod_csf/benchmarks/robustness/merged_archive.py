"""merge_shards over the patients of an archive: seconds, and memory at its highest.

    python -m tfod_csf.benchmarks.robustness.merged_archive --patients=100000 --images=15 --shards=64

One patient is examined; the others are copies under other ids, written in the form that the shards leave, with image
files that are empty, because the merge does not read them.
"""

import argparse
import dataclasses
import hashlib
import json
import pathlib
import tempfile
from collections.abc import Sequence

from tfod_csf import run_folder
from tfod_csf.benchmarks.robustness import command_usage
from tfod_csf.benchmarks.robustness.command_usage import Used
from tfod_csf.benchmarks.robustness.trials import Inputs, Trial
from tfod_csf.inference.runs import patient_manifest, shards
from tfod_csf.inference.runs.patient_manifest import ManifestRow
from tfod_csf.inference.runs.shards import Shard
from tfod_csf.synthetic import slides

_FIRST = "patient_001"


class Archive:
    """An output folder as `num_shards` shards leave it, and its images.

    Args:
      folder: where both are made.
      num_patients, num_images: patients, and images of each.
      num_shards: parts of the run.
    """

    def __init__(self, folder: pathlib.Path, num_patients: int, num_images: int, num_shards: int):
        self.images_dir, self.output_dir = folder / "archive", folder / "run"
        self._shards = shards.all_of(num_shards)
        self._ids = [f"patient_{number:06d}" for number in range(1, num_patients + 1)]
        self._examine_one(folder, num_images)

    def _examine_one(self, folder: pathlib.Path, num_images: int) -> None:
        """One patient, by the shard that has it, whose shard.json is that of the others too."""
        inputs = Inputs(folder, 1)
        slides.synthesize(inputs.inputs / "slides", 1, num_images, 1, slides.FieldSettings(200, 150), 1)
        flags = ("--images_dir=INPUTS/slides", "--model=INPUTS/model", f"--output_dir={self.output_dir}", "--nodraw")
        trial = Trial("merged archive", ("batch_infer", *flags), needs=("model",))
        inputs.make(trial)
        inputs.work.mkdir(parents=True)
        shard = Shard.of(_FIRST, len(self._shards))
        inputs.run(trial, (*trial.command, f"--shard={shard}"))
        record = shards.read(shard, self.output_dir)
        for other in self._shards:
            other.folder(self.output_dir).mkdir(exist_ok=True)
            shards.finish(other, self.output_dir, record)
        self._first = self.output_dir / run_folder.PATIENTS_DIR / _FIRST
        (self._row,) = patient_manifest.read(shard.folder(self.output_dir) / patient_manifest.FILE_NAME)

    def make(self) -> None:
        """Writes all patients in place of the one."""
        texts = {name: (self._first / name).read_text(encoding="utf-8") for name in run_folder.TABLES}
        stamp = json.loads((self._first / run_folder.STAMP).read_text(encoding="utf-8"))
        for path in self._first.iterdir():
            path.unlink()
        self._first.rmdir()
        rows: dict[Shard, list[ManifestRow]] = {shard: [] for shard in self._shards}
        for patient_id in self._ids:
            tables = self._write_patient(patient_id, texts, stamp)
            shard = Shard.of(patient_id, len(self._shards))
            row = dataclasses.replace(self._row, patient_id=patient_id, folder=patient_id, shard=str(shard))
            rows[shard].append(dataclasses.replace(row, tables=tables))
        for shard in self._shards:
            patient_manifest.write(shard.folder(self.output_dir) / patient_manifest.FILE_NAME, rows[shard])

    def _write_patient(self, patient_id: str, texts: dict[str, str], stamp: dict) -> dict[str, str]:
        """Writes a patient's images, tables and stamp; returns the checksums of the tables."""
        images, folder = self.images_dir / patient_id, self.output_dir / run_folder.PATIENTS_DIR / patient_id
        images.mkdir(parents=True)
        folder.mkdir()
        checksums = {}
        for name in stamp["images"]:
            (images / name).touch()
            checksums[name] = _sha256(patient_id + name)
        tables = {}
        for name, text in texts.items():
            text = text.replace(_FIRST, patient_id)
            (folder / name).write_text(text, encoding="utf-8")
            tables[name] = _sha256(text)
        stamp = {**stamp, "images": checksums, "tables": tables}
        (folder / run_folder.STAMP).write_text(json.dumps(stamp, indent=2), encoding="utf-8")
        return tables

    def merge(self) -> Used:
        """Merges in a process of its own.

        Raises:
          RuntimeError: it failed.
        """
        flags = [f"--output_dir={self.output_dir}", f"--images_dir={self.images_dir}"]
        return command_usage.measure(["-m", "tfod_csf", "merge_shards", *flags])


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=100_000, help="number of patients (default 100,000)")
    parser.add_argument("--images", type=int, default=15, help="images of each (default 15)")
    parser.add_argument("--shards", type=int, default=64, help="parts of the run (default 64)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="merged_archive_") as temporary:
        archive = Archive(pathlib.Path(temporary), options.patients, options.images, options.shards)
        archive.make()
        used = archive.merge()
    print("| patients | images | seconds | processor seconds | most memory, MB |\n|---|---|---|---|---|")
    images = options.patients * options.images
    print(f"| {options.patients:,} | {images:,} | {used.seconds:.0f} | {used.cpu_seconds:.0f} | {used.memory_mb:.0f} |")


if __name__ == "__main__":
    main()
