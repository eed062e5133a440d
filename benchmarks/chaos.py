"""Three replicas on PostgreSQL and Apache Kafka under everything that goes wrong; its own oracle counts what came.

    python benchmarks/chaos.py                       100,000 records, some minutes
    python benchmarks/chaos.py --records 5000        a short one

The topic holds every kind of record that a feed may hold, in every compression, some in transactions that are aborted.
Replicas are started before the broker and the database, killed, frozen and stopped; the broker crashes; the database
crashes, turns read-only, and is sick. The oracle knows what was published, not how the service works.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import rig
from kafka import KafkaProducer, TopicPartition
from kafka import errors as kafka_errors

from sentiment_monitor.ingest.publish import ensure_topic

TOPIC = "chaos"
PARTITIONS = 6
REPLICAS = 3
CODECS = (None, "gzip", "lz4", "snappy", "zstd")
START_MS = 1_772_438_400_000  # 2026-03-02 08:00 UTC
STEP_MS = 400
SOURCES = ("harbour wire", "kestrel post", "mill gazette", "evening ledger", "bourse daily")

StoryKey = tuple[str, str]
"""Source and id."""


@dataclass(slots=True)
class Expected:
    """What one story must look like in the end."""

    headline: str
    revision: int
    deleted: bool = False


@dataclass(slots=True)
class World:
    """The oracle: what has been published, and what must come of it."""

    stories: dict[StoryKey, Expected] = field(default_factory=dict)
    dead: Counter[tuple[bytes, int | None]] = field(default_factory=Counter)  # raw value and part of each dead letter
    aborted: set[StoryKey] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Published:
    """One record for the topic."""

    key: bytes
    value: bytes | None
    at_ms: int


class Feed:
    """Makes records, and tells the oracle what each must become."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self.world = World()
        syllables = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
        self._words = ["".join(self._rng.choices(syllables, k=self._rng.randint(2, 4))) for _ in range(3_000)]
        self._keys: list[StoryKey] = []
        self._messages: dict[StoryKey, dict[str, Any]] = {}
        self._number = 0

    def records(self, count: int) -> Iterator[Published]:
        """``count`` records; what becomes of a story is decided within one partition, by its key."""
        makers: dict[Callable[[int], Published], int] = {
            self._plain: 56, self._odd: 6, self._wrapped: 6, self._page: 4, self._copy: 5, self._update: 8,
            self._delete: 3, self._again: 4, self._stale: 2, self._tombstone: 3, self._hostile: 1, self._broken: 2,
        }  # fmt: skip
        for maker in self._rng.choices(list(makers), list(makers.values()), k=count):
            self._number += 1
            record = maker(START_MS + self._number * STEP_MS)
            self.world.kinds[maker.__name__.strip("_")] += 1
            yield record

    def aborted(self, count: int) -> list[Published]:
        """Records of a transaction that will be aborted: nothing may come of them."""
        records = []
        for _ in range(count):
            self._number += 1
            key = (self._rng.choice(SOURCES), f"never{self._number}")
            self.world.aborted.add(key)
            message = {"id": key[1], "source": key[0], "headline": self._sentence(), "published_at": START_MS}
            records.append(_published(key, json.dumps(message).encode(), START_MS))
            self.world.kinds["aborted"] += 1
        return records

    def _sentence(self) -> str:
        return " ".join(self._rng.choices(self._words, k=9)).capitalize() + f" {self._number}"

    def _message(self, at_ms: int) -> dict[str, Any]:
        return {
            "id": f"s{self._number}",
            "source": self._rng.choice(SOURCES),
            "headline": self._sentence(),
            "revision": 1,
            "tickers": self._rng.sample(("KSTR", "NRWK", "HLDN", "OBRN", "TSCA"), self._rng.randint(0, 2)),
            "published_at": at_ms,
        }

    def _tell(self, message: dict[str, Any], *, later: bool = True) -> StoryKey:
        key = (message["source"], message["id"])
        self.world.stories[key] = Expected(message["headline"], message["revision"])
        if later:
            self._keys.append(key)
            self._messages[key] = message
        return key

    def _plain(self, at_ms: int) -> Published:
        message = self._message(at_ms)
        return _published(self._tell(message), json.dumps(message).encode(), at_ms)

    def _odd(self, at_ms: int) -> Published:
        message = self._message(at_ms)
        key = self._tell(message, later=False)  # a copy with other tickers would count for some of them
        odd: dict[str, Any] = self._rng.choice(
            (
                {"tickers": ["KSTR", "no ticker at all", None, 700]},
                {"published_at": "the day before"},
                {"url": ["a", "b"], "language": 7},
                {"body": {"text": "Words"}},
                {"tickers": [f"T{number}" for number in range(150)]},
                {"source": message["source"].upper()},
            )
        )
        return _published(key, json.dumps(message | odd).encode(), at_ms)

    def _wrapped(self, at_ms: int) -> Published:
        message = self._message(at_ms)
        key = self._tell(message)
        value = json.dumps(message).encode()
        wrappings: tuple[Callable[[bytes], bytes], ...] = (
            gzip.compress,
            lambda plain: json.dumps(plain.decode()).encode(),
            lambda plain: b"\xef\xbb\xbf" + plain,
            lambda plain: b"[" + plain + b"]",
            lambda plain: b"  " + plain + b"\n",
        )
        return _published(key, self._rng.choice(wrappings)(value), at_ms)

    def _page(self, at_ms: int) -> Published:
        members: list[dict[str, Any]] = []
        for place in range(self._rng.randint(0, 6)):
            message = self._message(at_ms)
            message |= {"id": f"p{self._number}-{place}", "headline": f"{message['headline']} {place}"}
            self._tell(message, later=False)
            members.append(message)
        broken = self._rng.randrange(len(members) + 1) if self._rng.random() < 0.2 else None
        if broken is not None:
            members.insert(broken, {"id": f"b{self._number}"})
        value = json.dumps(members).encode()
        if broken is not None:
            self.world.dead[value, broken] += 1
        return Published(b"page|%d" % self._number, value, at_ms)

    def _copy(self, at_ms: int) -> Published:
        repeated = self._messages[self._rng.choice(self._keys[-300:])] if self._keys else self._message(at_ms)
        message = self._message(at_ms) | {"headline": repeated["headline"], "tickers": repeated["tickers"]}
        return _published(self._tell(message, later=False), json.dumps(message).encode(), at_ms)

    def _living(self) -> StoryKey | None:
        key = self._rng.choice(self._keys[-2_000:]) if self._keys else None
        return None if key is None or self.world.stories[key].deleted else key

    def _update(self, at_ms: int) -> Published:
        if (key := self._living()) is None:
            return self._plain(at_ms)
        message = self._messages[key]
        message = message | {"action": "updated", "revision": message["revision"] + 1, "headline": self._sentence()}
        self._messages[key] = message
        self.world.stories[key] = Expected(message["headline"], message["revision"])
        return _published(key, json.dumps(message).encode(), at_ms)

    def _delete(self, at_ms: int) -> Published:
        if (key := self._living()) is None:
            return self._plain(at_ms)
        expected = self.world.stories[key]
        expected.deleted, expected.revision = True, expected.revision + 1
        gone = {"id": key[1], "source": key[0], "action": "deleted", "revision": expected.revision}
        return _published(key, json.dumps(gone).encode(), at_ms)

    def _again(self, at_ms: int) -> Published:
        if (key := self._living()) is None:
            return self._plain(at_ms)
        return _published(key, json.dumps(self._messages[key]).encode(), at_ms)

    def _stale(self, at_ms: int) -> Published:
        if (key := self._living()) is None:
            return self._plain(at_ms)
        old = self._messages[key] | {"revision": 0, "headline": "What was said before"}
        return _published(key, json.dumps(old).encode(), at_ms)

    def _tombstone(self, at_ms: int) -> Published:
        return Published(b"gone|%d" % self._number, None, at_ms)

    def _hostile(self, at_ms: int) -> Published:
        message = self._message(at_ms)
        key = self._tell(message, later=False)
        hostile: dict[str, Any] = self._rng.choice(
            (
                {"published_at": "1" * 40_000 + "x"},
                {"body": "a" + "\u0300" * 20_000 + "\u0316" * 20_000},
                {"body": "&#" + "9" * 5_000},
                {"body": "$" * 50_000},
                {"tickers": "A," * 50_000},
                {"revision": 1, "url": "http://" + "x" * 100_000},
            )
        )
        return _published(key, json.dumps(message | hostile).encode(), at_ms)

    def _broken(self, at_ms: int) -> Published:
        number = self._number
        value = self._rng.choice(
            (
                b"{not json %d" % number,
                b"\xff\xfe%d" % number,
                b"%d" % number,
                b'{"id": "b%d", "headline": "  "}' % number,
                b'{"id": "b%d", "headline": "Words", "action": "burned"}' % number,
                b"\x1f\x8bnot gzip %d" % number,
                b"\x00\x00\x00\x00\x07{broken frame %d" % number,
            )
        )
        self.world.dead[value, None] += 1
        return Published(b"broken|%d" % number, value, at_ms)


