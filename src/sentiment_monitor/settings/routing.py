"""Settings of who is told what, and when: routing tree, stretches of time, inhibition, and what a receiver wants."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ConfigDict, Field, field_validator

from sentiment_monitor.detect.rules import Severity
from sentiment_monitor.domain.intervals import TimeInterval, interval_of, minute_of_day, zone_of
from sentiment_monitor.domain.matchers import Matcher
from sentiment_monitor.domain.payload import LABELS
from sentiment_monitor.settings.section import Section
from sentiment_monitor.times import DAY_MINUTES, HOUR_MINUTES

NAME = r"^[A-Za-z0-9_.-]{1,64}$"
MOST_LEVELS = 16  # of the routing tree
ALL_LABELS = "..."  # in ``group_by``


class TimeIntervalSettings(Section):
    """A stretch of time that comes back, for `mute_time_intervals` and `active_time_intervals`.

    All conditions must hold; of one condition's values any is enough. Several tables of one name are one interval.
    """

    name: str = Field(pattern=NAME, description="What routes and receivers call it.")
    times: list[str] = Field(
        [], description='Of the day: `"09:00-17:30"`; `"22:00-06:00"` ends on the day after that on which it begins.'
    )
    weekdays: list[str] = Field([], description='`"monday:friday"`, `"sat"`.')
    days_of_month: list[str] = Field([], description='`"1:5"`; `"-3:-1"` are the last three.')
    months: list[str] = Field([], description='`"april:june"`, `"12"`.')
    years: list[str] = Field([], description='`"2026"`, `"2026:2028"`.')
    dates: list[str] = Field([], description='Days such as holidays: `"2026-12-25"`, `"2026-12-24:2027-01-01"`.')
    except_dates: list[str] = Field([], description="Days on which it never holds, written likewise.")
    location: str = Field("UTC", description="The time zone of clocks and calendar, e.g. `Europe/Berlin`.")

    @field_validator("times", "weekdays", "days_of_month", "months", "years", "dates", "except_dates")
    @classmethod
    def _can_be_read(cls, written: list[str], info: object) -> list[str]:
        interval_of({str(getattr(info, "field_name", "")): written}, "UTC")  # raises ValueError
        return written

    @field_validator("location")
    @classmethod
    def _zone_is_known(cls, location: str) -> str:
        zone_of(location)  # raises ValueError
        return location

    @property
    def interval(self) -> TimeInterval:
        """What it means."""
        return interval_of(self.model_dump(exclude={"name", "location"}), self.location)


def _readable(written: list[str]) -> list[str]:
    _known([Matcher.of(text).label for text in written])  # raises ValueError
    return written


def _known(labels: list[str]) -> list[str]:
    """Raises ValueError for a label that no alert has: it would fit nothing, or everything, without a word."""
    if unknown := [label for label in labels if label not in LABELS]:
        raise ValueError(f"alerts have no label {', '.join(unknown)}; they have {', '.join(LABELS)}")
    return labels


class EscalateSettings(Section):
    """Who hears of an alert that nobody has acknowledged. An acknowledgement: `monitor alerts ack`."""

    after_minutes: int = Field(ge=1, le=7 * DAY_MINUTES, description="Since the first receiver heard of it.")
    receiver: str = Field(description="Who hears of it then.")


class RouteSettings(Section):
    """The routing tree, as Alertmanager has it: `[route]` is its root, `[[route.routes]]` are its children.

    An alert goes down into the first child that fits, and where that says `continue` into the next one too; where no
    child fits, the route's own receiver is told. What a child leaves unset it has from its parent. Rules that name
    `receivers` go to these and not through the tree. Without `[route]` they, or `default`, are all there is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    receiver: str | None = Field(None, description="Who is told. The root must have one.")
    matchers: list[str] = Field(
        [],
        description='All must fit: `severity=critical`, `series=~"ticker:.*"`, `alertname!=market-mood`. Labels: '
        "`alertname` (the rule), `series`, its parts `dimension` and `value`, and `severity`. Not at the root.",
    )
    goes_on: bool = Field(False, alias="continue", description="Whether the routes after this one are tried too.")
    group_by: list[str] | None = Field(
        None,
        description='Alerts with the same values of these labels are one message; `["..."]`: never. '
        'At the root: `["series"]`.',
    )
    group_wait_minutes: int | None = Field(
        None, ge=0, le=DAY_MINUTES, description="How long the first message of a group waits for more. At the root: 0."
    )
    group_interval_minutes: int | None = Field(
        None, ge=0, le=DAY_MINUTES, description="At least so long between messages of one group. At the root: 5."
    )
    repeat_minutes: int | None = Field(
        None, ge=0, description="A firing alert is told again after this; 0: never. At the root: 1440."
    )
    repeat_backoff: float | None = Field(
        None, ge=1, le=100, description="Each repetition comes so many times later than the one before. At the root: 2."
    )
    repeat_most_minutes: int | None = Field(
        None,
        ge=1,
        description="But no later than this, or than `repeat_minutes` where that is more. At the root: 10080.",
    )
    mute_time_intervals: list[str] = Field(
        [],
        description="Nothing is told while one of these `[[time_intervals]]` holds; later, if it still fires. "
        "Not inherited.",
    )
    active_time_intervals: list[str] = Field(
        [], description="Where there are any: nothing is told unless one of them holds. Not inherited."
    )
    escalate: list[EscalateSettings] | None = Field(
        None, description="Who hears of an alert that nobody acknowledges, one after the other."
    )
    routes: list[RouteSettings] = Field([], description="The children, in the order in which they are tried.")

    _matchers_can_be_read = field_validator("matchers")(_readable)

    @field_validator("group_by")
    @classmethod
    def _labels_are_known(cls, labels: list[str] | None) -> list[str] | None:
        _known([label for label in labels or [] if label != ALL_LABELS])  # raises ValueError
        return labels

    def all(self, level: int = 1) -> Iterator[RouteSettings]:
        """This route and all below it. Raises ValueError for a tree that is too high."""
        if level > MOST_LEVELS:
            raise ValueError(f"a routing tree of more than {MOST_LEVELS} levels")
        yield self
        for route in self.routes:
            yield from route.all(level + 1)


