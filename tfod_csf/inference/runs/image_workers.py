"""Threads beside the network: they read and decode images ahead of it, and draw, encode and save pictures after it.

Threads and not processes, because Pillow and TensorFlow let other threads run while they decode and encode, and pixels
need not be copied from one process to another.

How it works: one pool reads, one draws, and of both `num_workers` threads at most work at a time. Images are read in
the order in which they will be wanted. Before an image is decoded, its memory is set aside: it waits until all images
before it have theirs and the sum stays below the limit, or nothing else is held. An image gives its memory back when
its pictures are saved. So the next image that is wanted always gets its turn.
"""

import collections
import concurrent.futures
import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tfod_csf import worker_pool
from tfod_csf.inference.runs import image_reading
from tfod_csf.inference.runs.image_reading import ReadImage
from tfod_csf.study import image_io
from tfod_csf.study.patients import ImageFile

_AHEAD = 4  # images for each worker that are read before they are wanted, memory permitting
_MEMORY_MB_PER_WORKER = 200  # three images of five megapixels
_BYTES_PER_PIXEL = 11  # three of the pixels, four each of what Pillow decoded and of the picture that it draws on


@dataclasses.dataclass(frozen=True)
class WorkerLimits:
    """What may be used beside the network.

    Attributes:
      num_workers: threads that work at the same time; 0 does everything in turn.
      max_memory_mb: MiB for images that are read, decoded, drawn or waiting; a single image may take more.
    """

    num_workers: int = 0
    max_memory_mb: int = _MEMORY_MB_PER_WORKER

    @classmethod
    def chosen(cls, num_workers: int | None, max_memory_mb: int | None) -> "WorkerLimits":
        """The limits of a machine: a worker for each core, and memory for three images of five megapixels each.

        Args:
          num_workers, max_memory_mb: what the user asked for instead.
        """
        workers = worker_pool.available_cores() if num_workers is None else num_workers
        return cls(workers, _MEMORY_MB_PER_WORKER * max(1, workers) if max_memory_mb is None else max_memory_mb)


IN_TURN = WorkerLimits()


class Wanted(NamedTuple):
    """An image that will be wanted.

    Attributes:
      image: the file.
      is_decoded: False if only its checksum is wanted.
    """

    image: ImageFile
    is_decoded: bool = True


class _StoppedError(Exception):
    """The workers are shut down; whoever waits for memory gets none."""


class MemoryBudget:
    """Memory that is set aside in the order of tickets.

    Args:
      max_bytes: the sum of what is held; a single holder may have more.
    """

    def __init__(self, max_bytes: int):
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._waiting: set[int] = set()
        self._urgent: int | None = None
        self._held: dict[int, int] = {}
        self._is_stopped = False

    def enter(self, ticket: int) -> None:
        """Announces a ticket; tickets with larger numbers get nothing before it has its own, or has left."""
        with self._changed:
            self._waiting.add(ticket)

    def acquire(self, ticket: int, num_bytes: int) -> None:
        """Waits for the memory of a ticket that has entered.

        Raises:
          _StoppedError: the budget was stopped.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or self._may_have(ticket, num_bytes))
            if self._is_stopped:
                raise _StoppedError
            self._waiting.discard(ticket)
            self._held[ticket] = num_bytes
            self._changed.notify_all()

    def hurry(self, ticket: int) -> None:
        """Gives a ticket its memory whatever is held, because whoever holds memory waits for it."""
        with self._changed:
            self._urgent = ticket
            self._changed.notify_all()

    def _may_have(self, ticket: int, num_bytes: int) -> bool:
        is_next = ticket == min(self._waiting)
        return is_next and (
            ticket == self._urgent or not self._held or sum(self._held.values()) + num_bytes <= self._max_bytes
        )

    def leave(self, ticket: int) -> None:
        """Gives the memory of a ticket back, or its place among those who wait."""
        with self._changed:
            self._waiting.discard(ticket)
            self._held.pop(ticket, None)
            self._changed.notify_all()

    def stop(self) -> None:
        """Whoever waits, or comes later, gets an error."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()


class Pictures:
    """Pictures that are being drawn and saved."""

    def __init__(self) -> None:
        self._futures: list[concurrent.futures.Future[None]] = []

    def add(self, future: concurrent.futures.Future[None]) -> None:
        """Adds a picture."""
        self._futures.append(future)

    def wait(self) -> None:
        """Returns when all are saved.

        Raises:
          Exception: what drawing or saving one raised.
        """
        for future in self._futures:
            future.result()

    def cancel(self) -> None:
        """Returns when none is being drawn any more."""
        for future in self._futures:
            future.cancel()
        concurrent.futures.wait(self._futures)


class _UnderWay(NamedTuple):
    ticket: int
    future: concurrent.futures.Future[Any]  # of a ReadImage, or of a checksum
    is_decoded: bool