def _published(key: StoryKey, value: bytes, at_ms: int) -> Published:
    return Published(f"{key[0]}|{key[1]}".encode(), value, at_ms)


# -- what is disturbed --------------------------------------------------------------------------------------------


class Broker:
    """One node of Apache Kafka, its port known before it runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = rig.port_pair()
        self.address = f"127.0.0.1:{self._port}"

    def up(self) -> None:
        """Starts it for the first time."""
        self._call("up", self._folder, "--port", str(self._port))

    def crash(self) -> None:
        self._call("kill", self._folder, "1")

    def start(self) -> None:
        self._call("start", self._folder, "1")

    def stop(self) -> None:
        subprocess.run([rig.KAFKA, "stop", self._folder], check=False, capture_output=True)

    def _call(self, *arguments: object) -> None:
        for _ in range(3):
            command = [sys.executable, str(rig.KAFKA), *map(str, arguments)]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode == 0:
                return
        raise SystemExit(f"Kafka: {done.stderr.strip()[-600:]}")


class Replicas:
    """Processes of ``monitor run`` in one consumer group."""

    def __init__(self, folder: Path, broker: str, database: str, rng: random.Random) -> None:
        self._folder, self._broker, self._database, self._rng = folder, broker, database, rng
        self._processes: list[subprocess.Popen[bytes]] = []
        self._started = 0
        self.exits: Counter[str] = Counter()

    def start(self) -> None:
        """Starts one more."""
        command, environment = rig.monitor_run(
            *("--bootstrap", self._broker, "--topic", TOPIC, "--database", self._database, "--classifier", "stub"),
            MONITOR_LOG__FORMAT="json",
            MONITOR_KAFKA__GROUP=TOPIC,
            MONITOR_DEAD_LETTERS__MAX_CONSECUTIVE="1000",
        )
        with (self._folder / f"replica-{self._started}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            )
        self._started += 1

    def end(self, number: signal.Signals) -> None:
        """One of them ends by a signal, and another takes its place."""
        victim = self._rng.choice(self._processes)
        victim.send_signal(number)
        victim.wait(60)
        self._processes.remove(victim)
        self.start()

    def freeze(self, seconds: float) -> None:
        """One of them stands still for longer than its session, then goes on."""
        victim = self._rng.choice(self._processes)
        victim.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        victim.send_signal(signal.SIGCONT)

    def check(self) -> None:
        """Raises SystemExit for one that ended by itself: nothing here is a reason to."""
        for process in self._processes:
            if process.poll() is not None:
                raise SystemExit(f"a replica ended with status {process.returncode}: see {self._folder}")

    def stop(self) -> None:
        """All end in order; raises SystemExit for one that does not."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(90) for process in self._processes]
        self._processes.clear()
        # The youngest may have been told before it listened.
        if any(code not in (0, -signal.SIGTERM) for code in codes):
            raise SystemExit(f"replicas ended with {codes}: see {self._folder}")

    def kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


