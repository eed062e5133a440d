"""Silences: silences add, list, expire."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sentiment_monitor.cli import options, outcomes
from sentiment_monitor.cli.options import ConfigOption, DatabaseOption, JsonOption
from sentiment_monitor.errors import UsageError
from sentiment_monitor.times import MINUTE_MS

if TYPE_CHECKING:
    from sentiment_monitor.domain.people import Silence

MatchersArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="MATCHER",
        help='What is muted, as Alertmanager writes it: series=ticker:KSTR, severity!=critical, value=~"KS.*".',
    ),
]
NumbersArgument = Annotated[
    list[int], typer.Argument(min=1, max=2**63 - 1, metavar="ID", help="Numbers from monitor silences list.")
]

app = typer.Typer(help="Mute alerts for a while.", no_args_is_help=True, rich_markup_mode=None)


@app.command("add")
def add(
    matchers: MatchersArgument,
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why; it is shown to others.", show_default=False)],
    lasting: Annotated[
        str | None, typer.Option("--for", help="How long, such as 2h or 3d.", show_default=False)
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Until when instead, such as 2026-12-01T08:00Z.", show_default=False)
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="When it begins; default: with the next tick.", show_default=False)
    ] = None,
    author: Annotated[str | None, typer.Option(help="Whose it is; default: yours.", show_default=False)] = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mute alerts that fit all matchers. Those that fire meanwhile are kept, and told when the silence is over.

    Whoever was told that an alert fires still hears that it is over. Labels are alertname (the rule), series,
    dimension, value and severity.

    Examples:

    monitor silences add series=ticker:KSTR --for 2h --comment "results at noon, expected"

    monitor silences add alertname=market-mood severity!=critical --until 2026-12-01 --comment "index change"
    """
    from sentiment_monitor.actions import silences
    from sentiment_monitor.times import duration_minutes, instant

    if (lasting is None) == (until is None):
        raise UsageError("say how long: --for 2h, or --until 2026-12-01T08:00Z")
    now_ms = time.time_ns() // 1_000_000
    begins = None if start is None else instant("--start", start)
    if until is not None:
        ends = instant("--until", until)
    else:
        minutes = duration_minutes(lasting or "")
        if minutes is None or minutes < 1:
            raise UsageError(f"--for {lasting}: write a duration of at least 1m, such as 30m, 2h or 3d")
        # A minute that has begun counts in full: two hours are not to be a hundred and nineteen minutes.
        ends = (now_ms // MINUTE_MS + 1 if begins is None else begins) + round(minutes)
    who = options.actor()
    with options.opened(config, database) as opened:
        silence = silences.add_silence(
            opened,
            who,
            matchers=silences.matchers_of(matchers),
            author=who if author is None else author,
            comment=comment,
            starts_minute=begins,
            ends_minute=ends,
            now_ms=now_ms,
        )
    _print([silence], now_ms // MINUTE_MS, as_json)


@app.command("list")
def list_silences(
    everything: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List silences that are not over; the one that ends last stands first."""
    from sentiment_monitor.store import people

    minute = time.time_ns() // 1_000_000 // MINUTE_MS
    with options.opened(config, database) as opened, opened.read() as connection:
        silences = people.listed(connection, minute, over=everything, limit=limit)
    _print(silences, minute, as_json)


@app.command("expire")
def expire(
    numbers: NumbersArgument,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """End silences now: what still fires is told with the next tick. Exit 1 when there are no such silences."""
    from sentiment_monitor.actions import silences

    with options.opened(config, database) as opened:
        expiries = silences.expire(opened, options.actor(), numbers, time.time_ns() // 1_000_000)
    outcomes.report("silence", expiries, as_json=as_json)


def _print(silences: Sequence[Silence], minute: int, as_json: bool) -> None:
    """Silences, one a line, as they are at ``minute``."""
    from rich.text import Text

    from sentiment_monitor import terminal
    from sentiment_monitor.times import clock

    if as_json:
        terminal.dump_silences(silences, minute)
        return
    if not silences:
        print("no silences")
        return
    rows = terminal.new_table("id", "state", "from (UTC)", "until (UTC)", "author", "matchers", "comment")
    for silence in silences:
        rows.add_row(
            str(silence.id),
            silence.state(minute),
            clock(silence.starts_minute),
            clock(silence.ends_minute),
            Text(terminal.plain(silence.author)),
            Text(terminal.plain(" ".join(map(str, silence.matchers)) or "cannot be read: mutes nothing")),
            Text(terminal.plain(silence.comment)),
        )
    terminal.console().print(rows)
