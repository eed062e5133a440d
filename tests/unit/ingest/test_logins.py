"""Tokens: from a real token server on the loopback, before they expire, and never two requests at once."""

from __future__ import annotations

import base64
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator

import pytest
from kafka import errors as kafka_errors

from sentiment_monitor.domain.logins import AwsIam, ClientCredentials
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.ingest import logins
from sentiment_monitor.ingest.logins import Token, TokenRefused, Tokens, tokens
from token_server import TokenServer

REFUSED = kafka_errors.SaslAuthenticationFailedError
AWAY = kafka_errors.KafkaConnectionError


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenServer]:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # a loopback without certificates
    server = TokenServer()
    yield server
    server.close()


def _login(server: TokenServer, secret: Callable[[], str] = lambda: "correct-horse") -> Tokens:
    return tokens(ClientCredentials(server.url, "newsroom", secret, scope="kafka.read", audience="news"))


def test_a_token_is_asked_for_once_with_what_the_provider_needs(server: TokenServer) -> None:
    login = _login(server)
    assert [login.token(), login.token()] == ["token-1", "token-1"]
    assert server.asked == [{"grant_type": "client_credentials", "scope": "kafka.read", "audience": "news"}]


def test_a_token_that_the_broker_refused_is_not_shown_again(server: TokenServer) -> None:
    login = _login(server)
    login.token()
    login.forget()
    assert login.token() == "token-2"


def test_a_secret_that_was_rotated_is_read_again(server: TokenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "_PAUSE_SECONDS", 0.0)
    secrets = ["old-horse"]
    login = _login(server, lambda: secrets[-1])
    with pytest.raises(REFUSED, match=r"refuses client newsroom: .*unknown secret") as raised:
        login.token()
    assert "horse" not in str(raised.value)
    secrets.append("correct-horse")
    assert login.token() == "token-2"


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ((503, b"later"), AWAY, "HTTPError"),
        ((429, b'{"error": "slow_down"}'), AWAY, "HTTPError"),
        ((404, b"<html>not here</html>"), REFUSED, "HTTP 404"),
        ((400, b'{"error": "invalid_scope"}'), REFUSED, "invalid_scope"),
        ((200, b"{}"), REFUSED, "missing_token"),
    ],
)
def test_a_server_in_trouble_is_waited_for_and_one_that_refuses_is_not(
    server: TokenServer, answer: tuple[int, bytes], error: type[Exception], said: str
) -> None:
    server.answer = answer
    with pytest.raises(error, match=said):
        _login(server).token()


def test_a_server_that_is_away_is_waited_for(server: TokenServer) -> None:
    server.close()
    with pytest.raises(AWAY, match=r"/token does not answer: ConnectionError"):
        _login(server).token()


def test_the_secret_is_sent_nowhere_else(server: TokenServer) -> None:
    other = TokenServer()
    server.elsewhere = other.url
    with pytest.raises(AWAY, match="TooManyRedirects"):
        _login(server).token()
    assert other.asked == []
    other.close()


def test_a_scope_that_the_server_narrows_is_the_brokers_matter(server: TokenServer) -> None:
    server.answer = (200, b'{"access_token": "narrow", "expires_in": 60, "scope": "other"}')
    assert _login(server).token() == "narrow"


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Server:
    """Counts how often it is asked; ``gate`` holds the answer back, ``failure`` is raised instead."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked = 0
        self.answered = threading.Semaphore(0)
        self.failure: Exception | None = None

    def __call__(self) -> Token:
        self.asked += 1
        try:
            if self.failure:
                raise self.failure
            return Token.lasting(f"token-{self.asked}", 100.0, self.clock.now)
        finally:
            self.answered.release()


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_token_is_renewed_before_it_expires_and_nobody_waits_for_that() -> None:
    clock = Clock()
    server = Server(clock)
    login = Tokens(server, clock.monotonic)
    assert login.token() == "token-1"
    clock.now = 79
    assert login.token() == "token-1"
    assert server.asked == 1
    clock.now = 81
    assert login.token() == "token-1"
    _until(lambda: login.token() == "token-2")
    assert server.asked == 2


def test_a_server_away_costs_nothing_while_the_old_token_lasts_and_is_not_flooded() -> None:
    clock = Clock()
    server = Server(clock)
    login = Tokens(server, clock.monotonic)
    login.token()
    server.failure = ConnectionError("away")
    clock.now = 81
    login.token()
    _until(lambda: server.asked == 2 and not login._fetching)
    for _ in range(50):
        assert login.token() == "token-1"
    assert server.asked == 2
    clock.now = 101
    with pytest.raises(AWAY, match="away"):
        login.token()
    server.failure = None
    clock.now = 103
    assert login.token() == "token-4"


def test_a_refusal_of_the_token_server_is_a_refusal_of_the_login() -> None:
    server = Server(Clock())
    server.failure = TokenRefused("unknown client")
    with pytest.raises(REFUSED, match="unknown client"):
        Tokens(server, server.clock.monotonic).token()


# -- Amazon MSK -----------------------------------------------------------------------------------------------------


def test_without_its_package_the_login_of_amazon_msk_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aws_msk_iam_sasl_signer", None)
    with pytest.raises(SettingsError, match=r"pip install 'sentiment-monitor\[msk\]'"):
        tokens(AwsIam("eu-central-1"))


def test_amazon_msk_gets_a_token_that_is_signed_for_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is an URL of the cluster with a signature; nobody is asked for it."""
    pytest.importorskip("aws_msk_iam_sasl_signer")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "correct-horse")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    text = tokens(AwsIam("eu-central-1")).token()
    url = urllib.parse.urlsplit(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())
    query = dict(urllib.parse.parse_qsl(url.query))
    assert url.hostname == "kafka.eu-central-1.amazonaws.com"
    assert query["Action"] == "kafka-cluster:Connect"
    assert query["X-Amz-Credential"].startswith("AKIAEXAMPLE/")
    assert "correct-horse" not in url.geturl()
