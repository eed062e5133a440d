"""What a message says, by a Jinja template for each language: its first line is the title, the rest the text.

A template reads plain values (docs/receivers.md lists them) and calls nothing but what is here. Whatever it puts out
of them is escaped for the channel; what it says itself stands as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, Literal

import jinja2
import msgspec
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sentiment_monitor.domain import payload
from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.domain.series import dimension_of, value_of
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.notify.channels import Channel, fitting
from sentiment_monitor.times import clock_of, spell_minutes

Language = Literal["en", "zh"]

TEST_LABEL = "test"  # of an alert that somebody sent to see whether it arrives
MOST_TEMPLATE_BYTES = 64 * 1024
_MOST_LINES = 2_000
_SUBJECTS = {
    "en": {"all": "the whole feed", "group": "group {}", "topic": "topic {}", "source": "source {}"},
    "zh": {"all": "全部新闻", "group": "分组 {}", "topic": "主题 {}", "source": "来源 {}"},
}
_NAMED = {"en": "{} ({})", "zh": "{}（{}）"}  # a name and its ticker
_SEVERITIES: dict[str, dict[str, str]] = {"zh": {"critical": "严重", "warning": "警告", "info": "提示"}}
_DURATIONS = {"zh": ((1440, " 天"), (60, " 小时"), (1, " 分钟"))}  # 24 hours are hours


class Rendered(msgspec.Struct, frozen=True):
    """A message in the markup of one channel, not yet cut to what it takes."""

    title: str
    lines: tuple[str, ...]

    def text(self, channel: Channel) -> str:
        """The text as the channel takes it."""
        return fitting(list(self.lines), channel.most_bytes, channel.break_line)


class _Shown(str):
    """Text that is escaped already."""

    __slots__ = ()


def shipped(language: Language) -> str:
    """The template of a language."""
    return files("sentiment_monitor.notify").joinpath("templates", f"{language}.j2").read_text(encoding="utf-8")


def check(source: str, where: str) -> None:
    """Raises SettingsError for a template that cannot be read, with its line."""
    if len(source.encode()) > MOST_TEMPLATE_BYTES:
        raise SettingsError(f"{where}: a template has at most {MOST_TEMPLATE_BYTES:,} bytes")
    try:
        ImmutableSandboxedEnvironment().parse(source)
    except jinja2.TemplateSyntaxError as error:
        raise SettingsError(f"{where}, line {error.lineno}: {error.message}") from None


def render(source: str, message: Mapping[str, Any], channel: Channel, language: Language) -> Rendered:
    """The message by this template. Raises ``jinja2.TemplateError`` and whatever else an expression may."""
    environment = _environment(channel, language)
    lines = [line.rstrip() for line in environment.from_string(source).render(message).split("\n")[:_MOST_LINES]]
    said = [line for line, above in zip(lines, ["", *lines], strict=False) if line or above]  # one empty line at most
    while said and not said[-1]:
        said.pop()
    if not said:
        raise ValueError("it says nothing")
    title, *rest = said
    return Rendered(title, tuple(rest[1:] if rest and not rest[0] else rest))


def message_of(notification: Notification) -> dict[str, Any]:
    """What a template reads: plain values, as in JSON."""
    group = payload.decode(notification.body)
    alerts = [_alert(alert) for alert in group.alerts]
    if len(alerts) == 1:  # the text of the message is about it, and may say more than its own description
        alerts[0]["facts"] = _facts(notification.text, alerts[0]["stories"])
    return {
        "title": notification.title,
        "lines": notification.text.splitlines(),
        "receiver": group.receiver,
        "status": group.status,
        "url": group.externalURL,
        "labels": group.commonLabels,
        "test": any(alert.labels.get(TEST_LABEL) == "true" for alert in group.alerts),
        "alerts": alerts,
        "most_a_day_reached": max(alert.sentiment.most_a_day_reached for alert in group.alerts),
        "briefing": _briefing(group.alerts[0].sentiment.briefing),
    }


def _facts(text: str, stories: list[dict[str, Any]]) -> list[str]:
    """The lines of a text without those of its stories, which stand below it with their links."""
    return [line for line in text.splitlines() if not (stories and line.startswith("- "))]


def _place(series: str, name: str) -> dict[str, str]:
    return {"series": series, "dimension": dimension_of(series), "value": value_of(series), "name": name}


def _briefing(briefing: payload.PayloadBriefing | msgspec.UnsetType) -> dict[str, Any] | None:
    if isinstance(briefing, msgspec.UnsetType):
        return None
    return {
        "since": clock_of(briefing.since),
        "open_count": briefing.open_count,
        "closed_count": briefing.closed_count,
        "open": [_briefed(alert) for alert in briefing.open],
        "closed": [_briefed(alert) for alert in briefing.closed],
        "moved": [
            {
                **_place(move.series, move.name),
                "negative": move.negative,
                "stories": move.stories,
                "negative_before": move.negative_before,
            }
            for move in briefing.moved
        ],
    }


def _briefed(alert: payload.BriefedAlert) -> dict[str, Any]:
    return {
        **_place(alert.series, alert.name),
        "rule": alert.rule,
        "severity": alert.severity,
        "summary": alert.summary,
        "since": clock_of(alert.startsAt),
        "ended": None if alert.endsAt == payload.NOT_ENDED else clock_of(alert.endsAt),
    }


def _alert(alert: payload.PayloadAlert) -> dict[str, Any]:
    detail = alert.sentiment
    firing = alert.status == "firing"
    stories = [
        {
            "headline": story.headline,
            "source": story.source,
            "url": story.url,
            "at": clock_of(story.published_at),
            "p_negative": story.p_negative,
            "copies": story.copies,
        }
        for story in (detail.top_stories if firing else ())
    ]
    return {
        "status": alert.status,
        "rule": detail.rule,
        **_place(detail.series, detail.name),
        "severity": alert.labels.get("severity", ""),
        "labels": alert.labels,
        "summary": alert.annotations.get("summary", ""),
        "facts": _facts(alert.annotations.get("description", ""), stories),
        "window_minutes": detail.window_minutes,
        "observed": detail.observed,
        "expected": detail.expected,
        "effect": detail.effect,
        "p_value": detail.p_value,
        "q_value": detail.q_value,
        "volume": detail.volume,
        "share": detail.observed / detail.volume if detail.volume else 0.0,
        "usual_share": detail.expected_share,
        "since": clock_of(alert.startsAt),
        "ended": None if alert.endsAt == payload.NOT_ENDED else clock_of(alert.endsAt),
        "cause": detail.reason.partition(":")[0],
        "reason": detail.reason,
        "sources": list(detail.sources),
        "copies": detail.copies_collapsed,
        "url": alert.generatorURL,
        "stories": stories,
    }


def _environment(channel: Channel, language: Language) -> ImmutableSandboxedEnvironment:
    def shown(value: object) -> str:
        return value if isinstance(value, _Shown) else _Shown(channel.escape("" if value is None else value))

    environment = ImmutableSandboxedEnvironment(
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    environment.globals.clear()
    environment.globals.update(
        bold=lambda text: _Shown(channel.bold(shown(text))),
        link=lambda text, address: _Shown(channel.link(shown(text), str(address))),
    )
    for name in ("safe", "escape", "e", "forceescape", "urlize", "xmlattr", "pprint"):
        environment.filters.pop(name)
    environment.filters.update(_filters(language))
    return environment


def _filters(language: Language) -> dict[str, Callable[..., str]]:
    return {
        "number": lambda value: f"{value:,.0f}" if abs(value) >= 10 else f"{value:.1f}",
        "probability": lambda value: f"{value:.2f}",
        "count": lambda value: f"{value:,.0f}",
        "percent": lambda value: f"{value:.0%}",
        "chance": lambda value: f"{value:.1g}",
        "duration": lambda minutes: _duration(minutes, language),
        "severity": lambda name: str(_SEVERITIES.get(language, {}).get(name, name)),
        "subject": lambda alert: _subject(alert, language),
    }


def _duration(minutes: int | None, language: Language) -> str:
    if minutes is None:
        return "?"
    for size, name in _DURATIONS.get(language, ()):
        if minutes % size == 0 and (minutes >= 2 * size or size < 1440):
            return f"{minutes // size}{name}"
    return spell_minutes(minutes)


def _subject(alert: Mapping[str, Any], language: Language) -> str:
    if alert["name"] and alert["name"] != alert["value"]:
        return _NAMED[language].format(alert["name"], alert["value"])
    return _SUBJECTS[language].get(alert["dimension"], "{}").format(alert["value"])
