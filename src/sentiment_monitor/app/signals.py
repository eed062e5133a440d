"""Signals: the first one drains, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from sentiment_monitor.app.service import Service

DRAIN_SECONDS = 30.0
ABORT_SECONDS = 5.0  # what still holds on then, a receiver or a database, is not waited for


@contextmanager
def signals(service: Service) -> Iterator[None]:
    """First SIGTERM or SIGINT drains within the budget, the second (or the budget's end) stops at once."""
    timers: list[threading.Timer] = []

    def later(seconds: float, action: Callable[[], None]) -> None:
        timers.append(threading.Timer(seconds, action))
        timers[-1].daemon = True
        timers[-1].start()

    def abort() -> None:
        # Transactions are whole or not at all, so the process may end anywhere.
        later(ABORT_SECONDS, lambda: os._exit(1))
        service.abort()

    def handle(number: int, frame: FrameType | None) -> None:
        if timers:
            abort()
            return
        service.stop()
        later(DRAIN_SECONDS, abort)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for timer in timers:
            timer.cancel()
