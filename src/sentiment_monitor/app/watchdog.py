"""The watchdog: ends the process when a loop no longer moves, also while something holds the interpreter's lock."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import threading
from collections.abc import Collection
from types import TracebackType
from typing import Self

import structlog

from sentiment_monitor.telemetry.turns import Turns

_log = structlog.get_logger()

EXIT_CODE = int(signal.SIGALRM)
_STDERR = 2
_LOOK_SECONDS = 1.0


class Watchdog:
    """While it is entered, a loop that is overdue ends the process: the stacks of all threads on standard error first.

    A thread of its own judges the loops, and puts off an alarm of the kernel each time none is overdue. Where that
    thread cannot run for ``patience`` seconds, because the interpreter's lock is held, the alarm ends the process, for
    which no line of Python is needed. Either way the exit code is 14. One a process.
    """

    def __init__(self, loops: Collection[Turns], patience: float) -> None:
        self._loops = loops
        self._patience = patience
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        # Whoever is process 1 of a container cannot be ended by a signal's default, so libc's _exit is the handler: it
        # takes the signal's number for its code. The fault handler writes the stacks and then hands on to it.
        libc = ctypes.CDLL(None)
        libc.signal.restype = ctypes.c_void_p
        self._before = libc.signal(EXIT_CODE, ctypes.cast(libc._exit, ctypes.c_void_p))
        faulthandler.register(signal.SIGALRM, file=_STDERR, all_threads=True, chain=True)
        self._put_off()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.unregister(signal.SIGALRM)
        ctypes.CDLL(None).signal(EXIT_CODE, ctypes.c_void_p(self._before))

    def _put_off(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, self._patience)

    def _watch(self) -> None:
        while not self._ended.wait(min(_LOOK_SECONDS, self._patience / 10)):
            for loop in self._loops:
                if reason := loop.overdue(self._patience):
                    _log.critical("watchdog.ends", reason=reason, exit_code=EXIT_CODE)
                    os.kill(os.getpid(), signal.SIGALRM)
            self._put_off()
