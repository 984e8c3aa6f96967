"""Threads beside the network: the same files as without them, bounded memory, nothing left when a run ends early."""

import errno
import os
import pathlib
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

from tfod_csf import run_folder
from tfod_csf.detections import Detections
from tfod_csf.files import csv_tables
from tfod_csf.inference import drawing
from tfod_csf.inference.cell_selection import ScoreThresholds
from tfod_csf.inference.runs import batch, image_workers
from tfod_csf.inference.runs.image_workers import ImageWorkers, MemoryBudget, Wanted, WorkerLimits
from tfod_csf.inference.runs.patient_folder import PatientFolderError
from tfod_csf.label_map import label_map_from_names
from tfod_csf.problems import ProblemLog, StrictProblemError
from tfod_csf.study import image_io, patients
from tfod_csf.study.patients import ImageFile

_LONGEST_WAIT = 20.0  # s, for what happens at once unless the test fails


class Shades:
    """A detector whose cell lies where the shade of the image says; JPEGs are one gray level darker than Pillow's."""

    name, fingerprint, temperature, max_detections_per_class = "shades", "f00d", 1.0, None
    label_map = label_map_from_names(["lymphocyte", "monocyte"])

    def __init__(self):
        self.decoded, self.seen = [], []

    def decode_jpeg(self, jpeg):
        self.decoded.append(jpeg)
        return np.full([48, 64, 3], max(0, int(decoded_by_pillow(jpeg)[0, 0, 0]) - 1), np.uint8)

    def detect(self, pixels, image="", *, jpeg=None):
        self.seen.append(image)
        shade = int(pixels[0, 0, 0])
        left, score = shade % 30, 0.5 + shade / 512
        scores = [[1 - score, score, 0.0]]
        return Detections(image, 64, 48, [[10, left, 36, left + 30]], [1], [score], scores)


def decoded_by_pillow(jpeg):
    path = pathlib.Path(os.environ["PYTEST_TMP"], f"{threading.get_ident()}.jpg")
    path.write_bytes(jpeg)
    return image_io.open_image(path, ProblemLog(quiet=True)).pixels


@pytest.fixture(autouse=True)
def _folder_for_pillow(tmp_path, monkeypatch):
    (tmp_path / "decoded").mkdir()
    monkeypatch.setenv("PYTEST_TMP", str(tmp_path / "decoded"))


def save(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full([48, 64, 3], shade, np.uint8)).save(path)


@pytest.fixture
def images_dir(tmp_path):
    """Four patients with JPEGs and PNGs, a broken file, a file that is there twice and one that is no image."""
    folder = tmp_path / "images"
    for patient in range(4):
        for number in range(3):
            suffix = "png" if (patient + number) % 3 == 0 else "jpg"
            save(folder / f"p{patient}" / f"{number}.{suffix}", 20 * patient + 7 * number)
    shutil.copy(folder / "p1" / "0.jpg", folder / "p1" / "copy.jpg")
    shutil.copy(folder / "p1" / "0.jpg", folder / "p3" / "copy.jpg")
    (folder / "p2" / "a.jpg").write_bytes(b"no image")
    (folder / "p2" / "b.jpg").write_bytes((folder / "p2" / "0.jpg").read_bytes()[:-200])
    return folder


def run(images_dir, out, detector=None, problems=None, limits=image_workers.IN_TURN, draw=True, **how):
    problems = ProblemLog(quiet=True) if problems is None else problems
    images = patients.find_images(images_dir, problems)
    return batch.run(images, [detector or Shades()], ScoreThresholds(), out, problems, draw, limits=limits, **how)


def files_of(out):
    """{file: content}, the measured seconds apart."""
    found = {}
    for path in sorted(out.rglob("*")):
        if path.is_file() and path.name not in (run_folder.STAMP, "images.csv"):
            found[path.relative_to(out)] = path.read_bytes()
        elif path.name == "images.csv":
            rows = csv_tables.read_rows(path)
            found[path.relative_to(out)] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    return found


def workers_left():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("read", "draw"))]


