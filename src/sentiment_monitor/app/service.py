"""The running service: its two loops, its page, and how they end together."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from fastapi import FastAPI

from sentiment_monitor.app.policy import Policy
from sentiment_monitor.score.contract import Classifier
from sentiment_monitor.store.database import Database
from sentiment_monitor.stream.alert_vectors import AlertVectors
from sentiment_monitor.stream.pipeline import Pipeline
from sentiment_monitor.telemetry.turns import Turns
from sentiment_monitor.watch.clocks import EventClock, LiveClock
from sentiment_monitor.watch.deliver import Delivery
from sentiment_monitor.watch.lease import Leadership
from sentiment_monitor.watch.tick import Ticker
from sentiment_monitor.web.server import WebServer

_log = structlog.get_logger()

# What a replay gives to the deliveries that are due: stopped by somebody, and at its own end.
_LAST_SECONDS = 5.0
_REST_SECONDS = 60.0


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
class Service:
    """What ``monitor run`` runs. The composition root makes one."""

    database: Database
    policy: Policy
    delivery: Delivery
    leadership: Leadership
    ticker: Ticker
    pipeline: Pipeline | None = None
    live: LiveClock | None = None
    event: EventClock | None = None
    classifier: Classifier | None = None
    alert_vectors: AlertVectors | None = None
    web: Web | None = None
    turns: tuple[Turns, ...] = ()  # of the loops, for the watchdog
    failure: BaseException | None = None
    _ready: bool = False
    _stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def stopped(self) -> bool:
        """Whether somebody ended the run, rather than that there was nothing more to do."""
        return self._stopped.is_set()

    def troubles(self) -> list[str]:
        """What keeps this process from its work now, a line each."""
        lines = [] if self._ready else ["starting"]
        if away := self.database.standing.trouble:
            lines.append(f"database away: {away}")
        if self.pipeline and (away := self.pipeline.broker_away):
            lines.append(f"broker away: {away}")
        if self.pipeline and (stalled := self.pipeline.trouble):
            lines.append(stalled)
        return lines

    def run(self) -> None:
        """Runs until stopped, idle, or broken; raises what broke it. Either loop's end is the process's end."""
        if self.live:
            self.live.start()
        elif self.event:
            self.delivery.start(self.fail)
        self._ready = True
        if self.stopped:  # before there was anything to stop
            self.stop()
        _log.info(
            "monitor.ready",
            classifier=self.classifier.id if self.classifier else None,
            database=self.database.shown_url,
        )
        # Libraries and classifier stay until the end; to look through them for garbage again and again would cost a
        # sixth of the CPU under load.
        gc.freeze()
        try:
            if self.pipeline:
                if self.alert_vectors:
                    self.alert_vectors.start(self.fail)
                self.pipeline.run()
                # Not after a stop: what is still in Kafka may belong to minutes before the last one stored.
                if self.event and self.pipeline.read_out:
                    self.event.finish()
                if self.alert_vectors and self.pipeline.read_out:
                    self.alert_vectors.read_waiting()
            else:
                self._stopped.wait()
        finally:
            try:
                if self.alert_vectors:
                    self.alert_vectors.stop()
                if self.live:
                    self.live.stop()
                elif self.event:
                    self.delivery.stop(_LAST_SECONDS if self.stopped else _REST_SECONDS)
                    self.leadership.release()
            finally:
                self.close()
        if self.failure is not None:
            raise self.failure

    def rest(self, seconds: float) -> None:
        """Waits, while it is being built. Raises what broke it meanwhile."""
        self._stopped.wait(seconds)
        if self.failure is not None:
            raise self.failure

    def fail(self, error: BaseException) -> None:
        """The tick loop broke: stop everything and let :meth:`run` raise it."""
        self.failure = self.failure or error
        self.stop()

    def stop(self) -> None:
        """Ends the run after what was fetched is stored. Does not block."""
        if self.event:
            self.event.stop()
        if self.pipeline:
            self.pipeline.stop()
        self._stopped.set()

    def abort(self) -> None:
        """Ends the run at once; what is not stored will be read again."""
        if self.pipeline:
            self.pipeline.abort()
        self.delivery.hurry(0)
        self.stop()

    def close(self) -> None:
        """Gives back connections."""
        if self.web:
            self.web.stop()
        self.policy.close()
        if self.classifier:
            self.classifier.close()
        self.database.close()
