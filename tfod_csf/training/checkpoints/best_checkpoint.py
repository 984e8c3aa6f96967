"""The best checkpoint of a run by mAP, copied into `<model_dir>/best` with best.json.

best.json says of which images and classes the value is (`EvaluationRun.about`): a value on other images is no better
or worse. After a change of the evaluation records the best checkpoint is chosen again among those that follow, and the
one before is kept as `best_of_other_images_<step>`.
"""

import logging
import math
import os
import pathlib
import re
import shutil
from collections.abc import Mapping
from typing import Any

from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, folder_lock, given_files
from tfod_csf.training.checkpoints import run_checkpoints

BEST_FOLDER = "best"
BEST_FILE = "best.json"
_log = logging.getLogger("tfod_csf")
_OF_CHECKPOINT = re.compile(r"\.(index|data-\d{5}-of-\d{5})$", re.ASCII)
# The first of these that an evaluation reports decides which checkpoint is best.
BEST_METRICS = (
    "PascalBoxes_Precision/mAP@0.5IOU",
    "DetectionBoxes_Precision/mAP@.50IOU",
    "WeightedPascalBoxes_Precision/mAP@0.5IOU",
)


def best_metric(metrics: Mapping[str, float]) -> tuple[str, float] | None:
    """Name and value of the deciding metric; None when none was computed or none has ground truth."""
    for name in BEST_METRICS:
        value = metrics.get(name, math.nan)
        if not math.isnan(value) and value >= 0:
            return name, value
    return None


def best_text(metrics: Mapping[str, float]) -> str:
    """The deciding metric as text, for example "PascalBoxes_Precision/mAP@0.5IOU 0.8123"."""
    found = best_metric(metrics)
    return f"{found[0]} {found[1]:.4f}" if found else "no metric"


def read_best(model_dir: str | os.PathLike) -> dict | None:
    """Contents of best.json of a run; None when there is none.

    Raises:
      UserError: it is not JSON.
    """
    return read_best_of(pathlib.Path(model_dir) / BEST_FOLDER)


def read_best_of(folder: pathlib.Path) -> dict | None:
    """As `read_best`, of a run's folder `best` itself."""
    path = folder / BEST_FILE
    try:
        best = given_files.read_json(path)
        if not isinstance(best, dict):
            raise ValueError("it holds no object")
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(
            f"{path}: is not JSON of a best checkpoint ({error}); restore it, or move it away: the best checkpoint of "
            "the run is then chosen again."
        ) from error
    return best


def is_better(metrics: Mapping[str, float], model_dir: str | os.PathLike, about: Mapping[str, Any]) -> bool:
    """True when these metrics are better than those of best.json; of equals the earlier checkpoint stays.

    Args:
      metrics: by TFOD's names.
      model_dir: the run's folder.
      about: of the evaluation, see `EvaluationRun`. Where best.json is of other images, nothing is compared.
    """
    found = best_metric(metrics)
    if found is None:
        return False
    best = read_best(model_dir)
    if best is None or _is_of_other_images(best, about):
        return True
    return best.get("metric") != found[0] or found[1] > best["value"]


def _is_of_other_images(best: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether best.json says so; earlier versions do not say what a value is of."""
    return best.get("images", about.get("images")) != about.get("images")


def keep_best(
    checkpoint_path: str,
    step: int,
    metrics: Mapping[str, float],
    model_dir: str | os.PathLike,
    about: Mapping[str, Any],
) -> None:
    """Puts a checkpoint and best.json into `<model_dir>/best`, in place of what is there, where possible in one step.

    The files are hard links where the file system allows it (they take no additional space), else copies.

    Args:
      checkpoint_path: its prefix.
      step, metrics: of the checkpoint.
      model_dir: the run's folder.
      about: of the evaluation, see `EvaluationRun`; goes into best.json.

    Raises:
      FileNotFoundError: the checkpoint has been deleted.
    """
    source = pathlib.Path(checkpoint_path)
    name, value = best_metric(metrics)
    contents = {
        "metric": name,
        "value": value,
        "step": step,
        "checkpoint": source.name,
        "metrics": {key: None if math.isnan(number) else number for key, number in metrics.items()},
        **about,
    }
    files = sorted(path for path in source.parent.glob(f"{source.name}.*") if _OF_CHECKPOINT.search(path.name))
    if len(files) < 2:
        raise FileNotFoundError(f"{checkpoint_path}.index")
    _keep_one_of_other_images(pathlib.Path(model_dir), about)
    with atomic_write.replacing_folder(pathlib.Path(model_dir) / BEST_FOLDER) as folder:
        for path in files:
            try:
                os.link(path, folder / path.name)
            except OSError:
                shutil.copy2(path, folder / path.name)
        _keep_what_others_put_there(pathlib.Path(model_dir) / BEST_FOLDER, folder)
        run_checkpoints.write_state(folder, [source.name])
        atomic_write.write_json(folder / BEST_FILE, contents)


def _keep_one_of_other_images(model_dir: pathlib.Path, about: Mapping[str, Any]) -> None:
    """Renames a folder `best` that was chosen on other images or labels, so that nothing is lost."""
    best = read_best(model_dir)
    if best is None or not _is_of_other_images(best, about):
        return
    kept = model_dir / f"{BEST_FOLDER}_of_other_images_{best.get('step')}"
    number = 1
    while kept.exists():
        number += 1
        kept = kept.with_name(f"{BEST_FOLDER}_of_other_images_{best.get('step')}_{number}")
    os.rename(model_dir / BEST_FOLDER, kept)
    _log.warning(
        "%s: %s of step %s was measured on other images or labels than those evaluated now, and is not compared with "
        "theirs; the best checkpoint is chosen again, and the one before is in %s.",
        model_dir / BEST_FOLDER,
        best.get("metric"),
        best.get("step"),
        kept,
    )


def _keep_what_others_put_there(old: pathlib.Path, new: pathlib.Path) -> None:
    """Copies files of other names than this module writes."""
    for name in folder_lock.entries(old):
        path = old / name
        if name in (BEST_FILE, run_checkpoints.STATE_FILE) or _OF_CHECKPOINT.search(name):
            continue
        if path.is_dir():
            shutil.copytree(path, new / name, symlinks=True)
        else:
            shutil.copy2(path, new / name, follow_symlinks=False)