@pytest.mark.parametrize("draw", [True, False])
@pytest.mark.parametrize(("num_workers", "max_memory_mb"), [(1, 1), (2, 1000), (5, 0)])
def test_any_number_of_workers_and_any_memory_give_the_same_files_and_problems(
    images_dir, tmp_path, num_workers, max_memory_mb, draw
):
    expected_problems, problems = ProblemLog(quiet=True), ProblemLog(quiet=True)
    expected = run(images_dir, tmp_path / "in_turn", problems=expected_problems, draw=draw)
    limits = WorkerLimits(num_workers, max_memory_mb)
    detector = Shades()
    found = run(images_dir, tmp_path / "out", detector, problems, limits, draw)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "in_turn")
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == (13 if draw else 0)
    assert problems.problems == expected_problems.problems
    assert [problem.action for problem in problems.problems].count("skipped") == 3
    assert [(s.images, s.failed, s.cells, s.input_hash) for s in found.summaries.values()] == [
        (s.images, s.failed, s.cells, s.input_hash) for s in expected.summaries.values()
    ]
    # Patients that are done are not decoded again; one with a changed image is examined again.
    num_decoded = len(detector.decoded)
    assert run(images_dir, tmp_path / "out", detector, limits=limits, draw=draw).reused == {"p0", "p1", "p2", "p3"}
    assert len(detector.decoded) == num_decoded
    save(images_dir / "p1" / "1.jpg", 200)
    assert run(images_dir, tmp_path / "out", detector, limits=limits, draw=draw).reused == {"p0", "p2", "p3"}
    run(images_dir, tmp_path / "in_turn", draw=draw)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "in_turn")
    assert workers_left() == []


def test_the_next_patients_images_are_read_while_the_network_works(images_dir, tmp_path):
    is_read = threading.Event()
    wanted = (images_dir / "p1" / "0.jpg").read_bytes()

    class Waits(Shades):
        def decode_jpeg(self, jpeg):
            if jpeg == wanted:
                is_read.set()
            return super().decode_jpeg(jpeg)

        def detect(self, pixels, image="", *, jpeg=None):
            if not self.seen:
                assert is_read.wait(_LONGEST_WAIT)
            return super().detect(pixels, image, jpeg=jpeg)

    run(images_dir, tmp_path / "out", Waits(), limits=WorkerLimits(2, 100))


def test_the_network_has_the_next_patients_images_while_the_last_picture_is_drawn(images_dir, tmp_path, monkeypatch):
    has_next = threading.Event()

    class Sees(Shades):
        def detect(self, pixels, image="", *, jpeg=None):
            if len(self.seen) == 3:  # those of p0
                has_next.set()
            return super().detect(pixels, image, jpeg=jpeg)

    def wait(picture, path):
        # Of two workers one waits; the other has to read the next patient's image, if that was not done before.
        assert "p0" not in path.parts or path.name[0] != "2" or has_next.wait(_LONGEST_WAIT)
        save_picture(picture, path)

    save_picture = drawing.save_picture
    monkeypatch.setattr(drawing, "save_picture", wait)
    assert list(run(images_dir, tmp_path / "out", Sees(), limits=WorkerLimits(2, 100)).summaries) == [
        "p0",
        "p1",
        "p2",
        "p3",
    ]


def test_a_patient_is_finished_although_the_next_one_cannot_begin(images_dir, tmp_path):
    foreign = tmp_path / "out" / "patients" / "p1"

    class Changes(Shades):
        def detect(self, pixels, image="", *, jpeg=None):
            foreign.mkdir(exist_ok=True)
            (foreign / "cells.csv").write_text("of somebody else")
            return super().detect(pixels, image, jpeg=jpeg)

    with pytest.raises(PatientFolderError, match="p1"):
        run(images_dir, tmp_path / "out", Changes(), limits=WorkerLimits(2, 100))
    assert run_folder.STAMP in {path.name for path in (tmp_path / "out" / "patients" / "p0").iterdir()}
    assert workers_left() == []


def test_a_patient_who_cannot_be_finished_leaves_nothing_of_the_next_one(images_dir, tmp_path):
    patients_dir = tmp_path / "out" / "patients"

    class Removes(Shades):
        def detect(self, pixels, image="", *, jpeg=None):
            if len(self.seen) == 3:  # those of p0, whose pictures and tables are beside its folder
                for results in (patients_dir / "p0").glob(".results.*"):
                    shutil.rmtree(results)
            return super().detect(pixels, image, jpeg=jpeg)

    with pytest.raises(PatientFolderError, match="p0: was removed during the run") as raised:
        run(images_dir, tmp_path / "out", Removes())
    assert raised.traceback  # which keeps the run's frames, and with them what they hold
    assert not list(patients_dir.rglob(".results.*"))


