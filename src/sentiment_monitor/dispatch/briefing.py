"""Briefings: at fixed times a receiver is told what moved, what is open, what closed, if anything did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from sentiment_monitor.dispatch.routes import Wishes
from sentiment_monitor.domain import payload
from sentiment_monitor.domain.alerts import Alert, Notification
from sentiment_monitor.domain.hearing import rank
from sentiment_monitor.domain.series import name_of
from sentiment_monitor.times import DAY_MINUTES, MINUTE_MS, clock, rfc3339, spell_minutes

NAME = "briefing"  # what the one alert in a briefing's payload is called
GRACE_MINUTES = 60  # a service that was down at the time gives it so much later at most
LONGEST_MINUTES = 7 * DAY_MINUTES  # that a briefing looks back
LINES = 10  # of each kind


@dataclass(frozen=True, slots=True)
class Move:
    """A series that had more negative stories in the time of the briefing than in as much time before."""

    series: str
    negative: int
    stories: int
    negative_before: int


@dataclass(frozen=True, slots=True)
class News:
    """What one receiver's briefing is about: alerts that fire, those that ended since, and what moved."""

    open: Sequence[Alert] = ()
    closed: Sequence[Alert] = ()
    moved: Sequence[Move] = ()


def due(minute: int, wishes: Wishes, last: int | None) -> int | None:
    """The newest minute for which a briefing is due at ``minute``, after the one of ``last``; None: there is none."""
    today = datetime.fromtimestamp(minute * 60, wishes.zone).date()
    times = [
        int(datetime.combine(day, time(*divmod(of_day, 60)), wishes.zone).timestamp()) // 60
        for day in (today - timedelta(days=1), today)
        for of_day in wishes.briefings
    ]
    fitting = [
        at
        for at in times
        if minute - GRACE_MINUTES < at <= minute
        and (last is None or at > last)
        and wishes.timetable.closed_by(at) is None
    ]
    return max(fitting, default=None)


def begins(at: int, last: int | None) -> int:
    """The minute from which on the briefing of minute ``at`` looks, after the one of ``last``."""
    return at - DAY_MINUTES if last is None else max(last, at - LONGEST_MINUTES)


def compose_briefing(
    receiver: str,
    notifiers: Sequence[str],
    since: int,
    at: int,
    news: News,
    external_url: str,
    names: Mapping[str, str],
) -> list[Notification]:
    """The notifications of one briefing; its payload holds one alert, named ``briefing``, with all that it says.

    ``names`` says what people call a ticker.
    """
    title = (
        f"Briefing: {len(news.open)} open, {len(news.closed)} closed, {len(news.moved)} moved since {clock(since)} UTC"
    )
    text = "\n".join(
        (
            *_section("Open", [_open_line(alert) for alert in news.open]),
            *_section("Closed", [_closed_line(alert) for alert in news.closed]),
            *_section("Moved", [_moved_line(move, names) for move in news.moved]),
        )
    )
    instant = rfc3339(at * MINUTE_MS)
    status: payload.Status = "firing" if news.open else "resolved"
    alert = payload.PayloadAlert(
        status=status,
        labels={"alertname": NAME, "severity": "info"},
        annotations={"summary": title, "description": text},
        startsAt=rfc3339(since * MINUTE_MS),
        endsAt=payload.NOT_ENDED if news.open else instant,
        generatorURL=external_url,
        fingerprint=f"{at:016x}",
        sentiment=payload.PayloadSentiment(
            rule=NAME,
            series="all",
            window_minutes=at - since,
            observed=float(sum(move.negative for move in news.moved)),
            expected=float(sum(move.negative_before for move in news.moved)),
            p_value=None,
            q_value=None,
            effect=0.0,
            volume=float(sum(move.stories for move in news.moved)),
            expected_share=0.0,
            top_stories=(),
            sources=(),
            copies_collapsed=0,
            reason=NAME,
            briefing=payload.PayloadBriefing(
                since=rfc3339(since * MINUTE_MS),
                open_count=len(news.open),
                closed_count=len(news.closed),
                open=tuple(_briefed(alert, names) for alert in news.open[:LINES]),
                closed=tuple(_briefed(alert, names) for alert in news.closed[:LINES]),
                moved=tuple(
                    payload.BriefedMove(
                        series=move.series,
                        name=name_of(move.series, names),
                        negative=move.negative,
                        stories=move.stories,
                        negative_before=move.negative_before,
                    )
                    for move in news.moved
                ),
            ),
        ),
    )
    body = payload.encode(payload.group(receiver, [alert], external_url=external_url, group_by=("alertname",)))
    return [
        Notification(
            key=payload.idempotency_key(NAME, since * MINUTE_MS, NAME, at, f"{receiver}/{notifier}"),
            receiver=receiver,
            notifier=notifier,
            title=title,
            text=text,
            body=body,
        )
        for notifier in notifiers
    ]


def _briefed(alert: Alert, names: Mapping[str, str]) -> payload.BriefedAlert:
    ended = alert.resolved_minute
    return payload.BriefedAlert(
        series=alert.series,
        name=name_of(alert.series, names),
        rule=alert.rule,
        severity=alert.severity,
        summary=alert.title,
        startsAt=rfc3339((alert.fired_minute or 0) * MINUTE_MS),
        endsAt=payload.NOT_ENDED if ended is None else rfc3339(ended * MINUTE_MS),
    )


def _section(name: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return [f"{name}: nothing."]
    more = [f"- and {len(lines) - LINES} more"] if len(lines) > LINES else []
    return [f"{name}:", *lines[:LINES], *more]


def by_gravity(alert: Alert) -> tuple[int, int]:
    """The gravest first, then the oldest."""
    return -rank(alert.severity), alert.fired_minute or 0


def _open_line(alert: Alert) -> str:
    return f"- {alert.severity}, since {clock(alert.fired_minute)} UTC: {alert.title or alert.series}"


def _closed_line(alert: Alert) -> str:
    lasted = spell_minutes((alert.resolved_minute or 0) - (alert.fired_minute or 0))
    return f"- {alert.severity}, ended {clock(alert.resolved_minute)} UTC after {lasted}: {alert.title or alert.series}"


def _moved_line(move: Move, names: Mapping[str, str]) -> str:
    name = name_of(move.series, names)
    who = f"{name} ({move.series})" if name else move.series
    return f"- {who}: {move.negative} negative of {move.stories} stories; before: {move.negative_before}"
