"""E-mail, to a real mail server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from mail_server import CERTIFICATE, PASSWORD, USER, free_port, mail_server
from receiver import START_MS, alert, notification
from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.domain.payload import encode, group
from sentiment_monitor.notify.contract import DeliveryLater, NotifierRefused, NotifyRejected, Secret
from sentiment_monitor.notify.phrasing import Phrasing
from sentiment_monitor.notify.smtp import MailServer, Security, SmtpNotifier

NOW_MS = 1_678_468_900_000
DESK, NIGHT = "desk@bank.example", "night@bank.example"


def notifier(
    port: int,
    security: Security = "none",
    *,
    username: str | None = None,
    password: Secret = "",
    to: tuple[str, ...] = (DESK,),
    timeout_s: float = 10.0,
    host: str = "127.0.0.1",
) -> SmtpNotifier:
    return SmtpNotifier(
        MailServer(host, port, security, username, password, CERTIFICATE),
        sender="monitor@bank.example",
        to=to,
        phrasing=Phrasing(),
        timeout_s=timeout_s,
    )


def test_a_mail_says_it_in_text_and_html_under_the_key_and_in_one_thread() -> None:
    with mail_server() as box:
        sender = notifier(box.port, to=(DESK, NIGHT))
        sender.send(notification(), NOW_MS)
        sender.send(notification(resolved=True), NOW_MS)
    assert box.recipients == [[DESK, NIGHT]] * 2
    fired, over = box.taken
    assert fired["Subject"] == "Acme: 14 negative stories in 24 h"
    assert fired["From"] == "monitor@bank.example"
    assert fired["To"] == f"{DESK}, {NIGHT}"
    assert fired["Date"] == "Fri, 10 Mar 2023 17:21:40 +0000"
    assert fired["Message-ID"] == f"<{notification().key}@bank.example>"
    assert fired["Auto-Submitted"] == "auto-generated"
    assert fired["References"] == over["References"]
    plain, html = fired.iter_parts()
    assert (plain.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert "Acme halts withdrawals – 银行 https://news.example/1" in plain.get_content()
    assert '<a href="https://news.example/1" rel="noopener noreferrer">Acme halts withdrawals' in html.get_content()


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_mail_is_handed_over_by_tls_and_with_a_login(security: Security, host: str) -> None:
    with mail_server(security, login=True) as box:
        notifier(box.port, security, username=USER, password=PASSWORD, host=host).send(notification(), NOW_MS)
    assert len(box.taken) == 1


def test_a_certificate_of_somebody_else_gets_neither_password_nor_mail() -> None:
    with mail_server("starttls", login=True) as box:
        other = SmtpNotifier(
            MailServer("127.0.0.1", box.port, "starttls", USER, PASSWORD),  # the system does not know this certificate
            sender="monitor@bank.example",
            to=(DESK,),
            phrasing=Phrasing(),
        )
        with pytest.raises(DeliveryLater, match="certificate is not valid"):
            other.send(notification(), NOW_MS)
    assert box.taken == []


def test_without_the_encryption_that_was_asked_for_nothing_is_sent() -> None:
    with mail_server("none") as box:
        with pytest.raises(NotifierRefused, match="STARTTLS"):
            notifier(box.port, "starttls").send(notification(), NOW_MS)
        with pytest.raises(DeliveryLater):
            notifier(box.port, "tls", timeout_s=1.0).send(notification(), NOW_MS)
    assert box.taken == []


@pytest.mark.parametrize(("username", "password"), [(USER, "wrong SECRET"), (None, "")])
def test_who_is_not_let_in_stops(username: str | None, password: str) -> None:
    with (
        mail_server("starttls", login=True) as box,
        pytest.raises(NotifierRefused, match=r"53[05] ") as raised,
    ):
        notifier(box.port, "starttls", username=username, password=password).send(notification(), NOW_MS)
    assert "SECRET" not in str(raised.value)


def test_a_password_that_is_replaced_is_used_at_the_next_delivery() -> None:
    passwords = ["old"]
    with mail_server("starttls", login=True) as box:
        sender = notifier(box.port, "starttls", username=USER, password=lambda: passwords[0])
        with pytest.raises(NotifierRefused):
            sender.send(notification(), NOW_MS)
        refused = sender.access()
        passwords[0] = PASSWORD
        assert sender.access() != refused
        sender.send(notification(), NOW_MS)
    assert len(box.taken) == 1


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ("451 try again", DeliveryLater),
        ("552 too large", NotifyRejected),
        ("554 no spam here", NotifyRejected),
        ("530 log in first", NotifierRefused),
    ],
)
def test_what_a_server_says_is_understood(answer: str, failure: type[Exception]) -> None:
    with mail_server() as box:
        box.data_answers = [answer]
        with pytest.raises(failure, match=answer):
            notifier(box.port).send(notification(), NOW_MS)
    assert box.taken == []


def test_a_recipient_that_was_away_gets_it_later_and_the_others_not_again() -> None:
    with mail_server() as box:
        box.recipient_answers[NIGHT] = ["450 greylisted", "250 OK"]
        sender = notifier(box.port, to=(DESK, NIGHT))
        with pytest.raises(DeliveryLater, match="greylisted"):
            sender.send(notification(), NOW_MS)
        sender.send(notification(), NOW_MS)
    assert box.recipients == [[DESK], [NIGHT]]
    assert len({message["Message-ID"] for message in box.taken}) == 1


def test_a_recipient_that_does_not_exist_is_said_and_the_others_have_it() -> None:
    with mail_server() as box:
        box.recipient_answers[NIGHT] = ["550 nobody here"]
        with pytest.raises(NotifyRejected, match="550 nobody here"):
            notifier(box.port, to=(DESK, NIGHT)).send(notification(), NOW_MS)
        assert box.recipients == [[DESK]]
        box.recipient_answers[DESK] = ["550 nobody here"]
        with pytest.raises(NotifyRejected):
            notifier(box.port, to=(DESK, NIGHT)).send(notification(), NOW_MS)


def test_every_attempt_is_the_same_mail_but_for_its_date() -> None:
    with mail_server() as box:
        sender = notifier(box.port)
        sender.send(notification(), NOW_MS)
        sender.send(notification(), NOW_MS + 60_000)
    first, second = box.taken
    del first["Date"], second["Date"]
    assert first.as_bytes() == second.as_bytes()


def test_no_header_comes_from_a_title() -> None:
    evil = "Acme\r\nBcc: all@bank.example\r\n\r\n<script>alert(1)</script>\x00\u2028X"
    hostile = replace(notification(), title=evil)
    with mail_server() as box:
        notifier(box.port).send(hostile, NOW_MS)
    (message,) = box.taken
    assert message["Bcc"] is None
    assert message["Subject"].startswith("Acme Bcc: all@bank.")
    assert box.recipients == [[DESK]]
    html = list(message.iter_parts())[1].get_content()
    assert "<script" not in html


@contextmanager
def _silent(*, drips: bool) -> Iterator[int]:
    """A server that takes connections and says nothing, or one letter after the other."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while not ended.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    while not ended.wait(0.05):
                        try:
                            connection.sendall(b"2" if drips else b"")
                        except OSError:
                            break

        listener.settimeout(0.2)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            thread.join()