def test_an_error_while_a_picture_is_saved_ends_the_run_before_the_patient_is_replaced(
    images_dir, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    run(images_dir, out)
    before = files_of(out)

    def full(picture, path):
        if path.name == "1.jpg" and "p1" in path.parts:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save_picture(picture, path)

    save_picture = drawing.save_picture
    monkeypatch.setattr(drawing, "save_picture", full)
    for patient in range(3):
        save(images_dir / f"p{patient}" / "new.png", 90)
    with pytest.raises(OSError, match="No space left"):
        run(images_dir, out, limits=WorkerLimits(3, 100))
    after = files_of(out)
    changed = {path.parts[1] for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert changed == {"p0"}
    assert workers_left() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_run_that_is_stopped_leaves_nothing_half_written_and_no_thread(images_dir, tmp_path, error):
    class Stops(Shades):
        def detect(self, pixels, image="", *, jpeg=None):
            if len(self.seen) == 4:
                raise error
            return super().detect(pixels, image, jpeg=jpeg)

    out, limits = tmp_path / "out", WorkerLimits(2, 100)
    with pytest.raises(error):
        run(images_dir, out, Stops(), limits=limits)
    assert workers_left() == []
    assert sorted(path.name for path in (out / "patients").iterdir() if any(path.iterdir())) == ["p0"]
    assert run(images_dir, out, limits=limits).reused == {"p0"}
    run(images_dir, tmp_path / "in_turn")
    assert files_of(out) == files_of(tmp_path / "in_turn")


def test_the_first_problem_ends_a_strict_run_at_its_place(images_dir, tmp_path):
    found = []
    for limits in (image_workers.IN_TURN, WorkerLimits(3, 100)):
        problems = ProblemLog(strict=True, quiet=True)
        with pytest.raises(StrictProblemError, match="the same bytes as"):
            run(images_dir, tmp_path / f"{limits.num_workers}", problems=problems, limits=limits)
        found.append((problems.problems, files_of(tmp_path / f"{limits.num_workers}")))
    assert found[0] == found[1]


def test_memory_is_given_in_order_and_never_more_than_there_is(tmp_path):
    """Images of 100 bytes at most four at a time, except that one of 900 is taken alone."""
    budget, held, most, order = MemoryBudget(400), {}, [], []
    lock = threading.Lock()
    sizes = [100] * 10 + [900] + [100] * 10
    done = [threading.Event() for _ in sizes]

    def work(ticket):
        budget.acquire(ticket, sizes[ticket])
        with lock:
            order.append(ticket)
            held[ticket] = sizes[ticket]
            most.append((sum(held.values()), len(held)))
        done[ticket].wait(_LONGEST_WAIT)
        with lock:
            del held[ticket]
        budget.leave(ticket)

    for ticket in range(len(sizes)):
        budget.enter(ticket)
    threads = [threading.Thread(target=work, args=[ticket]) for ticket in range(len(sizes))]
    for thread in reversed(threads):
        thread.start()
    for event in done:
        event.set()
    for thread in threads:
        thread.join(_LONGEST_WAIT)
    assert order == list(range(len(sizes)))
    assert all(total <= 400 or (total, number) == (900, 1) for total, number in most)
    assert (900, 1) in most


def test_an_image_that_is_not_wanted_any_more_gives_its_memory_back(tmp_path):
    images = []
    for number in range(6):
        save(tmp_path / "p" / f"{number}.png", number)
        images.append(ImageFile(tmp_path / "p" / f"{number}.png", "p", f"{number}.png", f"p/{number}.png"))
    with ImageWorkers(Shades().decode_jpeg, WorkerLimits(1, 0), map(Wanted, images)) as workers:
        read, ticket = workers.read(images[0])
        assert read.loaded is not None
        workers.release(ticket)
        read, _ = workers.read(images[1], refused="it ends the process")
        assert (read.loaded, read.reason) == (None, "it ends the process")
        assert workers.sha256(images[2]) == image_io.file_sha256(images[2].path)
        assert workers.read(images[3])[0].loaded is not None
        # The fourth image still holds memory: nobody waits for the rest when the block ends.


def test_limits_by_default_are_those_of_the_machine(monkeypatch):
    monkeypatch.setattr(image_workers.worker_pool, "available_cores", lambda: 6)
    assert WorkerLimits.chosen(None, None) == WorkerLimits(6, 1200)
    assert WorkerLimits.chosen(0, None) == WorkerLimits(0, 200)
    assert WorkerLimits.chosen(2, 64) == WorkerLimits(2, 64)