SICK = """
CREATE OR REPLACE FUNCTION sick() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN RAISE EXCEPTION 'could not read block 17' USING ERRCODE = '58030'; END$$;
CREATE TRIGGER sick BEFORE INSERT ON stories EXECUTE FUNCTION sick();
"""


class Troubles:
    """Everything that is done to the service while it works."""

    def __init__(self, broker: Broker, database: rig.Postgres, replicas: Replicas, rng: random.Random) -> None:
        self._broker, self._database, self._replicas, self._rng = broker, database, replicas, rng
        self.counts: Counter[str] = Counter()
        self._kinds: dict[Callable[[], None], int] = {
            self._kill: 8, self._terminate: 3, self._freeze: 2, self._broker_crash: 2, self._database_crash: 2,
            self._read_only: 2, self._sick: 2,
        }  # fmt: skip

    def strike(self) -> None:
        """One of them, by chance."""
        trouble = self._rng.choices(list(self._kinds), list(self._kinds.values()))[0]
        trouble()
        self.counts[trouble.__name__.strip("_")] += 1

    def _kill(self) -> None:
        self._replicas.end(signal.SIGKILL)

    def _terminate(self) -> None:
        self._replicas.end(signal.SIGTERM)

    def _freeze(self) -> None:
        self._replicas.freeze(9)

    def _broker_crash(self) -> None:
        self._broker.crash()
        time.sleep(self._rng.uniform(0, 5))
        self._broker.start()

    def _database_crash(self) -> None:
        self._database.stop(signal.SIGQUIT)
        time.sleep(self._rng.uniform(0, 5))
        self._database.start()

    def _read_only(self) -> None:
        for value in ("on", "off"):
            with _connected(self._database) as connection:
                connection.execute("SET default_transaction_read_only = off")
                connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
                connection.execute("SELECT pg_reload_conf()")
            time.sleep(3)

    def _sick(self) -> None:
        with _connected(self._database) as connection:
            connection.execute(SICK)
        time.sleep(3)
        with _connected(self._database) as connection:
            connection.execute("DROP TRIGGER sick ON stories")


