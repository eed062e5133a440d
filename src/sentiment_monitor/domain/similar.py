"""Similar earlier alerts: what makes two alerts alike, and what became of the earlier one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sentiment_monitor.domain.alert_states import OPEN_STATES, State
from sentiment_monitor.domain.alerts import Alert
from sentiment_monitor.domain.people import Deed, Saying
from sentiment_monitor.times import spell_minutes

# What counts beside the cosine of two alerts' vectors, which is mostly between 0.5 and 1; measured in
# docs/experiments/similar-alerts.md.
SAME_SERIES, SAME_COMPANY, SAME_GROUP, SAME_TOPIC = 0.2, 0.1, 0.05, 0.05
ALIKE = 0.8  # from this cosine on two alerts' stories are said to be worded alike
LEAST = 0.8  # of two series: a sum below this is not similar, and nothing is shown rather than anything


@dataclass(frozen=True, slots=True)
class Traits:
    """What an alert's most telling stories are about."""

    companies: tuple[str, ...] = ()  # tickers that most of them name
    groups: tuple[str, ...] = ()  # of the watchlist, that these belong to
    topics: tuple[str, ...] = ()  # that most of them have


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two alerts are, and in what."""

    amount: float  # the cosine (0 without vectors) and what they share
    cosine: float | None  # of their vectors; None: not both have one of this classifier
    reasons: tuple[str, ...]  # for people, weightiest first
    similar: bool  # enough to be shown


@dataclass(frozen=True, slots=True)
class SimilarAlert:
    """One earlier alert that is like another, with what became of it."""

    alert: Alert
    likeness: Likeness
    headline: str  # of its most telling story; empty without stories
    sayings: tuple[Saying, ...]  # what people said and did, oldest first

    @property
    def outcome(self) -> str:
        """What became of it, in words."""
        return outcome(self.alert, self.sayings)


def likeness(series: tuple[str, str], traits: tuple[Traits, Traits], cosine: float | None) -> Likeness:
    """Weigh two alerts: their series, what their stories are about, and how these are worded."""
    first, second = traits
    amount = max(0.0, cosine or 0.0)
    reasons = []
    companies, groups, topics = (
        sorted(set(getattr(first, name)) & set(getattr(second, name))) for name in ("companies", "groups", "topics")
    )
    if series[0] == series[1]:
        amount += SAME_SERIES
        reasons.append("the same series")
    elif companies:
        amount += SAME_COMPANY
        reasons.append(f"stories on {_several(companies)}")
    if groups:
        amount += SAME_GROUP
        reasons.append(f"the same group ({_several(groups)})")
    if topics:
        amount += SAME_TOPIC
        reasons.append(f"the same topic ({_several(topics)})")
    if cosine is not None and cosine >= ALIKE:
        reasons.append(f"worded alike ({cosine:.2f})")
    enough = amount >= LEAST or series[0] == series[1] or (cosine is None and bool(reasons))
    return Likeness(amount, cosine, tuple(reasons), enough)


def outcome(alert: Alert, sayings: Sequence[Saying]) -> str:
    """What became of an alert, in words: ``dismissed as false by ann after 2 h: a quiz``."""
    fired, ended = alert.fired_minute, alert.resolved_minute
    after = "" if fired is None or ended is None else f" after {spell_minutes(max(1, ended - fired))}"
    closing = next((saying for saying in sayings if saying.deed in (Deed.RESOLVED, Deed.DISMISSED)), None)
    owner: str | None = None
    for saying in sayings:
        owner = {Deed.ACKNOWLEDGED: saying.owner, Deed.UNACKNOWLEDGED: None}.get(saying.deed, owner)
    if closing is not None:
        how = "dismissed as false" if closing.deed is Deed.DISMISSED else "resolved"
        end = f"{how} by {closing.actor}{after}" + (f": {closing.text}" if closing.text else "")
    elif alert.state in OPEN_STATES:
        end = f"still {alert.state}"
    elif alert.state is State.DROPPED:
        end = "came to nothing"
    else:
        end = f"over by itself{after}"
    return f"{end}; {owner} had taken it on" if owner else end


def _several(words: Sequence[str]) -> str:
    return ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")
