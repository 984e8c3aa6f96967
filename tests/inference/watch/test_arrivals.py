import os

from tfod_csf.inference.watch.arrivals import Arrivals
from tfod_csf.study.patients import ImageFile


def image_at(path):
    return ImageFile(path, "p1", path.name, path.name)


def whole(arrivals):
    return [arrival.is_whole for arrival in arrivals]


def test_a_file_is_whole_when_it_stayed_the_same_for_the_time_to_settle(tmp_path):
    now = [100.0]
    files, image = Arrivals(settle_seconds=2, clock=lambda: now[0]), image_at(tmp_path / "a.jpg")
    image.path.write_bytes(b"half")
    assert whole(files.look([image])) == [False]
    now[0] = 101.9
    assert whole(files.look([image])) == [False]
    image.path.write_bytes(b"half and half")  # its writer continues
    now[0] = 102.5
    assert whole(files.look([image])) == [False]
    now[0] = 104.5
    (arrival,) = files.look([image])
    assert (arrival.is_whole, arrival.since, arrival.state.size) == (True, 102.5, 13)


def test_a_file_that_is_replaced_by_one_of_the_same_size_and_time_is_another(tmp_path):
    now = [0.0]
    files, image = Arrivals(settle_seconds=2, clock=lambda: now[0]), image_at(tmp_path / "a.jpg")
    image.path.write_bytes(b"first")
    files.look([image])
    now[0] = 5.0
    assert whole(files.look([image])) == [True]
    status = image.path.stat()
    new = tmp_path / "new"
    new.write_bytes(b"other")
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(new, image.path)
    assert whole(files.look([image])) == [False]
    now[0] = 7.0
    assert whole(files.look([image])) == [True]


def test_an_empty_file_and_one_that_is_gone_are_never_whole(tmp_path):
    files = Arrivals(settle_seconds=0, clock=lambda: 0.0)
    empty, gone = image_at(tmp_path / "empty.jpg"), image_at(tmp_path / "gone.jpg")
    empty.path.touch()
    arrivals = files.look([empty, gone])
    assert whole(arrivals) == [False, False]
    assert arrivals[1].state is None


def test_a_file_that_was_away_is_waited_for_again(tmp_path):
    now = [0.0]
    files, image = Arrivals(settle_seconds=2, clock=lambda: now[0]), image_at(tmp_path / "a.jpg")
    image.path.write_bytes(b"same")
    files.look([image])
    now[0] = 3.0
    assert whole(files.look([image])) == [True]
    files.look([])
    assert whole(files.look([image])) == [False]
