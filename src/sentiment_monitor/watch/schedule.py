"""The job table of the tick loop, and what becomes of it when the wall clock steps.

APScheduler runs the jobs and computes by the wall clock how long to wait: set back by a day, it would sleep for a day.
A thread of ours compares the wall clock with the monotonic one every second and, after a step, makes every job due.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, JobEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from sentiment_monitor.errors import Fenced, RetryLater
from sentiment_monitor.watch.lease import Leadership

_log = structlog.get_logger()

Loss = Literal["postponed", "missed"]
"""A turn that came to nothing: an outage or a lost lease ended it; its time passed while the last one still ran."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_WATCH_SECONDS = 1.0
_STEP_SECONDS = 2.0  # less is what slewing and a busy machine do


@dataclass(frozen=True, slots=True)
class Job:
    """Something that is done again and again, and that may be done once too often or too late without harm."""

    name: str
    every: float  # seconds; turns fall on full multiples of it since 1970-01-01 UTC
    run: Callable[[], None]
    leader_only: bool  # only the replica that holds the lease runs it
    at: float = 0.0  # seconds after the full multiple


class Schedule:
    """Runs jobs side by side, each at once and then at its times, never one beside itself.

    After a pause one turn makes up for all that were slept through. A turn that raises RetryLater or Fenced is tried
    again at its next time; any other error goes to ``failed``. ``lost`` is told, by job name, how many turns came to
    nothing; ``stepped`` of every step of the wall clock, in seconds.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        leadership: Leadership,
        *,
        failed: Callable[[BaseException], None],
        lost: Callable[[str, Loss, int], None],
        stepped: Callable[[float], None],
    ) -> None:
        self._jobs = {job.name: job for job in jobs}
        self._leadership = leadership
        self._failed = failed
        self._lost = lost
        self._stepped = stepped
        self._begun: dict[str, float] = {}  # monotonic seconds: the last turn
        self._overrun = dict.fromkeys(self._jobs, 0)  # turns known to be missed since then
        self._postponed: set[str] = set()  # jobs whose last turn came to nothing: an outage is one line
        self._stopping = threading.Event()
        self._ahead = 0.0  # of the wall clock over the monotonic one, in seconds
        self._watcher = threading.Thread(target=self._watch, name="clock-watch", daemon=True)
        self._scheduler = BackgroundScheduler(
            timezone="UTC", executors={"default": ThreadPoolExecutor(max(1, len(jobs)))}, daemon=True
        )
        self._scheduler.add_listener(self._observe, EVENT_JOB_ERROR | EVENT_JOB_MAX_INSTANCES)

    def start(self) -> None:
        """Runs every job at once, and from then on at its times."""
        self._ahead = _wall_over_monotonic()
        for job in self._jobs.values():
            self._scheduler.add_job(
                partial(self._turn, job),
                _Multiples(job.every, job.at),
                id=job.name,
                name=job.name,
                next_run_time=_wall(),
                coalesce=True,  # after a pause once is enough
                max_instances=1,
                misfire_grace_time=None,  # late is better than never: a turn looks at how things are now
            )
        self._scheduler.start()
        self._watcher.start()

    def stop(self) -> None:
        """Waits for the turns that are running; none begins any more."""
        self._stopping.set()
        if self._watcher.is_alive():
            self._watcher.join()
        if not self._scheduler.running:
            return
        # A job that falls due while the scheduler shuts down ends its thread with an error: take them away first.
        self._scheduler.pause()
        self._scheduler.remove_all_jobs()
        self._scheduler.shutdown(wait=True)

    def _turn(self, job: Job) -> None:
        self._count_slept_through(job)
        try:
            if not job.leader_only or self._leadership.lease() is not None:
                job.run()
        except (RetryLater, Fenced) as error:
            self._lost(job.name, "postponed", 1)
            if job.name not in self._postponed:
                _log.warning(f"{job.name}.postponed", error=str(error))
            self._postponed.add(job.name)
        else:
            self._postponed.discard(job.name)

    def _count_slept_through(self, job: Job) -> None:
        now = time.monotonic()
        before = self._begun.get(job.name)
        known, self._overrun[job.name] = self._overrun[job.name], 0
        self._begun[job.name] = now
        if before is not None and (slept_through := round((now - before) / job.every) - 1 - known) > 0:
            self._missed(job.name, slept_through)

    def _missed(self, name: str, turns: int) -> None:
        self._lost(name, "missed", turns)
        _log.warning(f"{name}.missed", turns=turns)

    def _observe(self, event: JobEvent) -> None:
        if event.code == EVENT_JOB_ERROR:
            self._failed(event.exception)
        else:
            self._overrun[event.job_id] += 1
            self._missed(event.job_id, 1)

    def _watch(self) -> None:
        try:
            while not self._stopping.wait(_WATCH_SECONDS):
                before, self._ahead = self._ahead, _wall_over_monotonic()
                step = self._ahead - before
                if abs(step) >= _STEP_SECONDS:
                    self._tell_of_step(step)
                now = _wall()
                for due in self._scheduler.get_jobs():
                    # Later than its next turn: the clock was ahead, perhaps between two looks of ours, when it was set.
                    latest = now + timedelta(seconds=self._jobs[due.id].every + _STEP_SECONDS)
                    if abs(step) >= _STEP_SECONDS or due.next_run_time > latest:
                        due.modify(next_run_time=now)
        except Exception as error:  # noqa: BLE001  # without the watch a step would stop the jobs unseen
            self._failed(error)

    def _tell_of_step(self, seconds: float) -> None:
        now = _wall()
        _log.error(
            "clock.stepped",
            seconds=round(seconds, 1),
            expected=(now - timedelta(seconds=seconds)).isoformat(timespec="seconds"),
            now=now.isoformat(timespec="seconds"),
        )
        self._stepped(seconds)


class _Multiples(BaseTrigger):  # type: ignore[misc]  # untyped
    """The next full multiple after now. What has been slept through, or jumped over, is no turn."""

    def __init__(self, every: float, at: float) -> None:
        self._every = round(every * 1_000_000)
        self._at = round(at * 1_000_000)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """As APScheduler asks for it."""
        passed = ((now - _EPOCH) // _MICROSECOND - self._at) // self._every
        return _EPOCH + _MICROSECOND * ((passed + 1) * self._every + self._at)


def _wall() -> datetime:
    """The clock that APScheduler reads: it takes no other."""
    return datetime.now(UTC)


def _wall_over_monotonic() -> float:
    return _wall().timestamp() - time.monotonic()
