import hashlib
import json

import pytest

from tests.support.tfrecord_frames import frame
from tfod_csf.files import record_set
from tfod_csf.files.tfrecord import TFRecordError

RECORDS = [b"first", b"second", b"", b"fourth"]


def write(folder, name="test.record", records=RECORDS, listed=RECORDS):
    """A record file; `listed` is what dataset_report.json says of it, None for no such file."""
    path = folder / name
    path.write_bytes(b"".join(map(frame, records)))
    if listed is not None:
        entry = {
            "file": name,
            "examples": len(listed),
            "sha256_of_examples": hashlib.sha256(b"".join(listed)).hexdigest(),
        }
        (folder / "dataset_report.json").write_text(json.dumps({"records": [entry]}))
    return path


def refusal(path) -> str:
    with pytest.raises(TFRecordError) as error:
        list(record_set.read_records(path))
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("listed", [RECORDS, None])
def test_a_whole_file_is_read(tmp_path, listed):
    assert list(record_set.read_records(write(tmp_path, listed=listed))) == RECORDS


def test_a_file_cut_between_records_is_found_by_the_report(tmp_path):
    path = write(tmp_path, records=RECORDS[:3])
    assert "holds 3 records, but dataset_report.json beside it lists 4: 1 are missing" in refusal(path)


@pytest.mark.parametrize("place", [1, 9, 13, 18])
def test_a_flipped_bit_anywhere_in_the_second_record_says_what_is_missing(tmp_path, place):
    path = write(tmp_path)
    data = bytearray(path.read_bytes())
    data[len(frame(b"first")) + place] ^= 4  # in the length, its checksum, the data, their checksum
    path.write_bytes(data)
    said = refusal(path)
    assert "record 2" in said
    assert "1 records before it can be read of 4 in dataset_report.json, so 3 are missing" in said
    assert record_set.num_missing(path, 1) == 3


def test_appended_zeros_are_found(tmp_path):
    path = write(tmp_path, listed=None)
    path.write_bytes(path.read_bytes() + bytes(4096))
    assert "the length of record 5 (at byte " in refusal(path)
    assert record_set.num_missing(path, 4) == 1


@pytest.mark.parametrize("records", [[b"others"] * 4, [*RECORDS, b"fifth"], RECORDS[::-1]])
def test_records_of_another_set_are_found(tmp_path, records):
    assert "is not the file that dataset_report.json beside it lists" in refusal(write(tmp_path, records=records))


def test_an_empty_file_is_refused(tmp_path):
    assert "holds no record (0 bytes)" in refusal(write(tmp_path, records=[], listed=None))


def test_a_set_that_was_not_finished_is_refused(tmp_path):
    path = write(tmp_path)
    record_set.begin(tmp_path, ["test.record"])
    with pytest.raises(TFRecordError, match="did not finish"):
        list(record_set.read_records(path))
    assert list(record_set.listed_files(tmp_path)) == ["test.record"]


@pytest.mark.parametrize("text", ["", "[" * 100_000, "\ufeff{"])
def test_a_damaged_report_is_refused(tmp_path, text):
    path = write(tmp_path)
    (tmp_path / "dataset_report.json").write_text(text)
    with pytest.raises(TFRecordError, match=r"dataset_report.json: is not JSON"):
        list(record_set.read_records(path))


@pytest.mark.parametrize("report", ["[]", '{"records": 3}', '{"records": [3, {"file": 4}]}', "{}"])
def test_reports_of_other_programs_list_nothing(tmp_path, report):
    path = write(tmp_path)
    (tmp_path / "dataset_report.json").write_text(report)
    assert list(record_set.read_records(path)) == RECORDS


def test_the_most_crowded_example_of_both_sides_counts(tmp_path):
    assert record_set.most_boxes(tmp_path) == 0
    sides = {"train": {"max_boxes_per_example": 39}, "test": {"max_boxes_per_example": 146}}
    (tmp_path / "dataset_report.json").write_text(json.dumps({"sides": sides}))
    assert record_set.most_boxes(tmp_path) == 146
    (tmp_path / "dataset_report.json").write_text(json.dumps({"sides": ["of another program"]}))
    assert record_set.most_boxes(tmp_path) == 0


@pytest.mark.parametrize("others", [{}, {"b": 3, "c": {"objects": "many", "images": 1}}])
def test_names_without_a_class_are_those_of_the_report(tmp_path, others):
    assert record_set.names_without_class(tmp_path) == {}
    report = {"names_without_class": {"dog": {"objects": 3, "images": 2}, **others}}
    (tmp_path / "dataset_report.json").write_text(json.dumps(report))
    assert record_set.names_without_class(tmp_path) == {"dog": (3, 2)}


def test_missing_shards_are_named_and_mixed_ones_refused():
    names = ["a/t.record-00000-of-00003", "a/t.record-00002-of-00003"]
    (notice,) = record_set.check_shards(names, "a/t.record-*")
    assert "2 of 3 shards are there; 1 missing, the first is a/t.record-00001-of-00003" in notice
    all_of_both = [*names, "a/t.record-00001-of-00003", "b/t.record-00000-of-00001"]
    assert record_set.check_shards(all_of_both, "*/t*") == []
    with pytest.raises(TFRecordError, match=r"-of-00002 and -of-00003, two sets"):
        record_set.check_shards([*names, "a/t.record-00001-of-00002"], "a/*")


def test_a_missing_shard_that_is_listed_is_refused(tmp_path):
    path = write(tmp_path, "t.record-00000-of-00002", listed=None)
    report = {"records": [{"file": f"t.record-0000{n}-of-00002"} for n in (0, 1)]}
    (tmp_path / "dataset_report.json").write_text(json.dumps(report))
    with pytest.raises(TFRecordError, match=r"1 of 2 .* the first is .*-00001-of-00002, which dataset_report"):
        record_set.check_shards([str(path)], f"{tmp_path}/t.record-*")


@pytest.mark.parametrize("pattern", ["a/t.record-00000-of-00003", "a/t.record-0000[0]-of-00003"])
def test_shards_that_the_user_did_not_ask_for_are_not_missing(pattern):
    assert record_set.check_shards(["a/t.record-00000-of-00003"], pattern) == []


def test_a_shard_that_is_there_twice_is_refused(tmp_path):
    paths = [write(tmp_path, f"t.record-0000{n}-of-00002", listed=None) for n in (0, 1)]
    with pytest.raises(TFRecordError, match="holds the same records as"):
        list(record_set.numbered_records([str(path) for path in paths]))
    write(tmp_path, paths[1].name, [b"other"], None)
    assert [where for where, _ in record_set.numbered_records(list(map(str, paths)))]
