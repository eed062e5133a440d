from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Literal

import msgspec
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
        "name",
        "most_a_day_reached",
    ]


class _StrictAlert(msgspec.Struct, kw_only=True):
    """An alert as Alertmanager's own readers declare it: every field is there and of its type."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str]
    startsAt: datetime  # noqa: N815 (Alertmanager's name)
    endsAt: datetime  # noqa: N815
    generatorURL: str  # noqa: N815
    fingerprint: str


class _StrictMessage(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Version 4 of the webhook: these fields and no others."""

    version: Literal["4"]
    groupKey: str  # noqa: N815
    truncatedAlerts: Annotated[int, msgspec.Meta(ge=0)]  # noqa: N815
    status: Literal["firing", "resolved"]
    receiver: str
    groupLabels: dict[str, str]  # noqa: N815
    commonLabels: dict[str, str]  # noqa: N815
    commonAnnotations: dict[str, str]  # noqa: N815
    externalURL: str  # noqa: N815
    alerts: list[_StrictAlert]


# What Alertmanager sends, in its shape; the names are invented.
_ALERTMANAGERS = b"""{
  "receiver": "desk", "status": "firing",
  "alerts": [{"status": "firing", "labels": {"alertname": "DiskFull", "instance": "db-7"},
    "annotations": {"summary": "s"},
    "startsAt": "2026-03-04T23:45:00.123Z", "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus.example/graph?g0.expr=up", "fingerprint": "942f0572e926381e"}],
  "groupLabels": {"alertname": "DiskFull"}, "commonLabels": {"alertname": "DiskFull", "instance": "db-7"},
  "commonAnnotations": {"summary": "s"}, "externalURL": "http://alertmanager.example", "version": "4",
  "groupKey": "{}:{alertname=\\"DiskFull\\"}", "truncatedAlerts": 0
}"""


def test_what_reads_alertmanagers_webhook_strictly_reads_ours() -> None:
    theirs = msgspec.json.decode(_ALERTMANAGERS, type=_StrictMessage)
    several = encode(
        group("desk", [alert(), alert(series="ticker:OTHER", resolved=True)], external_url="http://m.example")
    )
    for body in (notification().body, notification(resolved=True).body, several):
        ours = msgspec.json.decode(body, type=_StrictMessage)
        assert ours.groupKey.partition(":")[0] == theirs.groupKey.partition(":")[0] == "{}"
        assert ours.groupLabels.items() <= ours.commonLabels.items()
        assert {len(entry.fingerprint) for entry in ours.alerts} == {len(theirs.alerts[0].fingerprint)}
        for entry in ours.alerts:
            assert (entry.endsAt == theirs.alerts[0].endsAt) == (entry.status == "firing")
            assert entry.generatorURL.startswith("http")
    assert set(json.loads(several)["alerts"][0]) - set(json.loads(_ALERTMANAGERS)["alerts"][0]) == {"sentiment"}


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
