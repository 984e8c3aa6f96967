import pytest
import tensorflow as tf

from tfod_csf.data.records import record_datasets


@pytest.fixture
def two_files(write_records):
    """Records "0".."5" in a file, "6".."11" in another."""
    return [write_records(f"{part}.record", [str(part * 6 + i).encode() for i in range(6)]) for part in (0, 1)]


def numbers(config, num_epochs=1, seed=0, input_context=None, count=-1):
    dataset = record_datasets.read_dataset(config, num_epochs, seed, input_context)
    return [int(record) for record in dataset.take(count).as_numpy_iterator()]


def test_order_without_shuffling(reader_of, two_files):
    assert numbers(reader_of(*two_files)) == list(range(12))


def test_readers_take_blocks_in_turn(reader_of, two_files):
    config = reader_of(*two_files, num_readers=2, read_block_length=2)
    assert numbers(config) == [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]


def test_shuffling_keeps_epochs_whole_and_repeats_with_the_seed(reader_of, two_files):
    config = reader_of(*two_files, shuffle=True)
    two_epochs = numbers(config, num_epochs=2)
    assert sorted(two_epochs[:12]) == sorted(two_epochs[12:]) == list(range(12))
    assert two_epochs[:12] != two_epochs[12:] != list(range(12))
    assert numbers(config, num_epochs=2) == two_epochs
    assert numbers(config, num_epochs=2, seed=1) != two_epochs


def test_files_are_shuffled_too(reader_of, two_files):
    config = reader_of(*two_files, shuffle=True, shuffle_buffer_size=1)
    orders = {tuple(numbers(config, seed=seed)) for seed in range(8)}
    assert orders == {(*range(12),), (*range(6, 12), *range(6))}
    config.filenames_shuffle_buffer_size = 1
    assert numbers(config) == list(range(12))


def test_no_end(reader_of, two_files):
    assert numbers(reader_of(*two_files), num_epochs=None, count=25)[-2:] == [11, 0]


def test_sample_1_of_n_examples(reader_of, two_files):
    assert numbers(reader_of(*two_files, sample_1_of_n_examples=5)) == [0, 5, 10]


@pytest.mark.parametrize(("num_pipelines", "shares"), [(2, [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]), (3, None)])
def test_workers_share_files_or_else_records(reader_of, two_files, num_pipelines, shares):
    contexts = [tf.distribute.InputContext(num_pipelines, index, num_pipelines) for index in range(num_pipelines)]
    found = [numbers(reader_of(*two_files), input_context=context) for context in contexts]
    assert sorted(number for share in found for number in share) == list(range(12))
    assert shares is None or found == shares


def test_weights(reader_of, two_files):
    config = reader_of(*two_files, sample_from_datasets_weights=[0, 1])
    assert numbers(config) == [6, 7, 8, 9, 10, 11]
    config = reader_of(*two_files, sample_from_datasets_weights=[0.9, 0.1])
    first = numbers(config, num_epochs=None, count=200)
    assert 150 < sum(number < 6 for number in first) < 200
    with pytest.raises(record_datasets.RecordDatasetError, match="has 1 values for 2 input_path"):
        numbers(reader_of(*two_files, sample_from_datasets_weights=[1]))


def test_shuffle_buffer_is_bounded_by_memory(write_records, monkeypatch, caplog):
    monkeypatch.setattr(record_datasets, "SHUFFLE_BUFFER_BYTES", 1000)
    path = write_records("large.record", [b"x" * 100] * 3)
    assert record_datasets.shuffle_buffer_records([path], 5) == 5
    assert record_datasets.shuffle_buffer_records([path], 2048) == 10
    assert "10 are held" in caplog.text
