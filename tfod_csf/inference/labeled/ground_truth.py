"""Labeled images one by one, from a folder of LabelImg XML, for comparing a detector with them.

Shape shorthand in this module: M objects of one image. Boxes are [M, 4] ymin, xmin, ymax, xmax in pixels of the
original image.

Cells that nobody could name ("unknown" where the label map has no such class) are ignored: such a box is there once for
every class, difficult and is_crowd, as create_csf_tf_record writes it into records. So no evaluator counts a detection
on it as right or wrong, and a folder and the records made from it give the same numbers.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from tfod_csf.cell_classes import UNKNOWN
from tfod_csf.detections import Detections
from tfod_csf.label_map import LabelMap
from tfod_csf.problems import ProblemLog
from tfod_csf.study import annotated_images, image_io, labelimg, patients


@dataclasses.dataclass
class LabeledImage:
    """An image and the boxes that people labeled in it.

    Attributes:
      image_id: unique in the data.
      pixels: uint8 [H, W, 3] RGB.
      boxes: float32 [M, 4].
      classes: int32 [M], label-map ids.
      difficult: bool [M].
      is_ignored: bool [M], see the module's docstring.
      is_crowd: bool [M], boxes around a crowd of cells, which COCO's metrics match any number of times.
      jpeg: the JPEG that the detector's decoder made these pixels of; None where there is none.
      patient_id: whose image it is; "" where the data do not say.
      name: what people call the image, unique in the data too; "" for `image_id`.
    """

    image_id: str
    pixels: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    difficult: np.ndarray
    is_ignored: np.ndarray
    is_crowd: np.ndarray
    jpeg: bytes | None = None
    patient_id: str = ""
    name: str = ""

    @property
    def groundtruth_dict(self) -> dict[str, np.ndarray]:
        """What the evaluators take."""
        return {
            "groundtruth_boxes": self.boxes,
            "groundtruth_classes": self.classes,
            "groundtruth_difficult": self.difficult | self.is_ignored,
            "groundtruth_is_crowd": self.is_crowd | self.is_ignored,
        }

    def with_unnamed_as_background(self) -> "LabeledImage":
        """Without the ignored boxes: a detection on such a cell counts as false."""
        return self.rows(np.flatnonzero(~self.is_ignored))

    def ignoring(self, class_id: int, class_ids: Sequence[int]) -> "LabeledImage":
        """With the boxes of one class ignored too; `class_ids` are those of the label map."""
        is_of_class = (self.classes == class_id) & ~self.is_ignored
        named = self.rows(np.flatnonzero(~is_of_class))
        return named.with_ignored(self.boxes[is_of_class], class_ids)

    def with_ignored(self, boxes: np.ndarray, class_ids: Sequence[int]) -> "LabeledImage":
        """With boxes [P, 4] added as ignored ones, once for every class."""
        num_added = len(boxes) * len(class_ids)
        return dataclasses.replace(
            self,
            boxes=np.concatenate([self.boxes, np.repeat(boxes, len(class_ids), axis=0)]).astype(np.float32),
            classes=np.concatenate([self.classes, np.tile(np.array(class_ids, np.int32), len(boxes))]),
            difficult=np.concatenate([self.difficult, np.ones(num_added, bool)]),
            is_ignored=np.concatenate([self.is_ignored, np.ones(num_added, bool)]),
            is_crowd=np.concatenate([self.is_crowd, np.zeros(num_added, bool)]),
        )

    def has_unknown(self, label_map: LabelMap) -> bool:
        """Whether a cell was labeled unknown, or by a name that is not a class."""
        unknown = label_map.resolve(UNKNOWN)
        of_class = unknown is not None and bool((self.classes == label_map.id_of(unknown)).any())
        return of_class or bool(self.is_ignored.any())

    def rows(self, rows: np.ndarray) -> "LabeledImage":
        """With the boxes of these rows alone."""
        names = ("boxes", "classes", "difficult", "is_ignored", "is_crowd")
        return dataclasses.replace(self, **{name: getattr(self, name)[rows] for name in names})


def unknown_readings(label_map: LabelMap, wanted: str = "both") -> dict[str, Callable[[LabeledImage], LabeledImage]]:
    """How cells labeled unknown are read: {"counted" or "ignored": function from an image to that reading of it}.

    The first is how TFOD reads such a record: a class `unknown` of the label map is a class like the others, and boxes
    without a class are ignored.

    Args:
      wanted: "count", "ignore" or "both".
    """
    unknown = label_map.resolve(UNKNOWN)
    if unknown is None:
        readings = {"ignored": lambda image: image, "counted": LabeledImage.with_unnamed_as_background}
    else:
        class_id = label_map.id_of(unknown)
        readings = {
            "counted": lambda image: image,
            "ignored": lambda image: image.ignoring(class_id, label_map.ids),
        }
    chosen = {"count": ["counted"], "ignore": ["ignored"], "both": list(readings)}[wanted]
    return {name: readings[name] for name in chosen}


def detections_dict(detections: Detections) -> dict[str, np.ndarray]:
    """What the evaluators take."""
    return {
        "detection_boxes": detections.boxes,
        "detection_scores": detections.scores,
        "detection_raw_scores": detections.raw_scores,
        "detection_classes": detections.classes,
    }


def read_labeled_folder(
    pairs: Sequence[patients.AnnotatedFile],
    label_map: LabelMap,
    problems: ProblemLog,
    decode_jpeg: image_io.JpegDecoder | None,
    class_map: Mapping[str, str] | None = None,
    rescale_boxes: bool = False,
    exif: str = image_io.TURNED,
) -> Iterator[LabeledImage]:
    """The images that can be used, in the order of `pairs` (from `patients.find_pairs`).

    Args:
      decode_jpeg: of the detector that will see the images; None where pixels do not matter.
      class_map: from `label_map.parse_class_map`.
      rescale_boxes: see `labelimg.fit_to_image`.
      exif: see `annotated_images.read_annotated_image`.
    """
    for pair in pairs:
        read = annotated_images.read_annotated_image(
            pair, problems, label_map, class_map, rescale_boxes, exif, decode_jpeg
        )
        if read is None:
            continue
        objects = read.annotation.objects
        named = LabeledImage(
            image_id=read.image.key,
            pixels=read.loaded.pixels,
            boxes=labelimg.boxes_of(objects).astype(np.float32),
            classes=np.array([label_map.id_of(labeled.name) for labeled in objects], dtype=np.int32),
            difficult=np.array([labeled.difficult for labeled in objects], dtype=bool),
            is_ignored=np.zeros(len(objects), bool),
            is_crowd=np.zeros(len(objects), bool),
            jpeg=read.loaded.jpeg,
            patient_id=read.image.patient_id,
        )
        yield named.with_ignored(labelimg.boxes_of(read.ignored), label_map.ids)
