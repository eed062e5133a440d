"""The settings tree: defaults here, then the TOML file, then secrets from files, then ``MONITOR_`` variables.

Only :mod:`app` and the command line read it; every other part receives plain values. Nested names join
with two underscores in the environment: ``MONITOR_KAFKA__BOOTSTRAP_SERVERS='["broker:9092"]'``. A file in
the secrets directory bears the same name as the variable would (``monitor_kafka__sasl_password``).
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AnyHttpUrl,
    AnyUrl,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as SourceError

from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.errors import SettingsError

DEFAULT_FILE = Path("monitor.toml")
SECRETS_DIR = Path("/run/secrets")
_PREFIX = "MONITOR_"
_NO_SETTINGS = {"MONITOR_CONFIG", "MONITOR_VENV"}  # read here and by the launcher
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
# What Kubernetes sets in every container for a service whose name begins with "monitor".
_SERVICE_LINK = re.compile(
    r"MONITOR_(?:\w+_)?(?:SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)


class Section(BaseModel):
    """A table of the settings file. Unknown names are refused: a misspelt setting must not be ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Kafka(Section):
    """Where the news comes from. Security settings are passed to the client as they are."""

    bootstrap_servers: Annotated[list[str], NoDecode] = Field(
        ["localhost:9092"], min_length=1, description="Broker addresses, host:port; a list or a comma-separated text."
    )
    topics: Annotated[list[str], NoDecode] = Field(
        ["news"], min_length=1, description="Topics to consume; a list or a comma-separated text."
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
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"] | None = Field(
        None, description="SASL mechanism."
    )
    sasl_username: str | None = Field(None, description="SASL user.")
    sasl_password: SecretStr | None = Field(None, description="SASL password.")
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
    def _heart_beats_within_the_session(self) -> Kafka:
        if self.heartbeat_interval_ms >= self.session_timeout_ms:
            raise ValueError(
                f"heartbeat_interval_ms ({self.heartbeat_interval_ms}) must be shorter than session_timeout_ms "
                f"({self.session_timeout_ms}), a third of it or less"
            )
        return self

    @model_validator(mode="after")
    def _sasl_is_asked_for_twice_or_not_at_all(self) -> Kafka:
        asked, mechanism = self.security_protocol.startswith("SASL"), self.sasl_mechanism
        if asked != bool(mechanism):
            missing = "sasl_mechanism" if asked else "security_protocol SASL_SSL"
            given = f"security_protocol {self.security_protocol}" if asked else f"sasl_mechanism {mechanism}"
            raise ValueError(f"{given} needs {missing}")
        return self

    def client_options(self) -> dict[str, Any]:
        """Connection options under kafka-python's names, without group or consumer options."""
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.bootstrap_servers),
            "security_protocol": self.security_protocol,
        }
        if self.sasl_mechanism:
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password.get_secret_value() if self.sasl_password else None
        if "SSL" in self.security_protocol:
            options["ssl_check_hostname"] = self.ssl_check_hostname
            for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
                if path := getattr(self, name):
                    options[name] = str(path)
            if self.ssl_password:
                options["ssl_password"] = self.ssl_password.get_secret_value()
        return options


class News(Section):
    """How a message becomes a story."""

    mapping: dict[str, str] = Field(
        default_factory=dict,
        description='JMESPath per field for feeds with other names, e.g. headline = "title".',
    )
    default_source: str = Field("unknown", description="Source of messages that name none.")
    watchlist: Path | None = Field(None, description="File of companies, one a line: AAPL, Apple, Apple Inc.")
    max_message_bytes: int = Field(
        1_000_000, ge=1_000, le=100_000_000, description="A larger message is dead-lettered."
    )
    future_tolerance_minutes: int = Field(
        10, ge=0, le=525_600, description="A story dated further ahead than this counts at the time it was received."
    )
    copy_window_hours: int = Field(72, ge=1, le=8_784, description="Copies are looked for this far back.")


class Classifier(Section):
    """The neural model, and how it runs."""

    name: str = Field("bundled", description="bundled, lexicon, a directory, or a hub name such as ProsusAI/finbert.")
    engine: Literal["auto", "openvino", "torch"] = Field("auto", description="auto picks by hardware.")
    cache_dir: Path | None = Field(None, description="Compiled engines. Default: the user's cache directory.")
    max_windows: int = Field(
        16, ge=1, le=1_000, description="Text windows read of one story before it is marked truncated."
    )


class Database(Section):
    """Where results live."""

    url: SecretStr = Field(
        SecretStr("sqlite:///monitor.sqlite"),
        description="SQLAlchemy URL: sqlite:///file or postgresql+psycopg://user:password@host/name.",
    )
    migrate: bool = Field(True, description="Bring the schema up to date at start.")


class DeadLetters(Section):
    """When broken records stop being an accident. The daemon stops; the records stay in Kafka."""

    max_ratio: float = Field(0.5, gt=0, le=1, description="Share of broken records among the last `window`.")
    window: int = Field(
        1_000, ge=10, le=1_000_000, description="Records looked back on; the ratio counts once they are full."
    )
    max_consecutive: int = Field(200, ge=1, le=1_000_000, description="Broken records in a row.")


class LogNotifier(Section):
    """Writes the alert to the log."""

    type: Literal["log"] = "log"


