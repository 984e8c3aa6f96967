"""Small whole files of each kind, from which the fuzzer begins."""

import io

import numpy as np
from PIL import Image

from tests.support.tfrecord_frames import frame
from tfod_csf.files.example_pb2 import BytesList, Example, Feature, Features, FloatList, Int64List

XML = (
    b'<annotation verified="yes"><folder>p</folder><filename>a.jpg</filename><size><width>96</width><height>72</height>'
    b"</size><object><name>lymphocyte</name><pose>Left</pose><truncated>0</truncated><difficult>1</difficult><bndbox>"
    b"<xmin>8</xmin><ymin>1e1</ymin><xmax>34.5</xmax><ymax>36</ymax></bndbox></object></annotation>"
)
EMPTY_RECORD = frame(b"")  # whole as a record, but without an image
LABEL_MAP = b"item { id: 1 name: 'lymphocyte' display_name: 'Lymphocyte' }\nitem { id: 2 name: 'monocyte' }\n"
CONFIG = (
    b"model { faster_rcnn { num_classes: 4 image_resizer { keep_aspect_ratio_resizer { min_dimension: 600 } } "
    b"feature_extractor { type: 'faster_rcnn_resnet50_keras' } first_stage_anchor_generator { grid_anchor_generator { "
    b"scales: [0.5, 1.0] } } } }\ntrain_config { batch_size: 1 optimizer { momentum_optimizer { learning_rate { "
    b"constant_learning_rate { learning_rate: 1e-3 } } } } }\neval_input_reader { label_map_path: 'a' }\n"
)


def _image(kind: str, mode: str = "RGB", **options) -> bytes:
    buffer = io.BytesIO()
    pixels = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def _example() -> bytes:
    feature = {
        "image/encoded": Feature(bytes_list=BytesList(value=[_image("PNG", "L")])),
        "image/object/class/text": Feature(bytes_list=BytesList(value=[b"lymphocyte"])),
        "image/object/class/label": Feature(int64_list=Int64List(value=[1])),
    }
    for side, value in (("ymin", 0.1), ("xmin", 0.1), ("ymax", 0.5), ("xmax", 0.6)):
        feature[f"image/object/bbox/{side}"] = Feature(float_list=FloatList(value=[value]))
    return Example(features=Features(feature=feature)).SerializeToString(deterministic=True)


def seeds(name: str) -> list[bytes]:
    """Seeds of a target of `targets`."""
    if name == "image":
        of_kinds = [_image(kind) for kind in ("JPEG", "PNG", "TIFF", "BMP", "WEBP")]
        of_kinds += [
            _image("JPEG", progressive=True),
            _image("JPEG", "CMYK"),
            _image("PNG", "P"),
            _image("PNG", "I;16"),
        ]
        return [*of_kinds, *(_image("TIFF", mode, compression="tiff_lzw") for mode in ("L", "RGBA"))]
    if name == "record":
        return [_example(), frame(_example()), EMPTY_RECORD]
    utf16 = XML.decode().encode("utf-16")
    declared = b"<?xml version='1.0' encoding='gbk'?>" + XML
    return {"xml": [XML, utf16, declared], "label_map": [LABEL_MAP], "config": [CONFIG]}[name]
