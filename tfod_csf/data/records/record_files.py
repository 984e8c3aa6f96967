"""The files that an input reader of a config names."""

import os
from collections.abc import Sequence

from tfod_csf.files import record_set, tfrecord
from tfod_csf.files.tfrecord import TFRecordError


def record_files(input_paths: Sequence[str]) -> list[str]:
    """Files that `tf_record_input_reader.input_path` names, in sorted order and each once.

    Args:
      input_paths: files or patterns, each as `tfrecord.find_files` takes them.

    Raises:
      TFRecordError: no path, one that matches no file, or "name@N" of which some shards are missing.
    """
    if not input_paths:
        raise TFRecordError(
            "tf_record_input_reader.input_path is empty; name the TFRecord files, for example "
            "tfrecords/train.record-?????-of-?????."
        )
    files: set[str] = set()
    for input_path in input_paths:
        matches = tfrecord.find_files(input_path)
        if not matches:
            raise TFRecordError(
                f"tf_record_input_reader.input_path: {input_path!r} matches no file (looked from {os.getcwd()}); "
                "create_csf_tf_record writes TFRecords."
            )
        record_set.check_shards(matches, input_path)
        files.update(matches)
    by_place = {os.path.realpath(path): path for path in sorted(files, reverse=True)}  # a file named in two ways is one
    return sorted(by_place.values())
