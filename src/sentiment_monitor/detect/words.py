"""What an alert shows for itself, and the words a person reads at three in the morning.

The text is plain: what, how unusual, since when, from whom, and the stories themselves. It explains; it does not
advise, and it says nothing that the numbers do not.
"""

from __future__ import annotations

from dataclasses import dataclass

from sentiment_monitor.detect.detectors.contract import Reason
from sentiment_monitor.detect.rules import CountRule, Rule, SilenceRule, TailRule
from sentiment_monitor.domain.alert_states import Kind
from sentiment_monitor.domain.alerts import TOP_STORIES, Alert, Evaluation, Evidence, TopStory
from sentiment_monitor.domain.people import Closing, Verdict
from sentiment_monitor.domain.series import dimension_of, value_of
from sentiment_monitor.times import clock, clock_of, spell_minutes

HEADLINE_CHARACTERS = 160
SOURCES_NAMED = 5
RARE = 0.1  # probabilities below this are told as odds
A_MILLION = 1_000_000  # no past is long enough to speak of more


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
    rule: Rule,
    evaluation: Evaluation,
    evidence: Evidence,
    alert: Alert,
    kind: Kind,
    name: str = "",
    closing: Closing | None = None,
) -> Explanation:
    """Say what one transition, or repetition, tells its receivers.

    ``alert`` is the alert after it; ``name`` is what people call the series (``Apple`` for ``ticker:AAPL``), the
    series itself when empty; ``closing`` says who ended it, where somebody did.
    """
    who = _who(evaluation.series, name)
    number = f"{evaluation.observed:,.0f}"
    window = spell_minutes(evaluation.span_minutes(rule.window_minutes))
    title = {
        Kind.RESOLVED: f"{_verdict(closing)}: negative news on {who}",
        Kind.REOPENED: f"Again: {number} negative stories on {who} in {window}",
        Kind.REPEATED: f"Still firing: {number} negative stories on {who} in {window}",
    }.get(kind, f"{who}: {number} negative stories in {window} ({_unusual(rule, evaluation)})")
    what = _what(evaluation, window, kind)
    if isinstance(rule, SilenceRule):
        title = f"{_verdict(closing)}: silence of {who}" if kind is Kind.RESOLVED else f"{who} is silent"
        what = f"{'Now' if kind is Kind.RESOLVED else 'What'}: {_quiet(evaluation, window)}."
        evidence = Evidence()
    lines = [what, _why(rule, evaluation), _when(alert, kind), _who_ended(closing), _old(evaluation, alert)]
    if evidence.sources:
        lines.append(_sources(evidence))
    if evidence.copies:
        copies = "1 syndicated copy is" if evidence.copies == 1 else f"{evidence.copies} syndicated copies are"
        lines.append(f"Copies: {copies} left out of every figure.")
    lines.append(f"Rule {rule.name} on {evaluation.series}, severity {alert.severity}.")
    stories = () if kind is Kind.RESOLVED else tuple(_story(story) for story in evidence.top_stories[:TOP_STORIES])
    return Explanation(title, tuple(line for line in lines if line), stories)


def explain_gone(alert: Alert, closing: Closing | None = None) -> Explanation:
    """Say that an alert ends because nothing watches it any more. ``alert`` is the alert after it."""
    if closing is not None:
        lines = (_when(alert, Kind.RESOLVED), _who_ended(closing))
        return Explanation(f"{_verdict(closing)}: {alert.title or alert.series}", lines, ())
    watched = f"No rule {alert.rule} watches {alert.series} any more, so this alert ends without a verdict."
    return Explanation(f"No longer watched: {alert.title or alert.series}", (watched, _when(alert, Kind.RESOLVED)), ())


def sentence(rule: Rule, evaluation: Evaluation) -> str:
    """One evaluation in one sentence: what was seen, and why it is beyond the rule or not."""
    window = spell_minutes(evaluation.span_minutes(rule.window_minutes))
    if evaluation.reason == Reason.NO_DATA:
        return f"no story at all in {window}: the feed is silent, nothing can be said"
    if evaluation.reason == Reason.WARMING_UP:
        return f"less than {spell_minutes(rule.warmup_minutes)} of history: too early to say"
    counts = f"{_counted(evaluation, window)}, where {_usually(evaluation.expected)}"
    usual = f"{evaluation.expected_share:.0%} is the usual share"
    chance = "" if evaluation.p_value is None else f"; by chance that comes {_odds(evaluation.p_value)}"
    match evaluation.reason:
        case Reason.SILENT:
            return f"{_quiet(evaluation, window)}{chance}"
        case Reason.SPIKE_MOOD:
            return f"{counts} ({usual}){chance}"
        case Reason.SPIKE_BURST:
            return f"{counts}{chance}, and {_busier(rule)}"
        case Reason.TOO_FEW:
            return f"{counts}; the rule asks for {rule.min_negative:g}"
        case Reason.FEW_SOURCES:
            sources = "1 source" if evaluation.sources == 1 else f"{evaluation.sources} sources"
            return f"{counts}, from {sources}; the rule asks for {rule.min_sources}"
        case Reason.SMALL_SHARE:
            return f"{counts}; the rule asks for {rule.min_share:.0%} of the stories"
        case Reason.SMALL_EFFECT:
            return f"{counts} ({usual}); the rule asks for {_ratio(rule)} as many as usual"
        case Reason.USUAL_MOOD:
            return f"{counts}, but their share is what it always is: {usual}"
        case _:
            return f"{counts} ({usual}): within what the past explains{chance}"


