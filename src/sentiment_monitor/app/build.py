"""The composition root: settings in, a running service out. The only place that knows every concrete class."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from types import FrameType
from typing import Literal
from urllib.parse import urlsplit

import structlog
from fastapi import FastAPI

from sentiment_monitor.detect.rules import DEFAULT_RULES, Rule, check_rules
from sentiment_monitor.dispatch.compose import composer
from sentiment_monitor.enrich.copies import is_copy
from sentiment_monitor.enrich.enricher import Enricher
from sentiment_monitor.enrich.names import Watchlist
from sentiment_monitor.errors import FatalError, SettingsError, UsageError
from sentiment_monitor.ingest.consumer import KafkaSource
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.ingest.source import Source
from sentiment_monitor.notify.apprise import AppriseNotifier
from sentiment_monitor.notify.contract import LogNotifier, Notifier
from sentiment_monitor.notify.webhook import WebhookNotifier
from sentiment_monitor.score import load as load_classifier
from sentiment_monitor.score.contract import Classifier
from sentiment_monitor.score.text import clean
from sentiment_monitor.settings import alerting
from sentiment_monitor.settings.load import Settings
from sentiment_monitor.store.alerts import AlertStore
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import LeaseStore
from sentiment_monitor.store.outbox import Outbox
from sentiment_monitor.store.stories.transaction import StoryWriter
from sentiment_monitor.stream.pipeline import Pipeline
from sentiment_monitor.stream.stages import DeadLetterCeiling
from sentiment_monitor.telemetry.metrics import Parts
from sentiment_monitor.times import HOUR_MINUTES, MINUTE_MS
from sentiment_monitor.watch.clocks import EventClock, LiveClock
from sentiment_monitor.watch.deliver import Delivery
from sentiment_monitor.watch.lease import Leadership
from sentiment_monitor.watch.tick import Ticker
from sentiment_monitor.web.server import WebServer
from sentiment_monitor.web.site import site

_log = structlog.get_logger()

Role = Literal["ingest", "detect", "web"]
ROLES: tuple[Role, ...] = ("ingest", "detect", "web")
Clock = Literal["wall", "event"]

DRAIN_SECONDS = 30.0
ABORT_SECONDS = 5.0  # what still holds on then, a receiver or a database, is not waited for


def now_ms() -> int:
    """The wall clock. Below this module time is an argument."""
    return time.time_ns() // 1_000_000


def open_database(settings: Settings, *, migrate: bool | None = None) -> Database:
    """Connects, and brings the schema up to date unless told not to. Raises DatabaseAway, FatalError."""
    database = Database(settings.database.url.get_secret_value())
    _bring_up_to_date(database, settings.database.migrate if migrate is None else migrate)
    return database


def _bring_up_to_date(database: Database, migrate: bool) -> None:
    if migrate:
        if database.migrate():
            _log.info("database.migrated", url=database.url.render_as_string(hide_password=True))
    else:
        current, head = database.revisions()
        if current != head:
            raise FatalError(
                f"the database is at schema revision {current}, this version needs {head}: monitor migrate"
            )


def rules_of(settings: Settings) -> tuple[Rule, ...]:
    """The rules in force: those of the settings, or the built-in ones for every receiver there is."""
    if settings.rules is not None:
        return check_rules(tuple(settings.rules))
    receivers = tuple(receiver.name for receiver in settings.receivers)
    return tuple(Rule(**{**asdict(rule), "receivers": receivers}) for rule in DEFAULT_RULES)


@dataclass(slots=True)
class Web:
    """The page and what serves it, with a pool of connections of its own: readers must not keep the writer waiting."""

    server: WebServer
    site: FastAPI
    database: Database

    def start(self, failed: Callable[[BaseException], None]) -> None:
        """Begins to answer. ``failed`` is called when that ends by itself."""
        self.server.start(self.site, failed)

    def stop(self) -> None:
        """Ends answering, and gives back socket and connections."""
        self.server.stop()
        self.database.close()


@dataclass(slots=True)
class App:
    """A service ready to run. Build one with :func:`build`."""

    database: Database
    pipeline: Pipeline | None
    live: LiveClock | None
    event: EventClock | None
    delivery: Delivery
    leadership: Leadership
    notifiers: Sequence[Notifier]
    classifier: Classifier | None
    web: Web | None = None
    failure: BaseException | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def stopped(self) -> bool:
        """Whether somebody ended the run, rather than that there was nothing more to do."""
        return self._stopped.is_set()

    def run(self) -> None:
        """Runs until stopped, idle, or broken; raises what broke it. Either loop's end is the process's end."""
        if self.live:
            self.live.start()
        if self.web:
            self.web.start(self.fail)
        _log.info(
            "monitor.ready",
            classifier=self.classifier.id if self.classifier else None,
            database=self.database.url.render_as_string(hide_password=True),
        )
        # Libraries and classifier stay until the end; to look through them for garbage again and again would cost a
        # sixth of the CPU under load.
        gc.freeze()
        try:
            if self.pipeline:
                self.pipeline.run()
                # Not after a stop: what is still in Kafka may belong to minutes before the last one stored.
                if self.event and self.pipeline.read_out and self.pipeline.progress.last_minute is not None:
                    self.event.advance(self.pipeline.progress.last_minute + 1)
            else:
                self._stopped.wait()
        finally:
            try:
                if self.live:
                    self.live.stop()
                elif self.event:
                    self.leadership.release()
            finally:
                self.close()
        if self.failure is not None:
            raise self.failure

    def fail(self, error: BaseException) -> None:
        """The tick loop broke: stop everything and let :meth:`run` raise it."""
        self.failure = self.failure or error
        self.stop()

    def stop(self) -> None:
        """Ends the run after what was fetched is stored."""
        if self.pipeline:
            self.pipeline.stop()
        self._stopped.set()

    def abort(self) -> None:
        """Ends the run at once; what is not stored will be read again."""
        if self.event:
            self.event.stop()
        if self.pipeline:
            self.pipeline.abort()
        self.delivery.hurry(0)
        self.stop()

    def close(self) -> None:
        """Gives back connections."""
        if self.web:
            self.web.stop()
        for notifier in self.notifiers:
            notifier.close()
        if self.classifier:
            self.classifier.close()
        self.database.close()


def check(settings: Settings) -> None:
    """Raises SettingsError or UsageError for what ``monitor run`` would refuse, as far as no other system is needed."""
    parts = _parts(settings)
    for notifier in parts.notifiers:
        notifier.close()
    parts.database.close()


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is made of the settings alone, and of the files they name; the database has not been asked yet."""

    watchlist: Watchlist
    decoder: Decoder
    rules: tuple[Rule, ...]
    receivers: dict[str, list[Notifier]]
    database: Database

    @property
    def notifiers(self) -> list[Notifier]:
        return [notifier for several in self.receivers.values() for notifier in several]


