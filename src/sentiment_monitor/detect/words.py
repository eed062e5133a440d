"""What an alert shows for itself, and the words a person reads at three in the morning.

The text is plain: what, how unusual, since when, from whom, and the stories themselves. It explains; it does not
advise, and it says nothing that the numbers do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sentiment_monitor.detect.detectors.count import Evaluation, Reason, spell_minutes, spell_number
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.detect.states import AlertState, Kind
from sentiment_monitor.domain.series import dimension_of
from sentiment_monitor.times import MINUTE_MS

TOP_STORIES = 5
HEADLINE_CHARACTERS = 160
SOURCES_NAMED = 5


@dataclass(frozen=True, slots=True)
class TopStory:
    """One negative story of the window, without its copies."""

    id: str
    headline: str
    source: str
    url: str
    published_ms: int
    negative: float  # the classifier's probability
    copies: int = 0  # collapsed into this one


@dataclass(frozen=True, slots=True)
class Evidence:
    """What lies behind one evaluation: the store fills it when a transition needs it."""

    stories: tuple[TopStory, ...]  # most telling first
    sources: tuple[str, ...]  # of all negative stories in the window, most frequent first
    copies: int  # collapsed in the window, all negative stories together


@dataclass(frozen=True, slots=True)
class Explanation:
    """The text of one notification."""

    title: str  # one line, no markup
    lines: tuple[str, ...]  # three to six facts
    stories: tuple[str, ...]  # at most ``TOP_STORIES``, one line each

    @property
    def text(self) -> str:
        """Facts and stories as one plain text."""
        return "\n".join((*self.lines, *(f"- {story}" for story in self.stories)))


def explain(
    rule: Rule, evaluation: Evaluation, evidence: Evidence, state: AlertState, kind: Kind, name: str = ""
) -> Explanation:
    """Say what one transition tells its receivers.

    ``state`` is the state after the transition; ``name`` is what people call the series (``Apple`` for
    ``ticker:AAPL``), the series itself when empty.
    """
    who = _who(evaluation.series, name)
    number = f"{evaluation.observed:,.0f}"
    span = spell_minutes(rule.window_minutes)
    title = {
        Kind.RESOLVED: f"Resolved: negative news on {who}",
        Kind.REPEATED: f"Still firing: {number} negative stories on {who} in {span}",
    }.get(kind, f"{who}: {number} negative stories in {span} ({_unusual(rule, evaluation)})")
    lines = [_what(rule, evaluation, span, kind), _why(rule, evaluation), _when(state, kind)]
    if evidence.sources:
        lines.append(_sources(evidence))
    if evidence.copies:
        copies = "1 syndicated copy is" if evidence.copies == 1 else f"{evidence.copies} syndicated copies are"
        lines.append(f"Copies: {copies} left out of every figure.")
    lines.append(f"Rule {rule.name} on {evaluation.series}, severity {rule.severity}.")
    stories = () if kind is Kind.RESOLVED else tuple(_story(story) for story in evidence.stories[:TOP_STORIES])
    return Explanation(title, tuple(line for line in lines if line), stories)


def _unusual(rule: Rule, evaluation: Evaluation) -> str:
    if rule.basis == "share":
        return f"{evaluation.share:.0%} of all, usually {evaluation.expected_share:.0%}"
    if evaluation.expected < 0.1:
        return "usually none"
    return f"{_times(evaluation.effect)} the usual number"


def _who(series: str, name: str) -> str:
    value = series.partition(":")[2]
    if name and value and name != value:
        return f"{name} ({value})"
    return {"all": "the whole feed", "topic": f"topic {value}", "source": f"source {value}"}.get(
        dimension_of(series), value
    )


def _what(rule: Rule, evaluation: Evaluation, span: str, kind: Kind) -> str:
    lead = "Now" if kind is Kind.RESOLVED else "What"
    return (
        f"{lead}: {evaluation.observed:,.0f} negative of {evaluation.volume:,.0f} stories in {span}, where "
        f"{spell_number(evaluation.expected)} negative were expected"
        f" (share {evaluation.share:.0%}, usually {evaluation.expected_share:.0%})."
    )


def _why(rule: Rule, evaluation: Evaluation) -> str:
    chance = f"p = {evaluation.p_value:.1g}, q = {evaluation.q_value:.1g} among the series tested"
    if evaluation.reason is Reason.SPIKE_BURST:
        return f"How unusual: {chance}; more than a day {rule.surge:g} times as busy as usual explains."
    if evaluation.reason is Reason.SPIKE_MOOD:
        return f"How unusual: {chance}; the mood is worse than usual, not only the volume higher."
    return ""


def _when(state: AlertState, kind: Kind) -> str:
    if state.started_minute is None:
        return ""
    since = f"Since: {clock(state.started_minute * MINUTE_MS)}"
    if kind is Kind.RESOLVED and state.ended_minute is not None:
        lasted = state.ended_minute - state.started_minute
        return f"{since}, ended {clock(state.ended_minute * MINUTE_MS)} after {_lasted(lasted)}."
    return f"{since}."


def _sources(evidence: Evidence) -> str:
    named = ", ".join(evidence.sources[:SOURCES_NAMED])
    more = len(evidence.sources) - SOURCES_NAMED
    return f"Sources: {len(evidence.sources)} ({named}{f' and {more} more' if more > 0 else ''})."


def _story(story: TopStory) -> str:
    headline = " ".join(story.headline.split())
    if len(headline) > HEADLINE_CHARACTERS:
        headline = headline[: HEADLINE_CHARACTERS - 1].rstrip() + "…"
    copies = f", {story.copies} copies" if story.copies > 1 else ", 1 copy" if story.copies else ""
    link = f" {story.url}" if story.url else ""
    return f"{headline} ({story.source}, {clock(story.published_ms)}, P(negative) {story.negative:.2f}{copies}){link}"


def _times(effect: float) -> str:
    return f"{effect:.0f}x" if effect >= 10 else f"{effect:.1f}x"


def _lasted(minutes: int) -> str:
    days, rest = divmod(minutes, 1440)
    hours, left = divmod(rest, 60)
    parts = ((days, "d"), (hours, "h"), (left, "min"))
    return " ".join(f"{n} {unit}" for n, unit in parts if n) or "0 min"


def clock(instant_ms: int) -> str:
    """``2023-03-10 17:21 UTC``; "at an unknown time" outside the calendar."""
    try:
        return datetime.fromtimestamp(instant_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, OSError, ValueError):
        return "at an unknown time"
