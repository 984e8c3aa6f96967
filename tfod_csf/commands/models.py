"""List the models that ship with this package, which every --model finds by their name.

With a name, everything about that model: classes, thresholds, versions, sha256 and where its model card is. sha256 is
that of its SHA256SUMS, and so of all its files; run.json names it. A model that ships is not changed: --output_dir
copies it to a folder of your own, which calibrate and evaluate --store may write into.

Example: tfod_csf models csf_small
"""

import shutil
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from absl import flags

from tfod_csf.commands import command_line, common_flags
from tfod_csf.errors import UserError

if TYPE_CHECKING:
    from tfod_csf.model_folder import ModelFolder

FLAGS = flags.FlagValues()
BARE_FLAG = "model"
flags.DEFINE_multi_string(
    "model",
    [],
    "Only this model, in detail; several may be given, also without --model=.",
    flag_values=FLAGS,
)
common_flags.define_output_dir(FLAGS, "Folder to copy the model to; it must not exist yet.", required=False)


def main() -> None:
    """Prints the models, or copies one."""
    from tfod_csf.model_folder import ModelFolder
    from tfod_csf.shipped_models import by_name

    shipped = by_name.names()
    unknown = [name for name in FLAGS.model if name not in shipped]
    if unknown:
        raise UserError(f"--model={unknown[0]}: no model of that name ships ({by_name.listed()}).")
    if FLAGS.output_dir and len(FLAGS.model) != 1:
        raise UserError("--output_dir copies one model; give its name: tfod_csf models NAME --output_dir=FOLDER.")
    if not shipped:
        print("No models ship with this version; exporter_main_v2 makes one from your own training.")
        return
    folders = [ModelFolder.open(by_name.SHIPPED_MODELS / name) for name in FLAGS.model or shipped]
    if FLAGS.output_dir:
        print(_copy(folders[0]))
        return
    print("\n\n".join(_details(folder) if FLAGS.model else _summary(folder) for folder in folders))


def _summary(folder: "ModelFolder") -> str:
    from tfod_csf import model_folder

    num_bytes = sum(path.stat().st_size for path in folder.path.rglob("*") if path.is_file())
    rows = {
        "classes": ", ".join(folder.label_map.names),
        "input": _input_size(folder.info.get("input_size") or {}),
        "sha256": folder.sha256 or "",
        "card": str(folder.path / model_folder.MODEL_CARD),
    }
    return "\n".join([f"{folder.name} {folder.version}, {num_bytes / 1e6:.1f} MB", *_lines(rows)])


def _details(folder: "ModelFolder") -> str:
    from tfod_csf import score_temperature

    info, thresholds = folder.info, folder.thresholds
    temperature = score_temperature.temperature_of(info, str(folder.path))
    records = (info.get("training_data") or {}).get("fingerprint")
    rows = {
        "network": f"{info.get('feature_extractor')}, weights in {info.get('weights_dtype')}",
        "training": f"step {info.get('step')}, records with the fingerprint {records}",
        "made with": ", ".join(f"{name} {version}" for name, version in (info.get("versions") or {}).items()),
        "cells": f"from a score of {thresholds['min_score']:g} on, unknown below {thresholds['unknown_below']:g}; "
        f"temperature {temperature:g}",
        "percentages": f"{'' if folder.classification else 'not '}corrected for the model's mistakes",
        "folder": str(folder.path),
    }
    return "\n".join([_summary(folder), *_lines(rows)])


def _lines(rows: Mapping[str, str]) -> list[str]:
    return [f"  {name:<12}{text}" for name, text in rows.items()]


def _input_size(size: Mapping[str, Any]) -> str:
    """The resizer of model.json in words."""
    if "height" in size:
        return f"stretched to {size['width']} x {size['height']} px"
    names = ("min_dimension", "max_dimension")
    shorter, longer = (size.get(name, "?") for name in names)
    return f"resized to {shorter} px on the shorter side, at most {longer} px on the longer one"


def _copy(folder: "ModelFolder") -> str:
    from tfod_csf.files import atomic_write

    output = common_flags.output_dir(FLAGS)
    if output.exists():
        raise UserError(f"--output_dir={output} is there already; give a new folder.")
    with atomic_write.replacing_folder(output, may_exist=False) as part:
        for path in sorted(folder.path.rglob("*")):  # without its rights: an installation may forbid to write
            copied = part / path.relative_to(folder.path)
            copied.mkdir() if path.is_dir() else shutil.copyfile(path, copied)
    return f"Copied {folder.name} {folder.version} to {output}; use it with --model={output}."


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "models", bare_flag=BARE_FLAG))
