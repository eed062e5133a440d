"""Signals: the first drains, the second ends the process at once; both also while a service is still being built."""

from __future__ import annotations

import os
import signal
import threading
import time
from queue import Empty, SimpleQueue
from types import FrameType, TracebackType
from typing import Self

import structlog

from sentiment_monitor.app.service import Service

_log = structlog.get_logger()

DRAIN_SECONDS = 30.0
ABORT_SECONDS = 5.0  # what still holds on then, a receiver or a database, is not waited for

_OVERDUE = 0  # no signal, but as good as the next one: the time given for the last is over
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _StoppedEarly(BaseException):
    """There is no service yet that could be drained: what is being built is given up."""


class Signals:
    """While it is entered: first SIGTERM or SIGINT drains within the budget, the second, or the budget's end, aborts.

    Before :meth:`attend` has named a service the first one ends the block, from within whatever the main thread does:
    what it had begun is undone by its own clean-up. SIGHUP does nothing but say so.
    """

    def __init__(self, service: Service | None = None) -> None:
        self._service = service
        self._early = False
        # A handler runs in the midst of the main thread's work, which may hold any lock. This queue may be put to from
        # there; all else is done by a thread.
        self._received: SimpleQueue[int | None] = SimpleQueue()
        self._attendant = threading.Thread(target=self._act, name="signals", daemon=True)

    def __enter__(self) -> Self:
        self._attendant.start()
        self._before = {number: signal.signal(number, self._handle) for number in _HANDLED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._received.put(None)
        self._attendant.join()
        if kind is _StoppedEarly:
            _log.info("monitor.stopped", reason="before it was ready")
            return True
        return False

    def attend(self, service: Service) -> None:
        """From now on signals end ``service``."""
        self._service = service
        if self._early:  # and what was being built has swallowed it
            service.stop()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._received.put(number)
        if self._service is None and number != signal.SIGHUP and not self._early:
            self._early = True
            raise _StoppedEarly

    def _act(self) -> None:
        stopped = aborted = False
        deadline: float | None = None
        while True:
            try:
                number = self._received.get(timeout=None if deadline is None else max(0, deadline - time.monotonic()))
            except Empty:
                number = _OVERDUE
            if number is None:
                return
            if number == signal.SIGHUP:
                _log.warning(
                    "signal.ignored",
                    signal="SIGHUP",
                    reason="there is no reload: SIGHUP does nothing; restart to take new settings",
                )
            elif not stopped:
                stopped = True
                deadline = time.monotonic() + (DRAIN_SECONDS if self._service else ABORT_SECONDS)
                if self._service:
                    self._service.stop()
            elif not aborted:
                aborted = True
                if self._service is None:
                    os._exit(1)
                deadline = time.monotonic() + ABORT_SECONDS
                # In a thread of its own: whatever it waits for, the deadline holds.
                threading.Thread(target=self._service.abort, name="abort", daemon=True).start()
            elif number == _OVERDUE:
                # Transactions are whole or not at all, so the process may end anywhere.
                os._exit(1)