def _verdict(closing: Closing | None) -> str:
    return "Dismissed as false" if closing is not None and closing.verdict is Verdict.DISMISSED else "Resolved"


def _who_ended(closing: Closing | None) -> str:
    if closing is None:
        return ""
    did = "Dismissed as false" if closing.verdict is Verdict.DISMISSED else "Declared over"
    return f"{did} by {closing.actor}{f': {closing.reason}' if closing.reason else '.'}"


def _quiet(evaluation: Evaluation, window: str) -> str:
    usually = _usually(evaluation.statistics.get("expected_stories", 0.0))
    return f"{evaluation.volume:,.0f} stories in {window}, where {usually}"


def _busier(rule: Rule) -> str:
    busy = f"even a day {rule.surge:g} times as busy as usual" if isinstance(rule, TailRule) else "a busier day"
    return f"{busy} would bring fewer"


def _ratio(rule: Rule) -> str:
    return f"{rule.min_ratio:g} times" if isinstance(rule, TailRule) else "more than"


def _unusual(rule: Rule, evaluation: Evaluation) -> str:
    if isinstance(rule, CountRule) and rule.basis == "share":
        return f"{evaluation.share:.0%} of all, usually {evaluation.expected_share:.0%}"
    if evaluation.expected < 0.1:
        return "usually none"
    return f"{_times(evaluation.effect)} the usual number"


def _who(series: str, name: str) -> str:
    value = value_of(series)
    if name and value and name != value:
        return f"{name} ({value})"
    return {"all": "the whole feed", "topic": f"topic {value}", "source": f"source {value}"}.get(
        dimension_of(series), value
    )


def _what(evaluation: Evaluation, window: str, kind: Kind) -> str:
    lead = "Now" if kind is Kind.RESOLVED else "What"
    if evaluation.volume == 0:
        return f"{lead}: no story in {window}."
    shares = f"{evaluation.share:.0%}, usually {evaluation.expected_share:.0%}"
    return f"{lead}: {_counted(evaluation, window)} ({shares}), where {_usually(evaluation.expected)}."


def _counted(evaluation: Evaluation, window: str) -> str:
    """What a window holds: ``4 of 5 stories in 1 h are negative``."""
    stories, verb = ("story", "is") if evaluation.volume == 1 else ("stories", "are")
    return f"{evaluation.observed:,.0f} of {evaluation.volume:,.0f} {stories} in {window} {verb} negative"


def _why(rule: Rule, evaluation: Evaluation) -> str:
    unusual = {
        str(Reason.SPIKE_BURST): _busier(rule),
        str(Reason.SPIKE_MOOD): "the mood is worse than usual, not only the volume higher",
        str(Reason.SILENT): "so little news of it is not chance",
    }.get(evaluation.reason)
    if unusual is None:
        return ""
    if evaluation.p_value is None:
        return f"How unusual: {unusual}."
    q_value = "" if evaluation.q_value is None else f", q = {evaluation.q_value:.1g} among the series tested"
    chance = f"by chance that comes {_odds(evaluation.p_value)} (p = {evaluation.p_value:.1g}{q_value})"
    return f"How unusual: {chance}; {unusual}."


def _when(alert: Alert, kind: Kind) -> str:
    if alert.fired_minute is None:
        return ""
    since = f"Since: {clock(alert.fired_minute)} UTC"
    if kind is Kind.RESOLVED and alert.resolved_minute is not None:
        lasted = spell_minutes(alert.resolved_minute - alert.fired_minute)
        return f"{since}, ended {clock(alert.resolved_minute)} UTC after {lasted}."
    if alert.reopened_minute is not None:
        return f"{since}; it was over, and is back since {clock(alert.reopened_minute)} UTC."
    return f"{since}."


def _old(evaluation: Evaluation, alert: Alert) -> str:
    if not alert.stale:
        return ""
    newest = f", of {clock(evaluation.newest_minute)} UTC," if evaluation.newest_minute >= 0 else ""
    return f"Old news: the newest negative story{newest} is older than the rule allows, so nobody is told."


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
    published = clock_of(story.published_at)
    return f"{headline} ({story.source}, {published} UTC, P(negative) {story.p_negative:.2f}{copies}){link}"


def _times(effect: float) -> str:
    return f"{effect:.0f}x" if effect >= 10 else f"{effect:.1f}x"


def _usually(expected: float) -> str:
    """What was expected, for people: ``0.9 are usual``, ``14 are usual``, ``hardly any is usual``."""
    if expected < 0.1:
        return "hardly any is usual"
    return f"{expected:.1f} are usual" if expected < 10 else f"{expected:,.0f} are usual"


def _odds(p_value: float) -> str:
    """A probability for people: ``about once in 500 such windows``."""
    if p_value >= RARE:
        return f"in {p_value:.0%} of such windows"
    if p_value < 1 / A_MILLION:
        return "less than once in a million such windows"
    return f"about once in {float(f'{1 / p_value:.1g}'):,.0f} such windows"
