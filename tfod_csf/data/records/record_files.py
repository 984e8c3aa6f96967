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
      TFRecordError: no path, one that matches no file, "name@N" of which some shards are missing, or as
          `record_set.check_shards`.
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


def shard_notices(input_paths: Sequence[str]) -> list[str]:
    """A sentence for each set of shards in `input_paths` of which some are not there.

    Raises:
      TFRecordError: as `record_set.check_shards`.
    """
    return [notice for path in input_paths for notice in record_set.check_shards(tfrecord.find_files(path), path)]
