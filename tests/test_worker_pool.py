import os

import pytest

from tfod_csf import worker_pool


def test_order_is_kept_in_one_process_and_in_several():
    items = list(range(40))
    expected = [str(item) for item in items]
    assert list(worker_pool.ordered_map(str, items, 1)) == expected
    assert list(worker_pool.ordered_map(str, items, 2)) == expected
    assert list(worker_pool.ordered_map(str, [], 2)) == []


def test_no_more_items_are_taken_than_are_needed_ahead():
    taken = []

    def items():
        for item in range(1000):
            taken.append(item)
            yield item

    results = worker_pool.ordered_map(str, items(), 2)
    next(results)
    assert len(taken) <= 2 * 4 + 1
    results.close()


def test_errors_come_out_and_a_dead_worker_is_one_sentence():
    with pytest.raises(ValueError, match="invalid literal"):
        list(worker_pool.ordered_map(int, ["1", "x"], 2))
    with pytest.raises(worker_pool.WorkerPoolError, match="--num_processes=1"):
        list(worker_pool.ordered_map(os._exit, [3], 2))


def test_available_cores():
    assert 1 <= worker_pool.available_cores() <= (os.cpu_count() or 1)
