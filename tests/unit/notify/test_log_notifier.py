from __future__ import annotations

import structlog

from receiver import notification
from sentiment_monitor.notify.contract import Notifier
from sentiment_monitor.notify.log import LogNotifier

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
