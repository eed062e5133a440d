"""Alerts that fired are given vectors by whoever has a classifier."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from databases import migrated_sqlite
from sentiment_monitor.domain.alerts import Evidence, TopStory
from sentiment_monitor.domain.news import Text
from sentiment_monitor.errors import DatabaseAway
from sentiment_monitor.score.contract import Vectors
from sentiment_monitor.score.lexicon import LexiconClassifier, StubClassifier
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.schema import alert_vectors
from sentiment_monitor.stream import alert_vectors as module
from sentiment_monitor.stream.alert_vectors import AlertVectors, middle
from writing import Alerts, alert, event

NOW = 1_678_468_860_000


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return migrated_sqlite(tmp_path / "monitor.sqlite")


def _fire(database: Database, *headlines: str, series: str = "ticker:A") -> None:
    store = Alerts(database)
    lease = store.leases.acquire("me", NOW, 60_000)
    assert lease is not None
    told = tuple(TopStory(f"x{number}", text, "wire", "", "", 0.9) for number, text in enumerate(headlines))
    store.apply(lease, 100, [Change(alert(series=series), event(evidence=Evidence(top_stories=told)))], NOW)


def _kept(database: Database) -> list[tuple[int, list[float]]]:
    with database.read() as connection:
        rows = connection.execute(select(alert_vectors).order_by(alert_vectors.c.alert_id))
        return [(row.alert_id, np.frombuffer(row.vector, "<f2").tolist()) for row in rows]


def test_each_alert_has_the_middle_of_its_own_headlines_vectors_whatever_is_read_beside_it(database: Database) -> None:
    classifier = StubClassifier()
    _fire(database, "first", "second")
    _fire(database, series="ticker:B")
    _fire(database, "third", series="ticker:C")
    vectors = AlertVectors(database, classifier, lambda ticker: (), lambda: NOW)
    assert vectors.read_new() == 3
    assert vectors.read_new() == 0
    expected = [classifier.vectors([Text(word) for word in words]) for words in (["first", "second"], ["third"])]
    (_, first), (_, second), (_, third) = _kept(database)
    assert first == pytest.approx(middle(expected[0]).tolist(), abs=1e-3)
    assert second == []
    assert third == pytest.approx(expected[1][0].tolist(), abs=1e-3)


def test_more_alerts_than_a_portion_are_all_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PORTION", 2)
    for number in range(5):
        _fire(database, "word", series=f"ticker:{number}")
    assert AlertVectors(database, StubClassifier(), lambda ticker: (), lambda: NOW).read_new() == 5
    assert len(_kept(database)) == 5


def test_a_classifier_without_vectors_leaves_empty_ones(database: Database) -> None:
    _fire(database, "Kestrel Bank halts withdrawals")
    assert AlertVectors(database, LexiconClassifier(), lambda ticker: (), lambda: NOW).read_new() == 1
    assert [vector for _, vector in _kept(database)] == [[]]


def test_it_looks_by_itself_waits_for_a_database_that_is_away_and_reports_what_breaks_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaking(StubClassifier):
        troubles: Sequence[Exception] = (DatabaseAway("gone"), RuntimeError("broken"))

        def vectors(self, texts: Sequence[Text]) -> Vectors:
            first, *self.troubles = self.troubles
            raise first

    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    _fire(database, "word")
    failures: list[BaseException] = []
    broken = threading.Event()

    def failed(error: BaseException) -> None:
        failures.append(error)
        broken.set()

    vectors = AlertVectors(database, Breaking(), lambda ticker: (), lambda: NOW)
    vectors.start(failed)
    assert broken.wait(30)
    vectors.stop()
    assert [str(error) for error in failures] == ["broken"]
    healthy = AlertVectors(database, StubClassifier(), lambda ticker: (), lambda: NOW)
    healthy.start(failed)
    while not _kept(database):
        assert not healthy._stopping.wait(0.01)
    healthy.stop()
    assert len(failures) == 1
