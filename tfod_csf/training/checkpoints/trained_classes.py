"""The classes that a run's checkpoints were trained with: training.json keeps them by id, and best.json a copy.

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
    """{id as text: the class's name}, as JSON keeps it; {} without a label map."""
    return {} if label_map is None else {str(class_id): label_map.name_of(class_id) for class_id in label_map.ids}


def check_same(checkpoints: pathlib.Path, label_map: LabelMap | None, label_map_path: str) -> None:
    """Refuses a label map in which an id is another class than in the run (`LabelMap.calls_otherwise`).

    Args:
      checkpoints: a run's folder, its folder best, or the prefix of a checkpoint in one of them. Of a run of TFOD, or
        of an earlier version of this package, no classes are known, and nothing is compared.
      label_map: None: nothing is compared.
      label_map_path: for the message.

    Raises:
      UserError: naming both files, the id and the two names; or the run's file cannot be read.
    """
    kept_in, trained = stored(checkpoints)
    for class_id, name in by_id(label_map).items():
        if class_id in trained and label_map.calls_otherwise(int(class_id), trained[class_id]):
            raise UserError(
                f"{label_map_path} calls class id {class_id} {name!r}, but the checkpoints were trained with "
                f"{trained[class_id]!r} (classes in {kept_in}); restore the label map. If only a name was corrected, "
                "correct it in that file too."
            )


def stored(checkpoints: pathlib.Path) -> tuple[pathlib.Path | None, Mapping[str, str]]:
    """File and classes of the run that wrote these checkpoints; (None, {}) where they are not known.

    A folder best belongs to the run around it; where it was copied elsewhere, best.json has the classes.
    """
    folder = (checkpoints if checkpoints.is_dir() else checkpoints.parent).absolute()
    is_best = folder.name == best_checkpoint.BEST_FOLDER
    for run in (folder.parent, folder) if is_best else (folder,):
        if record := training_record.load(run):
            return run / training_record.FILE_NAME, record.classes
    best = best_checkpoint.read_best_of(folder) or {}
    return (folder / best_checkpoint.BEST_FILE, best["classes"]) if best.get("classes") else (None, {})
