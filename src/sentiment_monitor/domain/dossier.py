"""All that is known of one alert: what was seen beside what was expected, from the first story to what people did."""

from __future__ import annotations

from dataclasses import dataclass

from sentiment_monitor.domain.alerts import AlertHistory, Event, TopStory
from sentiment_monitor.domain.similar import SimilarAlert


@dataclass(frozen=True, slots=True)
class Step:
    """One window's length of a series: what it held, and what was expected of such a window."""

    minute: int  # its first
    minutes: int
    stories: int  # copies collapsed
    negative: int
    expected: float  # negatives, as the alert's newest decision up to its end had it, before the first that one


@dataclass(frozen=True, slots=True)
class Dossier:
    """One alert with its course and its likes."""

    history: AlertHistory
    steps: tuple[Step, ...]  # oldest first; one of them ends with the minute in which the alert fired
    now: Step  # the newest window that the database has
    first_story: TopStory | None  # the earliest negative one of the window that it fired on
    similar: tuple[SimilarAlert, ...]

    @property
    def cause(self) -> Event | None:
        """The event that tells why it fired; what began it, for one that has not; None: nothing is left of it."""
        return cause_of(self.history)


def cause_of(history: AlertHistory) -> Event | None:
    """See :attr:`Dossier.cause`."""
    fired = history.alert.fired_minute
    first = history.events[0] if history.events else None
    return next((event for event in history.events if event.minute == fired), first)
