"""Settings of what comes in: Kafka, its topics, and how a message becomes a story."""

from __future__ import annotations

import json
import re
import zoneinfo
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import re2
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from sentiment_monitor.domain.logins import AwsIam, ClientCredentials, TokenLogin
from sentiment_monitor.errors import SettingsError, meant
from sentiment_monitor.settings.secrets import as_it_is_now
from sentiment_monitor.settings.section import Section, without_login

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


def _expression(text: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(text, options)


def _secret(name: str, loaded: SecretStr | None) -> str | Callable[[], str]:
    secret = as_it_is_now(f"kafka.{name}", loaded)
    if secret is None:  # no fault of the settings file, which may be looked at where the secrets are not
        raise SettingsError(f"kafka.{name} is not set: MONITOR_KAFKA__{name.upper()}, or its secret file")
    return secret


class KafkaSettings(Section):
    """Where the news comes from. Security settings are passed to the client as they are."""

    bootstrap_servers: Annotated[list[str], NoDecode] = Field(
        ["localhost:9092"], min_length=1, description="Broker addresses, host:port; a list or a comma-separated text."
    )
    topics: Annotated[list[str], NoDecode] = Field(
        ["news"], min_length=1, description="Topics to consume; a list or a comma-separated text."
    )
    topic_pattern: str | None = Field(
        None,
        description="Instead of topics: a regular expression; topics whose whole names fit are consumed, also later.",
    )
    isolation: Literal["read_committed", "read_uncommitted"] = Field(
        "read_committed",
        description="Whether records of open and aborted transactions are left alone or read.",
    )
    group: str = Field("sentiment-monitor", min_length=1, description="Consumer group; replicas share its partitions.")
    start: Literal["earliest", "latest"] = Field(
        "earliest", description="Where to begin in a partition that SQL does not know yet."
    )
    on_lost_position: Literal["stop", "earliest", "latest"] = Field(
        "stop", description="What to do when the broker no longer holds the next offset recorded in SQL."
    )
    session_timeout_ms: int = Field(
        45_000, ge=1_000, le=1_800_000, description="A member silent this long loses its partitions."
    )
    heartbeat_interval_ms: int = Field(3_000, ge=100, description="How often a member says that it lives; shorter.")
    max_poll_records: int = Field(500, ge=1, le=10_000, description="Records taken from the client at once.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Transport and authentication."
    )
    sasl_mechanism: (
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM", "GSSAPI"] | None
    ) = Field(None, description="SASL mechanism. AWS_MSK_IAM needs the extra msk, GSSAPI the package gssapi.")
    sasl_username: str | None = Field(None, description="SASL user.")
    sasl_password: SecretStr | None = Field(None, description="SASL password.")
    oauth_token_url: str | None = Field(
        None, description="For OAUTHBEARER: where an OpenID provider gives tokens, https://…; no redirect is followed."
    )
    oauth_client_id: str | None = Field(None, description="For OAUTHBEARER: as whom we ask (client credentials).")
    oauth_client_secret: SecretStr | None = Field(None, description="For OAUTHBEARER: the secret of this client.")
    oauth_scope: str | None = Field(None, description="For OAUTHBEARER: scopes to ask for, separated by blanks.")
    oauth_audience: str | None = Field(None, description="For OAUTHBEARER: for whom the token is, where that is asked.")
    aws_region: str | None = Field(None, description="For AWS_MSK_IAM: the cluster's region, such as eu-central-1.")
    aws_role_arn: str | None = Field(None, description="For AWS_MSK_IAM: a role to take on first.")
    aws_profile: str | None = Field(None, description="For AWS_MSK_IAM: a profile of AWS' own settings.")
    ssl_cafile: Path | None = Field(None, description="Certificate authority that signed the brokers' certificates.")
    ssl_certfile: Path | None = Field(None, description="Client certificate, for mutual TLS.")
    ssl_keyfile: Path | None = Field(None, description="Client key, for mutual TLS.")
    ssl_password: SecretStr | None = Field(None, description="Password of the client key.")
    ssl_check_hostname: bool = Field(True, description="Check that the certificate names the host.")

    @field_validator("bootstrap_servers", "topics", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):  # from the environment; a value that is not JSON is a ValueError, as wanted
            return json.loads(value)
        return [part.strip() for part in value.split(",") if part.strip()]

    @field_validator("bootstrap_servers")
    @classmethod
    def _addresses(cls, value: list[str]) -> list[str]:
        for address in value:
            if "@" in address:  # not repeated: what stands before it may be a password
                raise ValueError("an address is host:port; who we are is said by sasl_username and sasl_password")
            port = address.rpartition(":")[2]
            if ":" in address and not address.endswith("]") and not (port.isascii() and port.isdigit()):
                raise ValueError(f"{address!r} is not host:port")
        return value

    @field_validator("topics")
    @classmethod
    def _topic_names(cls, value: list[str]) -> list[str]:
        for name in value:
            if not _TOPIC.fullmatch(name) or name in (".", ".."):
                raise ValueError(f"{name!r} is no topic name (letters, digits, . _ -; at most 249)")
        return value

    @model_validator(mode="after")
    def _heart_beats_within_the_session(self) -> KafkaSettings:
        if self.heartbeat_interval_ms >= self.session_timeout_ms:
            raise ValueError(
                f"heartbeat_interval_ms ({self.heartbeat_interval_ms}) must be shorter than session_timeout_ms "
                f"({self.session_timeout_ms}), a third of it or less"
            )
        return self

    @field_validator("topic_pattern")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value:
            try:
                _expression(value)
            except re2.error as error:
                said = error.args[0].decode() if isinstance(error.args[0], bytes) else error
                raise ValueError(f"{value!r} is no regular expression that takes bounded time (RE2): {said}") from None
        return value or None  # a command line that names topics says so with an empty pattern

    @field_validator("oauth_token_url")
    @classmethod
    def _secret_travels_hidden(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("https://"):
            raise ValueError("must begin with https://: the client's secret is sent there")
        return value and without_login(value, "use oauth_client_id and oauth_client_secret")

    @model_validator(mode="after")
    def _topics_by_name_or_by_pattern(self) -> KafkaSettings:
        if self.topic_pattern is not None and self.topics != ["news"]:  # the default may stand beside it
            raise ValueError("either topics or topic_pattern, not both")
        return self

    @model_validator(mode="after")
    def _sasl_is_asked_for_twice_or_not_at_all(self) -> KafkaSettings:
        asked, mechanism = self.security_protocol.startswith("SASL"), self.sasl_mechanism
        if asked != bool(mechanism):
            missing = "sasl_mechanism" if asked else "security_protocol SASL_SSL"
            given = f"security_protocol {self.security_protocol}" if asked else f"sasl_mechanism {mechanism}"
            raise ValueError(f"{given} needs {missing}")
        needed = {
            "OAUTHBEARER": ("oauth_token_url", "oauth_client_id"),
            "AWS_MSK_IAM": ("aws_region",),
            "PLAIN": ("sasl_username",),
            "SCRAM-SHA-256": ("sasl_username",),
            "SCRAM-SHA-512": ("sasl_username",),
        }.get(mechanism or "", ())
        if lacking := [name for name in needed if getattr(self, name) is None]:
            raise ValueError(f"sasl_mechanism {mechanism} needs {', '.join(lacking)}")
        if mechanism == "AWS_MSK_IAM" and self.security_protocol != "SASL_SSL":
            raise ValueError("sasl_mechanism AWS_MSK_IAM needs security_protocol SASL_SSL")
        return self

    @property
    def chooses(self) -> Callable[[str], bool] | None:
        """Whether a topic of this name is read, where a pattern says so; None where they are named."""
        if self.topic_pattern is None:
            return None
        fits = _expression(self.topic_pattern).fullmatch
        return lambda name: fits(name) is not None

    def reads(self, topic: str) -> bool:
        """Whether a topic of this name is read."""
        chooses = self.chooses
        return topic in self.topics if chooses is None else chooses(topic)

    def client_options(self) -> dict[str, Any]:
        """Connection options under kafka-python's names, without group or consumer options. Raises SettingsError.

        ``token_login`` is ours: how to get a token. A password whose file may change is a function that reads it.
        """
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.bootstrap_servers),
            "security_protocol": self.security_protocol,
        }
        if token_login := self._token_login():
            options |= {"sasl_mechanism": "OAUTHBEARER", "token_login": token_login}
        elif self.sasl_mechanism:
            options["sasl_mechanism"] = self.sasl_mechanism
            if self.sasl_mechanism != "GSSAPI":
                options["sasl_plain_username"] = self.sasl_username
                options["sasl_plain_password"] = _secret("sasl_password", self.sasl_password)
        if "SSL" in self.security_protocol:
            options["ssl_check_hostname"] = self.ssl_check_hostname
            for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
                if path := getattr(self, name):
                    options[name] = str(path)
            if self.ssl_password:
                options["ssl_password"] = as_it_is_now("kafka.ssl_password", self.ssl_password)
        return options

    def _token_login(self) -> TokenLogin | None:
        if self.sasl_mechanism == "AWS_MSK_IAM":
            return AwsIam(self.aws_region or "", self.aws_role_arn, self.aws_profile)
        if self.sasl_mechanism != "OAUTHBEARER":
            return None
        secret = _secret("oauth_client_secret", self.oauth_client_secret)
        return ClientCredentials(
            self.oauth_token_url or "",
            self.oauth_client_id or "",
            secret if callable(secret) else lambda: secret,
            self.oauth_scope,
            self.oauth_audience,
        )


