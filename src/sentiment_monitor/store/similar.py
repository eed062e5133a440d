"""Which earlier alerts are like one: a vector and the traits of each alert, and the nearest of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy import Connection, exists, func, select, tuple_

from sentiment_monitor.domain.alert_states import Kind
from sentiment_monitor.domain.alerts import Alert, Evidence
from sentiment_monitor.domain.series import dimension_of, value_of
from sentiment_monitor.domain.similar import Likeness, SimilarAlert, Traits, likeness
from sentiment_monitor.store.alerts import alerts_where, evidence_of
from sentiment_monitor.store.database import insert_new
from sentiment_monitor.store.people import sayings
from sentiment_monitor.store.schema import alert_events, alert_vectors, alerts, scores, stories
from sentiment_monitor.store.stories.row import split_tickers
from sentiment_monitor.times import DAY_MINUTES

_log = structlog.get_logger()
_traits = msgspec.json.Decoder(Traits)
_FLOAT = np.dtype("<f2")

SHOWN = 3  # similar alerts
COMPARED = 5_000  # earlier alerts, newest first
APART = DAY_MINUTES  # between the alerts of two episodes of a series
REMEMBERED = 1_000  # of the newest alerts, those without a vector get one; a new classifier reads no further back

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Unread:
    """An alert that fired and has no vector of a classifier yet: its most telling headlines, and their traits."""

    alert_id: int
    headlines: tuple[str, ...]  # clean, as scored
    traits: Traits


def without_vectors(
    connection: Connection, classifier: str, groups: Callable[[str], Collection[str]], limit: int
) -> list[Unread]:
    """At most ``limit`` of the newest alerts that ``classifier`` has not read. ``groups`` are those of a ticker."""
    newest = connection.scalar(select(func.max(alerts.c.id))) or 0
    kept = exists().where(alert_vectors.c.alert_id == alerts.c.id, alert_vectors.c.classifier == classifier)
    rows = alerts_where(
        connection,
        (alerts.c.id > newest - REMEMBERED) & alerts.c.fired_minute.is_not(None) & ~kept,
        newest_first=True,
        limit=limit,
    )
    evidence = _fired_on(connection, [alert.id or 0 for alert in rows])
    return [_unread(connection, alert, evidence.get(alert.id or 0, Evidence()), groups) for alert in rows]


def keep_vector(
    connection: Connection, classifier: str, alert_id: int, vector: Floats, traits: Traits, now_ms: int
) -> None:
    """Keeps what an alert is recognised by, unless another process has done it. ``vector`` [width] may be empty."""
    connection.execute(
        insert_new(connection, alert_vectors).values(
            alert_id=alert_id,
            classifier=classifier,
            at_ms=now_ms,
            vector=vector.astype(_FLOAT).tobytes(),
            traits=msgspec.json.encode(traits).decode(),
        )
    )


def similar(connection: Connection, alert: Alert, limit: int = SHOWN) -> list[SimilarAlert]:
    """The earlier alerts most like ``alert``, likest first.

    Alerts of one series that overlap, or of which one fires within a day of another's end, are one episode: of an
    episode only the likest is shown, and of ``alert``'s own none. Without vectors of one classifier two alerts are
    weighed by series and traits alone.
    """
    if alert.id is None or alert.fired_minute is None:
        return []
    classifier, own = _newest_vector(connection, alert)
    earlier = alerts_where(
        connection,
        tuple_(alerts.c.fired_minute, alerts.c.id) < tuple_(alert.fired_minute, alert.id),
        newest_first=True,
        limit=COMPARED,
    )
    episodes = _episodes([*earlier, alert])
    vectors = _vectors(connection, classifier, [other.id or 0 for other in earlier])
    ranked: list[tuple[Likeness, Alert]] = []
    for other in earlier:
        its = vectors.get(other.id or 0, _Recognised())
        alike = likeness((alert.series, other.series), (own.traits, its.traits), own.cosine(its))
        if alike.similar:
            ranked.append((alike, other))
    ranked.sort(key=lambda pair: (-pair[0].amount, -(pair[1].fired_minute or 0)))
    seen = {episodes[alert.id]}
    chosen: list[tuple[Likeness, Alert]] = []
    for alike, other in ranked:
        episode = episodes[other.id or 0]
        if len(chosen) < limit and episode not in seen:
            seen.add(episode)
            chosen.append((alike, other))
    evidence = _fired_on(connection, [other.id or 0 for _, other in chosen])
    return [
        SimilarAlert(other, alike, _headline(evidence.get(number)), tuple(sayings(connection, number)))
        for alike, other in chosen
        for number in [other.id or 0]
    ]


@dataclass(frozen=True, slots=True)
class _Recognised:
    """What one alert is recognised by."""

    vector: Floats | None = None
    traits: Traits = field(default_factory=Traits)

    def cosine(self, other: _Recognised) -> float | None:
        """With another alert's vector; None when either has none."""
        first, second = self.vector, other.vector
        if first is None or second is None or len(first) != len(second):
            return None
        return float(first @ second)


