"""The two clocks of the tick loop: live by the wall, or history by the stories' own times.

Every turn is idempotent: a minute that was decided is skipped, a notification that was sent is not due. One turn after
a pause is enough, because a tick looks at windows, not at what came since the last one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence

import structlog

from sentiment_monitor.detect.detectors import detector_of
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.errors import Fenced, RetryLater
from sentiment_monitor.store.buckets import active_minutes, last_minute
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import Lease
from sentiment_monitor.store.set_back import set_back
from sentiment_monitor.telemetry.metrics import TickLoop
from sentiment_monitor.times import MINUTE_MS, iso
from sentiment_monitor.watch.deliver import Delivery
from sentiment_monitor.watch.lease import Leadership
from sentiment_monitor.watch.schedule import Job, Loss, Schedule
from sentiment_monitor.watch.tick import Ticker, TickReport

_log = structlog.get_logger()

_WAIT_SECONDS = 0.5
_LAST_DELIVERY_SECONDS = 5.0  # what a stop gives to what is due
_RENEW_SECONDS = 5.0  # at most: also how soon a follower notices that nobody leads
# Progress further ahead than this was made by a clock that ran ahead. Nearer it may be a replica whose clock is a
# little fast, or a replay up to stories that are dated in the future, and is waited for.
AHEAD_MINUTES = 15


class LiveClock:
    """Ticks once a minute by the wall clock, keeps the lease, and wakes delivery after each tick.

    A tick that fails because the database is away is tried again at its next turn; any other error ends the loop:
    ``failed`` is called with it, and the process must stop.
    """

    def __init__(
        self,
        ticker: Ticker,
        delivery: Delivery,
        leadership: Leadership,
        database: Database,
        *,
        now_ms: Callable[[], int],
        failed: Callable[[BaseException], None],
        tick_second: int = 5,
        metrics: TickLoop | None = None,
    ) -> None:
        self._ticker = ticker
        self._delivery = delivery
        self._leadership = leadership
        self._database = database
        self._now_ms = now_ms
        self._failed = failed
        self._metrics = metrics or TickLoop()
        self._skipping = False  # minutes that were decided under a clock that was a little ahead
        self._schedule = Schedule(
            (
                Job("tick", every=60, at=tick_second, run=self._tick, leader_only=True),
                Job("lease", every=min(_RENEW_SECONDS, leadership.ttl_seconds / 3), run=self._renew, leader_only=False),
            ),
            leadership,
            failed=failed,
            lost=self._lost,
            stepped=self._stepped,
        )

    def start(self) -> None:
        """Starts the jobs, with a first tick at once so that a restart misses nothing, and delivery."""
        self._delivery.start(self._failed)
        self._schedule.start()

    def stop(self) -> None:
        """Waits for the running jobs, delivers what is due and can be sent soon, and gives the lease away."""
        self._schedule.stop()
        try:
            self._delivery.stop(_LAST_DELIVERY_SECONDS)
            self._leadership.release()
        except (RetryLater, Fenced) as error:
            _log.warning("detect.stop_unclean", error=str(error))

    def _tick(self) -> None:
        lease = self._leadership.lease()
        if lease is None:
            return
        now_ms = self._now_ms()
        minute = now_ms // MINUTE_MS
        if lease.progress_minute is not None and lease.progress_minute > minute + AHEAD_MINUTES:
            lease = self._back_to_the_present(lease, minute, now_ms)
        if lease.progress_minute is not None and lease.progress_minute >= minute:
            self._metrics.ticks.labels("skipped").inc()
            if lease.progress_minute > minute and not self._skipping:
                self._skipping = True
                _log.warning(
                    "tick.skipping", until=iso(lease.progress_minute), now=iso(minute), reason="decided before"
                )
            return
        if self._skipping:
            self._skipping = False
            _log.info("tick.going_on", now=iso(minute))
        started = time.monotonic()
        with self._metrics.turns["tick"]:
            report = self._ticker.tick(minute, lease, now_ms)
        self._delivery.wake()
        _count(self._metrics, report, time.monotonic() - started)
        _log.debug(
            "tick.done",
            minute=report.minute,
            candidates=report.candidates,
            fired=report.fired,
            resolved=report.resolved,
            ms=round((time.monotonic() - started) * 1000, 1),
        )

    def _back_to_the_present(self, lease: Lease, minute: int, now_ms: int) -> Lease:
        """Minutes that the clock has yet to reach cannot have been decided rightly, and must not silence it."""
        _log.error(
            "tick.progress_ahead",
            reason="the newest minute decided lies ahead of the clock, which has stepped: deciding goes on from now",
            decided=iso(lease.progress_minute),
            now=iso(minute),
        )
        return set_back(self._database, lease, minute - 1, now_ms)

    def _renew(self) -> None:
        self._leadership.lease()

    def _lost(self, job: str, loss: Loss, turns: int) -> None:
        if job == "tick":
            self._metrics.ticks.labels(loss).inc(turns)

    def _stepped(self, seconds: float) -> None:
        self._metrics.clock_steps.inc()


def _count(metrics: TickLoop, report: TickReport, seconds: float) -> None:
    metrics.ticks.labels("done").inc()
    metrics.tick_seconds.observe(seconds)
    metrics.alerts_decided.labels("fired").inc(report.fired)
    metrics.alerts_decided.labels("stale").inc(report.stale)
    metrics.alerts_decided.labels("reopened").inc(report.reopened)
    metrics.alerts_decided.labels("resolved").inc(report.resolved)
    metrics.last_tick.set(report.minute * 60)


class EventClock:
    """Ticks by event time, up to where the stories are stored: history in order, as fast as it goes.

    The writing thread calls :meth:`advance` after each transaction, so the next batch waits for the ticks. Minutes are
    judged at which a rule's detector can answer anew. While an alert is open the others are asked of its state and of
    who is due to be told.
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
        of its time) still holds: history is decided in order or not at all. :meth:`stop` ends it between two minutes.
        """
        if complete_before is not None:
            self._wait_for_lease(lambda lease: self._decide(lease, complete_before))

    def finish(self) -> None:
        """Decides every minute up to the one after the newest story stored, whichever run stored it; waits likewise."""
        self._wait_for_lease(self._decide_to_the_end)

    def stop(self) -> None:
        """Ends :meth:`advance` after the minute at hand; minutes not decided are decided by the next run."""
        self._stopping.set()

    def _wait_for_lease(self, decide: Callable[[Lease], None]) -> None:
        waiting = ""
        with self._lock:
            while not self._stopping.is_set():
                try:
                    lease = self._leadership.lease()
                    if lease is not None:
                        decide(lease)
                        return
                    reason = "another process holds the detect lease"
                except (RetryLater, Fenced) as error:
                    reason = str(error)
                if reason != waiting:
                    self._metrics.ticks.labels("postponed").inc()
                    _log.warning("tick.waiting", reason=reason)
                    waiting = reason
                self._stopping.wait(_WAIT_SECONDS)

    def _decide_to_the_end(self, lease: Lease) -> None:
        with self._database.read() as connection:
            newest = last_minute(connection)
        if newest is not None:
            self._decide(lease, newest + 1)

    def _decide(self, lease: Lease, last: int) -> None:
        if self._next is None:
            self._next = 0 if lease.progress_minute is None else lease.progress_minute + 1
        if last < self._next:
            return
        looked = False
        for minute, changed in self._due(self._next, last):
            if self._open and self._next > 0:
                for between in range(self._next, minute):
                    if self._stopping.is_set():
                        break
                    # Stories that came late may have changed what was seen, so the first minute is looked at whole.
                    if looked and self._ticker.stays(between, lease):
                        self._next = between + 1
                        continue
                    if not self._tick(between, lease, ()):
                        break
                    looked = True
                    self._next = between + 1
            if self._stopping.is_set():
                _log.info("replay.stopped", undecided_from=iso(self._next), stored_until=iso(last))
                return
            self._tick(minute, lease, changed, note_quiet=minute == last)
            looked = True
            self._next = minute + 1

    def _due(self, first: int, last: int) -> list[tuple[int, Collection[int]]]:
        """Minutes in [first, last] at which an answer can change, with the windows' lengths; and ``last`` itself."""
        windows = {rule.window_minutes for rule in self._rules}
        longest = max((rule.span_minutes for rule in self._rules), default=0)
        with self._database.read() as connection:
            active = active_minutes(connection, first - 1 - longest, last)
        due: dict[int, set[int]] = {last: windows}
        for rule in self._rules:
            for minute in detector_of(rule).stirs(rule, active, first, last):
                due.setdefault(minute, set()).add(rule.window_minutes)
        return sorted(due.items())

    def _tick(self, minute: int, lease: Lease, changed: Collection[int], *, note_quiet: bool = False) -> bool:
        started = time.monotonic()
        with self._metrics.turns["tick"]:
            report = self._ticker.tick(minute, lease, self._now_ms(), changed=changed, note_quiet=note_quiet)
        if report.messages:
            self._delivery.wake()
        self._open = report.open > 0
        _count(self._metrics, report, time.monotonic() - started)
        return self._open
