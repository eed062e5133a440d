"""Settings of notifiers: the ways by which a receiver is told."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AnyUrl, Field, SecretStr, field_serializer, field_validator, model_validator

from sentiment_monitor.settings.section import Section

NAME = r"^[A-Za-z0-9_.-]{1,64}$"
Language = Literal["en", "zh"]
_ADDRESS = r"^[^\s@<>()\[\],;:\"\\]+@[^\s@<>()\[\],;:\"\\]+$"


class _Named(Section):
    """What every notifier has."""

    name: str = Field(
        "",
        pattern=NAME,
        description="What its notifications are kept under until they are delivered: a notifier that gets another name "
        "is another notifier. Without one it is the type; two of one type in a receiver both need a name.",
    )


class WordedNotifierSettings(_Named):
    """What every notifier has that sends words for people."""

    language: Language | None = Field(
        None, description="Of the words around the headlines: English or Chinese. Unset: the receiver's."
    )
    template: Path | None = Field(
        None, description="A Jinja template of your own instead of the shipped one (docs/receivers.md)."
    )


class LogNotifierSettings(_Named):
    """Writes the alert to the log."""

    type: Literal["log"] = "log"


class WebhookNotifierSettings(_Named):
    """Posts the alert as JSON, signed with HMAC-SHA256 when a secret is set."""

    type: Literal["webhook"]
    url: AnyUrl = Field(description="http or https. Redirects are refused.", repr=False)
    secret: SecretStr | None = Field(None, description="Key of the signature; without one nothing is signed.")
    secret_file: Path | None = Field(None, description="A file that holds the secret instead, read at each delivery.")
    token: SecretStr | None = Field(None, description="Sent as a bearer token.")
    token_file: Path | None = Field(None, description="A file that holds the token instead, read at each delivery.")
    timeout_seconds: float = Field(
        10.0, gt=0, le=120, description="For one delivery, from connecting to the last byte of the answer."
    )

    @field_serializer("url")
    def _without_secrets(self, url: AnyUrl) -> str:
        """Scheme and host: the rest of a webhook's address is often the key to it."""
        return f"{url.scheme}://{url.host}/**********"

    @model_validator(mode="after")
    def _secrets_are_said_once(self) -> WebhookNotifierSettings:
        _once(self, "secret")
        _once(self, "token")
        return self


class AppriseNotifierSettings(WordedNotifierSettings):
    """Teams, Telegram, PagerDuty and a hundred more, by apprise URL."""

    type: Literal["apprise"]
    url: SecretStr | None = Field(None, description="An apprise URL, e.g. tgram://…; secret as a whole.")
    url_file: Path | None = Field(None, description="A file that holds the URL instead, read at each delivery.")

    @model_validator(mode="after")
    def _has_an_address(self) -> AppriseNotifierSettings:
        _once(self, "url", required=True)
        return self


class SmtpNotifierSettings(WordedNotifierSettings):
    """Sends an e-mail, as plain text and HTML, by a mail server."""

    type: Literal["smtp"]
    host: str = Field(min_length=1, description="The mail server.")
    port: int | None = Field(
        None, ge=1, le=65_535, description="By default 587 with STARTTLS, 465 with TLS, 25 without either."
    )
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How the connection is encrypted; the server's certificate must be valid for host."
    )
    cafile: Path | None = Field(None, description="Certificates to trust instead of the system's.")
    username: str | None = Field(None, description="Without one there is no login.")
    password: SecretStr | None = Field(None, description="Of the user.")
    password_file: Path | None = Field(None, description="A file that holds it instead, read at each delivery.")
    sender: str = Field(pattern=_ADDRESS, description="From: an address, without a name.")
    to: list[str] = Field(min_length=1, max_length=50, description="Addresses, without names.")
    timeout_seconds: float = Field(30.0, gt=0, le=300, description="For one delivery as a whole.")

    @field_validator("to")
    @classmethod
    def _are_addresses(cls, to: list[str]) -> list[str]:
        for address in to:
            if not re.fullmatch(_ADDRESS, address):
                raise ValueError(f"{address!r} is no address such as desk@example.com")
        return to

    @model_validator(mode="after")
    def _login_is_whole_and_hidden(self) -> SmtpNotifierSettings:
        _once(self, "password")
        if (self.username is None) != (self.password is None and self.password_file is None):
            raise ValueError("username and password (or password_file) go together")
        if self.username is not None and self.security == "none" and not _is_here(self.host):
            raise ValueError('security = "none" would send the password in the clear; use starttls or tls')
        return self

    @property
    def whole_port(self) -> int:
        """The port, also where none is set."""
        return self.port or {"starttls": 587, "tls": 465, "none": 25}[self.security]


