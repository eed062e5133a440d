from __future__ import annotations

import json

import pytest

from receiver import START_MS, alert, notification
from sentiment_monitor.domain.alerts import fingerprint
from sentiment_monitor.domain.payload import decode, encode, group, idempotency_key


def test_the_payload_has_alertmanagers_fields_in_order_and_ours_beside_them() -> None:
    body = json.loads(notification().body)
    assert list(body) == [
        "version",
        "groupKey",
        "truncatedAlerts",
        "status",
        "receiver",
        "groupLabels",
        "commonLabels",
        "commonAnnotations",
        "externalURL",
        "alerts",
    ]
    assert body["version"] == "4"
    assert body["groupKey"] == '{}:{alertname="company-day", series="ticker:ACME"}'
    [only] = body["alerts"]
    assert list(only) == [
        "status",
        "labels",
        "annotations",
        "startsAt",
        "endsAt",
        "generatorURL",
        "fingerprint",
        "sentiment",
    ]
    assert only["startsAt"] == "2023-03-10T17:21:00Z"
    assert only["endsAt"] == "0001-01-01T00:00:00Z"
    assert list(only["sentiment"]) == [
        "rule",
        "series",
        "window_minutes",
        "observed",
        "expected",
        "p_value",
        "q_value",
        "effect",
        "volume",
        "expected_share",
        "top_stories",
        "sources",
        "copies_collapsed",
        "reason",
    ]


def test_a_payload_survives_the_wire_unchanged() -> None:
    sent = notification()
    assert encode(decode(sent.body)) == sent.body
    assert decode(sent.body).alerts[0] == alert()


def test_a_group_fires_while_any_alert_does_and_shares_only_common_labels() -> None:
    both = group("desk", [alert(), alert(series="ticker:OTHER", resolved=True)])
    assert both.status == "firing"
    assert both.commonLabels == {"alertname": "company-day", "dimension": "ticker", "severity": "warning"}
    assert both.groupLabels == {"alertname": "company-day"}
    assert group("desk", [alert(resolved=True)]).status == "resolved"
    with pytest.raises(ValueError, match="at least one"):
        group("desk", [])


def test_fingerprints_are_stable_and_apart() -> None:
    assert fingerprint("company-day", "ticker:ACME") == fingerprint("company-day", "ticker:ACME") == "8f599aee1baa8999"
    assert len({fingerprint("a", "bc"), fingerprint("ab", "c"), fingerprint("a", "bd")}) == 3


def test_one_decision_has_one_key_per_receiver() -> None:
    key = idempotency_key("f", START_MS, "fired", 5, "desk")
    assert key == idempotency_key("f", START_MS, "fired", 5, "desk")
    assert key != idempotency_key("f", START_MS, "fired", 5, "mail")
    assert key != idempotency_key("f", START_MS, "repeated", 5, "desk")
