"""The most telling pictures of each kind, so that memory does not grow with the images."""

import heapq
from collections.abc import Callable, Hashable
from typing import Any


class KeptPictures:
    """Keeps up to `limit` items of each kind, those of the highest rank; of equal ranks the earlier.

    Args:
      limit: items of a kind.
    """

    def __init__(self, limit: int):
        self._limit = limit
        self._number = 0
        self._kinds: dict[Hashable, list[tuple[float, int, Any]]] = {}

    def add(self, kind: Hashable, rank: float, make: Callable[[], Any]) -> None:
        """Adds an item, which is made only if it is among the kept ones so far."""
        self._number += 1
        heap = self._kinds.setdefault(kind, [])
        if len(heap) < self._limit:
            heapq.heappush(heap, (rank, -self._number, make()))
        elif rank > heap[0][0]:
            heapq.heapreplace(heap, (rank, -self._number, make()))

    def of(self, kind: Hashable, limit: int | None = None) -> list[Any]:
        """The kept items of a kind, the highest rank first."""
        return [item for _, _, item in sorted(self._kinds.get(kind, ()), reverse=True)[:limit]]
