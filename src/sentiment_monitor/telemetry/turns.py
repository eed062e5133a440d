"""The turns of one loop, for whoever watches whether the present one ever ends."""

from __future__ import annotations

import threading
import time
from types import TracebackType

# A turn that waits (for a lock, a disk, another server) burns nothing, and waits are bounded where they are made.
_WAITING = 5


class Turns:
    """Notes when a turn begins and ends; entered for one turn. Used by one thread at a time, read by any.

    What computes is judged by the processor time of its thread, which a busy or frozen machine does not add to.
    ``computes=False``: whoever runs it has other threads at work, or a processor's time says nothing.
    """

    def __init__(self, name: str, *, computes: bool = True) -> None:
        self.name = name
        self._computes = computes and hasattr(time, "pthread_getcpuclockid")
        self._present: tuple[float, float, int] | None = None  # wall and processor seconds at its begin, clock's id

    def __enter__(self) -> None:
        self.moved()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rest()

    def moved(self) -> None:
        """A turn begins, or goes on after it has waited or got something done."""
        # The clock's own number outlives its thread, as the thread's does not.
        clock = time.pthread_getcpuclockid(threading.get_ident()) if self._computes else 0
        self._present = (time.monotonic(), time.thread_time(), clock)

    def rest(self) -> None:
        """The turn is over: the loop waits for work."""
        self._present = None

    def overdue(self, patience: float) -> str | None:
        """Why the present turn is not believed to end any more: it has computed for ``patience`` seconds, or lasted
        five times as long; None otherwise."""
        present = self._present
        if present is None:
            return None
        began, spent, clock = present
        if self._computes:
            try:
                computed = time.clock_gettime(clock) - spent
            except OSError:  # its thread has just ended
                return None
            if computed >= patience:
                return f"{self.name} has computed for {computed:.0f} s"
        lasted = time.monotonic() - began
        return f"{self.name} has not moved for {lasted:.0f} s" if lasted >= _WAITING * patience else None