class WebhookNotifier(Section):
    """Posts the alert as JSON, signed with HMAC-SHA256 when a secret is set."""

    type: Literal["webhook"]
    url: AnyUrl = Field(description="http or https. Redirects are refused.", repr=False)
    secret: SecretStr | None = Field(None, description="Key of the signature; without one nothing is signed.")
    token: SecretStr | None = Field(None, description="Sent as a bearer token.")
    timeout_seconds: float = Field(
        10.0, gt=0, le=120, description="For one delivery, from connecting to the last byte of the answer."
    )

    @field_serializer("url")
    def _without_secrets(self, url: AnyUrl) -> str:
        """Scheme and host: the rest of a webhook's address is often the key to it."""
        return f"{url.scheme}://{url.host}/**********"


class AppriseNotifier(Section):
    """Slack, e-mail, Telegram, DingTalk, PagerDuty and a hundred more, by apprise URL."""

    type: Literal["apprise"]
    url: SecretStr = Field(description="An apprise URL, e.g. slack://…; secret as a whole.")


Notifier = Annotated[LogNotifier | WebhookNotifier | AppriseNotifier, Field(discriminator="type")]


class Receiver(Section):
    """Who is told, and by which notifiers."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="What rules call it.")
    notifiers: list[Notifier] = Field(min_length=1, description="Each one is told, on its own.")


class Detect(Section):
    """The tick loop."""

    tick_offset_seconds: int = Field(5, ge=0, le=59, description="Seconds after the full minute when a tick runs.")
    lease_seconds: int = Field(
        60, ge=5, le=86_400, description="A detector silent this long loses its lease to another replica."
    )
    delivery_seconds: float = Field(2.0, gt=0, le=3_600, description="Pause between looks into the outbox.")
    give_up_hours: int = Field(24, ge=1, le=8_784, description="A notification that fails this long is marked failed.")


class Web(Section):
    """The page, its JSON, metrics and health. Whoever reaches the port reads everything: see docs/operations.md."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 for every interface.")
    port: int = Field(8080, ge=0, le=65_535, description="Port to listen on; 0 takes any free one, see the log.")


class Log(Section):
    """Logging."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe event written.")
    format: Literal["auto", "json", "console"] = Field("auto", description="auto is console on a terminal, else JSON.")


class Settings(BaseSettings):
    """Everything that can be set. ``load`` is how to get one."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    kafka: Kafka = Kafka()
    news: News = News()
    classifier: Classifier = Classifier()
    database: Database = Database()
    dead_letters: DeadLetters = DeadLetters()
    detect: Detect = Detect()
    rules: list[Rule] | None = Field(None, description="None: the built-in rules, see docs/detection.md.")
    receivers: list[Receiver] = Field(
        [Receiver(name="default", notifiers=[LogNotifier()])], description="Who is told; rules name them."
    )
    web: Web = Web()
    external_url: str = Field(
        "http://localhost:8080", description="Where people find the page; links in alerts begin so."
    )
    log: Log = Log()

    @field_validator("external_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        AnyHttpUrl(value)  # raises ValidationError
        return value

    @model_validator(mode="after")
    def _names_are_known_and_unique(self) -> Settings:
        rules = self.rules or []
        for what, names in (("rule", [r.name for r in rules]), ("receiver", [r.name for r in self.receivers])):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"two {what}s are named {', '.join(twice)}")
        known = {receiver.name for receiver in self.receivers}
        if missing := sorted({name for rule in rules for name in rule.receivers} - known):
            raise ValueError(f"rules name receivers that do not exist: {', '.join(missing)}")
        return self


def load(path: Path | None = None, *, isolated: bool = False, **overrides: Any) -> Settings:
    """Reads the settings once.

    ``path`` is the TOML file; None looks at ``$MONITOR_CONFIG`` and then for ``monitor.toml`` here. Keyword
    arguments win over everything; ``isolated`` leaves nothing but them and the defaults. Raises SettingsError with
    one line a problem, naming the setting.
    """
    file = None if isolated else _file(path)

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            if isolated:
                return (init_settings,)
            sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
            if SECRETS_DIR.is_dir():
                sources.append(NestedSecretsSettingsSource(file_secret_settings, SECRETS_DIR))
            if file:
                sources.append(TomlConfigSettingsSource(settings_cls, file))
            return tuple(sources)

    try:
        return Loaded(**overrides)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: not valid TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from None
    except SourceError as error:
        raise SettingsError(f"settings are wrong in the environment: {error}: {error.__cause__}") from None
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in problem['loc']) or 'settings'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        where = f" in {file} or the environment" if file else " in the environment or the command line"
        raise SettingsError(f"settings are wrong{where}:\n" + "\n".join(lines)) from None


def _file(path: Path | None) -> Path | None:
    if misspelt := list(_misspelt(os.environ)):
        raise SettingsError("settings are wrong in the environment:\n" + "\n".join(misspelt))
    given = path or (Path(os.environ["MONITOR_CONFIG"]) if os.environ.get("MONITOR_CONFIG") else None)
    if given and not given.is_file():
        raise SettingsError(f"settings file {given} does not exist")
    return given or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)


def _misspelt(environment: Iterable[str]) -> Iterator[str]:
    """One line for each variable that names no setting and no table, which pydantic would pass over in silence."""
    known = {name.upper(): field.annotation for name, field in Settings.model_fields.items()}
    inner = [
        f"{name}__{part}".upper()
        for name, table in known.items()
        if isinstance(table, type) and issubclass(table, BaseModel)
        for part in table.model_fields
    ]
    for name in sorted(environment):
        variable = name.upper()
        setting = variable.removeprefix(_PREFIX)
        if variable == setting or variable in _NO_SETTINGS or setting.partition("__")[0] in known:
            continue
        if not _SERVICE_LINK.fullmatch(variable):
            near = difflib.get_close_matches(setting, [*known, *inner], n=1)
            yield f"  {name}: no such setting" + (f"; is {_PREFIX}{near[0]} meant?" if near else "")
