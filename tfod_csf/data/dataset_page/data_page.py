"""The data page: one HTML file beside the records that shows what training will read, its warnings first.

dataset_report.html, and the tables of what it shows only in part: dataset_images.csv, dataset_leaks.csv and
dataset_appearance.csv. The same records give the same bytes. TensorFlow is not needed.
"""

import dataclasses
import glob
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tfod_csf import label_map as label_maps
from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.data.dataset_page import anchor_fit, appearance, data_warnings, leaks, page_sections
from tfod_csf.data.dataset_page.anchor_fit import Anchors
from tfod_csf.data.dataset_page.appearance import Appearance
from tfod_csf.data.dataset_page.data_warnings import NameWithoutClass
from tfod_csf.data.dataset_page.findings import DataFindings
from tfod_csf.data.dataset_page.record_survey import SIDES, ImageFacts, Survey, survey
from tfod_csf.data.records.record_files import record_files
from tfod_csf.domain.cell_measures import to_lab
from tfod_csf.files import atomic_write, csv_schemas, record_set
from tfod_csf.files.tfrecord import TFRecordError
from tfod_csf.label_map import LabelMap
from tfod_csf.problems import ProblemLog

PAGE = "dataset_report.html"
TABLES = ("dataset_images", "dataset_leaks", "dataset_appearance")
_LABEL_MAP = "label_map.pbtxt"


@dataclasses.dataclass(frozen=True)
class PageOptions:
    """What the page is made with.

    Attributes:
      pipeline_config: whose anchors the boxes are compared with; None for none.
      laboratory_pattern: see `appearance.laboratory_reader`; "" for none.
      num_processes: that look at images; 0 means one for each core.
    """

    pipeline_config: pipeline_pb2.TrainEvalPipelineConfig | None = None
    laboratory_pattern: str = ""
    num_processes: int = 0


def write_data_page(
    records_dir: str | os.PathLike, output_dir: str | os.PathLike, options: PageOptions, problems: ProblemLog
) -> DataFindings:
    """Looks at the records of a folder and writes the page and its tables.

    Args:
      records_dir: holds train.record*, and test.record* where there is a test side, and label_map.pbtxt.

    Raises:
      TFRecordError: there are no records, or they are damaged or unfinished.
      UserError: the config's anchors or the pattern of laboratories cannot be used.
    """
    files = files_of(pathlib.Path(records_dir))
    anchors = _anchors(options.pipeline_config) if options.pipeline_config else None
    laboratory = appearance.laboratory_reader(options.laboratory_pattern) if options.laboratory_pattern else None
    known = _label_map(pathlib.Path(records_dir))
    seen = survey(files, problems, options.num_processes, _spellings(known) if known else {})
    if not seen.images:
        raise TFRecordError(f"{records_dir}: no image of its records can be decoded; write the records again.")
    without_class = _names_without_class(pathlib.Path(records_dir), known)
    findings = _findings(seen, _class_names(known, seen), without_class, anchors, laboratory)
    output_dir = pathlib.Path(output_dir)
    html = page_sections.page(findings, files, laboratory is not None)
    remove_data_page(output_dir)  # an interruption must not leave tables of these records beside a page of others
    _write_tables(findings, output_dir)
    atomic_write.write_text(output_dir / PAGE, html)
    return findings


def _anchors(config: pipeline_pb2.TrainEvalPipelineConfig) -> Anchors:
    train = config.train_config
    starts_from_model = bool(train.fine_tune_checkpoint) and train.fine_tune_checkpoint_type == "full"
    return dataclasses.replace(anchor_fit.anchors_of(config.model.faster_rcnn), is_of_model=starts_from_model)


def remove_data_page(output_dir: pathlib.Path) -> None:
    """Removes the page and tables of an earlier set of records."""
    for name in (PAGE, *(f"{table}.csv" for table in TABLES)):
        (output_dir / name).unlink(missing_ok=True)


def files_of(records_dir: pathlib.Path) -> dict[str, list[str]]:
    """{side: its record files} of a folder; a side without files is absent.

    Raises:
      TFRecordError: create_csf_tf_record did not finish, or there is no record.
    """
    record_set.check_finished(records_dir)
    files = {}
    for side in SIDES:
        if any(records_dir.glob(f"{side}.record*")):
            files[side] = record_files([f"{glob.escape(str(records_dir))}/{side}.record*"])
    if not files:
        raise TFRecordError(
            f"{records_dir}: holds no train.record or test.record file; run create_csf_tf_record first."
        )
    return files