def _connected(database: rig.Postgres) -> psycopg.Connection[Any]:
    return psycopg.connect(host=str(database.inside), user="postgres", autocommit=True)


# -- publishing ---------------------------------------------------------------------------------------------------


class Publishing:
    """Puts the feed on the topic: each record by one of the compressions, some in transactions."""

    def __init__(self, address: str) -> None:
        self._address = address
        options: dict[str, Any] = {"bootstrap_servers": [address], "metrics_enabled": False, "acks": "all"}
        options |= {"enable_idempotence": True, "delivery_timeout_ms": 300_000, "linger_ms": 10}
        self._producers = [KafkaProducer(compression_type=codec, **options) for codec in CODECS]
        self._transactional = KafkaProducer(transactional_id="chaos", **options)
        self._transactional.init_transactions()

    def send(self, records: list[Published], producer: KafkaProducer) -> None:
        """Sends and waits until all are acknowledged."""
        results = [
            producer.send(
                TOPIC,
                key=record.key,
                value=record.value,
                partition=zlib.crc32(record.key) % PARTITIONS,
                timestamp_ms=record.at_ms,
            )
            for record in records
        ]
        producer.flush(timeout=300)
        for result in results:
            result.get(timeout=10)

    def portion(self, number: int, records: list[Published], aborted: list[Published]) -> None:
        """One portion, whole before the next: revisions of a story stay in order."""
        if number % 8:
            self.send(records, self._producers[number % len(CODECS)])
            return
        self._in_transaction(aborted, commit=False)
        self._in_transaction(records, commit=True)

    def _in_transaction(self, records: list[Published], *, commit: bool) -> None:
        self._transactional.begin_transaction()
        self.send(records, self._transactional)
        if commit:
            self._transactional.commit_transaction()
        else:
            self._transactional.abort_transaction()

    def ends(self) -> dict[int, int]:
        """The end of each partition."""
        from kafka import KafkaConsumer

        consumer = KafkaConsumer(bootstrap_servers=[self._address], metrics_enabled=False)
        try:
            partitions = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
            return {partition.partition: end for partition, end in consumer.end_offsets(partitions).items()}
        finally:
            consumer.close()

    def close(self) -> None:
        for producer in (*self._producers, self._transactional):
            producer.close(timeout=5)


# -- the verdict --------------------------------------------------------------------------------------------------


def _rows(database: rig.Postgres, query: str) -> list[tuple[Any, ...]]:
    with _connected(database) as connection:
        return connection.execute(query).fetchall()


def faults(database: rig.Postgres, world: World) -> dict[str, int]:
    """What differs between the oracle and the database, by kind; all zero when nothing does."""
    rows = _rows(
        database,
        "SELECT s.id, s.source, s.story_id, s.headline, s.revision, s.deleted, s.copy_of, s.minute, s.tickers,"
        " c.label, c.topic FROM stories s LEFT JOIN scores c ON c.story_id = s.id",
    )
    stored = {(row[1], row[2]): row for row in rows}
    wrong = dict.fromkeys(("lost", "outdated"), 0)
    for key, expected in world.stories.items():
        row = stored.get(key)
        if row is None:
            wrong["lost"] += 1
        elif (row[3], row[4], row[5]) != (expected.headline, expected.revision, expected.deleted) and not (
            row[5] and expected.deleted and row[4] == expected.revision
        ):
            wrong["outdated"] += 1
    wrong["doubled"] = len(rows) - len(stored) + len(stored.keys() - world.stories.keys() - world.aborted)
    wrong["of an aborted transaction"] = len(stored.keys() & world.aborted)
    dead = Counter((bytes(value), part) for value, part in _rows(database, _DEAD))
    wrong["dead letters lost"] = (world.dead - dead).total()
    wrong["dead letters too many"] = (dead - world.dead).total()
    originals = Counter(row[3] for row in rows if not row[5] and row[6] is None)
    wrong["headlines with two originals"] = sum(count > 1 for count in originals.values())
    alive = {row[3] for row in rows if not row[5]}
    wrong["headlines without an original"] = len(alive - originals.keys())
    wrong["buckets"] = _buckets_wrong(database, rows)
    return wrong


