"""Whether the database can be used, said in the log when that changes and not at every attempt."""

from __future__ import annotations

import threading
import time

import structlog

_log = structlog.get_logger()


class Standing:
    """What the last transactions say of the database. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._began = 0.0  # monotonic seconds
        self._to_write = False

    @property
    def trouble(self) -> str | None:
        """Why it cannot be used, and for how long already; None while it can."""
        with self._lock:
            if self._reason is None:
                return None
            return f"{self._reason} (for {time.monotonic() - self._began:.0f} s)"

    def away(self, reason: str, *, to_write: bool) -> None:
        """A transaction failed for this reason; ``to_write``: what was only read says nothing of its end."""
        with self._lock:
            first = self._reason is None
            if first:
                self._began = time.monotonic()
            self._reason = reason
            self._to_write = to_write or (self._to_write and not first)
        if first:
            _log.warning("database.away", error=reason)

    def back(self, *, to_write: bool) -> None:
        """A transaction went well."""
        if self._reason is None:  # the usual case takes no lock
            return
        with self._lock:
            if self._reason is None or (self._to_write and not to_write):
                return
            self._reason, self._to_write = None, False
            seconds = time.monotonic() - self._began
        _log.info("database.back", seconds=round(seconds, 1))
