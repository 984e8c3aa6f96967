"""What is in a set of records: counts for each side and class, box sizes, and the tables made from them."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from tfod_csf.data.annotated.annotated_set import Entry
from tfod_csf.files import csv_schemas, record_set
from tfod_csf.label_map import LabelMap
from tfod_csf.study.labelimg import BNDBOX_SIDES, LabeledObject

SIDES = ("train", "test")


class _Sizes:
    """Lengths in whole pixels, counted, so that memory does not grow with the number of boxes."""

    def __init__(self):
        self._counts: Counter = Counter()

    def add(self, length_px: float) -> None:
        """Counts one length."""
        self._counts[round(length_px)] += 1

    def summary(self) -> dict[str, int]:
        """Smallest, 5 %, median, 95 % and largest length."""
        lengths = sorted(self._counts)
        upto = np.cumsum([self._counts[length] for length in lengths])
        shares = {"min": 0.0, "p05": 0.05, "median": 0.5, "p95": 0.95, "max": 1.0}
        last = len(lengths) - 1
        return {
            name: lengths[min(int(np.searchsorted(upto, share * upto[-1])), last)] for name, share in shares.items()
        }


class Side:
    """Counts of one side.

    Attributes:
      images: number of images.
      patients: their patients.
      images_without_cells: images without an object of a class (negatives).
      cells: objects of each class.
      ignored: objects without a class of the label map, which training and evaluation ignore.
      difficult_left_out: objects dropped because they are marked difficult.
      max_cells_per_image: most objects in one image.
      max_boxes_per_example: most boxes in one Example (an ignored object has one for every class).
    """

    def __init__(self, label_map: LabelMap):
        self.images = 0
        self.patients: set[str] = set()
        self.images_without_cells = 0
        self.cells: Counter = Counter(dict.fromkeys(label_map.names, 0))
        self.ignored = 0
        self.difficult_left_out = 0
        self.max_cells_per_image = 0
        self.max_boxes_per_example = 0

    def add(self, entry: Entry) -> None:
        """Counts one image."""
        num_cells = sum(entry.class_counts.values())
        num_classes = len(self.cells)
        self.images += 1
        self.patients.add(entry.image.patient_id)
        self.images_without_cells += num_cells == 0
        self.cells.update(entry.class_counts)
        self.ignored += entry.num_ignored
        self.difficult_left_out += entry.num_difficult_left_out
        self.max_cells_per_image = max(self.max_cells_per_image, num_cells)
        self.max_boxes_per_example = max(self.max_boxes_per_example, num_cells + num_classes * entry.num_ignored)

    def as_dict(self) -> dict:
        """For dataset_report.json."""
        return {
            "images": self.images,
            "patients": len(self.patients),
            "images_without_cells": self.images_without_cells,
            "cells": dict(self.cells),
            "passed_over": self.ignored,
            "difficult_left_out": self.difficult_left_out,
            "max_cells_per_image": self.max_cells_per_image,
            "max_boxes_per_example": self.max_boxes_per_example,
        }


class DatasetStatistics:
    """Statistics of a whole set, filled image by image."""

    def __init__(self, label_map: LabelMap):
        self._label_map = label_map
        self.sides = {side: Side(label_map) for side in SIDES}
        self.image_sizes: Counter = Counter()
        self.num_reencoded = 0
        self._without_class: dict[str, Counter] = defaultdict(Counter)
        self._widths: dict[str, _Sizes] = defaultdict(_Sizes)
        self._heights: dict[str, _Sizes] = defaultdict(_Sizes)

    def add(self, entry: Entry, side: str, objects: Iterable[LabeledObject]) -> None:
        """Counts one image of a side."""
        self.sides[side].add(entry)
        self.image_sizes[entry.width, entry.height] += 1
        self.num_reencoded += entry.is_reencoded
        for name, count in entry.names_without_class.items():
            self._without_class[name].update(objects=count, images=1)
        for labeled in objects:
            self._widths[labeled.name].add(labeled.xmax - labeled.xmin)
            self._heights[labeled.name].add(labeled.ymax - labeled.ymin)

    def box_sizes(self) -> dict[str, dict]:
        """For each class with boxes: count, width_px and height_px (of the original images)."""
        cells = self.sides["train"].cells + self.sides["test"].cells
        return {
            name: {
                "count": cells[name],
                "width_px": self._widths[name].summary(),
                "height_px": self._heights[name].summary(),
            }
            for name in self._label_map.names
            if cells[name]
        }

    def one_sided_classes(self) -> list[tuple[str, str]]:
        """Classes that have cells, but none on one side: (class, side without it)."""
        train, test = (self.sides[side].cells for side in SIDES)
        found = [(name, "test") for name in self._label_map.names if train[name] and not test[name]]
        return found + [(name, "train") for name in self._label_map.names if test[name] and not train[name]]

    def as_dict(self) -> dict:
        """For dataset_report.json."""
        sizes = sorted(self.image_sizes.items(), key=lambda item: (-item[1], item[0]))
        return {
            "sides": {name: side.as_dict() for name, side in self.sides.items()},
            "box_sizes": self.box_sizes(),
            "image_sizes": [{"width": w, "height": h, "images": number} for (w, h), number in sizes],
            "reencoded_images": self.num_reencoded,
            record_set.NAMES_WITHOUT_CLASS: {
                name: dict(counts) for name, counts in sorted(self._without_class.items())
            },
        }

    def table(self) -> str:
        """The printed table."""
        train, test = (self.sides[side] for side in SIDES)
        rows = [("images", train.images, test.images)]
        rows.append(("  without a cell of a class", train.images_without_cells, test.images_without_cells))
        rows.append(("patients", len(train.patients), len(test.patients)))
        num_shared = len(train.patients & test.patients)
        rows.append(("  on both sides", num_shared, num_shared))
        rows += [(name, train.cells[name], test.cells[name]) for name in self._label_map.names]
        if train.ignored + test.ignored:
            rows.append(("no class (ignored)", train.ignored, test.ignored))
        if train.difficult_left_out + test.difficult_left_out:
            rows.append(("difficult (dropped)", train.difficult_left_out, test.difficult_left_out))
        width = max(len(row[0]) for row in rows)
        lines = [f"{'':<{width}}  {'train':>8}{'test':>8}  test share"]
        for name, of_train, of_test in rows:
            share = f"{100 * of_test / (of_train + of_test):>8.1f} %" if of_train + of_test else ""
            share = "" if name in ("patients", "  on both sides") else share
            lines.append(f"{name:<{width}}  {of_train:>8}{of_test:>8}  {share}".rstrip())
        lines += ["", f"{'box sizes in pixels':<{width}}  {'width: 5 %, median, 95 %':>26}{'height':>20}"]
        for name, sizes in self.box_sizes().items():
            columns = ("{p05:>8}{median:>8}{p95:>8}".format(**sizes[side]) for side in ("width_px", "height_px"))
            lines.append(f"{name:<{width}}  {''.join(columns)}")
        return "\n".join(lines)


def annotation_rows(entry: Entry, objects: Iterable[LabeledObject]) -> list[dict]:
    """Rows of annotations.csv of one image."""
    image = {"filename": entry.image.key, "width": entry.width, "height": entry.height}
    return [{**image, "class": o.name, **{side: getattr(o, side) for side in BNDBOX_SIDES}} for o in objects]


def write_split_csv(path: str | os.PathLike, entries: Sequence[Entry], test_keys: set[str]) -> None:
    """split.csv: image, patient, side, sha256 of the image file."""
    rows = (
        {
            "image": entry.image.key,
            "patient": entry.image.patient_id,
            "side": "test" if entry.image.key in test_keys else "train",
            "sha256": entry.sha256,
        }
        for entry in entries
    )
    csv_schemas.load("split").write(path, rows)
