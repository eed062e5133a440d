"""The composition root: settings in, a running service out. The only place that knows every concrete class."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from sentiment_monitor import __version__
from sentiment_monitor.actions.dead_letters import ReplayRequest, request_replay
from sentiment_monitor.app.migrated import await_database
from sentiment_monitor.app.policy import Policy, check_files
from sentiment_monitor.app.service import Service, Web
from sentiment_monitor.enrich.copies import wording
from sentiment_monitor.enrich.enricher import Enricher
from sentiment_monitor.errors import UsageError
from sentiment_monitor.ingest.consumer import KafkaSource
from sentiment_monitor.ingest.source import Source
from sentiment_monitor.score import load as load_classifier
from sentiment_monitor.score.contract import Classifier
from sentiment_monitor.score.text import clean
from sentiment_monitor.settings.load import Settings
from sentiment_monitor.store.alerts import AlertStore
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import LeaseStore
from sentiment_monitor.store.outbox import Outbox
from sentiment_monitor.store.positions import PositionStore
from sentiment_monitor.store.stories.transaction import StoryWriter
from sentiment_monitor.stream.alert_vectors import AlertVectors
from sentiment_monitor.stream.ceiling import DeadLetterCeiling
from sentiment_monitor.stream.feed_clocks import FeedClocks
from sentiment_monitor.stream.journal import Journal
from sentiment_monitor.stream.pipeline import Pipeline
from sentiment_monitor.stream.prepare import Preparing
from sentiment_monitor.stream.replay import Replaying
from sentiment_monitor.stream.scoring import Scoring
from sentiment_monitor.telemetry.metrics import HotLoop, Metrics, TickLoop
from sentiment_monitor.times import HOUR_MINUTES, MINUTE_MS
from sentiment_monitor.watch.clocks import EventClock, LiveClock
from sentiment_monitor.watch.deliver import Delivery
from sentiment_monitor.watch.lease import Leadership
from sentiment_monitor.watch.tick import Ticker
from sentiment_monitor.web.dependencies import ChangeDesk
from sentiment_monitor.web.server import WebServer
from sentiment_monitor.web.site import site

Role = Literal["ingest", "detect", "web"]
_PATIENCE_SECONDS = 60.0
ROLES: tuple[Role, ...] = ("ingest", "detect", "web")
Clock = Literal["wall", "event"]


def now_ms() -> int:
    """The wall clock. Below this module time is an argument."""
    return time.time_ns() // 1_000_000


def build(
    settings: Settings,
    *,
    roles: Collection[Role] = ROLES,
    clock: Clock = "wall",
    exit_when_idle: float | None = None,
    source: Callable[[PositionStore], Source] | None = None,
    classifier: Classifier | None = None,
) -> Service:
    """Puts a service together. ``source`` and ``classifier`` replace the configured ones, for tests and benchmarks.

    The page answers from the beginning. A database that is away is waited for; where the run is to end by itself
    (``exit_when_idle``) for a minute at most: DatabaseAway. Raises UsageError (settings that cannot work, a port that
    is taken), ClassifierError, BrokerAway, and DatabaseRefused.
    """
    if clock == "event" and not {"ingest", "detect"} <= set(roles):
        raise UsageError("--clock event needs the ingest and the detect role in one process")
    check_files(settings)
    with ExitStack() as undo:
        policy = Policy.of(settings)
        undo.callback(policy.close)
        database = Database(settings.database.url.get_secret_value())
        undo.callback(database.close)
        server = WebServer(settings.web.host, settings.web.port) if "web" in roles else None
        metrics = Metrics()
        tick = metrics.tick if "detect" in roles else TickLoop()
        service = _idle(settings, policy, database, tick)
        if server:
            undo.callback(server.stop)
            service.web = _web(settings, service, server, metrics)
            undo.callback(service.web.stop)
            service.web.start(service.fail)
        await_database(
            database,
            settings.database.migrate,
            to_write=not {"ingest", "detect"}.isdisjoint(roles),
            patience=None if exit_when_idle is None else _PATIENCE_SECONDS,
            sleep=service.rest,
        )
        if clock == "event":
            _watch_event_time(service, tick)
        elif "detect" in roles:
            _watch_live(service, settings, tick)
        if "ingest" in roles:
            service.classifier = classifier or load_classifier(
                settings.classifier.name,
                engine=settings.classifier.engine,
                cache_dir=settings.classifier.cache_dir,
                max_windows=settings.classifier.max_windows,
            )
            undo.callback(service.classifier.close)
            service.alert_vectors = AlertVectors(database, service.classifier, policy.watchlist.groups_of, now_ms)
            service.pipeline = _pipeline(settings, service, service.classifier, source, exit_when_idle, metrics.hot)
        service.turns = (*tick.turns.values(), *(metrics.hot.turns.values() if "ingest" in roles else ()))
        metrics.describe_build(__version__, service.classifier.id if service.classifier else "")
        undo.pop_all()
    return service


def _idle(settings: Settings, policy: Policy, database: Database, metrics: TickLoop) -> Service:
    """A service that neither reads nor watches yet."""
    leadership = Leadership(LeaseStore(database), _holder(), settings.detect.lease_seconds * 1000, now_ms)
    metrics.leading.set_function(lambda: leadership.leading)
    return Service(
        database=database,
        policy=policy,
        delivery=Delivery(
            Outbox(database),
            policy.receivers,
            leadership,
            now_ms=now_ms,
            give_up_ms=settings.detect.give_up_hours * 3_600_000,
            every_seconds=settings.detect.delivery_seconds,
            metrics=metrics,
        ),
        leadership=leadership,
        ticker=Ticker(
            database=database,
            alerts=AlertStore(database),
            rules=policy.rules,
            routes=policy.routes,
            external_url=settings.external_url.rstrip("/"),
            names=policy.watchlist.names,
        ),
    )


def _watch_event_time(service: Service, metrics: TickLoop) -> None:
    service.event = EventClock(
        service.ticker,
        service.delivery,
        service.leadership,
        service.database,
        rules=service.policy.rules,
        now_ms=now_ms,
        metrics=metrics,
    )


def _watch_live(service: Service, settings: Settings, metrics: TickLoop) -> None:
    service.live = LiveClock(
        service.ticker,
        service.delivery,
        service.leadership,
        service.database,
        now_ms=now_ms,
        failed=service.fail,
        tick_second=settings.detect.tick_offset_seconds,
        metrics=metrics,
    )


def _pipeline(
    settings: Settings,
    service: Service,
    classifier: Classifier,
    source: Callable[[PositionStore], Source] | None,
    exit_when_idle: float | None,
    metrics: HotLoop,
) -> Pipeline:
    positions = PositionStore(service.database, settings.kafka.group)
    writer = StoryWriter(
        database=service.database,
        positions=positions,
        wording=wording,
        copy_window_minutes=settings.news.copy_window_hours * HOUR_MINUTES,
    )
    enricher = Enricher(
        clean,
        watchlist=service.policy.watchlist,
        future_tolerance_ms=settings.news.future_tolerance_minutes * MINUTE_MS,
    )
    decoder = service.policy.decoder
    stopping = threading.Event()
    return Pipeline(
        source=source(positions) if source else kafka_source(settings, positions),
        decode=FeedClocks(decoder.notations, metrics.feed_clocks.set).following(decoder.decode),
        enrich=enricher.enrich_all,
        classifier=classifier,
        writer=writer,
        now_ms=now_ms,
        ceiling=DeadLetterCeiling(**settings.dead_letters.model_dump()),
        on_stored=service.event.advance if service.event else lambda minute: None,
        exit_when_idle=exit_when_idle,
        metrics=metrics,
        journal=Journal(_state_folder(settings), f"preparing-{_work(settings)}"),
        replaying=Replaying(
            database=service.database,
            preparing=Preparing(decoder.decode, enricher.enrich_all, now_ms, stopping, turns=metrics.turns["replay"]),
            scoring=Scoring(classifier, metrics.turns["replay"]),
            writer=writer,
            reads=settings.kafka.reads,
            holder=_holder(),
            now_ms=now_ms,
            metrics=metrics,
            stopping=stopping,
        ),
    )


def _state_folder(settings: Settings) -> Path:
    if settings.service.state_dir is not None:
        return settings.service.state_dir
    if given := os.environ.get("STATE_DIRECTORY"):  # systemd's, which may name several
        return Path(given.partition(":")[0])
    root = os.environ.get("XDG_STATE_HOME")
    return (Path(root) if root else Path.home() / ".local" / "state") / "sentiment-monitor"


def _work(settings: Settings) -> str:
    """The same for every process of one consumer group, so that each knows of the others' deaths."""
    work = [*sorted(settings.kafka.bootstrap_servers), settings.kafka.group]
    return hashlib.sha256("\n".join(work).encode()).hexdigest()[:12]


