"""Labelled images one by one, from a folder of LabelImg XML, for comparing a detector with them.

Symbols: M objects of one image. Boxes are [M, 4] (ymin, xmin, ymax, xmax) in pixels of the original image. Objects
named `unknown` are cells nobody could name; they come even when the label map has no such class, under
`unknown_class_id`, and the caller decides what to do with them.
"""

import dataclasses
import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tfod_csf import image_io, labelimg, patients
from tfod_csf.label_map import UNKNOWN, LabelMap
from tfod_csf.problems import ProblemLog


@dataclasses.dataclass
class LabelledImage:
    """An image and what people labelled in it.

    Attributes:
      image_id: unique in the data.
      pixels: uint8 [H, W, 3] RGB.
      boxes: float32 [M, 4].
      classes: int32 [M], label-map ids, or `unknown_class_id`.
      difficult: bool [M].
    """

    image_id: str
    pixels: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    difficult: np.ndarray

    @property
    def groundtruth_dict(self) -> dict[str, np.ndarray]:
        """What the evaluators take."""
        return {
            "groundtruth_boxes": self.boxes,
            "groundtruth_classes": self.classes,
            "groundtruth_difficult": self.difficult,
        }


def unknown_class_id(label_map: LabelMap) -> int:
    """Id of the class `unknown`; one beyond the label map's ids where it has no such class."""
    name = label_map.resolve(UNKNOWN)
    return label_map.max_id + 1 if name is None else label_map.id_of(name)


def read_labelled_folder(
    pairs: Sequence[patients.AnnotatedFile],
    label_map: LabelMap,
    problems: ProblemLog,
    class_map: Mapping[str, str] | None = None,
    rescale_boxes: bool = False,
) -> Iterator[LabelledImage]:
    """The images that can be used, in the order of `pairs` (of `patients.find_pairs`).

    Args:
      class_map: of `label_map.parse_class_map`.
      rescale_boxes: see `labelimg.fit_to_image`.
    """
    for pair in pairs:
        annotation = labelimg.read_annotation(pair.xml_path, problems)
        if annotation is None:
            continue
        size = (annotation.width, annotation.height) if annotation.width and annotation.height else None
        loaded = image_io.open_image(pair.image.path, problems, annotated_size=size)
        if loaded is None:
            continue
        annotation = labelimg.fit_to_image(annotation, loaded.width, loaded.height, problems, rescale_boxes)
        if annotation is None:
            continue
        annotation = labelimg.resolve_names(annotation, label_map, problems, class_map)
        yield _labelled_image(pair.image.key, loaded.pixels, annotation.objects, label_map)


def _labelled_image(
    image_id: str, pixels: np.ndarray, objects: list[labelimg.LabelledObject], label_map: LabelMap
) -> LabelledImage:
    unknown = unknown_class_id(label_map)
    ids = dict(zip(label_map.names, label_map.ids))
    return LabelledImage(
        image_id=image_id,
        pixels=pixels,
        boxes=labelimg.boxes_of(objects).astype(np.float32),
        classes=np.array([ids.get(labelled.name, unknown) for labelled in objects], dtype=np.int32),
        difficult=np.array([labelled.difficult for labelled in objects], dtype=bool),
    )


def find_shards(pattern: str | os.PathLike) -> list[str]:
    """Files of a TFRecord path: the path itself, a glob, TFOD's "name@N" or "name-?????-of-?????"; sorted."""
    text = os.fspath(pattern)
    sharded = re.fullmatch(r"(.+)@(\d+)", text)
    if sharded:
        text = f"{sharded[1]}-?????-of-{int(sharded[2]):05d}"
    return sorted(glob.glob(text)) or ([text] if os.path.isfile(text) else [])
