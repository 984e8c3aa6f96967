"""Images to label as a folder for LabelImg, in which the model's cells are boxes already.

As review_export does it, unsure cells are named `unknown` and marked difficult: training ignores one that nobody named.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from tfod_csf.cell_classes import UNKNOWN
from tfod_csf.evaluation import labeling_folder
from tfod_csf.study import labelimg
from tfod_csf.study.image_io import LoadedImage
from tfod_csf.study.labelimg import Annotation, LabeledObject
from tfod_csf.study.patients import ImageFile

FOLDER = "to_label"
TEXT = """\
Images to label with LabelImg

../label_suggestions.csv says in which order, and why. The boxes are a model's, not a person's: an image that nobody
looked at would teach the next model this one's mistakes.

- Open each image, look at every box, and at every cell without one.
- A box called unknown is a cell of which the model is not sure: rename it to its class (Ctrl+E), or leave it if nobody
  can say; training ignores such a cell.
- Draw a box around each cell that has none (W), and delete boxes around what is not a cell.
- Save with Ctrl+S, format PascalVOC, also where nothing was wrong, and do not rename files.
- Delete the XML of the images that you did not look at.

Then copy the XML files beside the original images: the folders have the same names. An XML of another program that has
the same name there, a microscope's for example, would be overwritten: move it away first. Leave the images here: some
were turned or converted so that LabelImg shows them as the model saw them.
"""


def write_image(
    image: ImageFile, loaded: LoadedImage, boxes: np.ndarray, names: Sequence[str], folder: pathlib.Path
) -> None:
    """Writes an image and the model's cells beside it, in the place it has in the images folder.

    Args:
      image: which.
      loaded: the same, decoded.
      boxes: [N, 4] ymin, xmin, ymax, xmax in pixels of `loaded`.
      names: N classes, or `unknown`.
      folder: of `labeling_folder.new`.
    """
    target = labeling_folder.write_image(loaded, folder / image.key)
    objects = [
        LabeledObject(name, xmin, ymin, xmax, ymax, difficult=int(name == UNKNOWN))
        for name, (ymin, xmin, ymax, xmax) in zip(names, np.asarray(boxes, float).tolist(), strict=True)
    ]
    path, size = target.with_suffix(".xml"), (loaded.width, loaded.height)
    annotation = Annotation(path, target.name, *size, objects, folder=target.parent.name)
    labelimg.write_annotation(annotation, annotation.path)
