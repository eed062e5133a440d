"""Delivery by apprise: Slack, e-mail, Teams, Telegram, DingTalk, PagerDuty and a hundred more behind one URL."""

from __future__ import annotations

import logging
import warnings

from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.domain.payload import decode
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.notify.contract import DeliveryLater


class AppriseNotifier:
    """Sends title and text to one apprise URL.

    The URL is a secret as a whole and is shown nowhere. Apprise writes URLs and answers to its logger and tells us
    only yes or no: its logger is switched off, and every no may be tried again.
    """

    def __init__(self, url: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # its plugins import what Python 3.13 drops
            understood = self._load(url)
        if not understood:
            raise SettingsError("apprise does not understand this URL; see its list of services")

    def _load(self, url: str) -> bool:
        import apprise  # slow to import, and wanted by few

        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        logging.getLogger("urllib3").setLevel(logging.WARNING)  # it logs paths, below this level
        self._scheme = url.partition("://")[0] if "://" in url else ""
        self._apprise = apprise.Apprise()
        self._formats = apprise.NotifyFormat, apprise.NotifyType
        return bool(self._apprise.add(url))

    def __repr__(self) -> str:
        return f"AppriseNotifier({self._scheme}://...)"

    def send(self, notification: Notification, now_ms: int) -> None:
        """See ``Notifier.send``; never raises ``NotifyRejected``, since apprise does not tell why."""
        formats, types = self._formats
        kind = types.SUCCESS if decode(notification.body).status == "resolved" else types.WARNING
        try:
            taken = self._apprise.notify(
                title=_tame(notification.title),
                body=_tame(notification.text),
                body_format=formats.TEXT,
                notify_type=kind,
            )
        except Exception as error:  # noqa: BLE001 (a hundred plugins, and the message may hold the URL)
            raise DeliveryLater(f"{self._scheme}: apprise failed ({type(error).__name__})") from None
        if not taken:
            raise DeliveryLater(f"{self._scheme}: not delivered")

    def close(self) -> None:
        """Apprise holds nothing open."""


def _tame(text: str) -> str:
    """Text in which a headline can call nobody (@everyone) and hide no address behind words ([here](https://...)).

    Chats that take Markdown for plain text do both. The sign put in has no width.
    """
    return text.replace("@", "@\u200b").replace("](", "]\u200b(")
