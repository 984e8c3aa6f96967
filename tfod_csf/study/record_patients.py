"""Whose images the Examples of a record file are.

create_csf_tf_record names images by their path below the folder of images, and writes split.csv, with the patient of
each, beside the records. Where there is no such table, as with records of others, the first folder of a name is the
patient.
"""

import logging
import os
import pathlib
from collections.abc import Mapping

from tfod_csf.files import csv_schemas
from tfod_csf.files.csv_tables import TableError

_SPLIT = "split.csv"

_log = logging.getLogger("tfod_csf")


class RecordPatients:
    """The patients of the images of a folder of records.

    Args:
      patients: {image's name in the records: patient} of split.csv.
    """

    def __init__(self, patients: Mapping[str, str]):
        self._patients = patients
        self._is_one_patient = len(set(patients.values())) == 1

    @classmethod
    def beside(cls, record_file: str | os.PathLike) -> "RecordPatients":
        """Those of the folder of a record file; a split.csv that is not ours is ignored with a warning."""
        path = pathlib.Path(record_file).parent / _SPLIT
        if not path.is_file():
            return cls({})
        try:
            rows = csv_schemas.load("split").read(path, ("image", "patient"))
            return cls({row["image"]: row["patient"] for row in rows})
        except TableError as error:
            _log.warning("%s; patients are taken from the first folder of the images' names.", error)
            return cls({})

    def patient_of(self, image_name: str) -> str:
        """The patient; "" where nothing says whose it is.

        >>> of_manifest = RecordPatients({"day_1/a.jpg": "P7", "b.jpg": "P8"})
        >>> [of_manifest.patient_of(name) for name in ("day_1/a.jpg", "b.jpg", "P9/c.jpg", "c.jpg")]
        ['P7', 'P8', 'P9', '']
        """
        patient = self._patients.get(image_name)
        # One folder with all images, without subfolders, is called a patient in split.csv, and may hold many.
        if patient is not None and ("/" in image_name or not self._is_one_patient):
            return patient
        return image_name.partition("/")[0] if "/" in image_name else ""
