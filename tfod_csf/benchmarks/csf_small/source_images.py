"""Labeled blood cells that csf_small learns from: two laboratories, four folders, and the five folds they fall into.

  pbc_mgg            one white cell boxed per image, red cells not boxed        laboratory "pbc"
  pbc_dense          every cell boxed; some of its pictures are in pbc_mgg too  laboratory "pbc"
  bccd_differential  white cells and about half of the red cells boxed          laboratory "bccd"
  bccd_dense         the same image files, nearly every cell boxed              laboratory "bccd"

A fold holds whole blocks of pbc_mgg and whole pseudo-patients of bccd. What belongs together is never divided: a
picture of pbc_dense goes with the block that holds it too (found by likeness, because it was saved again), and
pseudo-patients with overlapping fields go together (they are listed in DEFECTS.md). Folds are numbered from 0.
"""

import dataclasses
import hashlib
import pathlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from PIL import Image

from tfod_csf import cell_classes, worker_pool
from tfod_csf.data.dataset_page.image_measures import FINGERPRINT_LENGTH, SAME_IMAGE, turned_fingerprints
from tfod_csf.errors import UserError
from tfod_csf.files import atomic_write
from tfod_csf.problems import ProblemLog
from tfod_csf.progress_bar import progress_bar
from tfod_csf.study import labelimg
from tfod_csf.study.labelimg import Annotation, LabeledObject

NUM_FOLDS = 5
PBC, BCCD = "pbc", "bccd"
# {folder: (laboratory, whether every red cell is boxed)}
FOLDERS = {
    "pbc_dense": (PBC, True),
    "pbc_mgg": (PBC, False),
    "bccd_dense": (BCCD, True),
    "bccd_differential": (BCCD, False),
}
PLATELET = "platelet"
# A name that is in no label map: training counts such an object neither as a class nor as background.
NOT_SURE = "not_sure"
# Types of pbc, by the prefix of a file name, that are white cells of none of the three classes.
_OTHER_WHITE_TYPES = ("BA", "EO", "ERB", "IG", "MMY", "MY", "PMY")
_OVERLAP = re.compile(r"- (BloodImage_\d+) and (BloodImage_\d+) \(\d+ percent\)")
_AT_A_TIME = 256  # fingerprints compared at a time


class SourceImagesError(UserError):
    """A folder of source images that is not as csf_small was made from."""


@dataclasses.dataclass(frozen=True)
class SourceImage:
    """One image with its boxes.

    Attributes:
      path: the JPEG file.
      folder: of `FOLDERS`.
      block: the source's own division: a block or a pseudo-patient.
      objects: boxes in pixels, named by the study's classes, `unknown` (a white cell of another type) or `NOT_SURE`.
      fold: 0 .. NUM_FOLDS - 1.
      group: of bccd, its pseudo-patients that overlap, with "+" between; "" of pbc, whose donors are not known.
      repeats: key of the earliest image that is the same picture; "" where there is none.
    """

    path: pathlib.Path
    folder: str
    block: str
    objects: Sequence[LabeledObject]
    fold: int = -1
    group: str = ""
    repeats: str = ""

    @property
    def laboratory(self) -> str:
        """`PBC` or `BCCD`."""
        return FOLDERS[self.folder][0]

    @property
    def is_dense(self) -> bool:
        """Whether every red cell has a box."""
        return FOLDERS[self.folder][1]

    @property
    def key(self) -> str:
        """Folder, block and file name; unique."""
        return f"{self.folder}/{self.block}/{self.path.name}"


