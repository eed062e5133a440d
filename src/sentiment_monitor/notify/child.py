"""A child process that answers questions, a line of JSON each, and is killed when its time is over.

A process can be killed, a thread cannot: what others wrote (a hundred plugins, a user's template) runs here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import TypeVar

import msgspec

_Answer = TypeVar("_Answer")


class Child:
    """A Python process. One thread asks at a time; any thread may end it."""

    def __init__(self, program: Sequence[str | os.PathLike[str]]) -> None:
        """``program``: what Python is to run, a file or ``-m`` and a module."""
        self.ended = False
        self._asking = threading.Lock()
        self._ending = threading.Lock()
        # A session of its own: whatever it starts ends with it, and an interrupt from the terminal does not reach it.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", *program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def ask(self, question: object, seconds: float, answer: type[_Answer]) -> _Answer | None:
        """The answer; None when there is none, because the child has ended or is killed after so many seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(max(0.0, seconds), self._kill)
        timer.daemon = True
        timer.start()
        try:
            with self._asking:
                self._process.stdin.write(msgspec.json.encode(question) + b"\n")
                self._process.stdin.flush()
                return msgspec.json.decode(self._process.stdout.readline(), type=answer)
        except (OSError, ValueError, msgspec.DecodeError):  # its ends of the pipes are closed, or ours
            return None
        finally:
            timer.cancel()

    def end(self) -> None:
        """Kill it and all it has started, and give back its place among the processes and the pipes to it."""
        self._kill()
        with self._asking:  # whoever asks hears at once that there will be no answer
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    assert pipe is not None
                    pipe.close()

    def _kill(self) -> None:
        with self._ending:
            if self._process.returncode is None:  # not waited for yet: the number is still its own
                self.ended = True
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
