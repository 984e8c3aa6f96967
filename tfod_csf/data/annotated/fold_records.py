"""The records of a cross-validation: one reading of the labeled images, and train and test records for each fold.

All records are written before the first training, so that every fold trains and tests on the same labels.
"""

import dataclasses
import pathlib

from tfod_csf.data.annotated import create_tf_record, folds
from tfod_csf.data.annotated.create_tf_record import ReadSet, RecordOptions
from tfod_csf.data.annotated.fold_folder import FoldFolder
from tfod_csf.data.dataset_page import appearance
from tfod_csf.files import csv_schemas
from tfod_csf.problems import ProblemLog
from tfod_csf.wording import plural

PATIENT, LABORATORY = "patient", "laboratory"
DEFAULT_FOLDS = 5


@dataclasses.dataclass(frozen=True)
class FoldOptions:
    """How the set is divided.

    Attributes:
      split_by: PATIENT or LABORATORY.
      num_folds: None for DEFAULT_FOLDS, of laboratories for one each.
      laboratory_pattern: see `appearance.laboratory_reader`; "" for none.
      seed: another seed, other folds.
    """

    split_by: str = PATIENT
    num_folds: int | None = None
    laboratory_pattern: str = ""
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Fold:
    """What tests in one fold.

    Attributes:
      number: from 1.
      patients: ids, sorted.
      laboratories: sorted; none without a pattern.
      num_images: test images.
      num_cells: labeled cells on them.
    """

    number: int
    patients: tuple[str, ...]
    laboratories: tuple[str, ...]
    num_images: int
    num_cells: int

    def text(self) -> str:
        """One line."""
        whose = plural(len(self.patients), "patient")
        if self.laboratories:
            whose += f" of {', '.join(self.laboratories)}"
        images, cells = plural(self.num_images, "image"), plural(self.num_cells, "cell")
        return f"fold {self.number} tests on {whose}: {images}, {cells}"


def write_fold_records(options: RecordOptions, fold_options: FoldOptions, problems: ProblemLog) -> list[Fold]:
    """Reads the labeled images, divides them, writes the records of each fold, and folds.csv beside them.

    Args:
      options: output_dir holds the folders of the folds; what they say about the split is not used.
      problems: of the reading; those of a fold are in its own problems.csv too.

    Raises:
      UserError: of any step, as `create_csf_tf_record`; the set cannot be divided as asked.
    """
    output_dir = pathlib.Path(options.output_dir)
    options = dataclasses.replace(options, split_by=PATIENT, seed=fold_options.seed)
    read = create_tf_record.read_set(options, problems)
    laboratory_of = _laboratories(read, fold_options)
    keys_of_folds = _divide(read, fold_options, laboratory_of)
    for number, keys in enumerate(keys_of_folds, start=1):
        target = FoldFolder(output_dir, number).records_dir
        of_fold = ProblemLog(problems.strict, problems.quiet)
        of_fold.problems = list(problems.problems)
        test_set = dataclasses.replace(options, output_dir=str(target), test_set="folds.csv")
        create_tf_record.write_sides(test_set, read, keys, of_fold, "give fewer folds")
    fold_of = {key: number for number, keys in enumerate(keys_of_folds, start=1) for key in keys}
    rows = (
        {
            "image": entry.image.key,
            "patient": entry.image.patient_id,
            "laboratory": laboratory_of.get(entry.image.key, ""),
            "fold": fold_of[entry.image.key],
            "sha256": entry.sha256,
        }
        for entry in read.images.entries
    )
    csv_schemas.load("folds").write_into(output_dir, rows)
    problems.write_csv(output_dir / create_tf_record.PROBLEMS)
    return [_fold(number, keys, read, laboratory_of) for number, keys in enumerate(keys_of_folds, start=1)]


def _laboratories(read: ReadSet, fold_options: FoldOptions) -> dict[str, str]:
    """{key: laboratory} of the usable images; empty without a pattern."""
    if not fold_options.laboratory_pattern:
        return {}
    reader = appearance.laboratory_reader(fold_options.laboratory_pattern)
    return {image.key: reader(image.key) for image in read.for_split()}


def _divide(read: ReadSet, fold_options: FoldOptions, laboratory_of: dict[str, str]) -> list[set[str]]:
    """Keys of each fold."""
    images, num_folds = read.for_split(), fold_options.num_folds or DEFAULT_FOLDS
    if fold_options.split_by == LABORATORY:
        laboratories = folds.check_laboratories(images, laboratory_of)
        images = [dataclasses.replace(image, patient_id=laboratory_of[image.key]) for image in images]
        num_folds = fold_options.num_folds or len(laboratories)
    return folds.divide(images, num_folds, fold_options.seed, read.groups)


def _fold(number: int, keys: set[str], read: ReadSet, laboratory_of: dict[str, str]) -> Fold:
    entries = [entry for entry in read.images.entries if entry.image.key in keys]
    return Fold(
        number,
        tuple(sorted({entry.image.patient_id for entry in entries})),
        tuple(sorted({laboratory_of[key] for key in keys if key in laboratory_of})),
        len(entries),
        sum(sum(entry.class_counts.values()) for entry in entries),
    )
