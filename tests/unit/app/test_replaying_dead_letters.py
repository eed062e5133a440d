"""Replays at once: in one process one waits for the other."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from sentiment_monitor.app.replay import replayer
from sentiment_monitor.domain.news import Record
from sentiment_monitor.settings.load import Settings
from sentiment_monitor.store.database import Database
from writing import Desk, dead


def test_a_letter_for_one_of_several_stories_is_judged_by_that_story(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = b'[{"headline": "Bank fails"}, {"headline": ""}, {"headline": "Bank is saved"}]'
    Desk(database).write(dead=[replace(dead(0, value=value), part=part) for part in (1, 2, None)])
    monkeypatch.setattr("sentiment_monitor.app.replay.publish_again", lambda _, records: [None] * len(records))
    replays = replayer(Settings(), database, lambda: 1)("api", [1, 2, 3])
    assert [replay.outcome for replay in replays] == ["unreadable", "replayed", "unreadable"]


def test_two_replays_at_once_send_a_letter_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    Desk(database).write(dead=[dead(0, value=b'{"headline": "Bank fails"}')])
    second_asks = threading.Event()
    sent: list[Record] = []

    def publish_again(_: object, records: Sequence[Record]) -> list[None]:
        sent.extend(records)
        second_asks.wait(0.3)
        return [None] * len(records)

    monkeypatch.setattr("sentiment_monitor.app.replay.publish_again", publish_again)
    again = replayer(Settings(), database, lambda: 1)
    with ThreadPoolExecutor(2) as threads:
        replays = [one.result()[0].outcome for one in [threads.submit(again, "api", [1]) for _ in range(2)]]
    assert sorted(replays) == ["already_replayed", "replayed"]
    assert len(sent) == 1