class NewsSettings(Section):
    """How a message becomes a story."""

    mapping: dict[str, str] = Field(
        default_factory=dict,
        description='JMESPath per field for feeds with other names, e.g. headline = "title".',
    )
    stories: str = Field(
        "",
        description='JMESPath for the story, or the list of stories, within a message, e.g. "data[]". The mapping then '
        "finds the whole message as _envelope. Empty: the message is the story, or a list of stories.",
    )
    tombstones: Literal["skip", "delete"] = Field(
        "skip", description="What a record without a value means: nothing, or the deletion of the story its key names."
    )
    key: dict[str, str] = Field(
        default_factory=dict,
        description="JMESPath for id and source in a tombstone's key in JSON; empty: the key as it is is the id.",
    )
    schema_registry: str | None = Field(
        None, pattern=r"^https?://", description="Address of a schema registry (Confluent's interface), to read Avro."
    )
    schema_registry_username: str | None = Field(None, description="User of the schema registry.")
    schema_registry_password: SecretStr | None = Field(None, description="Password of the schema registry.")
    default_source: str = Field("unknown", description="Source of messages that name none.")
    time_zone: str = Field(
        "UTC", description="Zone of times that name none, e.g. America/New_York; summer time is followed."
    )
    time_zones: dict[str, str] = Field(
        default_factory=dict, description='The same for single sources: norwick-wire = "Asia/Tokyo".'
    )
    date_order: Literal["day_first", "month_first"] | None = Field(
        None, description="What 3/4/2026 is. None: a date of which both readings are possible is not read."
    )
    watchlist: Path | None = Field(
        None, description="File of companies, one a line: AAPL, Apple, ISIN:US0378331005; see docs/watchlist.md."
    )
    max_message_bytes: int = Field(
        1_000_000, ge=1_000, le=100_000_000, description="A larger message, unpacked, is dead-lettered."
    )
    future_tolerance_minutes: int = Field(
        10, ge=0, le=525_600, description="A story dated further ahead than this counts at the time it was received."
    )
    copy_window_hours: int = Field(72, ge=1, le=8_784, description="Copies are looked for this far back.")

    @field_validator("schema_registry")
    @classmethod
    def _may_be_printed(cls, value: str | None) -> str | None:
        return value and without_login(value, "use schema_registry_username and schema_registry_password")

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # unknown; a path; a folder of zones
            zones = sorted(zoneinfo.available_timezones())
            city = [zone for zone in zones if name.casefold() in (zone.casefold(), zone.rpartition("/")[2].casefold())]
            hint = f"is {city[0]} meant?" if city else meant(name, zones)
            raise ValueError(f"{name!r} is no time zone; {hint or 'America/New_York is one'}") from None
        return name

    @field_validator("time_zones")
    @classmethod
    def _are_zones(cls, names: dict[str, str]) -> dict[str, str]:
        return {source: cls._is_a_zone(name) for source, name in names.items()}

    def decoder_options(self) -> dict[str, Any]:
        """What decides whether and how a record is read, under the decoder's names."""
        return {
            "mapping": self.mapping,
            "stories": self.stories,
            "tombstones": self.tombstones,
            "key": self.key,
            "default_source": self.default_source,
            "max_bytes": self.max_message_bytes,
            "time_zone": self.time_zone,
            "time_zones": self.time_zones,
            "date_order": self.date_order,
        }
