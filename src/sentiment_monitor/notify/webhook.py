"""Delivery to an HTTP endpoint: signed, bounded, and without following anybody elsewhere."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any

import httpx

from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.notify.contract import DeliveryLater, NotifyRejected
from sentiment_monitor.notify.signature import HEADER, sign

MAX_RESPONSE_BYTES = 64 * 1024
TRANSIENT = frozenset({408, 425, 429})


class WebhookNotifier:
    """POSTs the JSON payload. Any 2xx is success; the response is read up to 64 KiB and thrown away.

    ``secret`` signs (see ``signature``), ``token`` is sent as a bearer token; both optional. The URL may hold secrets
    itself, so errors and ``repr`` show its scheme and host only. Redirects are refused: a signed body must not wander.
    """

    def __init__(self, url: str, *, secret: str = "", token: str = "", timeout_s: float = 10.0) -> None:
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, TypeError):
            parsed = None
        if parsed is None or any(c.isspace() for c in url) or parsed.scheme not in ("http", "https") or not parsed.host:
            raise SettingsError("a webhook URL must be http or https, with a host and without spaces")
        if not token.isascii() or any(character in token for character in "\r\n"):
            raise SettingsError("a webhook token must be one line of ASCII")
        for name in ("httpx", "httpcore"):  # they log whole URLs and answers, below this level
            logging.getLogger(name).setLevel(logging.WARNING)
        self._url = parsed
        self._secret = secret
        self._token = token
        self._timeout_s = timeout_s
        # A connection each: alerts are rare, and the deadline needs to see the connection being made.
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout_s),
            follow_redirects=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        self._deadline: _Deadline | None = None  # of the newest delivery
        self._closed = False

    def __repr__(self) -> str:
        return f"WebhookNotifier({self._where})"

    @property
    def _where(self) -> str:
        port = f":{self._url.port}" if self._url.port else ""
        return f"{self._url.scheme}://{self._url.host}{port}"

    def send(self, notification: Notification, now_ms: int) -> None:
        """See ``Notifier.send``. The whole exchange is bounded by the timeout, however slowly the receiver drips.

        Before it, the system takes its own time to find the host's addresses, and each that is tried has the timeout.
        """
        deadline = self._deadline = _Deadline(self._timeout_s)
        if self._closed:
            raise DeliveryLater(f"{self._where}: the notifier is closed")
        try:
            with (
                deadline,
                self._client.stream(
                    "POST",
                    self._url,
                    content=notification.body,
                    headers=self._headers(notification, now_ms),
                    extensions={"trace": deadline.trace},
                ) as response,
            ):
                self._read(response)
        except httpx.TimeoutException as error:
            raise DeliveryLater(f"{self._where} did not answer in time ({type(error).__name__})") from None
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError) as error:
            raise NotifyRejected("bad_request", f"{self._where}: {type(error).__name__}") from None
        except httpx.HTTPError as error:
            what = "did not answer in time" if deadline.passed else "cannot be reached"
            raise DeliveryLater(f"{self._where} {what} ({type(error).__name__})") from None
        if deadline.passed:  # a connection that ends is also how some answers end
            raise DeliveryLater(f"{self._where} did not answer in time (its answer never ended)")
        self._judge(response, now_ms)

    def close(self) -> None:
        """Cut the connection, if there is one."""
        self._closed = True
        if self._deadline:
            self._deadline.cut()
        self._client.close()

    def _headers(self, notification: Notification, now_ms: int) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "sentiment-monitor",
            "Idempotency-Key": notification.key,
        }
        if self._secret:
            headers[HEADER] = sign(self._secret, notification.body, now_ms // 1000)
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def _read(self, response: httpx.Response) -> None:
        size = 0
        for chunk in response.iter_raw():
            size += len(chunk)
            if size > MAX_RESPONSE_BYTES:
                return

    def _judge(self, response: httpx.Response, now_ms: int) -> None:
        status = response.status_code
        if response.is_success:
            return
        if status >= 500 or status in TRANSIENT:
            later = retry_after_s(response.headers.get("Retry-After"), now_ms)
            raise DeliveryLater(f"{self._where} answered {status}", later)
        if response.is_redirect or 300 <= status < 400:
            raise NotifyRejected("redirect_refused", f"{self._where} answered {status}; give the final URL instead")
        raise NotifyRejected(f"http_{status}", f"{self._where} refused the notification")


class _Deadline:
    """Cuts the connection when the time is over; the client's own timeouts begin anew with every byte."""

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self.cut)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        if self._socket is not None:
            self._socket.close()

    def trace(self, event: str, details: Mapping[str, Any]) -> None:
        """Called by the client at each step; notes the connection."""
        if event == "connection.connect_tcp.complete":
            # A duplicate: TLS takes the socket over, also in the midst of its handshake, and the client closes it.
            self._socket = details["return_value"].get_extra_info("socket").dup()
            if self.passed:
                self.cut()

    def cut(self) -> None:
        """End the exchange now: whatever waits for the receiver fails."""
        self.passed = True
        if self._socket is not None:
            # OSError: the receiver has hung up meanwhile.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def retry_after_s(header: str | None, now_ms: int) -> float | None:
    """Seconds to wait by RFC 9110 section 10.2.3 (a number of seconds or a date); None when absent or unreadable."""
    if not header:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_ms / 1000)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