class InhibitSettings(Section):
    """While an alert fires that the source matchers fit, those that the target matchers fit are not told.

    Only to receivers who have heard of the source, and never a graver target. Two such rules need no words here: a
    firing market inhibits sectors, topics, sources and companies under rules with as long a window, a firing sector its
    companies; and of two rules that say the same of one series the second is told only when it is graver.
    """

    source_matchers: list[str] = Field(min_length=1, description="Which alerts make others needless.")
    target_matchers: list[str] = Field(min_length=1, description="Which alerts are needless then.")
    equal: list[str] = Field([], description="Labels whose values must be the same on both.")

    _matchers_can_be_read = field_validator("source_matchers", "target_matchers")(_readable)
    _labels_are_known = field_validator("equal")(_known)


class WishesSettings(Section):
    """What a receiver wants to hear of, and when, whichever route leads to it."""

    companies: list[str] = Field([], description="Tickers.")
    groups: list[str] = Field([], description="Groups of the watchlist: their companies, and the groups themselves.")
    topics: list[str] = Field([], description="Topics.")
    sources: list[str] = Field([], description="Sources.")
    series: list[str] = Field(
        [], description="Globs on series, e.g. `all`. With any of these five set the receiver hears of nothing else."
    )
    severities: list[Severity] = Field([], description="Only these; empty: every severity.")
    mute_time_intervals: list[str] = Field(
        [], description="Nothing is told while one of these `[[time_intervals]]` holds; later, if it still fires."
    )
    active_time_intervals: list[str] = Field(
        [], description="The timetable: where there are any, nothing is told unless one of them holds."
    )
    always_severities: list[Severity] = Field(
        ["critical"], description="Told at any time, whatever the receiver's own intervals say."
    )
    digest_minutes: int = Field(
        0,
        ge=0,
        le=DAY_MINUTES,
        description="Alerts of `digest_severities` are gathered for so long, e.g. 60; 0: told at once.",
    )
    digest_severities: list[Severity] = Field(["info", "warning"], description="What is gathered.")
    briefings: list[str] = Field(
        [],
        description='Times of the day, e.g. `"08:00"`, at which it is told what moved, what is open and what closed, '
        "unless its intervals forbid it.",
    )
    location: str = Field("UTC", description="The time zone of `briefings`.")
    most_a_day: int = Field(
        0, ge=0, description="So many alerts in 24 hours; after these only critical ones are told. 0: no bound."
    )

    @field_validator("briefings")
    @classmethod
    def _are_times(cls, written: list[str]) -> list[str]:
        for text in written:
            if minute_of_day(text) >= DAY_MINUTES:  # raises ValueError
                raise ValueError(f"{text!r}: the last minute of a day is 23:59")
        return written

    @field_validator("digest_minutes")
    @classmethod
    def _divides_the_day(cls, minutes: int) -> int:
        if minutes and DAY_MINUTES % minutes:
            raise ValueError(f"must divide a day, as {HOUR_MINUTES} or 180 do")
        return minutes

    @field_validator("location")
    @classmethod
    def _zone_is_known(cls, location: str) -> str:
        zone_of(location)  # raises ValueError
        return location
