"""Tokens for SASL/OAUTHBEARER: fetched before the old one expires, and never on the client's own thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog
from kafka import errors as kafka_errors
from kafka.net.sasl.oauth import AbstractTokenProvider

from sentiment_monitor.domain.logins import AwsIam, ClientCredentials, TokenLogin
from sentiment_monitor.errors import SettingsError

_log = structlog.get_logger()

_RENEW_AT = 0.8  # of a token's life
_LIFE_SECONDS = 300.0  # of a token that does not say
_WAIT_SECONDS = 5.0  # a connection waits for a token, and the client's other connections with it
_REQUEST_SECONDS = 10.0
_SIGNED_SECONDS = 900.0  # of every token of Amazon; the signer's own answer is in local time, hours off
_PAUSE_SECONDS = 1.0  # between two requests to a server that gave none


@dataclass(frozen=True, slots=True)
class Token:
    """``expires`` is in monotonic seconds."""

    text: str = field(repr=False)
    renew: float
    expires: float

    @classmethod
    def lasting(cls, text: str, seconds: float, now: float) -> Token:
        """A token that was given ``now`` for so many seconds."""
        return cls(text, now + seconds * _RENEW_AT, now + seconds)


class TokenRefused(Exception):
    """The token server knows us, and gives us none: waiting does not help."""


class Tokens(AbstractTokenProvider):  # type: ignore[misc]  # the client publishes no types
    """The token of a client. ``fetch`` asks for one; it may take its time, raise TokenRefused, or anything else."""

    def __init__(self, fetch: Callable[[], Token], monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._fetch = fetch
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._token: Token | None = None
        self._failure: Exception | None = None
        self._failed_at = float("-inf")
        self._fetching = False

    def token(self) -> str:
        """A token that has not expired. Raises the client's errors: refused, or (try again) no token within seconds."""
        with self._changed:
            now = self._monotonic()
            if self._token is None or now >= self._token.renew:
                self._begin(now)
            if self._token is None or now >= self._token.expires:
                self._token = None
                self._changed.wait_for(lambda: self._token or not self._fetching, _WAIT_SECONDS)
            if self._token is not None:
                return self._token.text
            failure = self._failure
        if isinstance(failure, TokenRefused):
            raise kafka_errors.SaslAuthenticationFailedError(f"no token: {failure}")
        raise kafka_errors.KafkaConnectionError(f"no token: {failure or 'the token server does not answer'}")

    def forget(self) -> None:
        """The broker refused the token: the next connection gets another."""
        with self._changed:
            self._token = None

    def _begin(self, now: float) -> None:
        if not self._fetching and now - self._failed_at >= _PAUSE_SECONDS:
            self._fetching = True
            threading.Thread(target=self._renew, name="kafka-token", daemon=True).start()

    def _renew(self) -> None:
        token, failure = None, None
        try:
            token = self._fetch()
        except Exception as error:  # noqa: BLE001  # kept, and raised to the connection that waits for the token
            failure = error
            _log.warning("token.not_renewed", error=str(error))
        with self._changed:
            self._fetching = False
            self._failure = failure
            if token is None:
                self._failed_at = self._monotonic()
            else:
                self._token = token
            self._changed.notify_all()


def tokens(login: TokenLogin) -> Tokens:
    """The tokens of a login. Raises SettingsError when a package for it is not installed."""
    if isinstance(login, AwsIam):
        return Tokens(_signing(login))
    return Tokens(lambda: _client_credentials(login))


def _client_credentials(login: ClientCredentials) -> Token:
    import requests
    from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error
    from requests_oauthlib import OAuth2Session

    extra = {"audience": login.audience} if login.audience else {}
    with OAuth2Session(client=BackendApplicationClient(client_id=login.client_id, scope=login.scope)) as session:
        session.register_compliance_hook("access_token_response", _answered)
        session.max_redirects = 0  # elsewhere nobody is to see the secret
        asked = time.monotonic()
        try:
            answer = session.fetch_token(
                login.token_url, client_secret=login.secret(), timeout=_REQUEST_SECONDS, scope=login.scope, **extra
            )
        except (OAuth2Error, TokenRefused) as error:
            raise TokenRefused(f"{login.token_url} refuses client {login.client_id}: {error}") from None
        except Warning as narrowed:  # the server grants another scope: the broker will say whether that is enough
            answer = vars(narrowed)["token"]
        except requests.RequestException as error:
            raise ConnectionError(f"{login.token_url} does not answer: {type(error).__name__}") from None
    return Token.lasting(answer["access_token"], float(answer.get("expires_in") or _LIFE_SECONDS), asked)


def _answered(response: Any) -> Any:
    """Tells a server in trouble, which is waited out, from one that refuses."""
    status = response.status_code
    if status in (408, 429) or status >= 500:
        response.raise_for_status()
    if status >= 400 and b"error" not in response.content:  # no answer of a token server
        raise TokenRefused(f"HTTP {status}")
    return response


def _signing(login: AwsIam) -> Callable[[], Token]:
    try:
        from aws_msk_iam_sasl_signer import MSKAuthTokenProvider as Signer
    except ImportError:
        raise SettingsError(
            "kafka.sasl_mechanism AWS_MSK_IAM: a package for it is not installed; pip install 'sentiment-monitor[msk]'"
        ) from None

    def sign() -> Token:
        began = time.monotonic()
        if login.role_arn:
            text, _ = Signer.generate_auth_token_from_role_arn(login.region, login.role_arn)
        elif login.profile:
            text, _ = Signer.generate_auth_token_from_profile(login.region, login.profile)
        else:
            text, _ = Signer.generate_auth_token(login.region)
        return Token.lasting(text, _SIGNED_SECONDS, began)

    return sign
