"""One behaviour of every notifier: the one that writes the log, and those that reach a receiver over the network."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver import Answer, Receiver, notification, receiver
from sentiment_monitor.notify.apprise import AppriseNotifier
from sentiment_monitor.notify.contract import DeliveryLater, Notifier, NotifyRejected
from sentiment_monitor.notify.log import LogNotifier
from sentiment_monitor.notify.phrasing import Phrasing
from sentiment_monitor.notify.robots import ROBOTS, RobotNotifier
from sentiment_monitor.notify.webhook import WebhookNotifier

NOW_MS = 1_678_468_900_000
TIMEOUT_S = {
    "log": 0.0,
    "webhook": 0.7,
    "slack": 0.7,
    "apprise": 4.0,
}  # a process is started within the last, also under load
SLACK_S = 1.5  # of the machine, over the timeout


class Opened:
    """Makes notifiers of one kind that tell a server on this machine."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.timeout_s = TIMEOUT_S[kind]
        self.notifiers: list[Notifier] = []

    def __call__(self, url: str, timeout_s: float | None = None) -> Notifier:
        self.notifiers.append(self._notifier(url.partition("//")[2], timeout_s or self.timeout_s))
        return self.notifiers[-1]

    def _notifier(self, address: str, timeout_s: float) -> Notifier:
        secret = f"user:USERSECRET@{address}/PATHSECRET"
        match self._kind:
            case "webhook":
                return WebhookNotifier(f"http://{secret}", secret="SIGNSECRET", timeout_s=timeout_s)
            case "slack":
                return RobotNotifier(
                    ROBOTS["slack"], f"http://{secret}", secret="SIGNSECRET", phrasing=Phrasing(), timeout_s=timeout_s
                )
            case "apprise":
                return AppriseNotifier(f"json://{secret}", timeout_s=timeout_s)
            case _:
                return LogNotifier()


@pytest.fixture
def opened(request: pytest.FixtureRequest) -> Iterator[Opened]:
    """For the kind of notifier that the test is for."""
    opened = Opened(request.param)
    yield opened
    for notifier in opened.notifiers:
        notifier.close()


every_kind = pytest.mark.parametrize("opened", ["log", "webhook", "slack", "apprise"], indirect=True)
remote = pytest.mark.parametrize("opened", ["webhook", "slack", "apprise"], indirect=True)


def _fails(notifier: Notifier, kind: type[Exception] = DeliveryLater) -> float:
    """Seconds it took to say that nothing was delivered."""
    began = time.monotonic()
    with pytest.raises(kind) as raised:
        notifier.send(notification(), NOW_MS)
    assert "SECRET" not in f"{raised.value} {raised.value!r} {raised.value.__cause__!r}"
    return time.monotonic() - began


def _children() -> set[str]:
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


@every_kind
def test_a_notification_is_taken_twice_alike(opened: Opened) -> None:
    with receiver() as there:
        notifier = opened(there.url)
        for _ in range(2):
            notifier.send(notification(), NOW_MS)
    assert len({(seen.method, seen.path, seen.body) for seen in there.seen}) <= 1
    assert {seen.method for seen in there.seen} <= {"POST"}


@remote
def test_a_receiver_that_fails_is_told_again_later(opened: Opened) -> None:
    with receiver(Answer(500), Answer(200)) as there:
        notifier = opened(there.url)
        _fails(notifier)
        notifier.send(notification(), NOW_MS)
    assert len(there.seen) == 2


@remote
@pytest.mark.parametrize(
    "answer",
    [Answer(delay_s=6), Answer(body=b"x" * 100, drip_s=0.1), Answer(500, body=b"x" * 100, drip_s=0.1)],
    ids=["hangs", "drips", "drips-an-error"],
)
def test_a_receiver_that_takes_its_time_is_left_and_the_next_delivery_is_as_good_as_any(
    opened: Opened, answer: Answer
) -> None:
    with receiver(answer, Answer()) as there:
        notifier = opened(there.url)
        threads = threading.active_count()
        assert _fails(notifier) < opened.timeout_s + SLACK_S
        assert threading.active_count() <= threads + 1  # the server's own, which is not done
        notifier.send(notification(), NOW_MS)


@remote
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_delivers_nothing(opened: Opened, status: int) -> None:
    with (
        receiver() as elsewhere,
        receiver(Answer(status, {"Location": elsewhere.url + "/other"})) as there,
        pytest.raises((DeliveryLater, NotifyRejected)),
    ):
        opened(there.url).send(notification(), NOW_MS)
    assert ([seen.method for seen in there.seen], elsewhere.seen) == (["POST"], [])


@remote
def test_nobody_listening_is_tried_again_later(opened: Opened) -> None:
    with receiver() as there:
        pass
    assert _fails(opened(there.url)) < opened.timeout_s + SLACK_S


@remote
def test_closing_ends_a_delivery_that_hangs(opened: Opened) -> None:
    with receiver(Answer(body=b"x" * 100, drip_s=0.1)) as there:
        notifier = opened(there.url, 60)
        failures: list[float] = []
        sending = threading.Thread(target=lambda: failures.append(_fails(notifier)))
        sending.start()
        _wait_for(there)
        began = time.monotonic()
        notifier.close()
        assert time.monotonic() - began < 1
        sending.join(2)
        assert failures


@every_kind
def test_closing_is_quick_leaves_nothing_behind_and_may_be_repeated(opened: Opened) -> None:
    with receiver() as there:
        before, threads = _children(), threading.active_count()
        notifier = opened(there.url)
        notifier.send(notification(), NOW_MS)
        began = time.monotonic()
        notifier.close()
        assert time.monotonic() - began < 1
        notifier.close()
        assert _children() == before
    assert threading.active_count() <= threads


@every_kind
def test_no_secret_is_shown(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with receiver(Answer(500), Answer(302, {"Location": "http://nowhere.example/OTHERSECRET"}), Answer()) as there:
        notifier = opened(there.url)
        told = [str(notifier), repr(notifier)]
        for _ in range(3):
            try:
                notifier.send(notification(), NOW_MS)
            except (DeliveryLater, NotifyRejected) as error:
                told += [str(error), repr(error), repr(error.__cause__)]
    assert "SECRET" not in " ".join(told) + caplog.text


def _wait_for(there: Receiver) -> None:
    deadline = time.monotonic() + 10
    while not there.seen and time.monotonic() < deadline:
        time.sleep(0.01)
    assert there.seen
