"""The settings tree: defaults here, then the TOML file, then secrets from files, then ``MONITOR_`` variables.

Only :mod:`app` and the command line read it; every other part receives plain values. Nested names join
with two underscores in the environment: ``MONITOR_KAFKA__BOOTSTRAP_SERVERS='["broker:9092"]'``. A file in
the secrets directory bears the same name as the variable would (``monitor_kafka__sasl_password``).
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import AnyHttpUrl, BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as SourceError

from sentiment_monitor.errors import SettingsError, meant
from sentiment_monitor.settings import secrets
from sentiment_monitor.settings.alerting import DetectSettings, ReceiverSettings, RuleEntry
from sentiment_monitor.settings.feed import KafkaSettings, NewsSettings
from sentiment_monitor.settings.nearest import meant_at
from sentiment_monitor.settings.notifiers import LogNotifierSettings
from sentiment_monitor.settings.routing import InhibitSettings, RouteSettings, TimeIntervalSettings
from sentiment_monitor.settings.section import without_login
from sentiment_monitor.settings.service import (
    ClassifierSettings,
    DatabaseSettings,
    DeadLettersSettings,
    LogSettings,
    ServiceSettings,
    WebSettings,
)
from sentiment_monitor.times import DAY_MINUTES

DEFAULT_FILE = Path("monitor.toml")
_NO_SETTINGS = {"MONITOR_CONFIG", "MONITOR_VENV"}  # read here and by the launcher
# What Kubernetes sets in every container for a service whose name begins with "monitor".
_SERVICE_LINK = re.compile(
    r"MONITOR_(?:\w+_)?(?:SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)


class Settings(BaseSettings):
    """Everything that can be set. ``load`` is how to get one."""

    model_config = SettingsConfigDict(
        env_prefix=secrets.PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    kafka: KafkaSettings = KafkaSettings()
    news: NewsSettings = NewsSettings()
    classifier: ClassifierSettings = ClassifierSettings()
    database: DatabaseSettings = DatabaseSettings()
    dead_letters: DeadLettersSettings = DeadLettersSettings()
    detect: DetectSettings = DetectSettings()
    rules: list[RuleEntry] | None = Field(None, description="None: the built-in rules, see docs/detection.md.")
    receivers: list[ReceiverSettings] = Field(
        [ReceiverSettings(name="default", notifiers=[LogNotifierSettings()])],
        description="Who is told; rules name them.",
    )
    route: RouteSettings | None = Field(None, description="Who is told of which alerts; unset: rules say it.")
    time_intervals: list[TimeIntervalSettings] = Field([], description="Office hours, nights, holidays.")
    inhibit_rules: list[InhibitSettings] = Field([], description="Which alerts make others needless.")
    web: WebSettings = WebSettings()
    external_url: str = Field(
        "http://localhost:8080", description="Where people find the page; links in alerts begin so."
    )
    service: ServiceSettings = ServiceSettings()
    log: LogSettings = LogSettings()

    @field_validator("external_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        AnyHttpUrl(value)  # raises ValidationError
        return without_login(value, "links in alerts begin so")

    @model_validator(mode="after")
    def _names_are_known_and_unique(self) -> Settings:
        rules = self.rules or []
        for what, names in (("rule", [r.name for r in rules]), ("receiver", [r.name for r in self.receivers])):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"two {what}s are named {', '.join(twice)}")
        known = {receiver.name for receiver in self.receivers}
        unrouted = [] if self.route is not None or all(rule.receivers for rule in rules) else ["default"]
        if missing := sorted({*unrouted, *(name for rule in rules for name in rule.receivers or ())} - known):
            raise ValueError(f"rules name receivers that do not exist: {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _routes_lead_somewhere(self) -> Settings:
        routes = [] if self.route is None else list(self.route.all())
        unheeded = [rule.name for rule in self.rules or [] if not rule.receivers and rule.repeat_minutes != DAY_MINUTES]
        if self.route is not None and unheeded:
            raise ValueError(
                f"rules that name no receivers are repeated as the route says, not by their repeat_minutes: "
                f"{', '.join(unheeded)}; set it in [route], or name the rule's receivers"
            )
        if self.route is not None and (self.route.receiver is None or self.route.matchers or self.route.goes_on):
            raise ValueError("route must name a receiver, and have neither matchers nor continue: it takes every alert")
        named = {route.receiver for route in routes if route.receiver is not None}
        named |= {step.receiver for route in routes for step in route.escalate or ()}
        if missing := sorted(named - {receiver.name for receiver in self.receivers}):
            raise ValueError(f"routes name receivers that do not exist: {', '.join(missing)}")
        tables: list[RouteSettings | ReceiverSettings] = [*routes, *self.receivers]
        intervals = {name for table in tables for name in (*table.mute_time_intervals, *table.active_time_intervals)}
        if missing := sorted(intervals - {interval.name for interval in self.time_intervals}):
            raise ValueError(f"time_intervals that do not exist are named: {', '.join(missing)}")
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
            if secrets.SECRETS_DIR.is_dir():
                sources.append(NestedSecretsSettingsSource(file_secret_settings, secrets.SECRETS_DIR))
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
            f"  {'.'.join(str(part) for part in problem['loc']) or 'settings'}: {_said({**problem})}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        where = f" in {file} or the environment" if file else " in the environment or the command line"
        raise SettingsError(f"settings are wrong{where}:\n" + "\n".join(lines)) from None


def _said(problem: Mapping[str, Any]) -> str:
    if problem["type"] != "extra_forbidden":
        return str(problem["msg"])
    near = meant_at(Settings, problem["loc"])
    return "there is no such setting" + (f"; {near}" if near else "")


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
        setting = variable.removeprefix(secrets.PREFIX)
        if variable == setting or variable in _NO_SETTINGS or setting.partition("__")[0] in known:
            continue
        if not _SERVICE_LINK.fullmatch(variable):
            near = meant(setting, [*known, *inner], prefix=secrets.PREFIX)
            yield f"  {name}: no such setting" + (f"; {near}" if near else "")
