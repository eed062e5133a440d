"""One turn of the tick loop: buckets in, alert decisions out. Time is an argument; live and replay are this function.

A tick at minute ``now`` sees the complete minutes before ``now`` and nothing else, so that a replay of history at
full speed decides what the live service decided.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import msgspec
import numpy as np
import structlog

from sentiment_monitor.detect.baseline import (
    WEEK_MINUTES,
    Baseline,
    History,
    exposures,
    fit,
    hour_profile,
    masked_bins,
)
from sentiment_monitor.detect.detectors.count import Evaluation, Window, evaluate
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.detect.states import AlertState, Kind, Status, Transition, step
from sentiment_monitor.detect.words import Evidence, Explanation, TopStory, explain
from sentiment_monitor.domain.payload import fingerprint
from sentiment_monitor.store import reading
from sentiment_monitor.store.alerts import AlertChange, AlertEvent, AlertStore, Outgoing, StoredAlert
from sentiment_monitor.store.database import Connection, Database
from sentiment_monitor.store.leases import Lease
from sentiment_monitor.times import DAY_MINUTES, HOUR_MINUTES

_log = structlog.get_logger()

TOP_STORIES = 5
_PLENTY = 1_000_000  # sources, until they are counted
_STORIES_READ = 200  # of one window, to name its sources


@dataclass(frozen=True, slots=True)
class Told:
    """What a receiver is told of one transition; built by the composition root from the notify stage."""

    alert_fingerprint: str
    rule: Rule
    evaluation: Evaluation
    evidence: Evidence
    explanation: Explanation
    state: AlertState
    transition: Transition


Compose = Callable[[str, Told], Sequence[Outgoing]]
"""Receiver name and what to tell it -> one outgoing notification per notifier of that receiver."""


@dataclass(slots=True)
class TickReport:
    """What one tick did, for its log line."""

    minute: int
    candidates: int = 0
    open: int = 0  # alerts pending or firing after the tick
    fired: int = 0
    repeated: int = 0
    resolved: int = 0


class Ticker:
    """Evaluates every rule at one minute and stores what follows.

    ``names`` says what people call a ticker; ``compose`` makes the notifications of a receiver.
    """

    def __init__(
        self,
        *,
        database: Database,
        alerts: AlertStore,
        rules: Sequence[Rule],
        compose: Compose,
        names: Mapping[str, str],
    ) -> None:
        self._database = database
        self._alerts = alerts
        self._rules = tuple(rules)
        self._compose = compose
        self._names = names
        self._open: tuple[int, list[StoredAlert]] | None = None
        self._baselines: dict[str, tuple[int, int, dict[str, Baseline], np.ndarray]] = {}

    def tick(
        self,
        minute: int,
        lease: Lease,
        now_ms: int,
        *,
        changed: Collection[int] | None = None,
        note_quiet: bool = True,
    ) -> TickReport:
        """Decides minute ``minute``, unless it or a later one has been decided.

        ``changed`` are the window lengths whose content has changed since the last tick; rules with another one and
        without an open alert are passed over. Without ``note_quiet`` a tick that changes nothing is not noted as
        decided: running it again decides the same. Raises Fenced when the lease was lost, DatabaseAway; then nothing
        was stored and the same tick may run again.
        """
        report = TickReport(minute)
        if lease.progress_minute is not None and minute <= lease.progress_minute:
            return report
        open_alerts = self._open_alerts(lease)
        changes: list[AlertChange] = []
        with self._database.read() as connection:
            for rule in self._rules:
                mine = {alert.series: alert for alert in open_alerts if alert.rule == rule.name}
                if changed is not None and not mine and rule.window_minutes not in changed:
                    continue
                changes += self._rule(connection, rule, mine, minute, report)
        closed = sum(change.alert_id is not None and change.resolved_minute is not None for change in changes)
        opened = sum(change.alert_id is None and change.resolved_minute is None for change in changes)
        report.open = len(open_alerts) + opened - closed
        if changes:
            self._open = None
        if changes or note_quiet:
            self._alerts.apply(lease, minute, changes, now_ms)
        for change in changes:
            if change.event is not None:
                _log.info(
                    "alert.decided",
                    transition=change.event.transition,
                    rule=change.rule,
                    series=change.series,
                    reason=change.event.reason,
                    observed=change.event.observed,
                    expected=round(change.event.expected, 3),
                    p_value=change.event.p_value,
                )
        return report

    def _open_alerts(self, lease: Lease) -> list[StoredAlert]:
        """Nobody else changes alerts while we hold the lease, so they are read again only after a change of ours."""
        if self._open is None or self._open[0] != lease.token:
            self._open = (lease.token, self._alerts.open())
        return self._open[1]

    def _rule(
        self,
        connection: Connection,
        rule: Rule,
        alerts: Mapping[str, StoredAlert],
        minute: int,
        report: TickReport,
    ) -> list[AlertChange]:
        start = minute - rule.window_minutes
        windows = {window.series: window for window in reading.series_windows(connection, start, minute)}
        matching = [window for window in windows.values() if rule.matches(window.series)]
        candidates = sorted({w.series for w in matching if w.negative >= rule.min_negative} | set(alerts))
        report.candidates += len(candidates)
        if not candidates:
            return []
        baselines, exposure = self._usual(connection, rule, minute)
        everything = windows.get("all")
        window = Window(
            names=tuple(candidates),
            negative=np.array([windows[s].negative if s in windows else 0 for s in candidates], np.float64),
            volume=np.array([windows[s].stories if s in windows else 0 for s in candidates], np.float64),
            sources=np.full(len(candidates), _PLENTY),
            newest_minute=np.full(len(candidates), minute - 1),
            family=len(matching),
            feed_volume=float(everything.stories if everything else 0),
            feed_sources=_PLENTY,
            exposure=exposure,
        )
        evaluations = evaluate(rule, baselines, window)
        if alerts or any(evaluation.beyond for evaluation in evaluations):
            # Who tells it, and how long ago, can only hold a spike back: read them only where there is one.
            sources, newest = _tellers(connection, {*candidates, "all"}, start, minute)
            window = replace(
                window,
                sources=np.array([len(sources[s]) for s in candidates], np.int64),
                newest_minute=np.array([newest[s] for s in candidates], np.int64),
                feed_sources=len(sources["all"]),
            )
            evaluations = evaluate(rule, baselines, window)
        changes = []
        for evaluation in evaluations:
            change = self._decide(connection, rule, evaluation, alerts.get(evaluation.series), minute, report)
            if change is not None:
                changes.append(change)
        return changes

    def _decide(
        self,
        connection: Connection,
        rule: Rule,
        evaluation: Evaluation,
        alert: StoredAlert | None,
        minute: int,
        report: TickReport,
    ) -> AlertChange | None:
        before = msgspec.json.decode(alert.state_json, type=AlertState) if alert else AlertState()
        state, transition, _ = step(rule, before, evaluation, minute)
        if transition is None and replace(state, evaluated_minute=None) == replace(before, evaluated_minute=None):
            return None
        print_ = fingerprint(rule.name, evaluation.series)
        event, title = None, alert.title if alert else ""
        if transition is not None:
            evidence = _evidence(connection, evaluation.series, minute - rule.window_minutes, minute)
            name = self._names.get(evaluation.series.partition(":")[2], "")
            explanation = explain(rule, evaluation, evidence, state, transition.kind, name)
            told = Told(print_, rule, evaluation, evidence, explanation, state, transition)
            if transition.kind in (Kind.PENDING, Kind.FIRED):
                title = explanation.title
            event = AlertEvent(
                transition=str(transition.kind),
                reason=str(evaluation.reason if transition.kind is Kind.FIRED else transition.why),
                observed=evaluation.observed,
                volume=evaluation.volume,
                expected=evaluation.expected,
                p_value=evaluation.p_value,
                q_value=evaluation.q_value,
                evidence=msgspec.json.encode(
                    {
                        "sentence": evaluation.sentence,
                        "sources": evidence.sources,
                        "copies": evidence.copies,
                        "top_stories": [asdict(story) for story in evidence.stories],
                        "statistics": asdict(evaluation),
                    }
                ).decode(),
                explanation=explanation.text,
                outgoing=[one for receiver in rule.receivers for one in self._compose(receiver, told)]
                if transition.notifies
                else [],
            )
            report.fired += transition.kind is Kind.FIRED
            report.repeated += transition.kind is Kind.REPEATED
            report.resolved += transition.kind is Kind.RESOLVED
        ended = transition is not None and transition.kind in (Kind.RESOLVED, Kind.DROPPED)
        stored = {Status.NORMAL: "dropped"}.get(state.status, str(state.status))
        if transition is not None and transition.kind is Kind.DROPPED:
            stored = "dropped"
        return AlertChange(
            alert_id=alert.id if alert else None,
            fingerprint=print_,
            rule=rule.name,
            series=evaluation.series,
            severity=rule.severity,
            state=stored,
            state_json=msgspec.json.encode(state).decode(),
            title=title,
            pending_minute=alert.pending_minute if alert else (state.pending_minute or minute),
            fired_minute=state.started_minute,
            resolved_minute=minute if ended else None,
            event=event,
        )

    def _usual(self, connection: Connection, rule: Rule, minute: int) -> tuple[Mapping[str, Baseline], float]:
        """Baselines of the rule's dimensions and this window's exposure; made anew once an hour of ``minute``."""
        end = (minute - rule.window_minutes) // HOUR_MINUTES * HOUR_MINUTES
        cached = self._baselines.get(rule.name)
        if cached is None or cached[0] != end:
            cached = (end, minute, *self._fit(connection, rule, end, minute))
            self._baselines[rule.name] = cached
        _, _, baselines, profile = cached
        return baselines, float(exposures(profile, minute, rule.window_minutes, 1)[0])

    def _fit(self, connection: Connection, rule: Rule, end: int, minute: int) -> tuple[dict[str, Baseline], np.ndarray]:
        span = rule.baseline_days * DAY_MINUTES
        hours = span // HOUR_MINUTES
        hourly = np.zeros(hours)
        for _, place, _, count in reading.history(connection, ["all"], end, HOUR_MINUTES, hours):
            hourly[place] = count
        watched = np.flatnonzero(hourly)
        # Hours before the feed began tell nothing about the rhythm of the week.
        began = int(watched[0]) if len(watched) else hours
        profile = (
            hour_profile(hourly[began:], end - (hours - began) * HOUR_MINUTES)
            if (hours - began) * HOUR_MINUTES >= 2 * WEEK_MINUTES
            else np.ones(WEEK_MINUTES // HOUR_MINUTES)
        )
        bins = rule.bins
        exposure = exposures(profile, end, rule.window_minutes, bins)
        rows = reading.history(connection, {*rule.dimensions, "all"}, end, rule.window_minutes, bins)
        seen = np.zeros(bins, np.bool_)
        seen[[place for series, place, _, _ in rows if series == "all"]] = True
        exposure = np.where(seen, exposure, 0.0)  # no data is not no negatives
        alerts = [
            (alert.series, alert.fired_minute, alert.resolved_minute or minute)
            for alert in self._alerts.fired_since(end - span)
            if alert.fired_minute is not None
        ]
        return {
            dimension: fit(_history(dimension, rows, exposure, alerts, end, rule)) for dimension in rule.dimensions
        }, profile


def _history(
    dimension: str,
    rows: Sequence[tuple[str, int, int, int]],
    exposure: np.ndarray,
    alerts: Sequence[tuple[str, int, int]],
    end: int,
    rule: Rule,
) -> History:
    own = [row for row in rows if row[0].partition(":")[0] == dimension]
    names = tuple(sorted({row[0] for row in own}))
    place = {name: index for index, name in enumerate(names)}
    return History(
        names=names,
        row_series=np.array([place[row[0]] for row in own], np.int64),
        row_bin=np.array([row[1] for row in own], np.int64),
        row_negative=np.array([row[2] for row in own], np.float64),
        row_volume=np.array([row[3] for row in own], np.float64),
        exposure=exposure,
        masked=masked_bins(names, alerts, end, rule.window_minutes, rule.bins),
    )


def _tellers(
    connection: Connection, candidates: Collection[str], start: int, end: int
) -> tuple[dict[str, set[str]], dict[str, int]]:
    """Sources of each candidate's stories, and the minute of its newest negative one (-1: none)."""
    sources: dict[str, set[str]] = {series: set() for series in candidates}
    newest = dict.fromkeys(candidates, -1)
    for story in reading.originals(connection, start, end):
        for series in story.series:
            if series in sources:
                sources[series].add(story.source)
                newest[series] = max(newest[series], story.minute if story.negative else -1)
    return sources, newest


def _evidence(connection: Connection, series: str, start: int, end: int) -> Evidence:
    facts, copies = reading.top_negative(connection, series, start, end, _STORIES_READ)
    counts: dict[str, int] = {}
    for fact in facts:
        counts[fact.source] = counts.get(fact.source, 0) + 1
    return Evidence(
        stories=tuple(
            TopStory(str(f.id), f.headline, f.source, f.url, f.published_ms, f.negative, f.copies)
            for f in facts[:TOP_STORIES]
        ),
        sources=tuple(sorted(counts, key=lambda source: (-counts[source], source))),
        copies=copies,
    )