def _parts(settings: Settings) -> _Parts:
    watchlist = Watchlist.load(settings.news.watchlist) if settings.news.watchlist else Watchlist([])
    decoder = Decoder(
        settings.news.mapping,
        default_source=settings.news.default_source,
        max_bytes=settings.news.max_message_bytes,
    )
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        path = getattr(settings.kafka, name)
        if path and not os.access(path, os.R_OK):
            raise SettingsError(f"kafka.{name} {path}: there is no such file, or it cannot be read")
    rules = rules_of(settings)
    receivers = {
        receiver.name: [_notifier(receiver.name, one) for one in receiver.notifiers] for receiver in settings.receivers
    }
    if missing := sorted({name for rule in rules for name in rule.receivers} - set(receivers)):
        raise SettingsError(f"rules name receivers that do not exist: {', '.join(missing)}")
    return _Parts(watchlist, decoder, rules, receivers, Database(settings.database.url.get_secret_value()))


def build(
    settings: Settings,
    *,
    roles: Collection[Role] = ROLES,
    clock: Clock = "wall",
    exit_when_idle: float | None = None,
    source: Callable[[StoryWriter], Source] | None = None,
    classifier: Classifier | None = None,
) -> App:
    """Puts a service together. ``source`` and ``classifier`` replace the configured ones, for tests and benchmarks.

    Raises UsageError (settings that cannot work, a port that is taken), ClassifierError, BrokerAway, DatabaseAway.
    """
    if clock == "event" and not {"ingest", "detect"} <= set(roles):
        raise UsageError("--clock event needs the ingest and the detect role in one process")
    parts = _parts(settings)
    server = WebServer(settings.web.host, settings.web.port) if "web" in roles else None
    try:
        return _assembled(settings, parts, server, roles, clock, exit_when_idle, source, classifier)
    except BaseException:
        if server:
            server.stop()
        raise


