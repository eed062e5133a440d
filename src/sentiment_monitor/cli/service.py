"""The service and its settings: run, demo, config, version."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sentiment_monitor import __version__
from sentiment_monitor.cli import options
from sentiment_monitor.cli.options import ConfigOption, DatabaseOption
from sentiment_monitor.errors import UsageError


class ClockName(StrEnum):
    """By which time detection runs."""

    wall = "wall"
    event = "event"


def run(
    config: ConfigOption = None,
    roles: Annotated[str, typer.Option(help="Comma-separated: ingest, detect, web.")] = "ingest,detect,web",
    clock: Annotated[
        ClockName,
        typer.Option(help="wall: live. event: minute by minute by the stories' own times, to replay history."),
    ] = ClockName.wall,
    exit_when_idle: Annotated[
        str | None, typer.Option(help="Stop when nothing came for this long, e.g. 10s.", show_default=False)
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Topic instead of the configured ones.", show_default=False)] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="Broker addresses instead of the configured ones.", show_default=False)
    ] = None,
    database: DatabaseOption = None,
    watchlist: Annotated[
        Path | None, typer.Option(help="Watchlist instead of the configured one.", show_default=False)
    ] = None,
    classifier: Annotated[
        str | None, typer.Option(help="Classifier instead of the configured one.", show_default=False)
    ] = None,
) -> None:
    """Run the service until it is stopped.

    Examples:

      monitor run

      monitor run --clock event --exit-when-idle 10s --watchlist deploy/watchlist.csv

      monitor run --roles web --database sqlite:///my-demo/demo.sqlite --watchlist my-demo/watchlist.csv

    The page is on http://localhost:8080 unless the settings say otherwise.

    The first SIGTERM or Ctrl-C stores what was fetched and stops; the second stops at once.
    """
    idle = options.seconds("--exit-when-idle", exit_when_idle)
    settings = options.load_settings(
        config,
        options.given(
            kafka={**options.topics(topic), "bootstrap_servers": bootstrap},
            database={"url": database},
            news={"watchlist": watchlist},
            classifier={"name": classifier},
        ),
    )
    from sentiment_monitor.app import build as root
    from sentiment_monitor.app.signals import Signals
    from sentiment_monitor.app.watchdog import Watchdog
    from sentiment_monitor.telemetry import log

    log.configure(settings.log.level, settings.log.format)
    wanted = [role.strip() for role in roles.split(",") if role.strip()]
    if unknown := sorted(set(wanted) - set(root.ROLES)):
        raise UsageError(f"--roles: unknown {', '.join(unknown)}; roles are {', '.join(root.ROLES)}")
    if not wanted:
        raise UsageError(f"--roles: names none; roles are {', '.join(root.ROLES)}")
    if idle is not None and "ingest" not in wanted:
        raise UsageError("--exit-when-idle: only a process with the ingest role knows when nothing comes")
    with Signals() as signals:
        service = root.build(
            settings,
            roles=[role for role in root.ROLES if role in wanted],
            clock="event" if clock is ClockName.event else "wall",
            exit_when_idle=idle,
        )
        signals.attend(service)
        with Watchdog(service.turns, settings.service.stuck_seconds):
            service.run()


def demo(
    stories: Annotated[int, typer.Option(min=200, max=100_000, help="How many ordinary stories the week has.")] = 2_000,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the demo's database in this folder.", show_default=False)
    ] = None,
) -> None:
    """Play an invented news week through a real broker, classifier and database, and show what is noticed.

    Needs no setting and no network. Takes about a minute.
    """
    from sentiment_monitor.demo.show import play

    play(stories, keep)


def show_config(config: ConfigOption = None) -> None:
    """Check the settings and print the ones in force as JSON. Secrets are hidden."""
    settings = options.load_settings(config, {})
    from sentiment_monitor.app.policy import check

    check(settings)
    typer.echo(settings.model_dump_json(indent=2))


def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _print_version(asked: bool) -> None:
    if asked:
        version()
        raise typer.Exit


def top(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of ``monitor`` itself, before any command."""
