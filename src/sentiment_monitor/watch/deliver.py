"""Delivery: what is due in the outbox goes to its notifiers, each served by a worker of its own, at least once each."""

from __future__ import annotations

import math
import random
import threading
import time
import traceback
from collections.abc import Callable, Mapping

import structlog

from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.errors import Fenced, RecordError, RetryLater
from sentiment_monitor.notify.access import fits, sealed
from sentiment_monitor.notify.contract import DeliveryLater, Notifier, NotifierRefused
from sentiment_monitor.notify.retry import next_attempt
from sentiment_monitor.store.outbox import Due, Outbox
from sentiment_monitor.store.stops import Lane, Resumed, Stop
from sentiment_monitor.telemetry.metrics import TickLoop
from sentiment_monitor.watch.lease import Leadership

_log = structlog.get_logger()

_LOOK_SECONDS = 0.2  # how often a stop looks whether it is done
_CUT_SECONDS = 1.0  # for a delivery that a stop has cut short to say so

Receivers = Mapping[str, Mapping[str, Notifier]]
"""Notifiers by their receiver's name and their own, in the order of the settings."""


class Delivery:
    """Takes notifications out of the outbox and hands them to their notifiers while this process leads.

    A thread asks what is due, at its times and when it is woken, and starts a worker for each notifier that has
    something due and none yet: so nobody waits for a receiver that hangs but what is for that receiver. An outage of
    the database is waited out. A notifier that its receiver does not let in is stopped: what is queued for it waits
    until its settings, or a secret's file, are others, or somebody resumes it.
    """

    def __init__(
        self,
        outbox: Outbox,
        receivers: Receivers,
        leadership: Leadership,
        *,
        now_ms: Callable[[], int],
        give_up_ms: int,
        every_seconds: float = 2.0,
        metrics: TickLoop | None = None,
    ) -> None:
        self._outbox = outbox
        self._receivers = receivers
        self._leadership = leadership
        self._now_ms = now_ms
        self._give_up_ms = give_up_ms
        self._failed: Callable[[BaseException], None] = _raise
        self._every_seconds = every_seconds
        self._metrics = metrics or TickLoop()
        # Jitter keeps replicas from retrying in step; nothing secret depends on it.
        self._random = random.Random()  # noqa: S311
        self._until = math.inf  # monotonic seconds
        self._places_left = True  # unknown until this process has led
        self._refused: dict[Lane, str] = {}  # the access of each stopped notifier that is known to be refused
        for receiver, notifiers in receivers.items():
            for name in notifiers:
                self._metrics.notifier_stopped.labels(receiver, name).set(0)
        self._changed = threading.Condition()  # of the three below
        self._working: set[Lane] = set()
        self._woken = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    def start(self, failed: Callable[[BaseException], None]) -> None:
        """Begins to deliver. ``failed`` is called with an error that nobody foresaw: the process must stop."""
        self._failed = failed
        self._thread.start()

    def wake(self) -> None:
        """Something may be due now. Returns at once."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def hurry(self, seconds: float) -> None:
        """Begins nothing new from so many seconds on. Takes no lock, so that a signal's handler may call it."""
        self._until = min(self._until, time.monotonic() + seconds)

    def drain(self, seconds: float) -> None:
        """Sends until nothing is due any more, for so many seconds at most."""
        end = time.monotonic() + seconds
        try:
            while (left := min(end, self._until) - time.monotonic()) > 0:
                due = self._hand_out()
                with self._changed:
                    if not due and not self._working:
                        return
                    self._changed.wait_for(lambda: not self._working, min(_LOOK_SECONDS, left))
        except (RetryLater, Fenced) as error:
            _log.warning("delivery.postponed", error=str(error))

    def stop(self, seconds: float) -> None:
        """Sends what is due and can be sent so soon, and ends. What is not sent stays in the outbox.

        A delivery that still hangs then is cut by closing its notifier, and counts as an attempt.
        """
        self.hurry(seconds)
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(max(0.0, self._until - time.monotonic()))
        self.drain(seconds)
        with self._changed:
            hanging = list(self._working)
        for lane in hanging:
            self._receivers[lane.receiver][lane.notifier].close()
        with self._changed:
            if not self._changed.wait_for(lambda: not self._working, _CUT_SECONDS):
                _log.warning("delivery.left", notifiers=[f"{lane.receiver}/{lane.notifier}" for lane in self._working])

    def _run(self) -> None:
        postponed = False
        try:
            while not self._stopping:
                try:
                    with self._metrics.turns["delivery"]:
                        self._hand_out()
                    postponed = False
                except (RetryLater, Fenced) as error:
                    if not postponed:  # an outage is many turns long, and one line
                        _log.warning("delivery.postponed", error=str(error))
                    postponed = True
                with self._changed:
                    self._changed.wait_for(lambda: self._woken or self._stopping, self._every_seconds)
                    self._woken = False
        except BaseException as error:  # noqa: BLE001 (a thread that dies unseen would silence every receiver)
            self._failed(error)

    def _hand_out(self) -> bool:
        """Starts the workers that are missing; whether anything is due for this process to deliver."""
        if self._places_left and not self._name_places():
            return False
        self._mind_stops()
        lanes = self._outbox.lanes(self._now_ms())
        if not lanes or time.monotonic() >= self._until or not self._leads():
            return False
        for lane in lanes:
            notifiers = self._receivers.get(lane.receiver, {})
            if lane.notifier in notifiers:
                self._serve(lane, notifiers[lane.notifier])
            else:
                self._refuse(lane)
        return True

    def _mind_stops(self) -> None:
        """Lets go on what was stopped and is set up differently since, or is gone, and shows which stand still."""
        stops = {stop.lane: stop for stop in self._outbox.stops()}
        for receiver, notifiers in self._receivers.items():
            for name, notifier in notifiers.items():
                stop = stops.pop(Lane(receiver, name), None)
                if stop is None:
                    self._refused.pop(Lane(receiver, name), None)
                elif self._is_other_than_refused(stop, notifier) and self._leads():
                    self._resume(stop)
                    stop = None
                self._metrics.notifier_stopped.labels(receiver, name).set(0 if stop is None else 1)
        for gone in stops.values():
            if self._leads():
                self._resume(gone)

    def _is_other_than_refused(self, stop: Stop, notifier: Notifier) -> bool:
        access = notifier.access()
        if stop.lane not in self._refused and fits(access, stop.access):
            self._refused[stop.lane] = access
        return self._refused.get(stop.lane) != access

    def _resume(self, stop: Stop) -> None:
        resumed = self._outbox.resume(stop.lane, stop.since_ms, self._now_ms() - self._give_up_ms)
        self._refused.pop(stop.lane, None)
        if resumed is not None:  # else somebody else has
            _log_resumed(stop.lane, resumed)

    def _leads(self) -> bool:
        return self._leadership.leading or self._leadership.lease() is not None

    def _name_places(self) -> bool:
        """Gives what is queued under a place, due or not, to the notifier there; False while another process leads.

        Before anything is sent: under two names the end of an alert could overtake its beginning.
        """
        places = self._outbox.places()
        if places and not self._leads():
            return False
        for lane in places:
            if name := _name_of_place(lane.notifier, self._receivers.get(lane.receiver, {})):
                self._outbox.rename(lane, name)
            else:
                self._refuse(lane)
        self._places_left = False
        return True

    def _going_on(self) -> bool:
        return time.monotonic() < self._until and self._leadership.leading

    def _serve(self, lane: Lane, notifier: Notifier) -> None:
        with self._changed:
            if lane in self._working or time.monotonic() >= self._until:
                return
            self._working.add(lane)
        threading.Thread(
            target=self._work, args=(lane, notifier), name=f"deliver {lane.receiver}/{lane.notifier}", daemon=True
        ).start()

    def _work(self, lane: Lane, notifier: Notifier) -> None:
        """Delivers until nothing more is due for this notifier."""
        through = False
        try:
            while self._going_on() and (batch := self._outbox.due(self._now_ms(), lane)):
                for due in batch:
                    # After a failure, which may have taken long, what is due is asked anew.
                    if not self._going_on() or not self._deliver(due, notifier):
                        break
            through = True
        except (RetryLater, Fenced) as error:
            _log.warning("delivery.postponed", error=str(error))
        except BaseException as error:  # noqa: BLE001 (as above)
            self._failed(error)
        finally:
            with self._changed:
                self._working.discard(lane)
                self._woken |= through  # what has become due meanwhile was left to this worker
                self._changed.notify_all()

    def _deliver(self, due: Due, notifier: Notifier) -> bool:
        """One attempt, and its record; whether it was taken."""
        access = notifier.access()  # a secret's file may be replaced while it is refused
        try:
            with self._metrics.delivery_seconds.labels(due.notification.receiver).time():
                self._send(due.notification, notifier)
        except DeliveryLater as error:
            self._note_failure(due, str(error), error.retry_after_s, final=False)
            return False
        except RecordError as error:
            self._note_failure(due, str(error), None, final=True)
            return False
        except NotifierRefused as error:
            self._stop_lane(due, access, str(error))
            return False
        self._outbox.record_sent(due.id, self._now_ms())
        self._metrics.deliveries.labels("sent").inc()
        self._metrics.decided_to_sent.observe([(self._now_ms() - due.created_ms) / 1000])
        return True

    def _send(self, notification: Notification, notifier: Notifier) -> None:
        try:
            notifier.send(notification, self._now_ms())
        except (RetryLater, RecordError, NotifierRefused):
            raise
        except Exception as error:  # a receiver's answer, whatever it is, must not end the service
            place = traceback.extract_tb(error.__traceback__)[-1]
            # Its message may hold the receiver's URL.
            raise DeliveryLater(
                f"unforeseen {type(error).__name__} at {place.filename}:{place.lineno} (please report it)"
            ) from error

    def _stop_lane(self, due: Due, access: str, error: str) -> None:
        """Nothing more is sent by a notifier that is not let in: it would fail, and might lock us out for good."""
        lane = Lane(due.notification.receiver, due.notification.notifier)
        self._refused[lane] = access
        self._outbox.stop(due.id, Stop(lane, self._now_ms(), error, sealed(access)))
        self._metrics.deliveries.labels("refused").inc()
        self._metrics.notifier_stopped.labels(*lane).set(1)
        _log.error(
            "notifier.stopped",
            receiver=lane.receiver,
            notifier=lane.notifier,
            error=error,
            hint=f"mend its settings, or the receiver's own and then: monitor notify resume {lane.receiver}",
        )

    def _refuse(self, lane: Lane) -> None:
        """What is queued for a notifier that is gone fails, and says so."""
        reason = f"receiver {lane.receiver} no longer has a notifier {lane.notifier} in the settings"
        error = str(RecordError("no_such_notifier", reason))
        count = self._outbox.refuse(lane, error)
        self._metrics.deliveries.labels("failed").inc(count)
        _log.error(
            "notification.failed", receiver=lane.receiver, notifier=lane.notifier, notifications=count, error=error
        )

    def _note_failure(self, due: Due, error: str, retry_after_s: float | None, *, final: bool) -> None:
        now = self._now_ms()
        following = (
            None
            if final
            else next_attempt(
                due.attempts + 1,
                now,
                retry_after_s,
                first_ms=due.created_ms,
                random=self._random,
                give_up_ms=self._give_up_ms,
            )
        )
        if not self._outbox.record_failure(due.id, error, following):
            return  # a process that leads by now has delivered it, or given it up
        fields = {
            "receiver": due.notification.receiver,
            "notifier": due.notification.notifier,
            "attempt": due.attempts + 1,
            "error": error,
        }
        if following is None:
            self._metrics.deliveries.labels("failed").inc()
            _log.error("notification.failed", **fields)
        else:
            self._metrics.deliveries.labels("retried").inc()
            _log.warning("notification.retry", in_seconds=round((following - now) / 1000, 1), **fields)


def _log_resumed(lane: Lane, resumed: Resumed) -> None:
    _log.info(
        "notifier.resumed",
        receiver=lane.receiver,
        notifier=lane.notifier,
        waiting=resumed.waiting,
        given_up=resumed.given_up,
    )


def _raise(error: BaseException) -> None:
    raise error


def _name_of_place(notifier: str, notifiers: Mapping[str, Notifier]) -> str | None:
    """The name that a place in the list (``#0``, from before there were names) has now; None for anything else."""
    place = notifier.removeprefix("#")
    if place == notifier or not place.isdecimal():
        return None
    return dict(enumerate(notifiers)).get(int(place))
