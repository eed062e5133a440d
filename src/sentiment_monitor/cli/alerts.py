"""Alerts: alerts list, show, why, ack, unack, resolve, dismiss, comment."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentiment_monitor.cli import explain, options, outcomes
from sentiment_monitor.cli.options import ConfigOption, DatabaseOption, JsonOption
from sentiment_monitor.domain.alert_states import Listed
from sentiment_monitor.errors import UsageError

if TYPE_CHECKING:
    from sentiment_monitor.domain.people import Verdict

NumbersArgument = Annotated[
    list[int], typer.Argument(min=1, max=2**63 - 1, metavar="ID", help="Numbers from monitor alerts list.")
]

app = typer.Typer(
    help="Look at alerts, take them on, end them, remark something.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
def list_alerts(
    state: Annotated[
        Listed | None,
        typer.Option(
            help="Only those in this state; firing: those that recover too; default: all that fired.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List alerts, newest first.

    Example: monitor alerts list --state recovering
    """
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


@app.command("why")
def why(
    series: Annotated[str, typer.Argument(help="all, topic:earnings, ticker:AAPL or source:reuters.")],
    at: Annotated[str, typer.Option(help="A time, e.g. 2023-03-10T12:30Z; what came before it is looked at.")],
    rule: Annotated[
        str | None, typer.Option(help="Only this rule; default: every rule that watches the series.")
    ] = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show gate by gate why rules fired on a series at a time, or did not, and what would have had to be different.

    Example: monitor alerts why ticker:SIVB --at 2023-03-10T12:30Z
    """
    from sentiment_monitor import terminal
    from sentiment_monitor.backtest.study import witness
    from sentiment_monitor.backtest.why import why
    from sentiment_monitor.cli import backtest_words
    from sentiment_monitor.cli.backtest import rulebook
    from sentiment_monitor.domain.series import value_of
    from sentiment_monitor.store import buckets
    from sentiment_monitor.times import instant

    series = series.encode("utf-8", "replace").decode()  # bytes of the command line that are no UTF-8
    minute = instant("--at", at)
    rules = [known for known in rulebook(config, database, None).rules if rule is None or known.name == rule]
    if not rules:
        raise UsageError(f"there is no rule {rule}; see monitor rules check")
    with options.opened(config, database) as opened, opened.read() as connection:
        if not buckets.exists(connection, series):
            near = buckets.series_like(connection, value_of(series) or series)
            hint = f"; series with a like name: {', '.join(map(terminal.plain, near))}" if near else ""
            raise UsageError(f"{terminal.plain(series)} has no story{hint}")
        answer = why(series, minute, rules, witness(connection, opened))
    if not answer.rules:
        raise UsageError(f"no rule watches {terminal.plain(series)}; see monitor rules check")
    backtest_words.print_why(answer, as_json=as_json)


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
    outcomes.report("alert", changes, as_json=as_json)


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
    outcomes.report("alert", changes, as_json=as_json)


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
    from sentiment_monitor.domain.people import Verdict

    _close(Verdict.RESOLVED, numbers, reason, config, database, as_json=as_json)


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
    from sentiment_monitor.domain.people import Verdict

    _close(Verdict.DISMISSED, numbers, reason, config, database, as_json=as_json)


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
    outcomes.report("alert", changes, as_json=as_json)


def _close(
    verdict: Verdict, numbers: list[int], reason: str, config: Path | None, database: str | None, *, as_json: bool
) -> None:
    from sentiment_monitor.actions import alerts

    who = options.actor()
    with options.opened(config, database) as opened:
        changes = alerts.close(opened, who, numbers, author=who, verdict=verdict, reason=reason, now_ms=_now_ms())
    outcomes.report("alert", changes, as_json=as_json)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
