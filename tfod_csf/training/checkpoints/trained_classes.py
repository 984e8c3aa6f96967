"""The classes that a run's checkpoints were trained with: training.json and best.json keep them by id.

A checkpoint holds one output per class id and no name. With a label map in another order, nothing fails: a resumed run
would continue with swapped classes, and an exported model would call lymphocytes monocytes.
"""

import pathlib
from collections.abc import Mapping

from tfod_csf.errors import UserError
from tfod_csf.label_map import LabelMap
from tfod_csf.training import training_record
from tfod_csf.training.checkpoints import best_checkpoint


def by_id(label_map: LabelMap | None) -> dict[str, str]:
    """{id as text: name as written in the label map}, as JSON keeps it; {} without a label map."""
    return (
        {} if label_map is None else {str(class_id): label_map.written_name_of(class_id) for class_id in label_map.ids}
    )


def check_same(checkpoints: pathlib.Path, label_map: LabelMap | None, label_map_path: str) -> None:
    """Refuses a label map that calls a class otherwise than the run did.

    Args:
      checkpoints: a run's folder, its folder best, or the prefix of a checkpoint in one of them. Of a run of TFOD, or
        of an earlier version of this package, no classes are known, and nothing is compared.
      label_map: None: nothing is compared.
      label_map_path: for the message.

    Raises:
      UserError: naming both files, the id and the two names.
    """
    kept_in, trained = _classes_of(checkpoints)
    for class_id, name in by_id(label_map).items():
        if trained.get(class_id, name) != name:
            raise UserError(
                f"{label_map_path} calls class id {class_id} {name!r}, but the checkpoints were trained with "
                f"{trained[class_id]!r} (classes in {kept_in}); restore the label map. If only a name was corrected, "
                "correct it in that file too."
            )


def _classes_of(checkpoints: pathlib.Path) -> tuple[pathlib.Path | None, Mapping[str, str]]:
    """File and classes of the nearest record of the run; (None, {}) where there is none."""
    folder = checkpoints if checkpoints.is_dir() else checkpoints.parent
    best = best_checkpoint.read_best_of(folder)
    if best and best.get("classes"):
        return folder / best_checkpoint.BEST_FILE, best["classes"]
    is_best = folder.absolute().name == best_checkpoint.BEST_FOLDER
    for run in (folder, *([folder.absolute().parent] if is_best else [])):
        if record := training_record.load(run):
            return run / training_record.FILE_NAME, record.classes
    return None, {}
