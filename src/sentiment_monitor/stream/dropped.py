"""Fields that could not be read: counted, sampled into the log, and warned of once that becomes usual."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

import structlog

from sentiment_monitor.domain.news import Dropped, ScoredStory
from sentiment_monitor.telemetry.metrics import HotLoop

_log = structlog.get_logger()

_WINDOW = 1_000  # stories over which a share is taken
_FEWEST = 100  # before anything is called usual
_USUAL = 0.2  # of the window: worth a warning
_RARE = 0.1  # and below this it is over; between the two it stays as it was
_LINE_SECONDS = 60.0  # one line of the log at most in so long, however many fields are dropped


class DroppedFields:
    """What the writing thread notes of the stories it has stored. ``now`` is in monotonic seconds."""

    def __init__(self, metrics: HotLoop) -> None:
        self._metrics = metrics
        self._window: deque[tuple[int, Counter[str]]] = deque()  # stories, and of those by field without it
        self._stories = 0
        self._without: Counter[str] = Counter()
        self._usual: set[str] = set()
        self._unsaid: Counter[tuple[str, str]] = Counter()  # field and reason, since the last line
        self._said_at: float | None = None

    def seen(self, scored: Sequence[ScoredStory], now: float) -> None:
        """Counts the fields that these stories' messages held in vain."""
        losses = [loss for item in scored for loss in item.enriched.story.dropped]
        without = Counter(
            field for item in scored if item.enriched.story.dropped
            for field in {loss.field for loss in item.enriched.story.dropped}
        )  # fmt: skip
        for loss in losses:
            self._metrics.dropped_fields.labels(loss.field, loss.reason).inc()
            self._unsaid[loss.field, loss.reason] += 1
        self._slide(len(scored), without)
        latest = {loss.field: loss for loss in losses}
        self._warn(latest)
        if losses and (self._said_at is None or now - self._said_at >= _LINE_SECONDS):
            self._say(losses[-1], now)

    def _slide(self, stories: int, without: Counter[str]) -> None:
        if not stories:
            return
        self._window.append((stories, without))
        self._stories += stories
        self._without += without
        while len(self._window) > 1 and self._stories - self._window[0][0] >= _WINDOW:
            gone, gone_without = self._window.popleft()
            self._stories -= gone
            self._without -= gone_without  # and forgets what has come down to nothing

    def _warn(self, latest: dict[str, Dropped]) -> None:
        if self._stories < _FEWEST:
            return
        for field in sorted({*self._without, *self._usual}):
            share = self._without[field] / self._stories
            if field in self._usual and share < _RARE:
                self._usual.remove(field)
                _log.info("field.read_again", field=field, share=round(share, 3), stories=self._stories)
            elif field not in self._usual and share > _USUAL and field in latest:
                self._usual.add(field)
                _log.warning(
                    "field.usually_dropped",
                    field=field,
                    share=round(share, 3),
                    stories=self._stories,
                    reason=latest[field].reason,
                    example=latest[field].example,
                    hint="the stories are stored without it: monitor dropped; is news.mapping right for this feed?",
                )

    def _say(self, loss: Dropped, now: float) -> None:
        _log.info(
            "fields.dropped",
            counts={f"{field}:{reason}": number for (field, reason), number in sorted(self._unsaid.items())},
            field=loss.field,
            reason=loss.reason,
            example=loss.example,
        )
        self._unsaid.clear()
        self._said_at = now
