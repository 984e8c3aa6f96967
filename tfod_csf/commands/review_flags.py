"""Flags of the commands that export and import reviews, and what these commands do alike."""

import pathlib
from typing import TYPE_CHECKING, Any

from absl import flags

from tfod_csf.commands import common_flags, differential_flags
from tfod_csf.errors import UserError

if TYPE_CHECKING:
    from tfod_csf.cytology.review.export_session import ExportSettings
    from tfod_csf.cytology.review.patient_import import ImportSettings
    from tfod_csf.cytology.review.reviewed_cohort import Counting


def define_reviewer(flag_values: flags.FlagValues) -> None:
    """--reviewer, --comment and --signing_key."""
    flags.DEFINE_string(
        "reviewer",
        None,
        "Name or initials of the reviewer, kept in every record.",
        required=True,
        flag_values=flag_values,
    )
    flags.DEFINE_string("comment", "", "Free text for the record of this import.", flag_values=flag_values)
    flags.DEFINE_string(
        "signing_key",
        None,
        "Key file that signs the records and checks earlier ones; made if absent. Whoever checks signatures needs it, "
        "so never use the key file of blind.",
        flag_values=flag_values,
    )


def define_sample_images(flag_values: flags.FlagValues) -> None:
    """--sample_images."""
    flags.DEFINE_integer(
        "sample_images",
        None,
        "Images per patient, at least 10, that a reviewer must verify, chosen by a fixed rule and listed in "
        "TO_VERIFY.txt; when none of them has a wrong white cell, the others count as checked. Default: all images "
        "have to be verified.",
        lower_bound=10,
        flag_values=flag_values,
    )


def define_disagreements(flag_values: flags.FlagValues) -> None:
    """--disagreements."""
    flags.DEFINE_enum(
        "disagreements",
        "refuse",
        ["refuse", "unknown", "newest"],
        "What to do with cells that an earlier review decided differently: refuse the patient, count them as unknown, "
        "or apply the newest review.",
        flag_values=flag_values,
    )


def reviewer(flag_values: flags.FlagValues) -> str:
    """Who reviews.

    Raises:
      UserError: the name is empty.
    """
    name = " ".join(flag_values.reviewer.split())
    if not name:
        raise UserError("--reviewer is empty; a review needs a name.")
    return name


def export_settings(flag_values: flags.FlagValues) -> "ExportSettings":
    """What the flags say about an export."""
    from tfod_csf.cytology.review.export_session import ExportSettings

    return ExportSettings(
        images_dir=flag_values.images_dir,
        manifest=flag_values.manifest,
        patient_pattern=flag_values.patient_pattern,
        patients=flag_values.patient,
        model=flag_values.model,
        extra_names=common_flags.extra_names(flag_values),
        sample_images=flag_values.sample_images,
    )


def import_settings(flag_values: flags.FlagValues, **more: Any) -> "ImportSettings":
    """What the flags say about the review itself; a signing key that is not there is made.

    Args:
      **more: settings of flags that only one command has.
    """
    from tfod_csf.cytology.review.patient_import import ImportSettings
    from tfod_csf.files import key_files

    key = None
    if flag_values.signing_key:
        path = pathlib.Path(flag_values.signing_key)
        if path.exists():
            key = key_files.read_key(path)
        else:
            key = key_files.create_key(path)
            print(f"{path}: a new signing key ({key_files.key_id(key)}); keep it for all imports into this folder.")
    return ImportSettings(
        reviewer=reviewer(flag_values),
        comment=flag_values.comment,
        extra_names=common_flags.extra_names(flag_values),
        disagreements=flag_values.disagreements,
        key=key,
        **more,
    )


def counting(flag_values: flags.FlagValues, inputs: differential_flags.DifferentialInputs) -> "Counting":
    """How differentials are made before and after a review."""
    from tfod_csf.cytology.review.reviewed_cohort import Counting

    return Counting(
        references=inputs.references,
        rules=inputs.rules,
        cells_per_ul=inputs.cells_per_ul,
        thresholds=inputs.thresholds if inputs.changed else None,
        corrections=inputs.corrections,
        ranges_path=str(inputs.ranges_path),
        population=flag_values.population,
    )
