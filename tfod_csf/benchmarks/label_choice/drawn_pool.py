"""Drawn fields of patients of whom few have the rarer white cells, so that it matters which are labeled.

Three kinds of patients: common (lymphocytes alone among the white cells), with monocytes, with neutrophils. Fields are
small, 192 x 144 pixels with about eight cells of 12 to 31 pixels, so that a network learns them on a processor.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np

from tfod_csf.data.records import tf_example_encoder
from tfod_csf.data.records.ready_image import ReadyImage
from tfod_csf.files import tfrecord
from tfod_csf.label_map import LabelMap
from tfod_csf.study import image_io
from tfod_csf.study.labelimg import LabeledObject
from tfod_csf.study.patients import ImageFile
from tfod_csf.synthetic import slides

SETTINGS = slides.FieldSettings(192, 144, rare_fraction=0.0)
_WHITE_CELLS_PER_FIELD, _ERYTHROCYTES_PER_FIELD = 5.0, 3.0
# Shares of lymphocytes, monocytes and neutrophils.
SHARES = {"common": (1.0, 0.0, 0.0), "monocytes": (0.6, 0.4, 0.0), "neutrophils": (0.6, 0.0, 0.4)}


@dataclasses.dataclass(frozen=True)
class Field:
    """A drawn field.

    Attributes:
      image: unique name.
      patient_id: whose it is.
      pixels: uint8 [H, W, 3] RGB.
      objects: its cells, in pixels.
    """

    image: str
    patient_id: str
    pixels: np.ndarray
    objects: list[LabeledObject]


def draw(num_patients: Mapping[str, int], fields_per_patient: int, seed: int) -> list[Field]:
    """Draws the fields of new patients.

    Args:
      num_patients: {kind of SHARES: how many}.
      fields_per_patient: of each.
      seed: the same one gives the same fields.
    """
    fields = []
    kinds = [kind for kind, number in num_patients.items() for _ in range(number)]
    for number, kind in enumerate(kinds):
        patient = slides.Patient(
            f"{kind}_{seed}_{number}",
            slides.CASES[0],
            SHARES[kind],
            _WHITE_CELLS_PER_FIELD,
            _ERYTHROCYTES_PER_FIELD,
            int(np.random.default_rng([seed, number]).integers(2**31)),
        )
        for index in range(fields_per_patient):
            pixels, objects = slides.render_field(patient, index, SETTINGS)
            fields.append(Field(f"{patient.patient_id}/{index}.jpg", patient.patient_id, pixels, objects))
    return fields


def write_record(fields: Iterable[Field], label_map: LabelMap, path: pathlib.Path) -> None:
    """Writes fields with their labels as a record."""
    examples = []
    for one in fields:
        image = ImageFile(one.image, one.patient_id, one.image, one.image)
        height, width = one.pixels.shape[:2]
        ready = ReadyImage(image, width, height, image_io.encode_jpeg(one.pixels), one.objects, [])
        examples.append(tf_example_encoder.serialize(tf_example_encoder.create_tf_example(ready, label_map)))
    tfrecord.write_records(examples, path)
