"""The one JSON shape of an alert.

Field names and their meaning are those of Alertmanager's webhook version 4
(https://prometheus.io/docs/alerting/latest/configuration/#webhook_config), so that whatever understands Alertmanager
understands us; what Alertmanager has no word for lies under ``alerts[].sentiment``. Fields are encoded in the order
they are declared in, so equal payloads are equal bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from sentiment_monitor.domain.alerts import TopStory
from sentiment_monitor.domain.series import dimension_of, value_of

Status = Literal["firing", "resolved"]

NOT_ENDED = "0001-01-01T00:00:00Z"  # Go's zero time: what Alertmanager sends while an alert fires


class BriefedAlert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that a briefing names."""

    series: str
    name: str
    rule: str
    severity: str
    summary: str
    startsAt: str  # noqa: N815 (Alertmanager's name)
    endsAt: str  # noqa: N815


class BriefedMove(msgspec.Struct, frozen=True, kw_only=True):
    """A series with more negative stories in the time of a briefing than in as much time before."""

    series: str
    name: str
    negative: int
    stories: int
    negative_before: int


class PayloadBriefing(msgspec.Struct, frozen=True, kw_only=True):
    """What a briefing names, and how much there is of it: it names ten alerts of a kind at most."""

    since: str
    open_count: int
    closed_count: int
    open: tuple[BriefedAlert, ...]
    closed: tuple[BriefedAlert, ...]
    moved: tuple[BriefedMove, ...]


class PayloadSentiment(msgspec.Struct, frozen=True, kw_only=True):
    """What the alert rests on."""

    rule: str
    series: str
    window_minutes: int | None  # None: the rule is gone
    observed: float  # negative stories in the window, copies collapsed
    expected: float
    p_value: float | None
    q_value: float | None
    effect: float
    volume: float  # stories in the window
    expected_share: float
    top_stories: tuple[TopStory, ...]
    sources: tuple[str, ...]
    copies_collapsed: int
    reason: str  # why this notification: fired, repeated or resolved, and by what
    name: str = ""  # what people call the company; empty: as its series says
    most_a_day_reached: int = 0  # the receiver's bound, which this notification reaches; 0: it does not
    briefing: PayloadBriefing | msgspec.UnsetType = msgspec.UNSET  # only in a briefing


class PayloadAlert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert of a group."""

    status: Status
    labels: dict[str, str]
    annotations: dict[str, str]
    startsAt: str  # noqa: N815 (Alertmanager's name)
    endsAt: str  # noqa: N815
    generatorURL: str  # noqa: N815
    fingerprint: str
    sentiment: PayloadSentiment


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """One group of alerts for one receiver."""

    version: Literal["4"] = "4"
    groupKey: str  # noqa: N815
    truncatedAlerts: int = 0  # noqa: N815
    status: Status
    receiver: str
    groupLabels: dict[str, str]  # noqa: N815
    commonLabels: dict[str, str]  # noqa: N815
    commonAnnotations: dict[str, str]  # noqa: N815
    externalURL: str  # noqa: N815
    alerts: tuple[PayloadAlert, ...]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Payload)


def encode(payload: Payload) -> bytes:
    """UTF-8 JSON in declared field order."""
    return _encoder.encode(payload)


def decode(body: bytes) -> Payload:
    """Inverse of ``encode``; unknown fields are ignored."""
    return _decoder.decode(body)


def group(
    receiver: str,
    alerts: Iterable[PayloadAlert],
    *,
    external_url: str = "",
    group_by: tuple[str, ...] = ("alertname", "series"),
) -> Payload:
    """Alerts of one group as one payload: firing when any of them is. Raises ``ValueError`` without alerts.

    ``group_by`` are label names; a group's alerts must agree on them (the caller groups).
    """
    members = tuple(alerts)
    if not members:
        raise ValueError("a payload needs at least one alert")
    common = _common(alert.labels for alert in members)
    labels = {name: common[name] for name in group_by if name in common}
    spelt = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return Payload(
        groupKey=f"{{}}:{{{spelt}}}",
        status="firing" if any(alert.status == "firing" for alert in members) else "resolved",
        receiver=receiver,
        groupLabels=labels,
        commonLabels=common,
        commonAnnotations=_common(alert.annotations for alert in members),
        externalURL=external_url,
        alerts=members,
    )


def labels(rule: str, series: str, severity: str) -> dict[str, str]:
    """The labels of one alert. ``alertname`` is the rule, as Alertmanager expects; dimension and value apart."""
    return {
        "alertname": rule,
        "dimension": dimension_of(series),
        "series": series,
        "severity": severity,
        "value": value_of(series),
    }


LABELS = tuple(labels("", "", ""))
"""The names of the labels that an alert has."""


def idempotency_key(fingerprint: str, started_ms: int, transition: str, minute: int, receiver: str) -> str:
    """One key a decision and receiver: a crash between deciding and sending makes the same key again."""
    material = msgspec.json.encode((fingerprint, started_ms, transition, minute, receiver))
    return hashlib.blake2b(material, digest_size=16).hexdigest()


def another_key(key: str, event_id: int) -> str:
    """The key of an event that would have the key of another."""
    return hashlib.blake2b(msgspec.json.encode((key, event_id)), digest_size=16).hexdigest()


def _common(maps: Iterable[Mapping[str, str]]) -> dict[str, str]:
    shared: dict[str, str] | None = None
    for mapping in maps:
        shared = dict(mapping) if shared is None else {k: v for k, v in shared.items() if mapping.get(k) == v}
    return shared or {}
