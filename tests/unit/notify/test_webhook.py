from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time

import pytest

from receiver import Answer, notification, receiver
from sentiment_monitor.errors import RecordError, RetryLater, SettingsError
from sentiment_monitor.notify.contract import DeliveryLater, Notifier, NotifierRefused, NotifyRejected
from sentiment_monitor.notify.exchange import MAX_RESPONSE_BYTES, retry_after_s
from sentiment_monitor.notify.signature import HEADER, verify
from sentiment_monitor.notify.webhook import WebhookNotifier

NOW_MS = 1_678_468_900_000


def send(url: str, **settings: object) -> None:
    notifier: Notifier = WebhookNotifier(url, **{"timeout_s": 5.0, **settings})  # type: ignore[arg-type]
    try:
        notifier.send(notification(), NOW_MS)
    finally:
        notifier.close()


def test_the_receiver_gets_the_exact_bytes_signed_with_key_and_token() -> None:
    with receiver() as there:
        send(there.url + "/hook", secret="s3cret", token="t0ken")
    [seen] = there.seen
    assert seen.path == "/hook"
    assert seen.body == notification().body
    assert json.loads(seen.body)["status"] == "firing"
    assert seen.headers["Content-Type"] == "application/json"
    assert seen.headers["Idempotency-Key"] == notification().key
    assert seen.headers["Authorization"] == "Bearer t0ken"
    assert verify("s3cret", seen.headers, seen.body, NOW_MS / 1000)
    assert not verify("s3cret", seen.headers, seen.body + b" ", NOW_MS / 1000)
    assert not verify("s3cret", seen.headers, seen.body, NOW_MS / 1000 + 301)


def test_without_secrets_nothing_is_signed() -> None:
    with receiver() as there:
        send(there.url)
    assert HEADER not in there.seen[0].headers
    assert "Authorization" not in there.seen[0].headers


def test_a_failing_receiver_gets_the_same_key_and_bytes_again() -> None:
    with receiver(Answer(500), Answer(200)) as there:
        with pytest.raises(DeliveryLater, match="answered 500") as raised:
            send(there.url)
        assert raised.value.retry_after_s is None
        assert isinstance(raised.value, RetryLater)
        send(there.url)
    first, second = there.seen
    assert first.body == second.body
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]


@pytest.mark.parametrize("header", ["17", "Fri, 10 Mar 2023 17:21:57 GMT"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_that_asks_for_time_is_heard(status: int, header: str) -> None:
    with receiver(Answer(status, {"Retry-After": header})) as there, pytest.raises(DeliveryLater) as raised:
        send(there.url)
    assert raised.value.retry_after_s == pytest.approx(17)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("9" * 400, 1e9),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_with_care(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW_MS) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("status", [400, 404, 410, 422])
def test_a_refusal_is_final(status: int) -> None:
    with receiver(Answer(status)) as there, pytest.raises(NotifyRejected) as raised:
        send(there.url)
    assert raised.value.code == f"http_{status}"
    assert isinstance(raised.value, RecordError)


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_receiver_that_does_not_let_us_in_stops_the_notifier(status: int) -> None:
    with receiver(Answer(status)) as there, pytest.raises(NotifierRefused, match=f"answered {status}"):
        send(there.url, token="t0ken")


def test_secrets_are_read_anew_from_where_they_lie() -> None:
    tokens = ["old"]
    with receiver() as there:
        notifier = WebhookNotifier(there.url, token=lambda: tokens[0], secret=lambda: tokens[0])
        before = notifier.access()
        tokens[0] = "new"
        notifier.send(notification(), NOW_MS)
        assert notifier.access() != before
        tokens[0] = "two\nlines"
        with pytest.raises(NotifierRefused):
            notifier.send(notification(), NOW_MS)
        notifier.close()
    (seen,) = there.seen
    assert seen.headers["Authorization"] == "Bearer new"
    assert verify("new", seen.headers, seen.body, NOW_MS / 1000)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_refused_and_not_followed(status: int) -> None:
    with receiver() as elsewhere:
        answer = Answer(status, {"Location": elsewhere.url + "/?token=abc"})
        with receiver(answer) as there, pytest.raises(NotifyRejected, match="redirect_refused"):
            send(there.url)
        assert elsewhere.seen == []


def test_a_receiver_that_does_not_answer_is_left() -> None:
    with receiver(Answer(delay_s=1.5)) as there:
        began = time.monotonic()
        with pytest.raises(DeliveryLater, match="in time"):
            send(there.url, timeout_s=0.2)
        assert time.monotonic() - began < 1.2


@pytest.mark.parametrize(
    ("scheme", "beginning"),
    [
        ("http", b""),
        ("http", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("http", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
        ("https", b"\x16\x03\x03\x40\x00"),  # a TLS record of 16 KiB
    ],
)
def test_a_receiver_that_drips_is_left(scheme: str, beginning: bytes) -> None:
    """Of headers, body or handshake a byte now and then: no single wait is long."""
    gone = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(beginning)
            while not gone.wait(0.05):
                connection.sendall(b"H")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        began = time.monotonic()
        with pytest.raises(DeliveryLater, match="in time"):
            send(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.5)
        assert time.monotonic() - began < 3
        gone.set()
        thread.join()


def test_nobody_listening_is_tried_again() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DeliveryLater, match="cannot be reached"):
        send(f"http://127.0.0.1:{port}")


def test_a_huge_answer_is_not_read_to_its_end() -> None:
    with receiver(Answer(200, body=b"x" * (MAX_RESPONSE_BYTES * 400))) as there:
        began = time.monotonic()
        send(there.url)
        assert time.monotonic() - began < 4


@pytest.mark.parametrize("url", ["", "ftp://host/x", "host/path", "http://", "http://[::1", "http://a b/"])
def test_a_url_that_cannot_work_is_refused_at_once_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError) as raised:
        WebhookNotifier(url)
    assert not url or url not in str(raised.value)


def test_a_token_that_would_break_the_header_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError) as raised:
        WebhookNotifier("http://host/", token="abc\r\nX: y")
    assert "abc" not in str(raised.value)


def test_secrets_show_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = []
    with receiver(Answer(500), Answer(404), Answer(302, {"Location": "http://x/PATHSECRET"}), Answer(200)) as there:
        url = there.url.replace("http://", "http://user:USERSECRET@") + "/PATHSECRET?key=QUERYSECRET"
        notifier = WebhookNotifier(url, secret="SIGNSECRET", token="TOKENSECRET", timeout_s=5)
        told.append(repr(notifier))
        for _ in range(4):
            try:
                notifier.send(notification(), NOW_MS)
            except (DeliveryLater, NotifyRejected) as error:
                told += [str(error), repr(error), repr(error.__cause__)]
        notifier.close()
    assert len(there.seen) == 4
    assert "SECRET" not in " ".join(told)
    assert "SECRET" not in caplog.text