class ImageWorkers:
    """Reads images and draws pictures; a context manager, at whose end nothing is under way any more.

    Args:
      decode_jpeg: of the detectors that will see the images.
      limits: with no workers, everything is done by the caller when it is asked for.
      upcoming: the images that will be wanted, in this order; it is asked for more as images are taken.
      in_tiles: see `image_reading.read`.
    """

    def __init__(
        self,
        decode_jpeg: image_io.JpegDecoder,
        limits: WorkerLimits = IN_TURN,
        upcoming: Iterable[Wanted] = (),
        in_tiles: bool = False,
    ):
        self._decode_jpeg = decode_jpeg
        self._num_workers = limits.num_workers
        self._upcoming = iter(upcoming)
        self._in_tiles = in_tiles
        self._under_way: dict[ImageFile, _UnderWay] = {}
        self._tickets = itertools.count()
        self._memory = MemoryBudget(limits.max_memory_mb << 20)
        self._slots = threading.Semaphore(max(1, limits.num_workers))
        self._drawn: collections.deque[concurrent.futures.Future[None]] = collections.deque()
        pool = concurrent.futures.ThreadPoolExecutor
        self._readers = pool(max(1, limits.num_workers), "read") if limits.num_workers else None
        self._drawers = pool(max(1, limits.num_workers), "draw") if limits.num_workers else None

    def __enter__(self) -> "ImageWorkers":
        return self

    def __exit__(self, *exception: object) -> None:
        self._memory.stop()
        for pool in (self._readers, self._drawers):
            if pool is not None:
                pool.shutdown(cancel_futures=True)

    def sha256(self, image: ImageFile) -> str | None:
        """Checksum of an image's file; None when it cannot be read."""
        found = self._taken(image)
        if found is None:
            return image_io.file_sha256(image.path)
        result = found.future.result()
        if not found.is_decoded:
            return result
        self._memory.leave(found.ticket)
        return result.sha256

    def read(self, image: ImageFile, refused: str = "", holds_others: bool = False) -> tuple[ReadImage, int]:
        """The image, and the ticket with which its memory is given back.

        Args:
          refused: see `image_reading.read`.
          holds_others: the caller gives no memory of earlier images back before it has this one, so that this one gets
            its own even where there is none left.
        """
        found = self._taken(image)
        if found is not None and found.is_decoded:
            if holds_others:
                self._memory.hurry(found.ticket)
            read = found.future.result()
            if not refused:
                return read, found.ticket
            self._memory.leave(found.ticket)
        return image_reading.read(image, self._decode_jpeg, refused, in_tiles=self._in_tiles), next(self._tickets)

    def release(self, ticket: int) -> None:
        """Gives an image's memory back."""
        self._memory.leave(ticket)

    def draw(self, ticket: int, work: Callable[[], None], pictures: Pictures) -> None:
        """Does the work, which draws and saves an image's pictures, and gives the image's memory back.

        Args:
          pictures: gets the work if it is not done at once.

        Raises:
          Exception: what an earlier work raised.
        """
        if self._drawers is None:
            work()
            return
        while self._drawn and (self._drawn[0].done() or len(self._drawn) > self._num_workers * _AHEAD):
            self._drawn.popleft().result()
        future = self._drawers.submit(self._work, work)
        future.add_done_callback(lambda _: self._memory.leave(ticket))
        self._drawn.append(future)
        pictures.add(future)

    def _work(self, work: Callable[[], None]) -> None:
        with self._slots:
            work()

    def _taken(self, image: ImageFile) -> _UnderWay | None:
        """What is under way for an image, if anything; others are put under way behind it."""
        if self._readers is not None:
            missing = max(0, self._num_workers * _AHEAD - len(self._under_way))
            for wanted in itertools.islice(self._upcoming, missing):
                self._submit(self._readers, wanted)
        return self._under_way.pop(image, None)

    def _submit(self, readers: concurrent.futures.ThreadPoolExecutor, wanted: Wanted) -> None:
        ticket = next(self._tickets)
        if wanted.is_decoded:
            self._memory.enter(ticket)
            future: concurrent.futures.Future[Any] = readers.submit(self._read, wanted.image, ticket)
        else:
            future = readers.submit(self._checksum, wanted.image)
        self._under_way[wanted.image] = _UnderWay(ticket, future, wanted.is_decoded)

    def _checksum(self, image: ImageFile) -> str | None:
        with self._slots:
            return image_io.file_sha256(image.path)

    def _read(self, image: ImageFile, ticket: int) -> ReadImage:
        is_used = False
        try:
            with self._slots:
                read = image_reading.read(
                    image, self._decode_jpeg, on_header=self._wait_for_memory(ticket), in_tiles=self._in_tiles
                )
            is_used = read.loaded is not None
            return read
        finally:
            if not is_used:
                self._memory.leave(ticket)

    def _wait_for_memory(self, ticket: int) -> Callable[[int, int, int], None]:
        def on_header(width: int, height: int, file_bytes: int) -> None:
            self._slots.release()  # others work while this thread waits
            try:
                self._memory.acquire(ticket, file_bytes + width * height * _BYTES_PER_PIXEL)
            finally:
                self._slots.acquire()

        return on_header