def _episodes(fired: Iterable[Alert]) -> dict[int, tuple[str, int]]:
    """By alert, the episode that it belongs to: its series, and the minute in which the episode began."""
    episodes: dict[int, tuple[str, int]] = {}
    newest: dict[str, tuple[int, float]] = {}  # series -> minutes in which its newest episode began and ended
    for alert in sorted(fired, key=lambda alert: alert.fired_minute or 0):
        minute = alert.fired_minute or 0
        end = math.inf if alert.resolved_minute is None else alert.resolved_minute
        began, ended = newest.get(alert.series, (minute, minute))
        if minute > ended + APART:
            began, ended = minute, minute
        newest[alert.series] = (began, max(ended, end))
        episodes[alert.id or 0] = (alert.series, began)
    return episodes


def _newest_vector(connection: Connection, alert: Alert) -> tuple[str, _Recognised]:
    query = select(alert_vectors).where(alert_vectors.c.alert_id == alert.id).order_by(alert_vectors.c.at_ms.desc())
    row = connection.execute(query.limit(1)).mappings().first()
    if row is None:
        return "", _Recognised(None, _of_series(alert))
    return row["classifier"], _recognised(row["vector"], row["traits"])


def _vectors(connection: Connection, classifier: str, alert_ids: Sequence[int]) -> dict[int, _Recognised]:
    if not alert_ids:
        return {}
    columns = alert_vectors.c
    # By their range: a list of thousands of numbers is more than SQLite takes.
    rows = connection.execute(
        select(columns.alert_id, columns.vector, columns.traits).where(
            columns.classifier == classifier, columns.alert_id.between(min(alert_ids), max(alert_ids))
        )
    )
    return {alert_id: _recognised(vector, traits) for alert_id, vector, traits in rows}


def _recognised(vector: bytes, traits: str) -> _Recognised:
    try:
        about = _traits.decode(traits)
    except msgspec.DecodeError as error:  # somebody's hand was here
        _log.warning("alert_vector.unreadable", error=str(error))
        about = Traits()
    floats = np.frombuffer(vector, _FLOAT).astype(np.float32) if len(vector) % _FLOAT.itemsize == 0 else None
    return _Recognised(floats if floats is not None and len(floats) else None, about)


def _fired_on(connection: Connection, alert_ids: Sequence[int]) -> dict[int, Evidence]:
    """What each alert fired on."""
    events = alert_events.c
    rows = connection.execute(
        select(events.alert_id, events.id, events.evidence)
        .where(events.alert_id.in_(alert_ids), events.transition == Kind.FIRED)
        .order_by(events.id)
    )
    return {alert_id: evidence_of(number, text) for alert_id, number, text in rows}


def _unread(
    connection: Connection, alert: Alert, evidence: Evidence, groups: Callable[[str], Collection[str]]
) -> Unread:
    numbers = [int(story.id) for story in evidence.top_stories if story.id.isdecimal()]
    rows = connection.execute(
        select(stories.c.id, stories.c.text, stories.c.tickers, scores.c.topic)
        .join(scores, scores.c.story_id == stories.c.id)
        .where(stories.c.id.in_(numbers))
    ).all()
    texts = {str(row.id): row.text for row in rows}
    own = _of_series(alert)
    companies = {*own.companies, *_most(split_tickers(row.tickers) for row in rows)}
    topics = {*own.topics, *_most([row.topic] for row in rows if row.topic)}
    belonging = {group for ticker in companies for group in groups(ticker)} | set(own.groups)
    return Unread(
        alert_id=alert.id or 0,
        headlines=tuple(filter(None, (texts.get(story.id, story.headline) for story in evidence.top_stories))),
        traits=Traits(tuple(sorted(companies)), tuple(sorted(belonging)), tuple(sorted(topics))),
    )


def _of_series(alert: Alert) -> Traits:
    value = (value_of(alert.series),)
    match dimension_of(alert.series):
        case "ticker":
            return Traits(companies=value)
        case "topic":
            return Traits(topics=value)
        case "group":
            return Traits(groups=value)
        case _:
            return Traits()


def _most(lists: Iterable[Collection[str]]) -> list[str]:
    """What stands in at least half of the lists."""
    each_list = [set(words) for words in lists]
    counts = Counter(word for words in each_list for word in words)
    return [word for word, count in counts.items() if 2 * count >= len(each_list)]


def _headline(evidence: Evidence | None) -> str:
    return evidence.top_stories[0].headline if evidence and evidence.top_stories else ""