def _assembled(
    settings: Settings,
    parts: _Parts,
    server: WebServer | None,
    roles: Collection[Role],
    clock: Clock,
    exit_when_idle: float | None,
    source: Callable[[StoryWriter], Source] | None,
    classifier: Classifier | None,
) -> App:
    database = parts.database
    _bring_up_to_date(database, settings.database.migrate)
    alerts = AlertStore(database)
    leadership = Leadership(LeaseStore(database), _holder(), settings.detect.lease_seconds * 1000, now_ms)
    delivery = Delivery(
        Outbox(database), parts.receivers, now_ms=now_ms, give_up_ms=settings.detect.give_up_hours * 3_600_000
    )
    ticker = Ticker(
        database=database,
        alerts=alerts,
        rules=parts.rules,
        compose=composer(parts.receivers, settings.external_url.rstrip("/")),
        names=parts.watchlist.names,
    )
    app = App(
        database=database,
        pipeline=None,
        live=None,
        event=None,
        delivery=delivery,
        leadership=leadership,
        notifiers=parts.notifiers,
        classifier=None,
    )
    if clock == "event":
        windows = sorted({rule.window_minutes for rule in parts.rules})
        app.event = EventClock(ticker, delivery, leadership, database, windows=windows, now_ms=now_ms)
    elif "detect" in roles:
        app.live = LiveClock(
            ticker,
            delivery,
            leadership,
            now_ms=now_ms,
            failed=app.fail,
            tick_second=settings.detect.tick_offset_seconds,
            delivery_seconds=settings.detect.delivery_seconds,
        )
    if "ingest" in roles:
        app.classifier = classifier or load_classifier(
            settings.classifier.name,
            engine=settings.classifier.engine,
            cache_dir=settings.classifier.cache_dir,
            max_windows=settings.classifier.max_windows,
        )
        writer = StoryWriter(
            database=database,
            group=settings.kafka.group,
            classifier=app.classifier.id,
            calibration=app.classifier.calibration,
            manifest=json.dumps(dict(app.classifier.facts)),
            is_copy=is_copy,
            copy_window_minutes=settings.news.copy_window_hours * HOUR_MINUTES,
        )
        enricher = Enricher(
            clean,
            watchlist=parts.watchlist,
            future_tolerance_ms=settings.news.future_tolerance_minutes * MINUTE_MS,
        )
        app.pipeline = Pipeline(
            source=source(writer) if source else _kafka(settings, writer),
            decode=parts.decoder.decode,
            enrich=enricher.enrich_all,
            classifier=app.classifier,
            writer=writer,
            now_ms=now_ms,
            ceiling=DeadLetterCeiling(**settings.dead_letters.model_dump()),
            on_stored=app.event.advance if app.event else lambda minute: None,
            exit_when_idle=exit_when_idle,
        )
    if server:
        app.web = _web(settings, app, server, parts.watchlist)
    return app


def _web(settings: Settings, app: App, server: WebServer, watchlist: Watchlist) -> Web:
    clock = app.live or app.event
    parts = Parts(
        pipeline=app.pipeline,
        classifier=app.classifier.id if app.classifier else None,
        turns=clock.turns if clock else None,
        deliveries=app.delivery.deliveries if clock else None,
        leadership=app.leadership if clock else None,
    )
    hosts = ["*"]
    if ip_address(server.host).is_loopback:
        known = urlsplit(settings.external_url).hostname or "localhost"
        hosts = ["localhost", "127.0.0.1", "[::1]", server.host, known]
    reader = Database(settings.database.url.get_secret_value(), reader=True)
    made = site(reader, parts, names=watchlist.spoken, now_ms=now_ms, allowed_hosts=hosts)
    return Web(server, made, reader)


def _kafka(settings: Settings, writer: StoryWriter) -> KafkaSource:
    kafka = settings.kafka
    return KafkaSource(
        kafka.client_options(),
        topics=kafka.topics,
        group=kafka.group,
        positions=lambda starts: writer.positions(starts, now_ms()),
        move_position=lambda offsets: writer.move(offsets, now_ms()),
        start=kafka.start,
        on_lost=kafka.on_lost_position,
        session_timeout_ms=kafka.session_timeout_ms,
        heartbeat_interval_ms=kafka.heartbeat_interval_ms,
        max_poll_records=kafka.max_poll_records,
    )


def _notifier(receiver: str, one: alerting.Notifier) -> Notifier:
    try:
        return _made(one)
    except SettingsError as error:
        raise SettingsError(f"receiver {receiver}: {error}") from None


def _made(one: alerting.Notifier) -> Notifier:
    match one:
        case alerting.WebhookNotifier():
            return WebhookNotifier(
                str(one.url),
                secret=one.secret.get_secret_value() if one.secret else "",
                token=one.token.get_secret_value() if one.token else "",
                timeout_s=one.timeout_seconds,
            )
        case alerting.AppriseNotifier():
            return AppriseNotifier(one.url.get_secret_value())
        case alerting.LogNotifier():
            return LogNotifier()


def _holder() -> str:
    """Names this process in the lease: host, pid, and the moment it began, since pids come again."""
    return f"{socket.gethostname()}:{os.getpid()}:{now_ms()}"


@contextmanager
def signals(app: App) -> Iterator[None]:
    """First SIGTERM or SIGINT drains within the budget, the second (or the budget's end) stops at once."""
    timers: list[threading.Timer] = []

    def later(seconds: float, action: Callable[[], None]) -> None:
        timers.append(threading.Timer(seconds, action))
        timers[-1].daemon = True
        timers[-1].start()

    def abort() -> None:
        # Transactions are whole or not at all, so the process may end anywhere.
        later(ABORT_SECONDS, lambda: os._exit(1))
        app.abort()

    def handle(number: int, frame: FrameType | None) -> None:
        if timers:
            abort()
            return
        app.stop()
        later(DRAIN_SECONDS, abort)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for one in timers:
            one.cancel()
