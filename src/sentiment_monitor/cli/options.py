"""Options that several commands have, and what they mean: settings, a database, pairs, durations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentiment_monitor.errors import UsageError

if TYPE_CHECKING:
    from sentiment_monitor.score.contract import Classifier
    from sentiment_monitor.settings.load import Settings
    from sentiment_monitor.store.database import Database

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="Settings file (TOML).", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
DatabaseOption = Annotated[
    str | None, typer.Option("--database", help="Database URL instead of the configured one.", show_default=False)
]
ClassifierOption = Annotated[
    str | None,
    typer.Option(
        help="bundled, lexicon, a directory, or a hub name such as ProsusAI/finbert; default: the configured one.",
        show_default=False,
    ),
]


def load_settings(config: Path | None, overrides: dict[str, Any]) -> Settings:
    """The settings in force, with what the command line says above all others."""
    from sentiment_monitor.settings.load import load

    return load(config, **overrides)


def load_classifier(config: Path | None, name: str | None) -> Classifier:
    """The classifier that ``monitor run`` would start: the configured one unless ``name`` is another."""
    configured = load_settings(config, given(classifier={"name": name})).classifier
    from sentiment_monitor.score import load

    return load(
        configured.name,
        engine=configured.engine,
        cache_dir=configured.cache_dir,
        max_windows=configured.max_windows,
    )


def given(**tables: dict[str, Any]) -> dict[str, Any]:
    """Only what was given on the command line."""
    kept = {name: {key: v for key, v in values.items() if v is not None} for name, values in tables.items()}
    return {name: values for name, values in kept.items() if values}


def topics(names: str | None) -> dict[str, str]:
    """Settings for topics named on the command line: they win over a pattern too."""
    return {} if names is None else {"topics": names, "topic_pattern": ""}


def has_database(config: Path | None, url: str | None) -> bool:
    """Whether there is something to open: SQLite's file, or any other database."""
    settings = load_settings(config, given(database={"url": url}))
    from sentiment_monitor.store.database import Database

    where = Database(settings.database.url.get_secret_value())
    where.close()
    return not where.is_sqlite or Path(str(where.url.database)).exists()


@contextmanager
def opened(config: Path | None, url: str | None) -> Iterator[Database]:
    """The database for a command that starts no service; it must exist and be of this version."""
    settings = load_settings(config, given(database={"url": url}))
    from sentiment_monitor.app.migrated import open_database
    from sentiment_monitor.store.database import Database

    where = Database(settings.database.url.get_secret_value())
    where.close()
    if where.is_sqlite and not Path(str(where.url.database)).exists():
        raise UsageError(
            f"there is no database {where.url.database}; run monitor run first, or name one with --database"
        )
    database = open_database(settings, migrate=False)
    try:
        yield database
    finally:
        database.close()


def pairs(option: str, values: list[str] | None) -> dict[str, str]:
    """NAME=VALUE, as often as ``option`` was given. Raises UsageError for anything else."""
    value_by_name = {}
    for item in values or []:
        name, equals, value = item.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {item}: write NAME=VALUE")
        if name.strip() in value_by_name:
            raise UsageError(f"{option} {item}: {name.strip()} is given twice")
        value_by_name[name.strip()] = value.strip()
    return value_by_name


def actor() -> str:
    """Who runs this command; in a container perhaps somebody without a name."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def seconds(option: str, text: str | None) -> float | None:
    """A duration such as 10s, in seconds; None when ``option`` was not given. Raises UsageError for anything else."""
    if text is None:
        return None
    from sentiment_monitor.times import duration_minutes

    minutes = duration_minutes(text)
    if minutes is None:
        raise UsageError(f"{option} {text}: write a duration such as 10s, 5m or 2h")
    return minutes * 60
