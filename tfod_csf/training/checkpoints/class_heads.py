"""Which rows of a class head mean the same class in another model.

TFOD copies predictors whole and needs the same number of classes. The checkpoint of a model folder comes with its label
map, so what belongs to a class goes where the new label map has that class, whatever the order and whatever else is
there; background is the same in all. Classes that the checkpoint does not know keep their initial values.

Shape shorthand in this module:

  K: classes without background; D: features of a proposal
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping

import numpy as np

from tfod_csf import model_folder
from tfod_csf.label_map import LabelMap, load_label_map

_CLASS_HEAD = "model/_mask_rcnn_box_predictor/_class_prediction_head/"


@dataclasses.dataclass(frozen=True)
class ClassMatch:
    """Where the classes of a model are in a checkpoint.

    Attributes:
      num_stored: K of the checkpoint.
      stored_ids: {class id in the model: id in the checkpoint}, of the classes that both have.
      copied: names of these classes in the model.
      new: names of the model's other classes, which keep their initial values.
      not_used: names of the checkpoint's other classes.
    """

    num_stored: int
    stored_ids: Mapping[int, int]
    copied: tuple[str, ...]
    new: tuple[str, ...]
    not_used: tuple[str, ...]

    @classmethod
    def of(cls, stored: LabelMap, wanted: LabelMap) -> "ClassMatch":
        """The match of two label maps that name every id; a name matches as `LabelMap.resolve` says."""
        resolved = {class_id: stored.resolve(name) for class_id, name in zip(wanted.ids, wanted.names)}
        stored_ids = {class_id: stored.id_of(name) for class_id, name in resolved.items() if name is not None}
        return cls(
            num_stored=stored.max_id,
            stored_ids=stored_ids,
            copied=tuple(wanted.name_of(class_id) for class_id in stored_ids),
            new=tuple(wanted.name_of(class_id) for class_id in wanted.ids if class_id not in stored_ids),
            not_used=tuple(stored.name_of(i) for i in stored.ids if i not in stored_ids.values()),
        )

    @property
    def is_same(self) -> bool:
        """The same classes in the same order."""
        in_order = all(class_id == stored_id for class_id, stored_id in self.stored_ids.items())
        return in_order and not self.new and not self.not_used

    def __str__(self) -> str:
        parts = [f"{', '.join(self.copied) or 'none'} copied"]
        parts += [f"{', '.join(self.new)} new"] if self.new else []
        parts += [f"{', '.join(self.not_used)} of the checkpoint not used"] if self.not_used else []
        return "; ".join(parts)

    def head(self, key: str, stored: np.ndarray, initial: np.ndarray) -> np.ndarray:
        """The values of a class or box head: the checkpoint's where it knows the class, else the initial ones.

        Args:
          key: of the variable.
          stored: kernel [D, n] or bias [n] of the checkpoint, n being K + 1 of a class head, 4 K of a box head.
          initial: those of the model, with its own K.

        Raises:
          ValueError: `stored` is not the head of as many classes as the checkpoint's label map has.
        """
        is_class_head = key.startswith(_CLASS_HEAD)
        width = 1 if is_class_head else 4
        first = 1 if is_class_head else 0  # the background is not a row of its own in box heads
        expected = (*initial.shape[:-1], width * self.num_stored + first)
        if stored.shape != expected:
            raise ValueError(f"is {list(stored.shape)}, expected {list(expected)}")
        values = np.array(initial)
        if is_class_head:
            values[..., 0] = stored[..., 0]
        for class_id, stored_id in self.stored_ids.items():
            own, other = (first + width * (number - 1) for number in (class_id, stored_id))
            values[..., own : own + width] = stored[..., other : other + width]
        return values


def label_map_of(checkpoint: str | os.PathLike) -> LabelMap | None:
    """The label map beside a checkpoint of a model folder of this package; None of any other checkpoint.

    Args:
      checkpoint: the model folder, its checkpoint/, or a prefix in that.
    """
    path = pathlib.Path(checkpoint)
    for folder in (path, path.parent, path.parent.parent):
        if all((folder / name).is_file() for name in (model_folder.INFO, model_folder.LABEL_MAP)):
            is_inside = folder == path or path.is_relative_to(folder / model_folder.CHECKPOINT_DIR)
            found = load_label_map(folder / model_folder.LABEL_MAP) if is_inside else None
            return found.with_all_ids(found.max_id) if found else None
    return None
