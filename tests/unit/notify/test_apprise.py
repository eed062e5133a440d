from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from receiver import Answer, notification, receiver
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.notify.apprise import AppriseNotifier
from sentiment_monitor.notify.contract import DeliveryLater, Notifier

NOW_MS = 1_678_468_900_000


def _children(pid: int) -> list[int]:
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


def _running_apprise() -> list[int]:
    """Other children may be of other suites."""
    return [
        child for child in _children(os.getpid()) if b"apprise_child" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_apprise_delivers_title_and_text() -> None:
    with receiver() as there:
        notifier: Notifier = AppriseNotifier(there.url.replace("http://", "json://"))
        notifier.send(notification(), NOW_MS)
        notifier.send(notification(resolved=True), NOW_MS)
        notifier.close()
    fired, resolved = (json.loads(seen.body) for seen in there.seen)
    assert fired["title"] == notification().title
    assert "- Acme halts withdrawals" in fired["message"]
    assert (fired["type"], resolved["type"]) == ("warning", "success")


def test_a_headline_calls_nobody_and_hides_no_address_in_a_chat() -> None:
    headline = b"Acme @everyone [log in](https://evil.example) now"
    body = notification().body.replace("Acme halts withdrawals – 银行".encode(), headline)
    hostile = replace(notification(), title="@here", body=body)
    with receiver() as there, closing(AppriseNotifier(there.url.replace("http://", "json://"))) as notifier:
        notifier.send(hostile, NOW_MS)
    told = json.loads(there.seen[0].body)
    assert (told["title"], "@everyone" in told["message"], "](" in told["message"]) == ("@\u200bhere", False, False)
    assert "[log in]" in told["message"]
    assert "https://evil" not in told["message"]


def test_apprise_failures_are_tried_again_and_no_secret_shows(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with receiver(Answer(500)) as there:
        url = there.url.replace("http://", "json://user:PASSSECRET@") + "/PATHSECRET"
        with closing(AppriseNotifier(url)) as notifier, pytest.raises(DeliveryLater) as raised:
            notifier.send(notification(), NOW_MS)
    assert there.seen
    assert "SECRET" not in f"{raised.value} {raised.value!r} {notifier!r} {caplog.text}"


@pytest.mark.parametrize("url", ["", "nonsense", "nosuchservice://SECRET@host"])
def test_a_url_apprise_does_not_know_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError) as raised:
        AppriseNotifier(url)
    assert "SECRET" not in str(raised.value)


def test_the_url_is_on_no_command_line_and_in_no_environment() -> None:
    with closing(AppriseNotifier("json://user:PASSSECRET@127.0.0.1:9/PATHSECRET")) as notifier:
        with pytest.raises(DeliveryLater):  # nobody listens
            notifier.send(notification(), NOW_MS)
        (child,) = _running_apprise()
        folder = Path(f"/proc/{child}")
        shown = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
    assert b"apprise_child" in shown
    assert b"SECRET" not in shown


def test_a_child_that_has_ended_is_replaced_and_a_stop_of_the_whole_service_lets_it_deliver() -> None:
    with receiver() as there, closing(AppriseNotifier(there.url.replace("http://", "json://"))) as notifier:
        assert _running_apprise() == []  # until something is to be delivered
        notifier.send(notification(), NOW_MS)
        (first,) = _running_apprise()
        os.kill(first, signal.SIGTERM)  # as a service manager does to every process of the service
        os.killpg(first, signal.SIGINT)
        notifier.send(notification(), NOW_MS)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(DeliveryLater, match="has ended"):
            notifier.send(notification(), NOW_MS)
        notifier.send(notification(), NOW_MS)
        assert _running_apprise() not in ([], [first])
    assert len(there.seen) == 3
    assert not Path(f"/proc/{first}").exists()


_SERVICE = """
import sys
sys.path[:0] = {path!r}
from receiver import notification
from sentiment_monitor.notify.apprise import AppriseNotifier
AppriseNotifier({url!r}).send(notification(), 0)
"""


def test_a_service_that_is_killed_in_the_midst_of_a_delivery_leaves_no_process_behind() -> None:
    with receiver(Answer(body=b"x" * 200, drip_s=0.1)) as there:
        source = _SERVICE.format(path=sys.path, url=there.url.replace("http://", "json://"))
        with subprocess.Popen([sys.executable, "-c", source]) as service:
            _wait_until(lambda: bool(there.seen))
            (child,) = _children(service.pid)
            service.kill()
        _wait_until(lambda: not Path(f"/proc/{child}").exists())
