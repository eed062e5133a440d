"""A socket of one's own, and what is said of one that cannot be had."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time

import httpx
import pytest
from fastapi import FastAPI

from sentiment_monitor.errors import SettingsError
from sentiment_monitor.web.server import WebServer


def _ignore(error: BaseException) -> None:
    raise AssertionError(error)


def _site() -> FastAPI:
    app = FastAPI()
    app.get("/")(lambda: "here")
    return app


def test_it_answers_until_it_is_stopped_and_gives_its_port_back() -> None:
    server = WebServer("127.0.0.1", 0)
    server.start(_site(), _ignore)
    assert httpx.get(server.url).json() == "here"
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)
    again = WebServer("127.0.0.1", server.port)
    again.start(_site(), _ignore)
    assert httpx.get(again.url).json() == "here"
    again.stop()


def test_a_port_that_is_taken_is_refused_with_what_to_do() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(SettingsError, match=r"web\.port \d+ on 127\.0\.0\.1 cannot be listened on: .*--roles"):
            WebServer("127.0.0.1", other.getsockname()[1])
    first = WebServer("127.0.0.1", 0)
    with pytest.raises(SettingsError, match="MONITOR_WEB__PORT"):
        WebServer("127.0.0.1", first.port)
    first.stop()


def test_an_address_that_is_not_ours_is_refused() -> None:
    for host in ("192.0.2.1", "no such host"):
        with pytest.raises(SettingsError, match="web"):
            WebServer(host, 0)


def test_every_interface_is_shown_as_localhost() -> None:
    server = WebServer("0.0.0.0", 0)
    assert server.url == f"http://localhost:{server.port}"
    server.stop()


def test_a_server_that_ends_by_itself_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[BaseException] = []
    seen = threading.Event()

    def failed(error: BaseException) -> None:
        reported.append(error)
        seen.set()

    server = WebServer("127.0.0.1", 0)
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
    server.start(_site(), failed)
    assert seen.wait(10)
    assert "ended by itself" in str(reported[0])
    server.stop()


def test_who_connects_and_says_nothing_is_hung_up_on_and_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentiment_monitor.web.server._PATIENCE_SECONDS", 1)
    server = WebServer("127.0.0.1", 0)
    server.start(_site(), _ignore)
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(80)]
    try:
        assert httpx.get(server.url).json() == "here"
        for visitor in silent:
            visitor.settimeout(5)
            assert visitor.recv(1) == b""
    finally:
        for visitor in silent:
            visitor.close()
        server.stop()


def test_a_question_that_never_ends_wins_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentiment_monitor.web.server._PATIENCE_SECONDS", 1)
    server = WebServer("127.0.0.1", 0)
    server.start(_site(), _ignore)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.settimeout(5)
        slow.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 5 and select.select([slow], [], [], 0.2)[0] == []:
                slow.sendall(b"x")
            assert slow.recv(1) == b""
    assert time.monotonic() - began < 3
    server.stop()


def test_a_question_in_two_parts_is_answered() -> None:
    server = WebServer("127.0.0.1", 0)
    server.start(_site(), _ignore)
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.settimeout(5)
        for _ in range(2):
            slow.sendall(b"GET / HTTP/1.1\r\nHost: local")
            time.sleep(0.1)
            slow.sendall(b"host\r\n\r\n")
            answer = b""
            while not answer.endswith(b'"here"'):  # head and body may come apart
                part = slow.recv(1_000)
                assert part
                answer += part
            assert answer.startswith(b"HTTP/1.1 200")
    server.stop()


def test_a_request_that_hangs_does_not_hold_up_the_end() -> None:
    entered, go_on = threading.Event(), threading.Event()
    app = FastAPI()

    @app.get("/")
    def slow() -> str:
        entered.set()
        go_on.wait(30)
        return "late"

    server = WebServer("127.0.0.1", 0)
    server.start(app, _ignore)

    answers: list[int] = []

    def ask() -> None:
        with contextlib.suppress(httpx.HTTPError):  # hung up on, or told that it failed
            answers.append(httpx.get(server.url, timeout=30).status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    assert entered.wait(10)
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 4
    go_on.set()
    asking.join(20)
    assert not asking.is_alive()
    assert answers in ([], [500])
