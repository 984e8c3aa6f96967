"""Readers that are given any bytes: each may refuse them in its own words, and must not fail in any other way."""

import contextlib
import os
import pathlib
import tempfile
import time

from tfod_csf import label_map
from tfod_csf.config import pipeline_config, supported
from tfod_csf.errors import UserError
from tfod_csf.files import tfrecord
from tfod_csf.files.tf_example import Features
from tfod_csf.inference.labeled import record_reader
from tfod_csf.label_map import label_map_from_names
from tfod_csf.problems import ProblemLog
from tfod_csf.study import image_io, labelimg

LABEL_MAP = label_map_from_names(["lymphocyte", "monocyte"])
MAX_SECONDS = 20
_folder = pathlib.Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))


def _saved(data: bytes, name: str) -> pathlib.Path:
    path = _folder / name
    path.write_bytes(data)
    return path


def xml(data: bytes) -> bool:
    """Annotation to boxes inside an image, written and read again."""
    problems = ProblemLog(quiet=True)
    read = labelimg.read_annotation(_saved(data, "a.xml"), problems)
    assert read is not None or problems.problems
    if read is None:
        return False
    fitted = labelimg.fit_to_image(read, read.width or 100, read.height or 100, problems)
    if fitted is None:  # boxes of another size
        assert problems.skipped_files()
        return False
    for labeled in fitted.objects:
        assert 0 <= labeled.xmin < labeled.xmax <= fitted.width
        assert 0 <= labeled.ymin < labeled.ymax <= fitted.height
    resolved, _ = labelimg.resolve_names(fitted, LABEL_MAP, problems)
    labelimg.write_annotation(resolved, _folder / "b.xml")
    again = labelimg.read_annotation(_folder / "b.xml", ProblemLog(quiet=True))
    assert again is not None
    assert len(again.objects) <= len(resolved.objects)
    return True


def label_maps(data: bytes) -> bool:
    """Label map, written and read again."""
    try:
        read = label_map.load_label_map(_saved(data, "a.pbtxt"))
    except UserError:
        return False
    label_map.save_label_map(read, _folder / "b.pbtxt")
    assert label_map.load_label_map(_folder / "b.pbtxt") == read
    return True


def config(data: bytes) -> bool:
    """pipeline.config, checked, written and read again."""
    try:
        read = pipeline_config.load_pipeline_config(_saved(data, "a.config"))
    except UserError:
        return False
    pipeline_config.save_pipeline_config(read, _folder / "b.config")
    again = pipeline_config.load_pipeline_config(_folder / "b.config")
    assert pipeline_config.config_text(again) == pipeline_config.config_text(read)
    with contextlib.suppress(UserError):
        supported.check_supported(read)
    return True


def image(data: bytes) -> bool:
    """Image file to pixels."""
    problems = ProblemLog(quiet=True)
    loaded = image_io.open_image(_saved(data, "a.jpg"), problems)
    if loaded is None:
        assert problems.problems
        return False
    assert loaded.pixels.shape == (loaded.height, loaded.width, 3)
    return True


def record(data: bytes) -> bool:
    """A record file; when its first frame is damaged, the bytes as the data of a whole one, to get at the Example."""
    problems = ProblemLog(quiet=True)
    path = _saved(data, "a.record")
    try:
        for number, found in enumerate(tfrecord.read_records(path)):
            Features(found, f"record {number}")
    except UserError:
        path = _folder / "b.record"
        tfrecord.write_records([data], path)
    try:
        images = list(record_reader.read_records([str(path)], LABEL_MAP, problems, None))
    except UserError:
        return False
    assert images or problems.problems
    return bool(images)


TARGETS = {"xml": xml, "label_map": label_maps, "config": config, "image": image, "record": record}


def run(name: str, data: bytes) -> bool:
    """Gives the bytes to a reader; True when they got past its first check.

    Raises:
      AssertionError: it took longer than MAX_SECONDS.
      Exception: whatever the reader let through.
    """
    start = time.monotonic()
    accepted = TARGETS[name](data)
    assert time.monotonic() - start < MAX_SECONDS
    return accepted
