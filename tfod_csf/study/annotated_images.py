"""One image with its annotation: decoded, compared with each other, names resolved.

Everything that needs pixels and boxes together (records, evaluation on a folder of XML) reads them here, so that one
rule says which files are usable.
"""

import dataclasses
import os
from collections.abc import Mapping

from tfod_csf.label_map import LabelMap
from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_io, labelimg
from tfod_csf.study.image_io import LoadedImage
from tfod_csf.study.labelimg import Annotation, LabeledObject
from tfod_csf.study.patients import AnnotatedFile, ImageFile


@dataclasses.dataclass
class AnnotatedImage:
    """A usable image and its boxes.

    Attributes:
      image: file, patient and key.
      loaded: pixels.
      annotation: boxes in pixels of `loaded`, inside it, with names of the label map.
      ignored: boxes without a class of the label map (see `labelimg.resolve_names`): neither to be learned or found,
        nor background.
    """

    image: ImageFile
    loaded: LoadedImage
    annotation: Annotation
    ignored: list[LabeledObject]


def _is_of_other_image(annotation: Annotation, image: ImageFile) -> bool:
    """Whether <filename> names another image in this image's folder: a copied XML, whose boxes belong to that one."""
    named = os.path.splitext(annotation.filename)[0]
    if not named or named.casefold() == image.path.stem.casefold():
        return False
    other = image.path.with_name(annotation.filename)
    return other.suffix.lower() in image_io.IMAGE_SUFFIXES and other.is_file()


def _check_filename(annotation: Annotation, image: ImageFile, problems: ProblemLog) -> bool:
    """Reports an odd <filename>; False when the boxes are another image's. The XML file's own name pairs the two."""
    if not annotation.filename:
        problems.mended(
            annotation.path, f"no <filename>; paired with {image.path.name} by name", "No action is needed."
        )
    elif _is_of_other_image(annotation, image):
        reason = f"<filename> names {annotation.filename!r}, another image beside {image.path.name}"
        problems.skipped(annotation.path, reason, "Label this image again; the XML seems to be a copy.")
        return False
    elif annotation.filename != image.path.name:
        reason = f"<filename> is {annotation.filename!r}; paired with {image.path.name} by name"
        problems.mended(annotation.path, reason, "No action is needed if the image was renamed or converted.")
    return True


def read_annotated_image(
    file: AnnotatedFile,
    problems: ProblemLog,
    label_map: LabelMap,
    class_map: Mapping[str, str] | None = None,
    rescale_boxes: bool = False,
    exif: str = image_io.TURNED,
    decode_jpeg: image_io.JpegDecoder | None = None,
) -> AnnotatedImage | None:
    """Reads an image and its XML.

    Args:
      class_map: from `label_map.parse_class_map`.
      rescale_boxes: see `labelimg.fit_to_image`.
      exif: `unclear_exif` of `image_io.read_image`.
      decode_jpeg: see `image_io.read_image`.

    Returns:
      Both, or None when either cannot be used; every reason and every repair is in `problems`.
    """
    annotation = labelimg.read_annotation(file.xml_path, problems)
    if annotation is None or not _check_filename(annotation, file.image, problems):
        return None
    size = (annotation.width, annotation.height) if annotation.width and annotation.height else None
    loaded, _ = image_io.read_image(file.image.path, problems, size, exif, decode_jpeg)
    if loaded is None:
        return None
    annotation = labelimg.fit_to_image(annotation, loaded.width, loaded.height, problems, rescale_boxes)
    if annotation is None:
        return None
    if annotation.num_unusable and not annotation.objects:
        reason = f"none of its {annotation.num_unusable} objects can be used: it counts as an image without cells"
        problems.noted(annotation.path, reason, "Draw the boxes again, or move the image away.")
    annotation, ignored = labelimg.resolve_names(annotation, label_map, problems, class_map)
    return AnnotatedImage(file.image, loaded, annotation, ignored)
