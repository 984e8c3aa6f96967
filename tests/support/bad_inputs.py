"""Damaged and unusual inputs (bad_inputs/ of the folder that TFOD_CSF_DATA_DIR names), and what is done with each.

A test of any command runs on them one by one:

    @bad_inputs.each()
    def test_case(case, tmp_path):
        images_dir = bad_inputs.folder_with_control(case, tmp_path)   # control_patient/ beside the case's folder

Without the folder such a test is skipped.
"""

import csv
import dataclasses
import pathlib

import pytest

from tests.support import outside_folders

ABSENT = f"{outside_folders.DATA} names no folder with bad_inputs/MANIFEST.csv"

CONTROL = "c00_control_good"
CONTROL_BOXES = 2
# Boxes where the manifest leaves the number to the tool: the choices this package documents.
_CHOSEN_BOXES = {
    "c03_tiff_rgb48": 2,
    "c04_tiff_gray16": 2,
    "c15_bmp": 2,
    "c22_xml_gb2312_undeclared": 2,
    "c30_xmin_gt_xmax": 2,  # corners put in order
    "c37_repeated_boxes": 3,  # the exact repeat is dropped; the near repeat and the second class are reported
    "c42_size_disagrees": 0,  # skipped unless --rescale_boxes
    "c49_filename_of_other_image": 2,  # those of IMG_0002 alone
    "c51_unknown_class": 1,  # dog, platelet and tumour cell are ignored
    "c53_class_typo_plural": 0,  # all ignored, with the nearest name as a hint
    "c78_nested_folder/day1": 2,  # found, and given to the patient c78_nested_folder
}
# Cases without an image that a model can be trained with. All others have exactly one.
_NOT_TRAINED = {"c01", "c11", "c12", "c13", "c42", "c60", "c61", "c62", "c63", "c64", "c70", "c71"}
# Number of images a detector can be run on, where it is not one.
_DETECTED = {"c01": 0, "c11": 0, "c12": 0, "c13": 0, "c49": 2, "c70": 0}
# A word of the row in problems.csv that each case must leave. Accepted cases leave none.
REASONS = {
    "c01": "truncated",
    "c02": "PNG",
    "c03": "16 bits",
    "c04": "16-bit",
    "c05": "CMYK",
    "c06": "gray",
    "c07": "alpha",
    "c09": "turned as EXIF",
    "c10": "not applied",
    "c11": "0 bytes",
    "c12": "not an image",
    "c13": "400000000 pixels",
    "c22": "GB18030",
    "c30": "corners swapped",
    "c31": "clipped there",
    "c32": "no area",
    "c34": "not a number",
    "c35": "no <bndbox>",
    "c36": "rotated box",
    "c37": "lymphocyte and as neutrophil",
    "c40": "no usable <size>",
    "c41": "no usable <size>",
    "c42": "2592 x 1944",
    "c43": "no <filename>",
    "c44": "IMG_0001.tif",
    "c45": "differs in capitals",
    "c48": "is a path",
    "c49": "another image beside",
    "c50": "is a path",
    "c51": "class 'dog' is not in the label map",
    "c52": "read as",
    "c53": "class 'lymphcyte' is not in the label map",
    "c60": "DOCTYPE",
    "c61": "DOCTYPE",
    "c62": "line 22",
    "c63": "empty",
    "c64": "<html>",
    "c70": "no image for this XML",
    "c71": "no XML for this image",
    "c76": "taken for a copy",
    "c77": "no image for this XML",
}


@dataclasses.dataclass(frozen=True)
class BadInput:
    """One row of the manifest.

    Attributes:
      case: folder, with a sub-folder for cases of several patients.
      folder: where it is.
      expected_action: "accept", "warn and fix", "warn and skip", "error" or "error or warn and skip".
      boxes: usable boxes in the end.
      trained_images: images that get into a record.
      detected_images: images a detector runs on (no XML needed).
      reason: words of a row in problems.csv; "" when the input is accepted as it is.
    """

    case: str
    folder: pathlib.Path
    expected_action: str
    boxes: int
    trained_images: int
    detected_images: int
    reason: str

    def __str__(self) -> str:
        return self.case

    @property
    def patient(self) -> str:
        """The top folder of the case."""
        return self.case.split("/")[0]


def folder() -> pathlib.Path | None:
    """The folder of all cases; None where it is absent."""
    data = outside_folders.data_folder()
    return data / "bad_inputs" if data and (data / "bad_inputs" / "MANIFEST.csv").is_file() else None


def _read_manifest() -> list[BadInput]:
    root = folder()
    if root is None:
        return []
    with open(root / "MANIFEST.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    cases = []
    for row in rows:
        case, short = row["case"], row["case"][:3]
        boxes = int(row["usable_boxes"]) if row["usable_boxes"] else _CHOSEN_BOXES[case]
        trained, detected = int(short not in _NOT_TRAINED), _DETECTED.get(short, 1)
        reason = REASONS.get(short, "")
        cases.append(BadInput(case, root / case, row["expected_action"], boxes, trained, detected, reason))
    return cases


CASES = _read_manifest()


def each(*numbers: str) -> pytest.MarkDecorator:
    """Runs a test on each `case`: on all, or on those of the given numbers ("c09"); skips it where they are absent."""
    chosen = [case for case in CASES if not numbers or case.case[:3] in numbers]
    assert not CASES or {case.case[:3] for case in chosen} >= set(numbers), f"{numbers}: not all in MANIFEST.csv"
    absent = pytest.param(None, marks=pytest.mark.skip(reason=ABSENT), id="absent")
    return pytest.mark.parametrize("case", chosen or [absent], ids=str)


def folder_with_control(case: BadInput, parent: pathlib.Path) -> pathlib.Path:
    """A folder of two patients: the faultless one as `control_patient`, and the case under its own name.

    So a case of which nothing is usable does not make the whole run empty. Sub-folders of several patients come one by
    one under their own name.
    """
    images_dir = parent / "images"
    images_dir.mkdir()
    (images_dir / "control_patient").symlink_to(folder() / CONTROL)
    name = case.case.split("/")[-1] if "two_patients" in case.case else case.patient
    source = case.folder if "two_patients" in case.case else folder() / case.patient
    (images_dir / name).symlink_to(source)
    return images_dir
