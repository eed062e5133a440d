"""Known incidents, and how well alerts meet them: what was found, how early, and what else was raised."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from sentiment_monitor.backtest.columns import Columns
from sentiment_monitor.errors import UsageError
from sentiment_monitor.times import DAY_MINUTES

FIFTH = 5  # the story by which an attentive reader knows: what leads are measured from


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that alerts should have told of, between two minutes (the last included)."""

    name: str
    series: tuple[str, ...]  # globs: an alert on any of them meets it
    start: int
    end: int

    def is_met_by(self, series: str, minute: int) -> bool:
        """Whether an alert on this series that fired at this minute is about the incident."""
        return self.start <= minute <= self.end and any(fnmatchcase(series, glob) for glob in self.series)


@dataclass(frozen=True, slots=True)
class Page:
    """One alert that fired, whoever raised it."""

    series: str
    minute: int


@dataclass(frozen=True, slots=True)
class Meeting:
    """How one incident was met."""

    incident: Incident
    fired_minute: int | None  # of the first alert about it; None: missed
    lead_minutes: int | None  # before (positive) or after its fifth story; None: missed, or it has no story


@dataclass(frozen=True, slots=True)
class Marks:
    """How alerts did."""

    meetings: tuple[Meeting, ...]
    others: int  # alerts about no incident
    days: float

    @property
    def recall(self) -> float | None:
        """Part of the incidents met; None without incidents."""
        met = [meeting for meeting in self.meetings if meeting.fired_minute is not None]
        return len(met) / len(self.meetings) if self.meetings else None

    @property
    def others_a_day(self) -> float:
        """Alerts about no incident, a day."""
        return self.others / self.days if self.days else 0.0

    @property
    def median_lead_minutes(self) -> float | None:
        """Of the incidents met; None when there is none."""
        leads = [meeting.lead_minutes for meeting in self.meetings if meeting.lead_minutes is not None]
        return float(median(leads)) if leads else None


def mark(pages: Sequence[Page], incidents: Sequence[Incident], columns: Columns, first: int, last: int) -> Marks:
    """How these pages, raised in the minutes [first, last], meet the incidents that lie in them at least in part."""
    meetings = []
    for incident in incidents:
        if incident.end < first or incident.start > last:
            continue
        minutes = [page.minute for page in pages if incident.is_met_by(page.series, page.minute)]
        fired = min(minutes, default=None)
        fifth = _fifth_story(incident, columns)
        lead = None if fired is None or fifth is None else fifth - fired
        meetings.append(Meeting(incident, fired, lead))
    others = sum(not any(incident.is_met_by(page.series, page.minute) for incident in incidents) for page in pages)
    return Marks(tuple(meetings), others, (last - first + 1) / DAY_MINUTES)


def incident_of(page: Page, incidents: Sequence[Incident]) -> Incident | None:
    """The incident that a page is about."""
    return next((incident for incident in incidents if incident.is_met_by(page.series, page.minute)), None)


def read_incidents(path: Path) -> tuple[Incident, ...]:
    """Incidents of a JSON file: a list of objects with name, series (one, or a list), from, to. Raises UsageError."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path}: not JSON: {error}") from None
    if not isinstance(rows, list):
        raise UsageError(f"{path}: must hold a list of incidents, each with name, series, from and to")
    return tuple(_incident(f"{path}: incident {number}", row) for number, row in enumerate(rows, start=1))


def _incident(where: str, row: Any) -> Incident:
    if not isinstance(row, dict):
        raise UsageError(f"{where}: must be an object with name, series, from and to")
    if missing := [name for name in ("name", "series", "from", "to") if not row.get(name)]:
        raise UsageError(f"{where}: has no {', '.join(missing)}")
    series = row["series"] if isinstance(row["series"], list) else [row["series"]]
    incident = Incident(
        str(row["name"]), tuple(map(str, series)), _minute(where, "from", row["from"]), _minute(where, "to", row["to"])
    )
    if incident.end < incident.start:
        raise UsageError(f"{where}: ends before it begins")
    return incident


def _minute(where: str, name: str, text: object) -> int:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise UsageError(f"{where}: {name} {text}: write a time such as 2023-03-09 or 2023-03-09T20:00Z") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) // 60


def _fifth_story(incident: Incident, columns: Columns) -> int | None:
    """The minute of the fifth story within it, of the last where it has fewer; None of an incident without a story."""
    minutes = [
        tellings.minute[(tellings.minute >= incident.start) & (tellings.minute <= incident.end)]
        for series, tellings in columns.tellings.items()
        if any(fnmatchcase(series, glob) for glob in incident.series)
    ]
    ordered = np.sort(np.concatenate(minutes)) if minutes else np.zeros(0)
    return int(ordered[min(FIFTH, len(ordered)) - 1]) if len(ordered) else None
