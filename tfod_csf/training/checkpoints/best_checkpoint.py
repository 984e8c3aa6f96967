"""The best checkpoint of a run by mAP, copied into `<model_dir>/best` with best.json."""

import math
import os
import pathlib
import shutil
from collections.abc import Mapping

from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write, given_files

BEST_FOLDER = "best"
BEST_FILE = "best.json"
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
    """Contents of best.json; None when there is none.

    Raises:
      UserError: it is not JSON.
    """
    path = pathlib.Path(model_dir) / BEST_FOLDER / BEST_FILE
    try:
        return given_files.read_json(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}); delete the folder {path.parent} to choose again.") from error


def is_better(metrics: Mapping[str, float], model_dir: str | os.PathLike) -> bool:
    """True when these metrics are better than those of best.json; of equals the earlier checkpoint stays."""
    found = best_metric(metrics)
    if found is None:
        return False
    best = read_best(model_dir)
    return best is None or best.get("metric") != found[0] or found[1] > best["value"]


def keep_best(checkpoint_path: str, step: int, metrics: Mapping[str, float], model_dir: str | os.PathLike) -> None:
    """Puts a checkpoint and best.json into `<model_dir>/best`, in place of those there.

    The files are hard links where the file system allows it (they take no additional space), else copies. The new files
    are complete before anything refers to them, and the old ones are deleted last.

    Raises:
      FileNotFoundError: the checkpoint has been deleted.
    """
    folder = pathlib.Path(model_dir) / BEST_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    source = pathlib.Path(checkpoint_path)
    new = []
    for path in sorted(source.parent.glob(f"{source.name}.*")):
        target = folder / path.name
        target.unlink(missing_ok=True)
        try:
            os.link(path, target)
        except OSError:
            shutil.copy2(path, target)
        new.append(target)
    if not new:
        raise FileNotFoundError(f"{checkpoint_path}.index")
    state = f'model_checkpoint_path: "{source.name}"\nall_model_checkpoint_paths: "{source.name}"\n'
    atomic_write.write_text(folder / "checkpoint", state)
    name, value = best_metric(metrics)
    atomic_write.write_json(
        folder / BEST_FILE,
        {
            "metric": name,
            "value": value,
            "step": step,
            "checkpoint": source.name,
            "metrics": {key: None if math.isnan(number) else number for key, number in metrics.items()},
        },
    )
    for path in folder.glob("ckpt-*"):
        if path not in new:
            path.unlink()
