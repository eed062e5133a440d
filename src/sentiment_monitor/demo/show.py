"""``monitor demo``: the week through broker, classifier and database, a live view, and what came of it."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sentiment_monitor.app import build as root
from sentiment_monitor.app.service import Service
from sentiment_monitor.app.signals import Signals
from sentiment_monitor.demo import news
from sentiment_monitor.domain.alert_states import Kind
from sentiment_monitor.errors import FatalError, UsageError
from sentiment_monitor.ingest.embedded import CONSUMER_PROFILE, EmbeddedBroker
from sentiment_monitor.ingest.publish import Encoded, Publisher, ensure_topic
from sentiment_monitor.settings.load import Settings, load
from sentiment_monitor.store import buckets, dead_letters, reading
from sentiment_monitor.store.alerts import AlertStore
from sentiment_monitor.store.buckets import recompute_buckets, stored_buckets
from sentiment_monitor.store.database import Database
from sentiment_monitor.telemetry import log
from sentiment_monitor.terminal import sparkline
from sentiment_monitor.times import DAY_MINUTES, MINUTE_MS, clock

IDLE_SECONDS = 2.0
_FEATURED = "ticker:NRWK"
_PARTITIONS = 2
_MARKS = 48  # of a sparkline
_WEEK = (news.QUIET_DAYS + 1) * DAY_MINUTES


def play(stories: int, keep: Path | None) -> None:
    """Runs the demo. ``keep`` is a folder for the database; None forgets it. Raises FatalError when no alert fired."""
    console = Console()
    with _folder(keep) as folder, EmbeddedBroker() as broker, (folder / "demo.log").open("w") as logs:
        log.configure("info", "json", logs)
        began = time.monotonic()
        end = root.now_ms() // MINUTE_MS // 60 * 60
        chosen = _settings(folder, broker.address)
        options = chosen.kafka.client_options()
        ensure_topic(options, "news", _PARTITIONS)
        sent = news.week(end, stories)
        console.print(
            f"An invented week of {len(sent):,} records goes through a Kafka broker on {broker.address}, the bundled "
            "classifier and SQLite.\nSix quiet days, then a bank gets into trouble. Nothing here is real news."
        )
        with console.status("Starting the classifier (the first start compiles it for this machine) ..."):
            service = root.build(chosen, roles=["ingest", "detect"], clock="event", exit_when_idle=IDLE_SECONDS)
        with _running(service) as thread, Signals(service), _publishing(chosen, sent):
            _watch(console, service, thread, len(sent), end)
        if service.stopped:
            raise KeyboardInterrupt
        _summary(console, chosen, len(sent), end, time.monotonic() - began, folder if keep else None)


def _settings(folder: Path, address: str) -> Settings:
    watchlist = folder / "watchlist.csv"
    watchlist.write_text("".join(f"{ticker}, {', '.join(names)}\n" for ticker, names in news.WATCHLIST))
    return load(
        isolated=True,  # nobody's receivers hear of an invented bank run
        kafka={"bootstrap_servers": [address], **CONSUMER_PROFILE},
        database={"url": f"sqlite:///{folder / 'demo.sqlite'}"},
        news={"watchlist": str(watchlist)},
        service={"state_dir": folder},
    )


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="monitor-demo-") as path:
            yield Path(path)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--keep {keep}: no folder can be made there: {error.strerror}") from None
    if (keep / "demo.sqlite").exists():
        raise UsageError(f"{keep} already holds a demo; name another folder or remove it")
    yield keep


@contextmanager
def _publishing(chosen: Settings, sent: list[news.Sent]) -> Iterator[None]:
    """Publishes beside the block, and no further than its end: the client prints a traceback when it is left open."""
    over = threading.Event()
    thread = threading.Thread(target=_publish, args=(chosen, sent, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _publish(chosen: Settings, sent: list[news.Sent], over: threading.Event) -> None:
    publisher = Publisher(chosen.kafka.client_options(), "news")
    try:
        for record in sent:
            if over.is_set():
                break
            value = record.value
            publisher.send(Encoded(value) if isinstance(value, bytes) else value, timestamp_ms=record.published_ms)
        publisher.flush()
    finally:
        publisher.close()


@contextmanager
def _running(service: Service) -> Iterator[threading.Thread]:
    """Runs the service in a thread; what it raises is raised when the block ends."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            service.run()
        except BaseException as error:  # noqa: BLE001  # carried to the main thread
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        if thread.is_alive():
            service.abort()
        thread.join()
    if raised:
        raise raised[0]


