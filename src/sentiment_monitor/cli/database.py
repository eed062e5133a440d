"""What the database holds: trend, dropped, migrate, verify."""

from __future__ import annotations

from typing import Annotated

import typer

from sentiment_monitor.cli import options
from sentiment_monitor.cli.options import ConfigOption, DatabaseOption, JsonOption
from sentiment_monitor.errors import UsageError


def trend(
    series: Annotated[str, typer.Argument(help="all, topic:earnings, ticker:AAPL or source:reuters.")],
    since: Annotated[
        str, typer.Option(help="Begin: a time (2023-03-09, 2023-03-09T20:00Z) or a span back from the end (24h, 7d).")
    ] = "24h",
    until: Annotated[
        str | None, typer.Option(help="End, a time; default: the newest story.", show_default=False)
    ] = None,
    step: Annotated[
        str | None, typer.Option(help="Width of a step, e.g. 15m; default: fits the screen.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how a series went: stories, negatives and mean score over time.

    Example: monitor trend ticker:SIVB --since 2023-03-08 --until 2023-03-18 --step 6h
    """
    from sentiment_monitor import terminal
    from sentiment_monitor.domain.series import value_of
    from sentiment_monitor.store import buckets
    from sentiment_monitor.times import span

    series = series.encode("utf-8", "replace").decode()  # bytes of the command line that are no UTF-8
    with options.opened(config, database) as opened, opened.read() as connection:
        last = buckets.last_minute(connection)
        if last is None:
            raise UsageError("the database holds no story yet")
        start, end, width = span(since, until, step, last, dashes="--")
        points = buckets.trend(connection, series, start, end, width)
        if not any(point.stories or point.copies for point in points):
            near = buckets.series_like(connection, value_of(series) or series)
            hint = f"; series with a like name: {', '.join(map(terminal.plain, near))}" if near else ""
            raise UsageError(f"{terminal.plain(series)} has no story in that time{hint}")
        terminal.print_trend(series, points, width, as_json=as_json)


def dropped(
    since: Annotated[str, typer.Option(help="Begin: a day (2023-03-09) or a span back from now (7d).")] = "7d",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many rows.")] = 50,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which fields of messages could not be read. Their stories are stored, without them.

    Example: monitor dropped --since 30d
    """
    import time

    from sentiment_monitor import terminal
    from sentiment_monitor.store import dropped_fields
    from sentiment_monitor.times import DAY_MINUTES, MINUTE_MS, span

    now = time.time_ns() // 1_000_000 // MINUTE_MS
    start, _, _ = span(since, None, None, now, dashes="--")
    with options.opened(config, database) as opened, opened.read() as connection:
        counts = dropped_fields.counts(connection, start // DAY_MINUTES, limit)
        terminal.print_dropped(counts, as_json=as_json)


def migrate(config: ConfigOption = None, database: DatabaseOption = None) -> None:
    """Bring the database schema up to date."""
    settings = options.load_settings(config, options.given(database={"url": database}))
    from sentiment_monitor.store.database import Database

    opened = Database(settings.database.url.get_secret_value())
    try:
        changed = opened.migrate()
        typer.echo(f"schema is at revision {opened.revisions()[0]}{'' if changed else ' already'}")
    finally:
        opened.close()


def verify(config: ConfigOption = None, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Check that the buckets equal a recomputation from stories and scores. Exit 1 when they do not."""
    from sentiment_monitor import terminal
    from sentiment_monitor.store.buckets import recompute_buckets, stored_buckets

    with options.opened(config, database) as opened, opened.read() as connection:
        expected, stored = recompute_buckets(connection), stored_buckets(connection)
    wrong = sorted(key for key in expected.keys() | stored.keys() if expected.get(key) != stored.get(key))
    terminal.print_verification(len(stored), wrong, as_json=as_json)
    if wrong:
        raise typer.Exit(1)