def read_source_images(data_dir: pathlib.Path, laboratories: Collection[str] = (PBC, BCCD)) -> list[SourceImage]:
    """All images of the four folders with their folds, sorted by key; of two labelings of an image, the dense one.

    Args:
      data_dir: holds the folders.
      laboratories: whose folders are read; folds do not depend on it, as each laboratory has its own.

    Raises:
      SourceImagesError: a folder is missing, or an image has no XML that can be read.
    """
    folders = [folder for folder, (laboratory, _) in FOLDERS.items() if laboratory in laboratories]
    images = [image for folder in folders for image in _read_folder(data_dir / folder)]
    dense = {image.path.name for image in images if image.folder == "bccd_dense"}
    images = [image for image in images if image.folder != "bccd_differential" or image.path.name not in dense]
    overlapping = _overlapping(data_dir) if BCCD in laboratories else []
    groups, repeats = _bccd_groups(images, overlapping), _pbc_repeats(images)
    images = [
        dataclasses.replace(image, group=groups.get(image.key, ""), repeats=repeats.get(image.key, ""))
        for image in images
    ]
    folds = _bccd_folds(images) | _pbc_folds(images)
    return sorted((dataclasses.replace(image, fold=folds[image.key]) for image in images), key=lambda image: image.key)


def data_fingerprint(images: Iterable[SourceImage]) -> str:
    """First 16 digits of the SHA-256 over keys, folds and boxes of images, for the record of a training."""
    digest = hashlib.sha256()
    for image in images:
        boxes = [(o.name, o.xmin, o.ymin, o.xmax, o.ymax) for o in image.objects]
        digest.update(repr((image.key, image.fold, boxes)).encode())
    return digest.hexdigest()[:16]


def _read_folder(folder: pathlib.Path) -> list[SourceImage]:
    paths = sorted(folder.glob("*/*.jpg"))
    if not paths:
        raise SourceImagesError(f"{folder}: holds no images; expected folders of JPEGs with LabelImg XML.")
    problems = ProblemLog(quiet=True)
    images = []
    for path in paths:
        annotation = labelimg.read_annotation(path.with_suffix(".xml"), problems)
        if annotation is None:
            raise SourceImagesError(f"{path}: has no LabelImg XML that can be read.")
        image = SourceImage(path, folder.name, path.parent.name, annotation.objects)
        images.append(dataclasses.replace(image, objects=_named_objects(image)))
    return images


def _named_objects(image: SourceImage) -> list[LabeledObject]:
    """The boxes without platelets; "unknown" stays where the source says which other white cell it is.

    In pbc the file's type is that of its largest white cell. Any other unknown cell, and every one of bccd (about half
    of its eosinophils look like neutrophils), may be of one of the three classes.
    """
    objects = [one for one in image.objects if one.name != PLATELET]
    unknown = [one for one in objects if one.name == cell_classes.UNKNOWN]
    is_other = image.laboratory == PBC and image.path.name.split("_")[0] in _OTHER_WHITE_TYPES
    sure = [max(unknown, key=_area)] if is_other and unknown else []
    return [
        dataclasses.replace(one, name=NOT_SURE) if one.name == cell_classes.UNKNOWN and one not in sure else one
        for one in objects
    ]


def _area(one: LabeledObject) -> float:
    return (one.xmax - one.xmin) * (one.ymax - one.ymin)


def _overlapping(data_dir: pathlib.Path) -> list[tuple[str, str]]:
    """Pairs of image names of bccd that show the same part of the smear."""
    path = data_dir / "bccd_differential" / "DEFECTS.md"
    pairs = _OVERLAP.findall(path.read_text(encoding="utf-8")) if path.is_file() else []
    if not pairs:
        raise SourceImagesError(f"{path}: lists no overlapping images; expected lines such as - A and B (20 percent).")
    return pairs


def _bccd_groups(images: Iterable[SourceImage], overlapping: Iterable[tuple[str, str]]) -> dict[str, str]:
    """{key: group}: pseudo-patients that overlap, directly or through others, are one group."""
    images = [image for image in images if image.laboratory == BCCD]
    block_of = {image.path.stem: image.block for image in images}
    together = {block: {block} for block in block_of.values()}
    for pair in overlapping:
        blocks = [block_of[name] for name in pair if name in block_of]
        merged = set().union(*(together[block] for block in blocks)) if blocks else set()
        together.update(dict.fromkeys(merged, merged))
    return {image.key: "+".join(sorted(together[image.block])) for image in images}


