"""Receivers: notify list, test, log, resume."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentiment_monitor.cli import options
from sentiment_monitor.cli.options import ConfigOption, DatabaseOption, JsonOption
from sentiment_monitor.errors import UsageError

if TYPE_CHECKING:
    from sentiment_monitor.app.trial import NotifierTrial
    from sentiment_monitor.settings.load import Settings
    from sentiment_monitor.store.database import Database

app = typer.Typer(
    help="Try receivers, see what was sent to whom, and let a stopped notifier go on.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_INSTANTS = {"decided", "sent", "last_sent", "stopped_since"}

ReceiverArgument = Annotated[str, typer.Argument(metavar="RECEIVER", help="Its name in the settings.")]
NotifierOption = Annotated[
    str | None, typer.Option("--notifier", help="Only this one of its notifiers.", show_default=False)
]


class Delivered(StrEnum):
    """What became of a notification."""

    queued = "queued"
    sent = "sent"
    failed = "failed"


@app.command("list", short_help="List who delivers, who is stopped and why.")
def list_notifiers(config: ConfigOption = None, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """List receivers with their notifiers: which deliver, which are stopped and why, and what waits for each."""
    settings = options.load_settings(config, {})
    with options.opened(config, database) as opened:
        rows = _standing(settings, opened)
    _print(
        rows,
        as_json,
        "no receivers",
        {
            "receiver": "receiver",
            "notifier": "notifier",
            "type": "type",
            "state": "state",
            ">queued": "queued",
            ">sent": "sent",
            ">failed": "failed",
            "last sent (UTC)": "last_sent",
            "stopped since (UTC)": "stopped_since",
            "because": "error",
        },
    )


@app.command("test", short_help="Send a marked test alert to a receiver.")
def send_test(
    receiver: ReceiverArgument,
    notifier: NotifierOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a marked test alert to a receiver, now and by its real notifiers, and say what each of them answered.

    Nothing is stored, and it needs no database. Exit 0: all have taken it; 4: one is away, try again later; 1: one does
    not take it, or does not let us in.

    Example: monitor notify test desk
    """
    from sentiment_monitor.app.trial import TrialOutcome, try_receiver
    from sentiment_monitor.telemetry import log

    settings = options.load_settings(config, {})
    log.configure(settings.log.level, settings.log.format)
    trials = try_receiver(settings, receiver, notifier, time.time_ns() // 1_000_000)
    _print(
        [_described(trial) for trial in trials],
        as_json,
        "",
        {"notifier": "notifier", "type": "type", "outcome": "outcome", ">seconds": "seconds", "detail": "detail"},
    )
    outcomes = {trial.outcome for trial in trials}
    if outcomes & {TrialOutcome.REJECTED, TrialOutcome.REFUSED}:
        raise typer.Exit(1)
    if TrialOutcome.LATER in outcomes:
        raise typer.Exit(4)


@app.command("log", short_help="Show what was sent to whom, and what was not.")
def show_log(
    receiver: Annotated[str | None, typer.Option(help="Only of this receiver.", show_default=False)] = None,
    notifier: NotifierOption = None,
    state: Annotated[Delivered | None, typer.Option(help="Only what is in this state.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was sent to whom, newest first: when it was decided and sent, after how many attempts, or why not.

    Example: monitor notify log --receiver desk --state failed
    """
    from sentiment_monitor.store.outbox import Outbox

    with options.opened(config, database) as opened:
        records = Outbox(opened).log(limit, receiver=receiver, notifier=notifier, state=state)
    rows = [
        {
            "decided": _instant(record.created_ms),
            "receiver": record.receiver,
            "notifier": record.notifier,
            "state": record.state,
            "attempts": record.attempts,
            "sent": _instant(record.sent_ms),
            "key": record.key,
            "title": record.title,
            "error": record.last_error,
        }
        for record in records
    ]
    _print(
        rows,
        as_json,
        "nothing was sent yet",
        {
            "decided (UTC)": "decided",
            "receiver": "receiver",
            "notifier": "notifier",
            "state": "state",
            ">attempts": "attempts",
            "sent (UTC)": "sent",
            "title": "title",
            "last error": "error",
        },
    )


@app.command("resume", short_help="Let a stopped notifier try again.")
def resume(
    receiver: ReceiverArgument,
    notifier: NotifierOption = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a receiver's stopped notifiers try again, once it lets us in. The running service then delivers what waits.

    Changed settings do not need this: a start with them tries again by itself, and so does a changed secret file.

    Example: monitor notify resume desk
    """
    from sentiment_monitor.actions.notifiers import resume as let_go_on
    from sentiment_monitor.store.outbox import Outbox

    settings = options.load_settings(config, {})
    with options.opened(config, database) as opened:
        stopped = [stop.lane for stop in Outbox(opened).stops() if stop.lane.receiver == receiver]
        known = [(row["receiver"], row["notifier"]) for row in _standing(settings, opened)]
        if not any(name == receiver and notifier in (None, other) for name, other in known):
            raise UsageError(f"there is no {_called(receiver, notifier)}; see monitor notify list")
        lanes = [lane for lane in stopped if notifier in (None, lane.notifier)]
        resumed = let_go_on(
            opened,
            options.actor(),
            lanes,
            time.time_ns() // 1_000_000,
            give_up_ms=settings.detect.give_up_hours * 3_600_000,
        )
    rows: list[dict[str, Any]] = [
        {"receiver": lane.receiver, "notifier": lane.notifier, **asdict(queue)}
        for lane, queue in resumed.items()
        if queue is not None
    ]
    _print(
        rows,
        as_json,
        f"nothing is stopped of {_called(receiver, notifier)}",
        {"receiver": "receiver", "notifier": "notifier", ">waiting": "waiting", ">too old": "given_up"},
    )


def _standing(settings: Settings, database: Database) -> list[dict[str, Any]]:
    """Every notifier of the settings, then what the database knows of others."""
    from sentiment_monitor.store.outbox import Outbox

    outbox = Outbox(database)
    counts = {(count.lane.receiver, count.lane.notifier): count for count in outbox.counts()}
    stops = {(stop.lane.receiver, stop.lane.notifier): stop for stop in outbox.stops()}
    types = {
        (receiver.name, notifier.name): notifier.type
        for receiver in settings.receivers
        for notifier in receiver.notifiers
    }
    rows = []
    for lane in [*types, *sorted({*counts, *stops} - {*types})]:
        count, stop = counts.get(lane), stops.get(lane)
        rows.append(
            {
                "receiver": lane[0],
                "notifier": lane[1],
                "type": types.get(lane),
                "state": "gone" if lane not in types else "stopped" if stop else "delivers",
                "queued": count.queued if count else 0,
                "sent": count.sent if count else 0,
                "failed": count.failed if count else 0,
                "last_sent": _instant(count.last_sent_ms if count else None),
                "stopped_since": _instant(stop.since_ms if stop else None),
                "error": stop.error if stop else None,
            }
        )
    return rows


def _called(receiver: str, notifier: str | None) -> str:
    return f"receiver {receiver}" if notifier is None else f"notifier {notifier} of receiver {receiver}"


def _described(trial: NotifierTrial) -> dict[str, Any]:
    return asdict(trial) | {"seconds": round(trial.seconds, 2)}


def _instant(milliseconds: int | None) -> str | None:
    from sentiment_monitor.times import rfc3339

    return None if milliseconds is None else rfc3339(milliseconds)


def _cell(field: str, row: dict[str, Any]) -> str:
    """A value for people: an instant to the minute, a dash for what there is none of."""
    from sentiment_monitor import terminal

    value = row[field]
    if isinstance(value, str) and field in _INSTANTS:
        return f"{value[:10]} {value[11:16]}"
    return "-" if value is None else terminal.plain(value)


def _print(rows: Sequence[dict[str, Any]], as_json: bool, nothing: str, columns: dict[str, str]) -> None:
    """Rows as JSON, or as a table of these columns (heading, then the field); figures' headings begin with >."""
    from rich.text import Text

    from sentiment_monitor import terminal

    if as_json:
        terminal.dump(list(rows))
    elif rows:
        table = terminal.new_table(*columns)
        for row in rows:
            table.add_row(*(Text(_cell(field, row)) for field in columns.values()))
        terminal.console().print(table)
    else:
        print(nothing)
