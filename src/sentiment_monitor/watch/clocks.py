"""The tick loop: what runs when, and what happens when it cannot.

Every job is idempotent: a tick that was decided is skipped, a notification that was sent is not due. Missed runs are
counted and one catch-up run is enough, because a tick looks at windows, not at what came since the last one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from sentiment_monitor.detect.detectors import detector_of
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.errors import Fenced, RetryLater
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import Lease
from sentiment_monitor.store.reading import active_minutes
from sentiment_monitor.telemetry.metrics import TickLoop
from sentiment_monitor.times import MINUTE_MS
from sentiment_monitor.watch.deliver import Delivery
from sentiment_monitor.watch.lease import Leadership
from sentiment_monitor.watch.tick import Ticker, TickReport

_log = structlog.get_logger()

_WAIT_SECONDS = 0.5
_LAST_DELIVERY_SECONDS = 5.0  # what a stop gives to what is due


class LiveClock:
    """Ticks once a minute by the wall clock, and delivers every few seconds.

    A tick or a delivery that fails because the database is away is tried again at its next turn; any other error
    ends the loop: ``failed`` is called with it, and the process must stop.
    """

    def __init__(
        self,
        ticker: Ticker,
        delivery: Delivery,
        leadership: Leadership,
        *,
        now_ms: Callable[[], int],
        failed: Callable[[BaseException], None],
        tick_second: int = 5,
        delivery_seconds: float = 2.0,
        metrics: TickLoop | None = None,
    ) -> None:
        self._ticker = ticker
        self._delivery = delivery
        self._leadership = leadership
        self._now_ms = now_ms
        self._failed = failed
        self._metrics = metrics or TickLoop()
        # The first tick is a job of its own, and may still run when the schedule's first one is due.
        self._one_tick = threading.Lock()
        self._scheduler = BackgroundScheduler(timezone="UTC", executors={"default": ThreadPoolExecutor(2)}, daemon=True)
        # The schedule table. Late is better than never within the grace, once is enough after a pause, and a
        # job that still runs is never started a second time.
        self._scheduler.add_job(
            self._tick, "cron", second=tick_second, id="tick", coalesce=True, max_instances=1, misfire_grace_time=50
        )
        self._scheduler.add_job(
            self._deliver,
            "interval",
            seconds=delivery_seconds,
            id="deliver",
            coalesce=True,
            max_instances=1,
            misfire_grace_time=30,
        )
        self._scheduler.add_listener(self._observe, EVENT_JOB_MISSED | EVENT_JOB_ERROR | EVENT_JOB_MAX_INSTANCES)

    def start(self) -> None:
        """Starts the jobs, with a first tick at once so that a restart misses nothing."""
        self._scheduler.start()
        self._scheduler.add_job(self._tick, id="first-tick", misfire_grace_time=None)

    def stop(self) -> None:
        """Waits for the running jobs, delivers what is due and can be sent soon, and gives the lease away."""
        self._delivery.hurry(_LAST_DELIVERY_SECONDS)
        # A job that falls due while the scheduler shuts down ends its thread with an error: take them away first.
        self._scheduler.pause()
        self._scheduler.remove_all_jobs()
        self._scheduler.shutdown(wait=True)
        try:
            if self._leadership.lease():
                self._delivery.deliver()
            self._leadership.release()
        except (RetryLater, Fenced) as error:
            _log.warning("detect.stop_unclean", error=str(error))

    def _tick(self) -> None:
        with self._one_tick:
            self._tick_alone()

    def _tick_alone(self) -> None:
        try:
            lease = self._leadership.lease()
            if lease is None:
                return
            started = time.monotonic()
            report = self._ticker.tick(self._now_ms() // MINUTE_MS, lease, self._now_ms())
            _count(self._metrics, report, time.monotonic() - started)
            _log.debug(
                "tick.done",
                minute=report.minute,
                candidates=report.candidates,
                fired=report.fired,
                resolved=report.resolved,
                ms=round((time.monotonic() - started) * 1000, 1),
            )
        except (RetryLater, Fenced) as error:
            self._metrics.ticks.labels("postponed").inc()
            _log.warning("tick.postponed", error=str(error))

    def _deliver(self) -> None:
        try:
            if self._leadership.lease() is not None:
                self._delivery.deliver()
        except (RetryLater, Fenced) as error:
            _log.warning("delivery.postponed", error=str(error))

    def _observe(self, event: JobExecutionEvent) -> None:
        if event.code == EVENT_JOB_ERROR:
            self._failed(event.exception)
        elif event.job_id == "tick":
            self._metrics.ticks.labels("missed").inc()
            _log.warning("tick.missed")


def _count(metrics: TickLoop, report: TickReport, seconds: float) -> None:
    metrics.ticks.labels("done").inc()
    metrics.tick_seconds.observe(seconds)
    metrics.alerts_decided.labels("fired").inc(report.fired)
    metrics.alerts_decided.labels("resolved").inc(report.resolved)
    metrics.last_tick.set(report.minute * 60)


class EventClock:
    """Ticks by event time, up to where the stories are stored: history in order, as fast as it goes.

    The writing thread calls :meth:`advance` after each transaction, so the next batch waits for the ticks. While an
    alert is open every minute is decided. Otherwise only those at which a rule's detector can answer anew.
    """

    def __init__(
        self,
        ticker: Ticker,
        delivery: Delivery,
        leadership: Leadership,
        database: Database,
        *,
        rules: Sequence[Rule],
        now_ms: Callable[[], int],
        metrics: TickLoop | None = None,
    ) -> None:
        self._ticker = ticker
        self._delivery = delivery
        self._leadership = leadership
        self._database = database
        self._rules = tuple(rules)
        self._now_ms = now_ms
        self._next: int | None = None
        self._open = True  # unknown until the first tick
        self._metrics = metrics or TickLoop()
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def advance(self, complete_before: int | None) -> None:
        """Decides every minute up to and including ``complete_before``.

        Waits for a database that is away, and for a lease that another process (or our own former life, for the rest
        of its time) still holds: history is decided in order or not at all. :meth:`stop` ends the waiting.
        """
        if complete_before is None:
            return
        waiting = ""
        with self._lock:
            while not self._stopping.is_set():
                try:
                    lease = self._leadership.lease()
                    if lease is not None:
                        self._decide(lease, complete_before)
                        return
                    reason = "another process holds the detect lease"
                except (RetryLater, Fenced) as error:
                    reason = str(error)
                if reason != waiting:
                    self._metrics.ticks.labels("postponed").inc()
                    _log.warning("tick.waiting", reason=reason)
                    waiting = reason
                self._stopping.wait(_WAIT_SECONDS)

    def stop(self) -> None:
        """Ends the waiting of :meth:`advance`; minutes not decided are decided by the next run."""
        self._stopping.set()

    def _decide(self, lease: Lease, last: int) -> None:
        if self._next is None:
            self._next = 0 if lease.progress_minute is None else lease.progress_minute + 1
        if last < self._next:
            return
        for minute, changed in self._due(self._next, last):
            if self._open and self._next > 0:
                for between in range(self._next, minute):
                    if not self._tick(between, lease, ()):
                        break
            self._tick(minute, lease, changed, note_quiet=minute == last)
            self._next = minute + 1
        self._delivery.deliver()

    def _due(self, first: int, last: int) -> list[tuple[int, Collection[int]]]:
        """Minutes in [first, last] at which an answer can change, with the windows' lengths; and ``last`` itself."""
        windows = {rule.window_minutes for rule in self._rules}
        with self._database.read() as connection:
            active = active_minutes(connection, first - 1 - max(windows, default=0), last)
        due: dict[int, set[int]] = {last: windows}
        for rule in self._rules:
            for minute in detector_of(rule).stirs(rule, active, first, last):
                due.setdefault(minute, set()).add(rule.window_minutes)
        return sorted(due.items())

    def _tick(self, minute: int, lease: Lease, changed: Collection[int], *, note_quiet: bool = False) -> bool:
        started = time.monotonic()
        report = self._ticker.tick(minute, lease, self._now_ms(), changed=changed, note_quiet=note_quiet)
        self._open = report.open > 0
        _count(self._metrics, report, time.monotonic() - started)
        return self._open
