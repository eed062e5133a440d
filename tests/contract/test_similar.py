"""Similar earlier alerts: one behaviour on SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, func, insert, select, update

from sentiment_monitor.domain.alert_states import State
from sentiment_monitor.domain.alerts import Alert, Evidence, TopStory
from sentiment_monitor.domain.similar import SimilarAlert, Traits
from sentiment_monitor.store import similar
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.schema import alert_vectors, alerts, closings
from sentiment_monitor.times import DAY_MINUTES
from writing import Alerts, Desk, alert, event, scored

NOW = 1_678_468_860_000
NET = "net@1"


class Book:
    """Alerts with vectors, by letters."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = Alerts(database)
        self._minute = 100

    def fire(self, series: str, *, days: float = 5, lasts: int | None = 60, **evidence: Any) -> Alert:
        """An alert so long after the one before; None: it fires still."""
        self._minute += int(days * DAY_MINUTES)
        ended = None if lasts is None else self._minute + lasts
        state = State.FIRING if ended is None else State.RESOLVED
        fired = alert(
            series=series, state=state, pending_minute=self._minute, fired_minute=self._minute, resolved_minute=ended
        )
        lease = self.store.leases.acquire("me", NOW, 60_000)
        assert lease is not None
        change = Change(fired, event(minute=self._minute, evidence=Evidence(**evidence)))
        self.store.apply(lease, self._minute, [change], NOW)
        return self.store.listing(limit=1)[0]

    def read(self, fired: Alert, *vector: float, by: str = NET, **traits: tuple[str, ...]) -> None:
        with self.database.write() as connection:
            own = np.array(vector, np.float32)
            similar.keep_vector(connection, by, fired.id or 0, own, Traits(**traits), NOW)

    def like(self, fired: Alert) -> list[SimilarAlert]:
        with self.database.read() as connection:
            return similar.similar(connection, fired)

    def unread(self, by: str = NET, limit: int = 10) -> list[similar.Unread]:
        groups = {"A": ("banks",)}
        with self.database.read() as connection:
            return similar.without_vectors(connection, by, lambda ticker: groups.get(ticker, ()), limit)


@pytest.fixture
def book(database: Database) -> Book:
    return Book(database)


def test_the_nearest_three_earlier_alerts_are_shown_nearest_first_with_what_makes_them_alike(book: Book) -> None:
    near, far, beside, other = (book.fire(f"ticker:{name}") for name in ("NEAR", "FAR", "BESIDE", "OTHER"))
    now, later = book.fire("ticker:NOW", lasts=None), book.fire("ticker:LATER")
    book.read(near, 0.9, np.sqrt(1 - 0.81), companies=("NEAR",), groups=("banks",), topics=("credit",))
    book.read(far, 0, 1, companies=("FAR",))
    book.read(beside, 0.85, -np.sqrt(1 - 0.85**2), companies=("BESIDE", "NOW"))
    book.read(other, 1, 0, by="another@2")
    book.read(later, 1, 0, companies=("LATER",))
    book.read(now, 1, 0, companies=("NOW",), groups=("banks", "insurers"), topics=("credit",))
    first, second = book.like(now)
    assert (first.alert, second.alert) == (near, beside)
    assert first.likeness.amount == pytest.approx(1.0, abs=1e-3)
    assert first.likeness.reasons == ("the same group (banks)", "the same topic (credit)", "worded alike (0.90)")
    assert second.likeness.reasons == ("stories on NOW", "worded alike (0.85)")


def test_an_earlier_alert_of_the_series_is_shown_however_it_is_worded(book: Book) -> None:
    earlier, now = book.fire("ticker:A"), book.fire("ticker:A")
    book.read(earlier, 0, 1)
    book.read(now, 1, 0)
    (shown,) = book.like(now)
    assert shown.alert == earlier
    assert shown.likeness.reasons == ("the same series",)
    assert book.like(earlier) == []