def kafka_source(settings: Settings, positions: PositionStore) -> KafkaSource:
    """The configured topics, read on from where SQL says, as soon as a broker answers. Raises SettingsError."""
    kafka = settings.kafka
    return KafkaSource(
        kafka.client_options(),
        topics=kafka.topics,
        fits=kafka.chooses,
        group=kafka.group,
        positions=lambda starts: positions.ask(starts, now_ms()),
        move_position=lambda offsets: positions.move(offsets, now_ms()),
        start=kafka.start,
        on_lost=kafka.on_lost_position,
        isolation=kafka.isolation,
        session_timeout_ms=kafka.session_timeout_ms,
        heartbeat_interval_ms=kafka.heartbeat_interval_ms,
        max_poll_records=kafka.max_poll_records,
    )


def _web(settings: Settings, service: Service, server: WebServer, metrics: Metrics) -> Web:
    hosts = ["*"]
    if ip_address(server.host).is_loopback:
        known = urlsplit(settings.external_url).hostname or "localhost"
        hosts = ["localhost", "127.0.0.1", "[::1]", server.host, known]
    reader = Database(settings.database.url.get_secret_value(), reader=True)
    metrics.ask_database(AlertStore(reader).counts)
    page = site(reader, metrics, names=service.policy.watchlist.spoken, now_ms=now_ms, allowed_hosts=hosts,
                changes=_changes(settings, service.database), troubles=service.troubles)  # fmt: skip
    return Web(server, page, reader)


def _changes(settings: Settings, database: Database) -> ChangeDesk | None:
    if settings.web.token is None:
        return None

    def request(actor: str, ids: Sequence[int]) -> ReplayRequest:
        return request_replay(database, actor, ids, now_ms())

    return ChangeDesk(settings.web.token.get_secret_value(), database, request)


def _holder() -> str:
    """Names this process in the lease: host, pid, and the moment it began, since pids come again."""
    return f"{socket.gethostname()}:{os.getpid()}:{now_ms()}"