@pytest.mark.parametrize("drips", [False, True])
@pytest.mark.parametrize("security", ["none", "tls"])
def test_a_server_that_takes_its_time_is_left(drips: bool, security: Security) -> None:
    with _silent(drips=drips) as port:
        began = time.monotonic()
        with pytest.raises(DeliveryLater):
            notifier(port, security, timeout_s=0.7).send(notification(), NOW_MS)
        assert time.monotonic() - began < 3


def test_closing_ends_a_delivery_that_hangs_and_nothing_is_sent_afterwards() -> None:
    with mail_server() as box:
        box.delay_s = 5
        sender = notifier(box.port, timeout_s=60)
        failures: list[Exception] = []

        def send() -> None:
            try:
                sender.send(notification(), NOW_MS)
            except DeliveryLater as error:
                failures.append(error)

        thread = threading.Thread(target=send)
        thread.start()
        time.sleep(0.5)
        began = time.monotonic()
        sender.close()
        thread.join(5)
        assert (len(failures), time.monotonic() - began < 3) == (1, True)
        with pytest.raises(DeliveryLater, match="closed"):
            sender.send(notification(), NOW_MS)


def test_nobody_listening_is_tried_again_later() -> None:
    with pytest.raises(DeliveryLater, match="cannot be reached"):
        notifier(free_port()).send(notification(), NOW_MS)


def test_a_mail_of_several_alerts_names_them_all() -> None:
    several = [alert(), alert(series="ticker:BOLT")]
    told = Notification(
        "key", "desk", "mail", "2 alerts", "text", encode(group("desk", several, group_by=("alertname",)))
    )
    with mail_server() as box:
        notifier(box.port).send(told, START_MS)
    text = next(iter(box.taken[0].iter_parts())).get_content()
    assert text.count("Acme halts withdrawals") == 2
