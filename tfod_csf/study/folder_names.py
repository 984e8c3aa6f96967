"""Names of folders and pictures for patients and images, safe on every system, and the way back."""

import pathlib
import re
from collections import defaultdict
from collections.abc import Sequence

from tfod_csf.study.image_io import IMAGE_SUFFIXES
from tfod_csf.study.patient_ids import PatientsError, loose

_MAX_FOLDER_BYTES = 200
_NOT_IN_FOLDER_NAMES = frozenset('<>:"/\\|?*%')
_WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$)(\..*)?", re.IGNORECASE | re.DOTALL)


def safe_folder_name(patient_id: str) -> str:
    """The id as a folder name for any system; letters of all scripts stay, anything unsafe becomes %XX of its UTF-8.

    Unsafe are < > : " / \\ | ? * %, control characters, a dot or blank at either end, and Windows' device names (their
    first letter is encoded). `patient_id_of` gives the id back exactly.

    Raises:
      PatientsError: no id, or one too long for a folder name.
    """
    if not patient_id:
        raise PatientsError("a patient has an empty id; every image needs a patient.")
    unsafe = {i for i, c in enumerate(patient_id) if c in _NOT_IN_FOLDER_NAMES or ord(c) < 32 or ord(c) == 127}
    unsafe |= {i for i in (0, len(patient_id) - 1) if patient_id[i] in ". "}
    if _WINDOWS_DEVICES.fullmatch(patient_id):
        unsafe.add(0)
    encoded = ("".join(f"%{byte:02X}" for byte in c.encode()) if i in unsafe else c for i, c in enumerate(patient_id))
    name = "".join(encoded)
    if len(name.encode()) > _MAX_FOLDER_BYTES:
        raise PatientsError(
            f"patient id {patient_id[:40]!r}... is too long for a folder name ({len(name.encode())} bytes, "
            f"{_MAX_FOLDER_BYTES} allowed); give shorter ids with a manifest."
        )
    return name


def patient_id_of(folder_name: str) -> str:
    """The patient id of a folder that `safe_folder_name` or `folder_names` named."""
    data = re.sub(rb"%~\d+\Z", b"", folder_name.encode())
    return re.sub(rb"%([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), data).decode()


def folder_names(patient_ids: Sequence[str]) -> dict[str, str]:
    """Folder name of every id; of ids that differ only in capitals, all but the first (sorted) get "%~2", "%~3", ...

    The order of the ids does not matter; `patient_id_of` inverts the rule.
    """
    names: dict[str, str] = {}
    taken: defaultdict[str, int] = defaultdict(int)
    for patient_id in sorted(set(patient_ids)):
        name = safe_folder_name(patient_id)
        taken[loose(name)] += 1
        number = taken[loose(name)]
        names[patient_id] = name if number == 1 else f"{name}%~{number}"
    return names


def picture_name(image_name: str) -> pathlib.PurePosixPath:
    """Path of an image's labeled picture below pictures/; no two images with different stems have the same one.

    Of one patient's images with the same stem one is examined (`patients.find_images`). A JPEG whose stem has an
    image's suffix (`scan.tif.jpg`, a converted scan) does not keep its name, which the picture of `scan.tif` has.

    >>> str(picture_name("day1/IMG_1.jpg")), str(picture_name("IMG_1.png")), str(picture_name("IMG_1.JPG"))
    ('day1/IMG_1.jpg', 'IMG_1.png.jpg', 'IMG_1.jpg')
    >>> str(picture_name("scan.tif")), str(picture_name("scan.tif.jpg"))
    ('scan.tif.jpg', 'scan.tif.jpg.jpg')
    """
    path = pathlib.PurePosixPath(image_name)
    is_jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    keeps_name = is_jpeg and pathlib.PurePosixPath(path.stem).suffix.lower() not in IMAGE_SUFFIXES
    return path.with_suffix(".jpg") if keeps_name else path.with_name(f"{path.name}.jpg")


def tile_picture_name(image_name: str, row: int, column: int) -> pathlib.PurePosixPath:
    """Path below pictures/ of the labeled picture of one tile of an image; row and column from 0.

    >>> str(tile_picture_name("day1/scan.tif", 0, 11))
    'day1/scan.tif.tiles/row_01_column_12.jpg'
    """
    path = pathlib.PurePosixPath(image_name)
    return path.with_name(f"{path.name}.tiles") / f"row_{row + 1:02d}_column_{column + 1:02d}.jpg"