class _RobotNotifierSettings(WordedNotifierSettings):
    """A chat's robot: an address that its group has made for us."""

    url: SecretStr | None = Field(None, description="The robot's address; secret as a whole.")
    url_file: Path | None = Field(None, description="A file that holds the address instead, read at each delivery.")
    timeout_seconds: float = Field(10.0, gt=0, le=120, description="For one delivery as a whole.")

    @model_validator(mode="after")
    def _has_an_address(self) -> _RobotNotifierSettings:
        _once(self, "url", required=True)
        return self


class _SignedRobotNotifierSettings(_RobotNotifierSettings):
    """A robot that may want its messages signed."""

    secret: SecretStr | None = Field(None, description="Key of the signature, where the robot asks for one.")
    secret_file: Path | None = Field(None, description="A file that holds the secret instead, read at each delivery.")

    @model_validator(mode="after")
    def _secret_is_said_once(self) -> _SignedRobotNotifierSettings:
        _once(self, "secret")
        return self


class DingtalkNotifierSettings(_SignedRobotNotifierSettings):
    """Posts a card to a DingTalk (钉钉) group by its custom robot."""

    type: Literal["dingtalk"]


class FeishuNotifierSettings(_SignedRobotNotifierSettings):
    """Posts a card to a Feishu (飞书) or Lark group by its custom bot."""

    type: Literal["feishu"]


class WecomNotifierSettings(_RobotNotifierSettings):
    """Posts to a WeCom (企业微信) group by its robot."""

    type: Literal["wecom"]


class SlackNotifierSettings(_RobotNotifierSettings):
    """Posts to a Slack channel by an incoming webhook."""

    type: Literal["slack"]


class KafkaNotifierSettings(_Named):
    """Writes the alert's JSON to a topic of the brokers that news is read from, by the same login."""

    type: Literal["kafka"]
    topic: str = Field(pattern=r"^[A-Za-z0-9._-]{1,249}$", description="It must exist.")
    timeout_seconds: float = Field(30.0, gt=0, le=300, description="For one delivery as a whole.")

    @field_validator("topic")
    @classmethod
    def _is_a_name(cls, topic: str) -> str:
        if topic in (".", ".."):
            raise ValueError("is no name of a topic")
        return topic


NotifierSettings = Annotated[
    LogNotifierSettings
    | WebhookNotifierSettings
    | SmtpNotifierSettings
    | KafkaNotifierSettings
    | SlackNotifierSettings
    | DingtalkNotifierSettings
    | WecomNotifierSettings
    | FeishuNotifierSettings
    | AppriseNotifierSettings,
    Field(discriminator="type"),
]


def _once(settings: Section, secret: str, *, required: bool = False) -> None:
    """Raises ValueError for a secret that is set and named by a file as well; a required one by neither."""
    given = [name for name in (secret, f"{secret}_file") if getattr(settings, name) is not None]
    if len(given) > 1:
        raise ValueError(f"{secret} and {secret}_file cannot both be set")
    if required and not given:
        raise ValueError(f"{secret} or {secret}_file must be set")


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
