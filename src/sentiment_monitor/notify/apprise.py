"""Delivery by apprise: Slack, e-mail, Teams, Telegram, DingTalk, PagerDuty and a hundred more behind one URL."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec

from sentiment_monitor.domain import payload
from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.notify.contract import DeliveryLater

TIMEOUT_S = 30.0  # for one delivery; apprise itself waits up to 5.5 s between two messages to one service
START_TIMEOUT_S = 60.0  # for a first start, on whatever machine
_CHILD = Path(__file__).with_name("apprise_child.py")


class AppriseNotifier:
    """Sends title and text to one apprise URL, by a child process of its own that is killed when the time is over.

    The URL is a secret as a whole: it is shown nowhere, and reaches the child by a pipe. Apprise says only yes or no,
    so every no may be tried again. A redirect is a no.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._scheme = url.partition("://")[0] if "://" in url else ""
        self._timeout_s = timeout_s
        self._lock = threading.Lock()  # of the two below
        self._closed = False
        self._child = _Child()
        verdict = self._child.ask(url, START_TIMEOUT_S)
        self._child.end()  # not every process that has read the settings delivers: the first notification starts one
        if verdict is None:
            raise SettingsError("apprise cannot be started")
        if not verdict.understood:
            raise SettingsError("apprise does not understand this URL; see its list of services")

    def __repr__(self) -> str:
        return f"AppriseNotifier({self._scheme}://...)"

    def send(self, notification: Notification, now_ms: int) -> None:
        """See ``Notifier.send``; never raises ``NotifyRejected``, since apprise does not tell why."""
        deadline = time.monotonic() + self._timeout_s
        question = {
            "title": _tame(notification.title),
            "text": _tame(notification.text),
            "resolved": payload.decode(notification.body).status == "resolved",
        }
        child, fresh = self._running()
        understood = not fresh or child.ask(self._url, deadline - time.monotonic())
        verdict = child.ask(question, deadline - time.monotonic()) if understood else None
        if verdict is None:
            child.end()
            late = time.monotonic() >= deadline
            raise DeliveryLater(f"{self._scheme}: {'no answer in time' if late else 'apprise has ended'}")
        if verdict.failed:
            raise DeliveryLater(f"{self._scheme}: apprise failed ({verdict.failed})")
        if not verdict.taken:
            raise DeliveryLater(f"{self._scheme}: not delivered")

    def close(self) -> None:
        """End the child, and with it a delivery that is under way."""
        with self._lock:
            self._closed = True
            self._child.end()

    def _running(self) -> tuple[_Child, bool]:
        """The child, and whether it has just been started because there was none any more."""
        with self._lock:
            if self._closed or not self._child.ended:
                return self._child, False
            self._child.end()
            self._child = _Child()
            return self._child, True


class _Verdict(msgspec.Struct, frozen=True):
    """What the child answers; a notification has no ``understood``, a URL nothing else."""

    understood: bool = False
    taken: bool = False
    failed: str = ""


class _Child:
    """A process that runs apprise. One thread asks at a time; any thread may end it."""

    def __init__(self) -> None:
        self.ended = False
        self._asking = threading.Lock()
        self._ending = threading.Lock()
        # A session of its own: whatever it starts ends with it, and an interrupt from the terminal does not reach it.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def ask(self, question: object, seconds: float) -> _Verdict | None:
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
                return msgspec.json.decode(self._process.stdout.readline(), type=_Verdict)
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


def _tame(text: str) -> str:
    """Text in which a headline can call nobody (@everyone) and hide no address behind words ([here](https://...)).

    Chats that take Markdown for plain text do both. The sign put in has no width.
    """
    return text.replace("@", "@\u200b").replace("](", "]\u200b(")