def _watch(console: Console, service: Service, thread: threading.Thread, total: int, end: int) -> None:
    """The live view until the service has ended; on a pipe only its last state is printed."""
    reader = Database(service.database.url.render_as_string(hide_password=False))
    began, shown = time.monotonic(), 0.0
    view: Panel | None = None
    with Live(console=console, refresh_per_second=8, transient=True, auto_refresh=False) as live:
        while thread.is_alive():
            thread.join(0.1)
            if time.monotonic() - shown >= 0.25:
                shown = time.monotonic()
                view = _view(service, reader, total, end, time.monotonic() - began)
                live.update(view, refresh=console.is_terminal)
    reader.close()
    if view is not None:
        console.print(view)


def _view(service: Service, reader: Database, total: int, end: int, seconds: float) -> Panel:
    progress = service.pipeline.progress if service.pipeline else None
    records = progress.records if progress else 0
    queues = service.pipeline.queues if service.pipeline else {}
    with reader.read() as connection:
        day = buckets.trend(connection, _FEATURED, end - DAY_MINUTES, end, DAY_MINUTES // _MARKS)
        days = buckets.trend(connection, "all", end - _WEEK, end, _WEEK // _MARKS)
    firing = [alert for alert in AlertStore(reader).listing() if alert.state == "firing"]
    now = clock(progress.last_minute) if progress else "-"
    rate = records / max(seconds, 0.1)
    waiting = ", ".join(f"{name} {count}" for name, count in queues.items())
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_row("news time", f"{now} UTC")
    table.add_row("stored", f"{records:,} of {total:,}, {rate:,.0f} a second, lag {max(0, total - records):,}")
    table.add_row("waiting to", waiting)
    table.add_row("7 days, stories", Text(sparkline([point.stories for point in days])))
    table.add_row("7 days, negative", Text(sparkline([point.negative for point in days]), style="red"))
    table.add_row("Norwick, last day", Text(sparkline([point.negative for point in day]), style="red bold"))
    lines: list[Text] = [Text(f"FIRING  {alert.title}", style="bold red") for alert in firing]
    return Panel(Group(table, *lines), title="sentiment-monitor demo", border_style="red" if firing else "dim")


def _summary(console: Console, chosen: Settings, total: int, end: int, seconds: float, kept: Path | None) -> None:
    database = Database(chosen.database.url.get_secret_value())
    try:
        alerts = AlertStore(database)
        listing = alerts.listing()
        with database.read() as connection:
            totals = reading.totals(connection)
            letters = dead_letters.recent(connection, 5)
            exact = recompute_buckets(connection) == stored_buckets(connection)
            day = buckets.trend(connection, _FEATURED, end - DAY_MINUTES, end, DAY_MINUTES // _MARKS)
        for alert in reversed(listing):
            history = alerts.history(alert.id) if alert.id is not None else None
            if history is None:
                continue
            fired = next((event for event in history.events if event.transition is Kind.FIRED), None)
            if fired is not None:
                console.print(
                    Panel(
                        Text(fired.explanation),
                        title=Text(alert.title, style="bold red"),
                        subtitle=f"fired {clock(alert.fired_minute)} UTC, rule {alert.rule}, now {alert.state}",
                        title_align="left",
                        subtitle_align="left",
                    )
                )
        first, last = clock(day[0].minute), clock(day[-1].minute)
        console.print(
            Text(f"Norwick's negative stories, {first} to {last} UTC: {sparkline([p.negative for p in day])}")
        )
        console.print(
            f"{total:,} records in {seconds:.0f} s: {totals.stories:,} stories ({totals.copies:,} of them copies that "
            f"do not count again), {totals.dead_letters} broken records put aside, {len(listing)} alerts."
        )
        console.print(
            "Palvano's profit warning, and Harbourline's fine that was corrected an hour later, made no alert: one "
            "story is no spike."
        )
        for letter in letters:
            console.print(Text(f"  put aside: {letter.code} at {letter.topic}/{letter.partition}@{letter.offset}"))
        console.print(
            "Every bucket equals a recomputation from the stories." if exact else "BUCKETS DIFFER from the stories."
        )
        if totals.stories + totals.dead_letters + 1 != total or not exact:
            # One record corrects a story and adds no row.
            raise FatalError("the demo lost or doubled a record; please report this")
        if not any(alert.series == _FEATURED for alert in listing):
            raise FatalError("the demo's bank got into trouble and no alert fired")
    finally:
        database.close()
    folder = kept or Path("my-demo")
    database_option = f"--database sqlite:///{folder / 'demo.sqlite'}"
    console.print("\nWhat to try next" + (":" if kept else " (the first three after monitor demo --keep my-demo):"))
    for line in (
        f"monitor run --roles web {database_option} --watchlist {folder / 'watchlist.csv'}",
        f"monitor alerts explain {listing[0].id} {database_option}",
        f"monitor trend ticker:NRWK --since 24h {database_option}",
        'monitor score "Kestrel Bank halts withdrawals" "Kestrel Bank opens branch in Leeds"',
        "monitor run    with your own Kafka: see README.md and deploy/monitor.toml",
    ):
        console.print(Text(f"  {line}"), soft_wrap=True)
