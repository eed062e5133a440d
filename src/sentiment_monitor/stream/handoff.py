"""The bounded queue between two stages: full means wait, closed means finish what is there."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sized
from typing import Generic, TypeVar

T = TypeVar("T", bound=Sized)


class Closed(Exception):  # not an error: the stage before has finished
    """Nothing is left, and nothing more will come."""


class Handoff(Generic[T]):
    """Carries sized batches in order; the bound counts their records, not the batches.

    One batch larger than the bound still passes when the queue is empty.
    """

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self._items: deque[T] = deque()
        self._size = 0
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return self._size

    @property
    def full(self) -> bool:
        """True when a put would wait."""
        return self._size >= self.limit

    def put(self, item: T, *, wait: bool = True) -> None:
        """Waits for room unless told not to. A closed hand-off drops the item: the process is being aborted."""
        with self._changed:
            while wait and self._size >= self.limit and not self._closed:
                self._changed.wait()
            if not self._closed:
                self._items.append(item)
                self._size += len(item)
                self._changed.notify_all()

    def take(self, most: int, timeout: float | None = None) -> list[T]:
        """Waits for a batch, then takes as many as are there, up to ``most`` records but at least one batch.

        Returns nothing after ``timeout`` seconds. Raises Closed when the end is reached.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._items:
                if self._closed:
                    raise Closed
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return []
                self._changed.wait(left)
            taken = [self._items.popleft()]
            count = len(taken[0])
            while self._items and count + len(self._items[0]) <= most:
                taken.append(self._items.popleft())
                count += len(taken[-1])
            self._size -= count
            self._changed.notify_all()
            return taken

    def close(self, *, drop: bool = False) -> None:
        """No more puts. With ``drop`` what is waiting is forgotten too."""
        with self._changed:
            self._closed = True
            if drop:
                self._items.clear()
                self._size = 0
            self._changed.notify_all()
