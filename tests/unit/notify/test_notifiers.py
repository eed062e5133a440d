from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest
import structlog

from receiver import Answer, notification, receiver
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.notify.apprise import AppriseNotifier
from sentiment_monitor.notify.contract import DeliveryLater, LogNotifier, Notifier

NOW_MS = 1_678_468_900_000


def test_the_log_notifier_writes_one_event_an_alert() -> None:
    with structlog.testing.capture_logs() as events:
        notifier: Notifier = LogNotifier()
        notifier.send(notification(), NOW_MS)
        notifier.send(notification(resolved=True), NOW_MS)
        notifier.close()
    fired, resolved = events
    assert (fired["event"], fired["log_level"]) == ("alert.fired", "warning")
    assert (fired["series"], fired["observed"], fired["reason"]) == ("ticker:ACME", 14.0, "fired: spike_burst")
    assert (resolved["event"], resolved["log_level"]) == ("alert.resolved", "info")
    assert resolved["ends_at"] == "2023-03-10T18:21:00Z"


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
    hostile = replace(notification(), title="@here", text="- Acme @everyone [log in](https://evil.example) now")
    with receiver() as there:
        AppriseNotifier(there.url.replace("http://", "json://")).send(hostile, NOW_MS)
    told = json.loads(there.seen[0].body)
    assert (told["title"], "@everyone" in told["message"], "](" in told["message"]) == ("@\u200bhere", False, False)
    assert "[log in]" in told["message"]


def test_apprise_failures_are_tried_again_and_no_secret_shows(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with receiver(Answer(500)) as there:
        url = there.url.replace("http://", "json://user:PASSSECRET@") + "/PATHSECRET"
        notifier = AppriseNotifier(url)
        with pytest.raises(DeliveryLater) as raised:
            notifier.send(notification(), NOW_MS)
    assert there.seen
    assert "SECRET" not in f"{raised.value} {raised.value!r} {notifier!r} {caplog.text}"


@pytest.mark.parametrize("url", ["", "nonsense", "nosuchservice://SECRET@host"])
def test_a_url_apprise_does_not_know_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError) as raised:
        AppriseNotifier(url)
    assert "SECRET" not in str(raised.value)
