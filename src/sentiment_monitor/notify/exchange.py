"""One HTTP exchange with a receiver: bounded as a whole, and without following anybody elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from sentiment_monitor.errors import SettingsError
from sentiment_monitor.notify.contract import DeliveryLater, NotifierRefused, NotifyRejected
from sentiment_monitor.notify.deadline import Deadline

MAX_RESPONSE_BYTES = 64 * 1024
TRANSIENT = frozenset({408, 425, 429})
REFUSED = frozenset({401, 402, 403})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said, cut to ``MAX_RESPONSE_BYTES``."""

    status: int
    body: bytes
    retry_after_s: float | None  # how long it asked us to wait


class Exchange:
    """POSTs to receivers, a connection each. Addresses may hold secrets: errors show scheme and host only."""

    def __init__(self, timeout_s: float) -> None:
        for name in ("httpx", "httpcore"):  # they log whole URLs and answers, below this level
            logging.getLogger(name).setLevel(logging.WARNING)
        self._timeout_s = timeout_s
        # A connection each: alerts are rare, and the deadline needs to see the connection being made.
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout_s),
            follow_redirects=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        self._deadline: Deadline | None = None  # of the newest delivery
        self._closed = False

    def post(self, url: httpx.URL, content: bytes, headers: Mapping[str, str], now_ms: int) -> Answer:
        """The answer, whatever its status. The whole exchange is bounded, however slowly the receiver drips.

        Before it, the system takes its own time to find the host's addresses, and each that is tried has the timeout.
        Raises DeliveryLater when there is no answer in time, NotifyRejected for what cannot be sent.
        """
        where = place(url)
        deadline = self._deadline = Deadline(self._timeout_s)
        if self._closed:
            raise DeliveryLater(f"{where}: the notifier is closed")

        def trace(event: str, details: Mapping[str, Any]) -> None:
            if event == "connection.connect_tcp.complete":
                deadline.watch(details["return_value"].get_extra_info("socket"))

        try:
            with (
                deadline,
                self._client.stream(
                    "POST", url, content=content, headers=dict(headers), extensions={"trace": trace}
                ) as response,
            ):
                body = _read(response)
        except httpx.TimeoutException as error:
            raise DeliveryLater(f"{where} did not answer in time ({type(error).__name__})") from None
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError) as error:
            raise NotifyRejected("bad_request", f"{where}: {type(error).__name__}") from None
        except httpx.HTTPError as error:
            what = "did not answer in time" if deadline.passed else "cannot be reached"
            raise DeliveryLater(f"{where} {what} ({type(error).__name__})") from None
        if deadline.passed:  # a connection that ends is also how some answers end
            raise DeliveryLater(f"{where} did not answer in time (its answer never ended)")
        return Answer(response.status_code, body, retry_after_s(response.headers.get("Retry-After"), now_ms))

    def close(self) -> None:
        """Cut the connection, if there is one."""
        self._closed = True
        if self._deadline:
            self._deadline.cut()
        self._client.close()


def address(url: str, what: str) -> httpx.URL:
    """A receiver's address. Raises SettingsError, which names ``what`` it is and does not repeat it."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        parsed = None
    if parsed is None or any(c.isspace() for c in url) or parsed.scheme not in ("http", "https") or not parsed.host:
        raise SettingsError(f"{what} must be http or https, with a host and without spaces")
    return parsed


def place(url: httpx.URL) -> str:
    """Scheme, host and port: what of an address may be shown."""
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{url.host}{port}"


def judge(answer: Answer, where: str) -> None:
    """Returns for any 2xx; raises what any other status means."""
    status = answer.status
    if 200 <= status < 300:
        return
    if status >= 500 or status in TRANSIENT:
        raise DeliveryLater(f"{where} answered {status}", answer.retry_after_s)
    if status in REFUSED:
        raise NotifierRefused(f"{where} answered {status}: it does not let us in")
    if 300 <= status < 400:
        raise NotifyRejected("redirect_refused", f"{where} answered {status}; give the final URL instead")
    raise NotifyRejected(f"http_{status}", f"{where} refused the notification")


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


def _read(response: httpx.Response) -> bytes:
    body = b""
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            break
    return body[:MAX_RESPONSE_BYTES]
