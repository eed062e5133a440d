"""Dead letters of a feed with names of its own become stories once the mapping is mended and they are replayed."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
from sqlalchemy import func, select

from integration.harness import Apache, Message, Monitor, Results, send, service, until
from sentiment_monitor.ingest.embedded import EmbeddedBroker
from sentiment_monitor.store import schema
from sentiment_monitor.store.buckets import recompute_buckets, stored_buckets
from sentiment_monitor.store.database import Database

AT = 1_772_438_400_000  # 2026-03-02 08:00 UTC
MAPPING = '{"headline": "title"}'


def _command(folder: Path, database: str, *choice: str) -> Monitor:
    log = folder / f"replay-{len(list(folder.iterdir()))}.log"
    return Monitor(log, "dead-letters", "replay", *choice, "--json", "--database", database)


def _outcomes(command: Monitor) -> dict[int, str]:
    assert command.wait() in (0, 1), repr(command)
    return {replay["id"]: replay["outcome"] for replay in json.loads(command.text())}


def test_after_the_mapping_is_mended_dead_letters_become_stories_once(
    broker: EmbeddedBroker | Apache, name: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'monitor.sqlite'}"
    # Without a time of their own: theirs is that of the record, also after the replay.
    messages = [Message(b"%d" % n, b'{"title": "Bank %d fails", "id": "%d"}' % (n, n), AT + n) for n in range(6)]
    send(broker.address, name, [*messages, Message(b"x", b"\xff", AT)])
    with service(tmp_path, broker.address, name, name, url) as monitor:
        monitor.drain()
        waiting = _command(tmp_path, url, "--all")
        with Results(url, name) as results:
            until(lambda: results.count("audit") == 7, "the request", of=waiting)
        monitor.drain(news__mapping=MAPPING)  # it is done with what waits before it ends
        assert sorted(_outcomes(waiting).values()) == ["replayed"] * 6 + ["unreadable"]
        # What was read again is known by its position: nothing of it was sent to Kafka.
        monitor.drain(news__mapping=MAPPING)
    with Results(url, name) as results:
        assert (results.count("stories"), results.count("dead_letters"), results.count("audit")) == (6, 7, 7)
    columns, database = schema.stories.c, Database(url)
    with database.read() as connection:
        stored = connection.execute(select(columns.story_id, columns.published_ms, columns.kafka_partition,
                                           columns.kafka_offset)).all()  # fmt: skip
        letters = schema.dead_letters.c
        rows = connection.execute(select(letters.raw_value, letters.kafka_partition, letters.kafka_offset)).all()
        assert stored_buckets(connection) == recompute_buckets(connection)
    database.close()
    assert sorted((story_id, at) for story_id, at, *_ in stored) == [(str(n), AT + n) for n in range(6)]
    places = {value: (partition, offset) for value, partition, offset in rows}
    assert {story_id: place for story_id, _, *place in stored} == {
        str(n): list(places[messages[n].value]) for n in range(6)
    }, "each lies where its record lay"


def test_replicas_that_are_killed_while_they_replay_store_each_story_once(
    embedded_broker: EmbeddedBroker, name: str, postgres_url: str, tmp_path: Path
) -> None:
    count, stories = 200, 100
    messages = [
        Message(b"%d" % (n % stories), b'{"title": "Bank %d fails", "id": "%d"}' % (n, n % stories), AT + n)
        for n in range(count)
    ]
    send(embedded_broker.address, name, messages)
    database = Database(postgres_url)
    letters = schema.dead_letters

    def replayed() -> int:
        with database.read() as connection:
            counting = select(func.count()).select_from(letters).where(letters.c.replayed_ms.is_not(None))
            return connection.scalar(counting) or 0

    with service(tmp_path, embedded_broker.address, name, name, postgres_url) as monitor:
        monitor.drain(dead_letters__max_consecutive="1000", dead_letters__max_ratio="1")
        waiting = _command(tmp_path, postgres_url, "--all", "--wait", "60s")
        with Results(postgres_url, name) as results:
            until(lambda: results.count("audit") == count, "the request", of=waiting)
        for _ in range(2):
            replicas = [monitor.run(news__mapping=MAPPING, ms_per_story=2) for _ in range(2)]
            before = replayed()
            until(lambda before=before: replayed() > before, "some that are replayed", of=replicas[0])  # type: ignore[misc]
            for replica in replicas:
                replica.kill()
            with database.write() as connection:  # who is dead renews no lease, and the test does not wait for its end
                connection.execute(schema.leases.update().values(expires_ms=0))
        monitor.run(news__mapping=MAPPING)
        outcomes = _outcomes(waiting)
    assert set(outcomes.values()) == {"replayed"}
    with database.read() as connection:
        assert stored_buckets(connection) == recompute_buckets(connection)
        headlines = connection.execute(select(schema.stories.c.story_id, schema.stories.c.headline)).all()
        assert connection.scalar(select(func.count()).select_from(letters)) == count
    database.close()
    assert sorted(map(tuple, headlines)) == sorted(
        (str(n % stories), f"Bank {n} fails") for n in range(count - stories, count)
    ), "the last message of each, as they came"


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
        assert (answer.status_code, answer.json()["outcome"]) == (202, "requested"), answer.text
        with Results(url, name) as results:
            until(lambda: results.count("stories") == 1, "the story", of=running)
        assert token not in running.text()