def _bccd_folds(images: Iterable[SourceImage]) -> dict[str, int]:
    """{key: fold}: whole groups, the largest first into the fold with fewest images."""
    images = [image for image in images if image.laboratory == BCCD]
    sizes = Counter(image.group for image in images)
    fold_of, filled = {}, [0] * NUM_FOLDS
    for group in sorted(sizes, key=lambda group: (-sizes[group], group.split("+"))):
        fold_of[group] = filled.index(min(filled))
        filled[fold_of[group]] += sizes[group]
    return {image.key: fold_of[image.group] for image in images}


def _pbc_repeats(images: Iterable[SourceImage]) -> dict[str, str]:
    """{key: key of the first picture that it is like, perhaps by way of others}; those of pbc_mgg come first."""
    of_pbc = [image for image in images if image.laboratory == PBC]
    of_pbc.sort(key=lambda image: (image.folder != "pbc_mgg", image.key))
    firsts = _firsts(len(of_pbc), _alike(of_pbc))
    return {
        image.key: of_pbc[first].key for image, first in zip(of_pbc, firsts, strict=True) if of_pbc[first] is not image
    }


def _firsts(number: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """For each of 0 .. number - 1 the smallest number that it is connected with by pairs.

    >>> _firsts(5, [(3, 1), (4, 3)])
    [0, 1, 2, 1, 1]
    """
    first = list(range(number))
    for one, other in pairs:
        low, high = sorted((first[one], first[other]))
        if low != high:
            first = [low if connected == high else connected for connected in first]
    return first


def _pbc_folds(images: Iterable[SourceImage]) -> dict[str, int]:
    """{key: fold}: by the block of pbc_mgg; a picture that is like an earlier one goes with it."""
    of_pbc = [image for image in images if image.laboratory == PBC]
    folds = {image.key: _fold_of_block(image) for image in of_pbc}
    for image in sorted(of_pbc, key=lambda image: (image.folder != "pbc_mgg", image.key)):
        if image.repeats:
            folds[image.key] = folds[image.repeats]
    return folds


def _fold_of_block(image: SourceImage) -> int:
    number = int(image.block.rpartition("_")[2])
    if image.folder == "pbc_mgg":
        return number % NUM_FOLDS
    return int.from_bytes(hashlib.sha256(image.path.name.encode()).digest()[:4], "big") % NUM_FOLDS


def _fingerprints(image: SourceImage) -> np.ndarray:
    with Image.open(image.path) as opened:
        return turned_fingerprints(opened, num_cells=len(image.objects))


def _alike(images: Sequence[SourceImage]) -> list[tuple[int, int]]:
    """(later, earlier) of all pictures that are like each other, numbers in `images`."""
    read = worker_pool.ordered_map(_fingerprints, images, worker_pool.available_cores())
    found = list(progress_bar(read, unit="image", total=len(images), desc="comparing pictures"))
    first = np.array([prints[0] if len(prints) else np.zeros(FINGERPRINT_LENGTH, np.float32) for prints in found])
    pairs: set[tuple[int, int]] = set()
    for start in range(0, len(images), _AT_A_TIME):
        some = found[start : start + _AT_A_TIME]
        turned = np.concatenate(some)
        owners = np.repeat(np.arange(start, start + len(some)), [len(prints) for prints in some])
        rows, columns = np.nonzero(turned @ first.T >= SAME_IMAGE)
        found_here = zip(owners[rows].tolist(), columns.tolist(), strict=True)
        pairs.update((later, earlier) for later, earlier in found_here if earlier < later)
    return sorted(pairs)


def write_study(images: Iterable[SourceImage], folder: pathlib.Path) -> None:
    """Copies the images into a folder for each block, with their boxes as named here; what is there already stays."""
    for image in images:
        target = folder / f"{image.folder}_{image.block}" / image.path.name
        if target.with_suffix(".xml").is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic_write.copy_file(image.path, target)
        with Image.open(target) as opened:
            size = opened.size
        annotation = Annotation(target, target.name, *size, list(image.objects), folder=target.parent.name)
        labelimg.write_annotation(annotation, target.with_suffix(".xml"))
