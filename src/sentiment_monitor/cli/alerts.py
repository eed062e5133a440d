"""Alerts: alerts list, show, ack, unack, resolve, dismiss, comment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sentiment_monitor.cli import explain, options
from sentiment_monitor.cli.options import ConfigOption, DatabaseOption, JsonOption
from sentiment_monitor.domain.alert_states import State
from sentiment_monitor.errors import UsageError

if TYPE_CHECKING:
    from sentiment_monitor.actions.outcomes import Acted

NumbersArgument = Annotated[
    list[int], typer.Argument(min=1, max=2**63 - 1, metavar="ID", help="Numbers from monitor alerts list.")
]

app = typer.Typer(
    help="Look at alerts, take them on, end them, remark something.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
def list_alerts(
    state: Annotated[
        State | None, typer.Option(help="Only those in this state; default: all that fired.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List alerts, newest first."""
    from sentiment_monitor import terminal
    from sentiment_monitor.store.alerts import AlertStore

    with options.opened(config, database) as opened:
        store = AlertStore(opened)
        alerts = store.listing(state=state, limit=limit)
        owners = store.owners([alert.id for alert in alerts if alert.id is not None])
    terminal.print_alerts(alerts, owners, as_json=as_json)


@app.command("show")
def show(
    alert: Annotated[int, typer.Argument(min=1, max=2**63 - 1, help="The alert's number, from monitor alerts list.")],
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one alert: why it fired, on which stories, who was told, and what people did about it."""
    from sentiment_monitor import terminal
    from sentiment_monitor.store.alerts import AlertStore
    from sentiment_monitor.store.similar import similar

    with options.opened(config, database) as opened:
        history = AlertStore(opened).history(alert)
        if history is None:
            raise UsageError(f"there is no alert {alert}; see monitor alerts list")
        with opened.read() as connection:
            likes = similar(connection, history.alert)
    terminal.print_alert(history, likes, as_json=as_json)
    if not as_json:
        explain.print_lines(explain.likes(likes, explain.width()))


@app.command("ack")
def acknowledge(
    numbers: NumbersArgument,
    owner: Annotated[str | None, typer.Option(help="Who has it; default: you.", show_default=False)] = None,
    note: Annotated[str, typer.Option("--note", "-m", help="What is being done.", show_default=False)] = "",
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take alerts on: they are neither repeated nor escalated any more, their end is told. Exit 1 when some are over.

    Example: monitor alerts ack 7 8 --note "called the bank"
    """
    from sentiment_monitor.actions import alerts

    who = options.actor()
    with options.opened(config, database) as opened:
        changes = alerts.acknowledge(
            opened, who, numbers, owner=who if owner is None else owner, note=note, now_ms=_now_ms()
        )
    _print(changes, as_json)


@app.command("unack")
def unacknowledge(
    numbers: NumbersArgument,
    note: Annotated[str, typer.Option("--note", "-m", help="Why.", show_default=False)] = "",
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give alerts up again: nobody has them, they are repeated and escalated as before. Exit 1 when some are over."""
    from sentiment_monitor.actions import alerts

    with options.opened(config, database) as opened:
        changes = alerts.unacknowledge(opened, options.actor(), numbers, note=note, now_ms=_now_ms())
    _print(changes, as_json)


@app.command("resolve")
def resolve(
    numbers: NumbersArgument,
    reason: Annotated[str, typer.Option("--reason", "-m", help="What became of it.", show_default=False)] = "",
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """End alerts that were right and are over. Exit 1 when some were over before.

    The next tick does it and tells whoever was told. What raised an alert does not raise it again, until that has been
    quiet for as long as the rule asks, or is twice as bad.

    Example: monitor alerts resolve 7 --reason "the bank has answered"
    """
    from sentiment_monitor.actions import alerts
    from sentiment_monitor.domain.people import Verdict

    who = options.actor()
    with options.opened(config, database) as opened:
        changes = alerts.close(
            opened, who, numbers, author=who, verdict=Verdict.RESOLVED, reason=reason, now_ms=_now_ms()
        )
    _print(changes, as_json)


@app.command("dismiss")
def dismiss(
    numbers: NumbersArgument,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why it was false.", show_default=False)],
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """End alerts that were false, and say why. Exit 1 when some were over before. Otherwise as monitor alerts resolve.

    Example: monitor alerts dismiss 7 --reason "a namesake, not our bank"
    """
    from sentiment_monitor.actions import alerts
    from sentiment_monitor.domain.people import Verdict

    who = options.actor()
    with options.opened(config, database) as opened:
        changes = alerts.close(
            opened, who, numbers, author=who, verdict=Verdict.DISMISSED, reason=reason, now_ms=_now_ms()
        )
    _print(changes, as_json)


@app.command("comment")
def comment(
    numbers: NumbersArgument,
    text: Annotated[str, typer.Option("--text", "-m", help="What is to be remembered.", show_default=False)],
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remark something about alerts, over or not; monitor alerts show shows it. Exit 1 when there are no such alerts.

    Example: monitor alerts comment 7 --text "same story as in May"
    """
    from sentiment_monitor.actions import alerts

    who = options.actor()
    with options.opened(config, database) as opened:
        changes = alerts.comment(opened, who, numbers, author=who, text=text, now_ms=_now_ms())
    _print(changes, as_json)


def _print(changes: Sequence[Acted], as_json: bool) -> None:
    """What became of each; exit 1 when nothing could be done about some."""
    from sentiment_monitor import terminal

    terminal.print_changes("alert", changes, as_json=as_json)
    if any(change.outcome in ("over", "unknown") for change in changes):
        raise typer.Exit(1)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