def test_what_belongs_to_the_same_episode_is_no_earlier_alert_and_an_episode_is_shown_once(book: Book) -> None:
    first = book.fire("ticker:A", lasts=3 * DAY_MINUTES)
    within, after = book.fire("ticker:A", days=1), book.fire("ticker:A", days=2.5)
    assert book.like(within) == book.like(after) == []  # it had not ended, and had ended the same day
    next_week = book.fire("ticker:A", days=7)
    assert [shown.alert for shown in book.like(next_week)] == [after]
    assert [shown.alert.series for shown in book.like(book.fire("ticker:A", days=3))] == ["ticker:A"] * 2
    assert first.id != after.id


def test_without_vectors_alerts_are_weighed_by_what_they_share(book: Book) -> None:
    same, other, about = book.fire("ticker:A"), book.fire("ticker:B"), book.fire("topic:credit")
    book.read(about, companies=("A",))
    now = book.fire("ticker:A")
    book.read(now, companies=("A",))
    assert [shown.alert for shown in book.like(now)] == [same, about]
    assert [shown.likeness.cosine for shown in book.like(now)] == [None, None]
    assert other not in [shown.alert for shown in book.like(now)]


def test_what_became_of_it_is_said(book: Book, database: Database) -> None:
    earlier, now = book.fire("ticker:A", lasts=130), book.fire("ticker:A")
    assert book.like(now)[0].outcome == "over by itself after 2 h 10 min"
    with database.write() as connection:
        connection.execute(
            insert(closings).values(
                alert_id=earlier.id, at_ms=1, minute=1, actor="ann", verdict="dismissed", reason="a quiz"
            )
        )
    assert book.like(now)[0].outcome == "dismissed as false by ann after 2 h 10 min: a quiz"


def test_alerts_wait_for_a_vector_until_they_have_it_and_once_more_for_another_classifier(
    book: Book, database: Database
) -> None:
    Desk(database).write(
        scored("1", "Kestrel Bank halts withdrawals", label="negative", topic="credit", tickers=("A", "B")),
        scored("2", "Kestrel Bank sinks", label="negative", topic="credit", tickers=("A",)),
        scored("3", "Oakmere fears", label="negative", topic="stocks", tickers=("C",)),
    )
    told = tuple(TopStory(str(number), f"UPDATE 1 - {number}", "wire", "", "", 0.9) for number in (2, 1, 3, 99))
    fired = book.fire("ticker:A", top_stories=told)
    book.fire("ticker:E")
    (bare, unread) = book.unread()
    assert unread == similar.Unread(
        fired.id or 0,
        ("Kestrel Bank sinks", "Kestrel Bank halts withdrawals", "Oakmere fears", "UPDATE 1 - 99"),
        Traits(companies=("A",), groups=("banks",), topics=("credit",)),
    )
    assert bare.headlines == ()
    assert len(book.unread(limit=1)) == 1
    book.read(fired, 1, 0)
    assert [waiting.alert_id for waiting in book.unread()] == [bare.alert_id]
    book.read(fired, 0, 1)  # another process was as quick: the first counts
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(alert_vectors)) == 1
        kept = connection.scalar(select(alert_vectors.c.vector))
    assert np.frombuffer(kept or b"", "<f2").tolist() == [1, 0]
    assert len(book.unread(by="another@2")) == 2


def test_pending_alerts_wait_for_no_vector_and_a_vector_goes_with_its_alert(book: Book, database: Database) -> None:
    fired = book.fire("ticker:A")
    with database.write() as connection:
        connection.execute(update(alerts).values(fired_minute=None))
    assert book.unread() == []
    book.read(fired, 1, 0)
    with database.write() as connection:
        connection.execute(delete(alerts))
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(alert_vectors)) == 0


def test_what_a_hand_has_damaged_is_no_vector(book: Book, database: Database) -> None:
    earlier, now = book.fire("ticker:A"), book.fire("ticker:A")
    book.read(earlier, 1, 0)
    book.read(now, 1, 0)
    with database.write() as connection:
        connection.execute(
            update(alert_vectors).where(alert_vectors.c.alert_id == earlier.id).values(vector=b"\x00", traits="{")
        )
    (shown,) = book.like(now)
    assert (shown.likeness.cosine, shown.likeness.reasons) == (None, ("the same series",))
