"""A checked image with its boxes, as create_tf_record passes it to the encoder."""

import dataclasses

from tfod_csf.study.labelimg import LabeledObject
from tfod_csf.study.patients import ImageFile


@dataclasses.dataclass(frozen=True)
class ReadyImage:
    """A checked image, ready to be written.

    Attributes:
      image: file, patient and key.
      width, height: pixels.
      jpeg: the bytes for the record.
      objects: boxes in pixels, inside the image; names of the label map.
      ignored: boxes without a class of the label map, which are not background either.
    """

    image: ImageFile
    width: int
    height: int
    jpeg: bytes
    objects: list[LabeledObject]
    ignored: list[LabeledObject]