def _label_map(records_dir: pathlib.Path) -> LabelMap | None:
    path = records_dir / _LABEL_MAP
    return label_maps.load_label_map(path) if path.is_file() else None


def _spellings(label_map: LabelMap) -> dict[str, str]:
    """The class of an object that has a display name for its text, or a label alone; training knows these too."""
    of_texts = {text: label_map.name_of(class_id) for text, class_id in label_map.ids_by_text.items()}
    return {f"id {class_id}": label_map.name_of(class_id) for class_id in label_map.ids} | of_texts


def _class_names(label_map: LabelMap | None, seen: Survey) -> list[str]:
    """Names of the label map, where there is one, then those that only the records have."""
    known = list(label_map.names) if label_map else []
    found = seen.cells("train") + seen.cells("test")
    return known + sorted(found.keys() - set(known))


def _names_without_class(records_dir: pathlib.Path, label_map: LabelMap | None) -> list[NameWithoutClass]:
    return [
        NameWithoutClass(name, objects, images, label_map.nearest(name) if label_map else None)
        for name, (objects, images) in record_set.names_without_class(records_dir).items()
    ]


def _findings(
    seen: Survey,
    names: list[str],
    without_class: list[NameWithoutClass],
    anchors: Anchors | None,
    laboratory: Callable[[str], str] | None,
) -> DataFindings:
    groups = appearance.appearances(seen.images, appearance.PATIENT, lambda image: image.patient_id)
    if laboratory is not None:
        of_laboratories = appearance.appearances(
            seen.images, appearance.LABORATORY, lambda image: laboratory(image.name)
        )
        groups = of_laboratories + groups
    found = leaks.find_leaks(seen)
    sizes = anchor_fit.class_sizes(seen.box_sizes, names, anchors)
    shared, repeats = leaks.shared_patients(seen), leaks.repeats_within_sides(seen)
    warnings = data_warnings.find_warnings(seen, found, repeats, shared, groups, sizes, names, without_class, anchors)
    return DataFindings(seen, names, found, groups, anchors, sizes, warnings)


def _write_tables(findings: DataFindings, output_dir: pathlib.Path) -> None:
    images = findings.survey.images
    csv_schemas.load("dataset_images").write_into(output_dir, _image_rows(images))
    rows = (
        {
            "test_image": images[leak.test].name,
            "train_image": images[leak.train].name,
            "kind": leak.kind,
            "likeness": leak.likeness,
        }
        for leak in findings.leaks
    )
    csv_schemas.load("dataset_leaks").write_into(output_dir, rows)
    csv_schemas.load("dataset_appearance").write_into(output_dir, map(_group_row, findings.groups))


def _image_rows(images: Sequence[ImageFacts]) -> Iterator[dict[str, Any]]:
    typical = appearance.typical_edge_width(images)
    for image in images:
        yield {
            "name": image.name,
            "side": image.side,
            "patient": image.patient_id,
            "width": image.width,
            "height": image.height,
            "cells": sum(image.cells.values()),
            "ignored": image.ignored,
            "cells_at_edge": sum(image.at_edge.values()),
            **_color_columns("background", image.background),
            **_color_columns("nucleus", image.nucleus),
            "edge_width_px": image.edge_width,
            "blurred": appearance.is_blurred(image, typical),
        }


def _group_row(group: Appearance) -> dict[str, Any]:
    return {
        "level": group.level,
        "name": group.name,
        "train_images": group.train,
        "test_images": group.test,
        **_color_columns("background", group.background),
        "background_distance": group.background_distance,
        **_color_columns("nucleus", group.nucleus),
        "nucleus_distance": group.nucleus_distance,
        "edge_width_px": group.edge_width,
        "blurred_images": group.blurred,
    }


def _color_columns(part: str, color: tuple[float, ...] | None) -> dict[str, float | None]:
    lab = [None] * 3 if color is None else to_lab(np.array(color)).tolist()
    return {f"{part}_{axis}": value for axis, value in zip(("l", "a", "b"), lab, strict=True)}
