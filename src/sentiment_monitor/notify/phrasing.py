"""Words a notification for one notifier: by the template of its language, or by one of the user's own."""

from __future__ import annotations

import threading
from pathlib import Path

import structlog

from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.notify.channels import Channel
from sentiment_monitor.notify.child import Child
from sentiment_monitor.notify.texts import Language, Rendered, check, message_of, render, shipped
from sentiment_monitor.notify.texts_child import Question, Reply

_log = structlog.get_logger()

CHILD_SECONDS = 10.0  # for a template of the user's own, the start of its process included
_MOST_BYTES = 1024 * 1024  # of what one says; each channel then cuts it to what it takes


class Phrasing:
    """Words notifications in one language.

    A template of the user's own runs in a process with bounded time and memory. Where it fails, the shipped one serves
    and it is said in the log: an alert with other words is better than none.
    """

    def __init__(self, language: Language = "en", template: Path | None = None) -> None:
        """Raises SettingsError for a template that is not there or cannot be read."""
        self.language = language
        self._shipped = shipped(language)
        self._own = _read(template) if template else None
        self._name = str(template)
        self._lock = threading.Lock()  # of the two below
        self._closed = False
        self._child: Child | None = None

    def of(self, notification: Notification, channel: Channel) -> Rendered:
        """The message in the channel's markup."""
        message = message_of(notification)
        if self._own is not None:
            answer = self._ask(Question(self._own, channel.name, self.language, message))
            if answer.rendered is not None:
                return answer.rendered
            _log.error("template.failed", template=self._name, key=notification.key, error=answer.failed)
        return render(self._shipped, message, channel, self.language)

    def close(self) -> None:
        """End a template that is running."""
        with self._lock:
            self._closed = True
            child = self._child
        if child is not None:
            child.end()

    def _ask(self, question: Question) -> Reply:
        with self._lock:
            if self._closed:
                return Reply(failed="the notifier is closed")
            self._child = child = Child(["-m", "sentiment_monitor.notify.texts_child"])
        try:
            answer = child.ask(question, CHILD_SECONDS, Reply)
        finally:
            child.end()
        if answer is None:
            return Reply(failed="it took too long or too much memory")
        if answer.rendered is not None and sum(map(len, answer.rendered.lines)) > _MOST_BYTES:
            return Reply(failed="it says too much")
        return answer


def _read(template: Path) -> str:
    try:
        source = template.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"template {template}: cannot be read: {error}") from None
    check(source, f"template {template}")
    return source
