"""Records of drawn fields, in which every cell is a disk of known place, color and sharpness."""

import io
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageFilter

from tfod_csf import cell_classes
from tfod_csf import label_map as label_maps
from tfod_csf.data.records import tf_example_encoder
from tfod_csf.data.records.ready_image import ReadyImage
from tfod_csf.files import tfrecord
from tfod_csf.study.labelimg import LabeledObject
from tfod_csf.study.patients import ImageFile

WIDTH, HEIGHT = 160, 120
LABEL_MAP = label_maps.label_map_from_names(cell_classes.STUDY_CLASSES)
PAPER, NUCLEUS = (230, 225, 220), (90, 40, 140)


def field(seed: int, blur: float = 0.0, paper: tuple[int, int, int] = PAPER, cells: int = 5):
    """(picture, [xmin, ymin, xmax, ymax] of its cells); they may lie on each other."""
    generator = np.random.default_rng(seed)
    pixels = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:] = paper
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    boxes = []
    for _ in range(cells):
        x, y, radius = *generator.uniform((12, 12), (WIDTH - 12, HEIGHT - 12)), generator.uniform(8, 11)
        pixels[(columns - x) ** 2 + (rows - y) ** 2 < radius**2] = NUCLEUS
        boxes.append((x - radius, y - radius, x + radius, y + radius))
    picture = Image.fromarray(pixels)
    return (picture.filter(ImageFilter.GaussianBlur(blur)) if blur else picture), boxes


def jpeg(picture: Image.Image, quality: int = 95) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def ready(key: str, encoded: bytes, boxes, names, ignored=()) -> ReadyImage:
    """An image as create_csf_tf_record hands it to the encoder."""
    with Image.open(io.BytesIO(encoded)) as picture:
        width, height = picture.size
    objects = [LabeledObject(name, *box) for name, box in zip(names, boxes, strict=True)]
    others = [LabeledObject("unknown", *box) for box in ignored]
    return ReadyImage(ImageFile(key, key.partition("/")[0], key, key), width, height, encoded, objects, others)


def drawn(key: str, seed: int, name: str = "lymphocyte", **how) -> ReadyImage:
    """A field whose cells all have one class."""
    picture, boxes = field(seed, **how)
    return ready(key, jpeg(picture), boxes, [name] * len(boxes))


def write(folder: pathlib.Path, sides: Mapping[str, Sequence[ReadyImage]]) -> pathlib.Path:
    """Records of each side and the label map."""
    folder.mkdir()
    label_maps.save_label_map(LABEL_MAP, folder / "label_map.pbtxt")
    for side, images in sides.items():
        examples = (tf_example_encoder.create_tf_example(image, LABEL_MAP) for image in images)
        tfrecord.write_records(map(tf_example_encoder.serialize, examples), folder / f"{side}.record-00000-of-00001")
    return folder
