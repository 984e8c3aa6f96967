"""Models that ship with this package and are found by their name: --model=csf_small instead of a folder.

    tfod_csf/shipped_models/<name>/    a model folder as `export.packing` writes it, with MODEL_CARD.md

A path that exists always wins over a name. What ships is never changed where it is installed, because every run that
names it means the same files: calibrate and evaluate --store take a copy.
"""

import os
import pathlib
from collections.abc import Mapping

from tfod_csf.errors import UserError
from tfod_csf.files import given_files, manifest

SHIPPED_MODELS = pathlib.Path(__file__).parent
# What a reader of its results has to know, from its card; here, because a model's folder is not changed.
RESTRICTIONS = {
    "csf_small": (
        "csf_small was trained on blood, never on cerebrospinal fluid; its card says what it must not be used for."
    ),
}


class ShippedModelError(UserError):
    """A name of no model, or a shipped model that was to be changed."""


def names() -> list[str]:
    """Names of the models that ship with this package, sorted."""
    return [folder.name for folder in given_files.folders_with(SHIPPED_MODELS, manifest.FILE_NAME)]


def is_name(model: str | os.PathLike) -> bool:
    """Whether a model is given by the name of one that ships, and not by a path."""
    return os.fspath(model) in names() and not os.path.exists(model)


def find(model: str | os.PathLike) -> pathlib.Path:
    """The folder of a model that is given by its path or by its name; any other text is returned as a path."""
    return SHIPPED_MODELS / os.fspath(model) if is_name(model) else pathlib.Path(model)


def find_existing(model: str | os.PathLike) -> pathlib.Path:
    """As `find`.

    Raises:
      ShippedModelError: there is nothing at that path, and it is no name.
    """
    path = find(model)
    if not path.exists():
        raise ShippedModelError(
            f"{path}: there is no such folder, and no model of that name ships ({listed()}); give a folder that "
            "exporter_main_v2 wrote."
        )
    return path


def listed() -> str:
    """The names, as part of a sentence."""
    return f"these do: {', '.join(names())}" if names() else "no model does"


def is_shipped(path: str | os.PathLike) -> bool:
    """Whether a path leads to a model that ships, or into one."""
    return pathlib.Path(path).resolve().is_relative_to(SHIPPED_MODELS.resolve())


def vouching_words(name: str, version: str | None, sha256: str | None) -> str:
    """What run.json says of a model that ships and has not been changed (`models_vouched_for_by`)."""
    return f"{manifest.FILE_NAME} of the shipped {name} {version}, sha256 {sha256}"


def restrictions(vouched_for_by: Mapping[str, str]) -> list[str]:
    """What a reader of a run's results has to know of its models that ship, a sentence each.

    Args:
      vouched_for_by: {model: `vouching_words`, or other words for other models}, as in run.json. A model that was
        trained on from one that ships may have its name, and is another.
    """
    start = f"{manifest.FILE_NAME} of the shipped"
    return [text for name, text in RESTRICTIONS.items() if vouched_for_by.get(name, "").startswith(f"{start} {name} ")]


def refuse_to_change(path: str | os.PathLike) -> None:
    """For commands that store something in a model's folder.

    Raises:
      ShippedModelError: the model ships with this package.
    """
    if is_shipped(path):
        name = pathlib.Path(path).resolve().name
        raise ShippedModelError(
            f"{name} ships with this package and is not changed; copy it with tfod_csf models {name} "
            f"--output_dir=exported_models/{name}, and use --model=exported_models/{name}."
        )
