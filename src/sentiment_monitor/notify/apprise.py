"""Delivery by apprise: Slack, e-mail, Teams, Telegram, DingTalk, PagerDuty and a hundred more behind one URL."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import msgspec

from sentiment_monitor.domain import payload
from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.notify.channels import PLAIN
from sentiment_monitor.notify.child import Child
from sentiment_monitor.notify.contract import DeliveryLater, Secret, value_of
from sentiment_monitor.notify.phrasing import Phrasing

TIMEOUT_S = 30.0  # for one delivery; apprise itself waits up to 5.5 s between two messages to one service
START_TIMEOUT_S = 60.0  # for a first start, on whatever machine
_CHILD = Path(__file__).with_name("apprise_child.py")


class AppriseNotifier:
    """Sends title and text to one apprise URL, by a child process of its own that is killed when the time is over.

    The URL is a secret as a whole: it is shown nowhere, and reaches the child by a pipe. Apprise says only yes or no,
    so every no may be tried again. A redirect is a no.
    """

    def __init__(self, url: Secret, *, phrasing: Phrasing | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._phrasing = phrasing or Phrasing()
        self._served = value_of(url)  # what the child was started for
        self._scheme = self._served.partition("://")[0] if "://" in self._served else ""
        self._timeout_s = timeout_s
        self._lock = threading.Lock()  # of the two below
        self._closed = False
        self._child = Child([_CHILD])
        verdict = self._child.ask(self._served, START_TIMEOUT_S, _Verdict)
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
        rendered = self._phrasing.of(notification, PLAIN)
        question = {
            "title": rendered.title,
            "text": rendered.text(PLAIN),
            "resolved": payload.decode(notification.body).status == "resolved",
        }
        child, fresh = self._running(value_of(self._url))
        understood = not fresh or child.ask(self._served, deadline - time.monotonic(), _Verdict) is not None
        verdict = child.ask(question, deadline - time.monotonic(), _Verdict) if understood else None
        if verdict is None:
            child.end()
            late = time.monotonic() >= deadline
            raise DeliveryLater(f"{self._scheme}: {'no answer in time' if late else 'apprise has ended'}")
        if verdict.failed:
            raise DeliveryLater(f"{self._scheme}: apprise failed ({verdict.failed})")
        if not verdict.taken:
            raise DeliveryLater(f"{self._scheme}: not delivered")

    def access(self) -> str:
        """See ``Notifier.access``."""
        return value_of(self._url)

    def close(self) -> None:
        """End the child, and with it a delivery that is under way."""
        self._phrasing.close()
        with self._lock:
            self._closed = True
            self._child.end()

    def _running(self, url: str) -> tuple[Child, bool]:
        """The child, and whether it has just been started because there was none any more for this URL."""
        with self._lock:
            if self._closed or not (self._child.ended or url != self._served):
                return self._child, False
            self._served = url
            self._child.end()
            self._child = Child([_CHILD])
            return self._child, True


class _Verdict(msgspec.Struct, frozen=True):
    """What the child answers; a notification has no ``understood``, a URL nothing else."""

    understood: bool = False
    taken: bool = False
    failed: str = ""
