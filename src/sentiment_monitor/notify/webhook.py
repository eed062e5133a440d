"""Delivery to an HTTP endpoint: signed, bounded, and without following anybody elsewhere."""

from __future__ import annotations

from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.notify.contract import NotifierRefused, Secret, value_of
from sentiment_monitor.notify.exchange import Exchange, address, judge, place
from sentiment_monitor.notify.signature import HEADER, sign


class WebhookNotifier:
    """POSTs the JSON payload. Any 2xx is success; the response is read up to 64 KiB and thrown away.

    ``secret`` signs (see ``signature``), ``token`` is sent as a bearer token; both optional. The URL may hold secrets
    itself, so errors and ``repr`` show its scheme and host only. Redirects are refused: a signed body must not wander.
    401, 402 and 403 say that we are not let in.
    """

    def __init__(self, url: str, *, secret: Secret = "", token: Secret = "", timeout_s: float = 10.0) -> None:
        self._url = address(url, "a webhook URL")
        if not _one_line(value_of(token)):
            raise SettingsError("a webhook token must be one line of ASCII")
        self._secret = secret
        self._token = token
        self._exchange = Exchange(timeout_s)

    def __repr__(self) -> str:
        return f"WebhookNotifier({place(self._url)})"

    def send(self, notification: Notification, now_ms: int) -> None:
        """See ``Notifier.send``."""
        headers = self._headers(notification, now_ms)
        judge(self._exchange.post(self._url, notification.body, headers, now_ms), place(self._url))

    def access(self) -> str:
        """See ``Notifier.access``."""
        return "\n".join((str(self._url), value_of(self._secret), value_of(self._token)))

    def close(self) -> None:
        """Cut the connection, if there is one."""
        self._exchange.close()

    def _headers(self, notification: Notification, now_ms: int) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "sentiment-monitor",
            "Idempotency-Key": notification.key,
        }
        if secret := value_of(self._secret):
            headers[HEADER] = sign(secret, notification.body, now_ms // 1000)
        if token := value_of(self._token):
            if not _one_line(token):
                raise NotifierRefused("the file of the webhook's token no longer holds one line of ASCII")
            headers["Authorization"] = f"Bearer {token}"
        return headers


def _one_line(token: str) -> bool:
    return token.isascii() and not any(character in token for character in "\r\n")
