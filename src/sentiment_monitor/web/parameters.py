"""What addresses take: series, spans, labels, limits, and what is refused of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Query

from sentiment_monitor.domain.alert_states import Listed
from sentiment_monitor.times import span

# Empty: any.
State = Annotated[str, Query(pattern=f"^({'|'.join(Listed)})?$", description="Empty: all that fired.")]
Label = Literal["", "negative", "neutral", "positive"]
NO_NUL = r"^[^\x00]*$"  # which PostgreSQL keeps in no text
SeriesName = Annotated[
    str, Query(max_length=200, pattern=NO_NUL, description="all, topic:earnings, ticker:AAPL or source:reuters.")
]
Since = Annotated[str, Query(max_length=60, description="A time, or a span back from the end such as 24h or 7d.")]
Until = Annotated[str | None, Query(max_length=60, description="A time; default: the newest story.")]
Step = Annotated[str | None, Query(max_length=60, description="Width of a step such as 15m; at most 100,000 of them.")]
Limit = Annotated[int, Query(ge=1, le=1_000)]


@dataclass(frozen=True, slots=True)
class Span:
    """What a page looks at: minutes [start, end), steps of a chart, and how the reader asked for it."""

    start: int
    end: int
    step: int
    since: str
    until: str | None

    @property
    def query(self) -> dict[str, str]:
        """The same span for a link."""
        return {"since": self.since, **({"until": self.until} if self.until else {})}

    @classmethod
    def read(cls, since: str, until: str | None, step: str | None, last_minute: int) -> Span:
        """What was asked for; UsageError says what is wrong with it. Without ``until`` it ends with the last minute."""
        start, end, width = span(since, until, step, last_minute)
        return cls(start, end, width, since, until)