_DEAD = "SELECT raw_value, kafka_part FROM dead_letters"
_BUCKETS = "SELECT series, minute, stories, negative, neutral, positive, copies FROM buckets"


def _buckets_wrong(database: rig.Postgres, rows: list[tuple[Any, ...]]) -> int:
    """Series and minutes whose counts are not those of the stories that stand there."""
    counts: dict[tuple[str, int], Counter[str]] = {}
    for _, source, _, _, _, deleted, copy_of, minute, tickers, label, topic in rows:
        if deleted:
            continue
        series = {"all", f"source:{source}", *(f"ticker:{ticker}" for ticker in tickers.split(",") if ticker)}
        for name in series | ({f"topic:{topic}"} if topic else set()):
            counts.setdefault((name, minute), Counter()).update(["copies"] if copy_of else ["stories", label])
    stored = {
        (row[0], row[1]): Counter(
            {
                kind: n
                for kind, n in zip(("stories", "negative", "neutral", "positive", "copies"), row[2:], strict=True)
                if n
            }
        )
        for row in _rows(database, _BUCKETS)
    }
    return sum(counts.get(key, Counter()) != stored.get(key, Counter()) for key in counts.keys() | stored.keys())


def main() -> None:
    options = rig.parser(__doc__)
    options.add_argument("--records", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--keep", action="store_true", help="leave the folder with the logs")
    chosen = options.parse_args()
    rig.quiet()
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    rng = random.Random(chosen.seed)
    print(f"load average {os.getloadavg()[0]:.2f}, logs in {folder}", flush=True)
    with ExitStack() as stack:
        if not chosen.keep:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        database, broker = rig.Postgres(folder), Broker(folder / "kafka")
        stack.callback(database.stop)
        stack.callback(broker.stop)
        replicas = Replicas(folder, broker.address, database.url, rng)
        stack.callback(replicas.kill)
        replicas.start()
        time.sleep(8)
        replicas.check()  # broker and database are away
        broker.up()
        time.sleep(4)
        replicas.check()
        database.start()
        for _ in range(REPLICAS - 1):
            replicas.start()
        world, troubles = _disturbed(chosen.records, chosen.seed, broker, database, replicas, rng)
        replicas.stop()
        wrong = faults(database, world)
        rig.report(kinds=dict(world.kinds))
        rig.report(troubles=dict(troubles.counts))
        rig.report(stories=len(world.stories), dead_letters=world.dead.total(), **wrong)
    if any(wrong.values()):
        raise SystemExit("the database is not what was published")


def _disturbed(
    count: int, seed: int, broker: Broker, database: rig.Postgres, replicas: Replicas, rng: random.Random
) -> tuple[World, Troubles]:
    """Publishes all, disturbs the service meanwhile, and waits until it has read everything."""
    feed = Feed(seed)
    troubles = Troubles(broker, database, replicas, rng)
    ensure_topic({"bootstrap_servers": [broker.address]}, TOPIC, PARTITIONS)
    publishing = Publishing(broker.address)
    size = max(50, count // 60)
    records = list(feed.records(count))
    began = time.monotonic()
    for number, first in enumerate(range(0, count, size)):
        publishing.portion(number, records[first : first + size], feed.aborted(size // 20))
        replicas.check()
        troubles.strike()
    ends = publishing.ends()
    publishing.close()
    deadline = time.monotonic() + 600
    while (left := _left(database, ends)) > 0:
        replicas.check()
        if time.monotonic() > deadline:
            raise SystemExit(f"{left} records are still unread")
        time.sleep(0.5)
    rig.report(records=count, seconds=time.monotonic() - began)
    return feed.world, troubles


def _left(database: rig.Postgres, ends: dict[int, int]) -> int:
    positions = dict(_rows(database, "SELECT partition, next_offset FROM consumer_offsets"))
    return sum(end - positions.get(partition, 0) for partition, end in ends.items())


if __name__ == "__main__":
    try:
        main()
    except kafka_errors.KafkaError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
