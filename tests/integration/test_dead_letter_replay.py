"""Dead letters of a feed with names of its own become stories once the mapping is mended and they are replayed."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
from sqlalchemy import select

from integration.harness import Apache, Message, Monitor, Results, send, service, until
from sentiment_monitor.ingest.embedded import EmbeddedBroker
from sentiment_monitor.store import schema
from sentiment_monitor.store.database import Database

AT = 1_772_438_400_000  # 2026-03-02 08:00 UTC
MAPPING = '{"headline": "title"}'


def _replay(folder: Path, address: str, topic: str, database: str, *choice: str) -> list[dict[str, object]]:
    log = folder / f"replay-{len(list(folder.iterdir()))}.log"
    settings = {
        "MONITOR_KAFKA__BOOTSTRAP_SERVERS": address,
        "MONITOR_KAFKA__TOPICS": topic,
        "MONITOR_NEWS__MAPPING": MAPPING,
    }
    command = Monitor(log, "dead-letters", "replay", *choice, "--json", "--database", database, settings=settings)
    assert command.wait() in (0, 1), repr(command)
    replays: list[dict[str, object]] = json.loads(command.text())
    return replays


def test_after_the_mapping_is_mended_dead_letters_become_stories_once(
    broker: EmbeddedBroker | Apache, name: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'monitor.sqlite'}"
    # Without a time of their own: theirs is that of the record, also after the replay.
    messages = [Message(b"%d" % n, b'{"title": "Bank %d fails", "id": "%d"}' % (n, n), AT + n) for n in range(6)]
    broken = Message(b"x", b"\xff", AT)
    send(broker.address, name, [*messages, broken])
    with service(tmp_path, broker.address, name, name, url) as monitor:
        monitor.drain()
        first = _replay(tmp_path, broker.address, name, url, "--all")
        assert sorted(str(replay["outcome"]) for replay in first) == ["replayed"] * 6 + ["unreadable"]
        # As after a crash before they were marked: everything is sent a second time.
        database = Database(url)
        with database.write() as connection:
            connection.execute(schema.dead_letters.update().values(replayed_ms=None))
        _replay(tmp_path, broker.address, name, url, "--code", "no_headline")
        monitor.drain(news__mapping=MAPPING)
        again = _replay(tmp_path, broker.address, name, url, "--all")
        assert [replay["outcome"] for replay in again] == ["unreadable"]
    with Results(url, name) as results:
        assert results.count("dead_letters") == 7
        assert results.count("audit") == 12
    stories = schema.stories.c
    with database.read() as connection:
        stored = connection.execute(select(stories.story_id, stories.published_ms, stories.kafka_partition)).all()
        letters = dict(
            connection.execute(select(schema.dead_letters.c.raw_value, schema.dead_letters.c.kafka_partition)).all()
        )
    database.close()
    assert sorted((story_id, at) for story_id, at, _ in stored) == [(str(n), AT + n) for n in range(6)]
    assert {story_id: place for story_id, _, place in stored} == {
        str(n): letters[messages[n].value] for n in range(6)
    }, "each went back to its partition"


def test_a_running_service_replays_for_whoever_knows_the_token(
    embedded_broker: EmbeddedBroker, name: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'monitor.sqlite'}"
    token = "a-token-of-some-length"
    send(embedded_broker.address, name, [Message(b"1", b'{"title": "Bank fails", "id": "1"}', AT)])
    with service(tmp_path, embedded_broker.address, name, name, url) as monitor:
        monitor.drain()
        running = monitor.run(news__mapping=MAPPING, web__token=token)
        address = f"{running.await_event('web.listening')['url']}/api/v1/dead-letters/1/replay"
        assert httpx.post(address).status_code == 401
        answer = httpx.post(address, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        assert (answer.status_code, answer.json()["outcome"]) == (200, "replayed"), answer.text
        with Results(url, name) as results:
            until(lambda: results.count("stories") == 1, "the story", of=running)
        assert token not in running.text()
