"""Real processes, invented news, and what must come out equal: shared by the integration and end-to-end suites.

A process start costs two seconds of computing, nearly all of it imports, and these suites need hundreds. So most
processes are forked from a server that has imported everything: each is a process of its own that runs the
command line from its first line, with its own threads and connections, and dies by SIGKILL like any other.
``cold=True`` starts a Python from nothing.
"""

from __future__ import annotations

import faulthandler
import functools
import json
import multiprocessing
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import func, select

from sentiment_monitor.domain.news import Action, Record
from sentiment_monitor.errors import DatabaseRefused
from sentiment_monitor.ingest.embedded import free_port
from sentiment_monitor.store import schema
from sentiment_monitor.store.buckets import recompute_buckets, stored_buckets
from sentiment_monitor.store.database import Database

# The embedded broker holds a join for half the session timeout, and a killed member's partitions are
# given away only after all of it.
QUICK_SESSION = {"MONITOR_KAFKA__SESSION_TIMEOUT_MS": "1000", "MONITOR_KAFKA__HEARTBEAT_INTERVAL_MS": "200"}

_COLD = "from sentiment_monitor.cli import main; main()"
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(
    ["integration.harness", "sentiment_monitor.app.build", "sentiment_monitor.cli", "psycopg"]
)


def until(
    true: Callable[[], Any], what: str, seconds: float = 30.0, pause: float = 0.05, *, of: Monitor | None = None
) -> Any:
    """Waits until ``true()`` and returns what it gave. A failure shows how ``of`` looks then."""
    deadline = time.monotonic() + seconds
    while not (given := true()):
        if time.monotonic() > deadline:
            raise AssertionError(f"within {seconds:g} s not seen: {what}" + (f": {of!r}" if of else ""))
        time.sleep(pause)
    return given


# -- processes ----------------------------------------------------------------------------------------------------


class Monitor:
    """One ``monitor`` process and its log.

    ``ms_per_story`` makes the stub classifier or the lexicon take its time, with small hand-offs, so that a kill
    finds every stage at work. Decoding a record that holds ``hang_on`` keeps the interpreter's lock for ever.
    """

    def __init__(
        self,
        log: Path,
        *arguments: str,
        settings: Mapping[str, str] | None = None,
        ms_per_story: float = 0.0,
        hang_on: bytes = b"",
        cold: bool = False,
    ) -> None:
        self.log = log
        environment = {"MONITOR_LOG__FORMAT": "json", **(settings or {})}
        self._process: Any
        if cold:
            assert not ms_per_story
            assert not hang_on
            with log.open("ab") as out:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _COLD, *arguments],
                    env=os.environ | environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                )
        else:
            log.touch()
            self._process = _forks.Process(
                target=_enter, args=(arguments, dict(os.environ) | environment, str(log), ms_per_story, hang_on)
            )
            self._process.start()
        self.pid: int = self._process.pid

    @property
    def alive(self) -> bool:
        return self.code is None

    @property
    def code(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        code: int | None = (
            self._process.poll() if isinstance(self._process, subprocess.Popen) else self._process.exitcode
        )
        return code

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and gone."""
        if self.alive:
            self.signal(signal.SIGKILL)
        self.wait(20)

    def wait(self, seconds: float = 60.0) -> int:
        """Waits for the end and returns the exit status. A process that does not end says where it stands."""
        try:
            until(lambda: self.code is not None, "its end", seconds)
        except AssertionError as error:
            self.signal(signal.SIGUSR1)
            time.sleep(1)
            raise AssertionError(f"{error}: {self!r}") from None
        assert self.code is not None
        return self.code

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Log events, all or those with one of these names."""
        found = []
        for line in self.text().splitlines():
            if not line.startswith("{"):
                continue
            try:
                event = json.loads(line)
            except ValueError:  # cut short by a kill
                continue
            if not names or event.get("event") in names:
                found.append(event)
        return found

    def await_event(self, name: str, seconds: float = 30.0) -> dict[str, Any]:
        """Waits for the first event of this name; an end of the process meanwhile is an error."""

        def seen() -> dict[str, Any] | None:
            if events := self.events(name):
                return events[0]
            assert self.alive, f"it ended before {name}: {self!r}"
            return None

        event: dict[str, Any] = until(seen, name, seconds, of=self)
        return event

    @property
    def assigned(self) -> bool:
        """Whether it holds partitions as far as its log says."""
        last = self.events("partitions.assigned", "partitions.revoked")[-1:]
        return bool(last) and last[0]["event"] == "partitions.assigned" and bool(last[0]["partitions"])

    @property
    def stored(self) -> int:
        """Records of the batches that its log says it stored."""
        return sum(event["records"] for event in self.events("batch.stored"))

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def __repr__(self) -> str:
        return f"<Monitor {self.log.name}: exit {self.code}, log ends:\n{self.text()[-3000:]}>"


def _enter(
    arguments: Sequence[str], environment: Mapping[str, str], log: str, ms_per_story: float, hang_on: bytes
) -> None:
    """The first line of a forked process."""
    out = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.environ.clear()
    os.environ.update(environment)
    faulthandler.register(signal.SIGUSR1, file=2)
    sys.argv = ["monitor", *arguments]
    if ms_per_story:
        _slow_down(ms_per_story)
    if hang_on:
        _hang(hang_on)
    from sentiment_monitor.cli import main

    main()


def _hang(word: bytes) -> None:
    from sentiment_monitor.ingest.decode import Decoder

    def decode(self: Decoder, record: Record, usual: Any = Decoder.decode) -> Any:
        if record.value and word in record.value:
            re.fullmatch(r"(a|aa)+", "a" * 200 + "b")  # 2^140 ways, and no other thread runs meanwhile
        return usual(self, record)

    Decoder.decode = decode  # type: ignore[method-assign]


def _slow_down(ms_per_story: float) -> None:
    from sentiment_monitor.app import build
    from sentiment_monitor.score.lexicon import LexiconClassifier, StubClassifier
    from sentiment_monitor.stream.pipeline import Limits, Pipeline

    for kind in (LexiconClassifier, StubClassifier):

        def score(self: Any, texts: Any, quick: Any = kind.score) -> Any:
            time.sleep(len(texts) * ms_per_story / 1000)
            return quick(self, texts)

        kind.score = score  # type: ignore[method-assign]
    small = Limits(waiting=60, prepared=30, scored=30, score_batch=15, write_batch=30)
    setattr(build, "Pipeline", functools.partial(Pipeline, limits=small))  # noqa: B010  # a class, for mypy


@dataclass
class Service:
    """Starts ``monitor run`` processes on one topic, group and database, and ends what is left of them."""

    folder: Path
    bootstrap: str
    topic: str
    group: str
    database: str
    settings: dict[str, str] = field(default_factory=dict)
    started: list[Monitor] = field(default_factory=list)

    def run(
        self, *options: str, cold: bool = False, ms_per_story: float = 0.0, hang_on: bytes = b"", **settings: str
    ) -> Monitor:
        """One process; ``settings`` are names under ``MONITOR_`` in lower case."""
        arguments = ["run", "--bootstrap", self.bootstrap, "--topic", self.topic, "--database", self.database]
        if "--classifier" not in options:
            arguments += ["--classifier", "stub"]
        environment = {
            "MONITOR_KAFKA__GROUP": self.group,
            "MONITOR_WEB__PORT": "0",
            "MONITOR_SERVICE__STATE_DIR": str(self.folder / "state"),
            **QUICK_SESSION,
            **self.settings,
        }
        environment |= {f"MONITOR_{name.upper()}": value for name, value in settings.items()}
        monitor = Monitor(
            self.folder / f"{self.group}-{len(self.started)}.log",
            *arguments,
            *options,
            settings=environment,
            cold=cold,
            ms_per_story=ms_per_story,
            hang_on=hang_on,
        )
        self.started.append(monitor)
        return monitor

    def drain(self, *, seconds: float = 60.0, cold: bool = False, **settings: Any) -> Monitor:
        """Reads the topic to its end and must end well."""
        monitor = self.run("--exit-when-idle", "1s", cold=cold, **settings)
        assert monitor.wait(seconds) == 0, repr(monitor)
        return monitor

    def kill_all(self) -> None:
        for monitor in self.started:
            if monitor.alive:
                monitor.kill()


@contextmanager
def service(folder: Path, bootstrap: str, topic: str, group: str, database: str, **settings: str) -> Iterator[Service]:
    """A :class:`Service` that leaves no process behind."""
    one = Service(folder, bootstrap, topic, group, database, {f"MONITOR_{k.upper()}": v for k, v in settings.items()})
    try:
        yield one
    finally:
        one.kill_all()


# -- brokers ------------------------------------------------------------------------------------------------------


class Apache:
    """One node of Apache Kafka that can be killed and started again; its data outlive it."""

    def __init__(self, script: Path, folder: Path, *, secure: str | None = None, properties: str = "") -> None:
        self._script = script
        self.folder = folder
        port = _port_pair()
        options = ["--secure", secure] if secure else []
        self.address = self._call("up", folder, "--port", str(port), *options)
        # The broker's own floor is 6 s: too slow for members that die every second.
        with (folder / "node1.properties").open("a") as file:
            file.write(f"group.min.session.timeout.ms=500\n{properties}")
        self.kill()
        self.start()

    def kill(self) -> None:
        self._call("kill", self.folder, "1")

    def start(self) -> None:
        self._call("start", self.folder, "1")

    def stop(self) -> None:
        self._call("kill", self.folder, "1")

    def _call(self, verb: str, *arguments: object) -> str:
        command = [sys.executable, str(self._script), verb, *map(str, arguments)]
        for _ in range(3):
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            # On a busy machine the script may look at the new process before the kernel shows its command line,
            # and gives it up for dead. Asked again it finds it, and waits.
            if "did not start" not in done.stderr:
                break
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


def _port_pair() -> int:
    """A free port whose successor is free too: a node takes both."""
    while True:
        port = free_port()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


# -- news ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """One record for the topic."""

    key: bytes
    value: bytes | None  # None: a tombstone
    at_ms: int


START_MS = 1_772_438_400_000  # 2026-03-02 08:00 UTC
_STEP_MS = 7_000


@dataclass(slots=True)
class Feed:
    """Invented news with everything that happens to news.

    Revisions of one story share a key, hence a partition; its copies by other sources do not.
    """

    messages: list[Message] = field(default_factory=list)
    stories: set[tuple[str, str]] = field(default_factory=set)  # every story with a readable message
    broken: list[bytes] = field(default_factory=list)

    @property
    def keys(self) -> set[bytes]:
        return {message.key for message in self.messages}


def invent(count: int, seed: int, *, broken: float = 0.02) -> Feed:
    """A feed of ``count`` messages; the same seed makes the same feed. Unless some are broken each is one story."""
    return _Inventor(random.Random(seed), broken).feed(count)


class _Inventor:
    def __init__(self, rng: random.Random, broken: float) -> None:
        self._rng = rng
        self._broken = broken
        syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
        self._words = ["".join(rng.choices(syllables, k=rng.randint(2, 4))) for _ in range(3_000)]
        self._tickers = ["".join(rng.choices("ABCDEFGHKLMNPRSTVZ", k=4)) for _ in range(12)]
        self._sources = ["harbour wire", "Kestrel Post", "mill gazette", "evening ledger", "bourse daily"]
        self._feed = Feed()
        self._known: list[dict[str, Any]] = []  # the newest message of each story

    def feed(self, count: int) -> Feed:
        kinds = ("created", "copy", "update", "delete", "again", "stale", "unknown", "page", "tombstone")
        weights = (62, 14, 9, 4, 4, 2, 1, *((4, 2) if self._broken else (0, 0)))
        for number in range(count):
            at = START_MS + number * _STEP_MS
            if self._rng.random() < self._broken:
                self._break(number, at)
                continue
            kind = self._rng.choices(kinds, weights)[0] if self._known else "created"
            if kind == "page":
                self._page(number, at)
            elif kind == "tombstone":
                self._feed.messages.append(Message(b"gone|%d" % number, None, at))
            else:
                self._send(getattr(self, f"_{kind}")(number, at), at)
        return self._feed

    def _sentence(self, least: int, most: int) -> str:
        return " ".join(self._rng.choices(self._words, k=self._rng.randint(least, most))).capitalize()

    def _created(self, number: int, at: int) -> dict[str, Any]:
        message: dict[str, Any] = {
            "id": f"s{number}",
            "source": self._rng.choice(self._sources),
            "headline": self._sentence(7, 11),
            "body": self._sentence(10, 30) if self._rng.random() < 0.5 else "",
            "tickers": self._rng.sample(self._tickers, self._rng.randint(0, 2)),
            "published_at": at - self._rng.randint(0, 600_000),
        }
        if self._rng.random() < 0.6:
            message |= {"revision": 1, "action": "created"}
        if self._rng.random() < 0.05:
            del message["published_at"]  # then the record's own time counts
        elif self._rng.random() < 0.05:
            message |= self._rng.choice(self._odd)
        self._known.append(message)
        return message

    def _copy(self, number: int, at: int) -> dict[str, Any]:
        repeated = self._rng.choice(self._known[-300:])
        # Often published before what it repeats, though it arrives later.
        message = self._created(number, at) | {"published_at": at - self._rng.randint(0, 1_200_000)}
        # The same words exactly: which of several is the original then depends on no order of arrival.
        message["headline"] = repeated["headline"] + self._rng.choice(("", "", " "))
        if self._rng.random() < 0.5:
            message["published_at"] = repeated.get("published_at", at)  # the same instant: source and id decide
        self._known[-1] = message
        return message

    def _update(self, number: int, at: int) -> dict[str, Any]:
        place = self._rng.randrange(max(0, len(self._known) - 400), len(self._known))
        message = dict(self._known[place])
        message["action"] = "updated"
        if "revision" in message:
            message["revision"] += 1
        change = self._rng.random()
        if change < 0.4:
            message["headline"] = self._sentence(7, 11)
        elif change < 0.6:  # becomes a copy of something else
            message["headline"] = self._rng.choice(self._known[-300:])["headline"]
        elif change < 0.8:
            message["tickers"] = self._rng.sample(self._tickers, 2)
        else:
            message["body"] = self._sentence(10, 30)
        self._known[place] = message
        return message

    def _delete(self, number: int, at: int) -> dict[str, Any]:
        place = self._rng.randrange(max(0, len(self._known) - 400), len(self._known))
        message = self._known[place]
        gone = {"id": message["id"], "source": message["source"], "action": "deleted", "published_at": at}
        if "revision" in message:
            self._known[place] = message | {"revision": message["revision"] + 1}
            gone["revision"] = message["revision"] + 1
        return gone

    def _again(self, number: int, at: int) -> dict[str, Any]:
        return self._rng.choice(self._known[-50:])

    def _stale(self, number: int, at: int) -> dict[str, Any]:
        message = self._rng.choice(self._known[-400:])
        return message | ({"revision": 0} if "revision" in message else {})

    def _unknown(self, number: int, at: int) -> dict[str, Any]:
        return {"id": f"never{number}", "source": "harbour wire", "action": str(Action.DELETED), "published_at": at}

    _odd: ClassVar[list[dict[str, Any]]] = [  # what costs a field and not the story
        {"published_at": "the day before"},
        {"tickers": ["KSTR", "no ticker", None, 700]},
        {"url": ["a", "b"], "language": 7},
        {"body": {"text": "Words"}},
    ]

    def _page(self, number: int, at: int) -> None:
        """A record of several stories, one of them broken now and then; nothing else is told of them later."""
        stories = [self._created(number, at) | {"id": f"p{number}-{place}"} for place in range(self._rng.randint(0, 5))]
        del self._known[len(self._known) - len(stories) :]
        self._feed.stories |= {(str(story["source"]).lower(), str(story["id"])) for story in stories}
        members: list[dict[str, Any]] = list(stories)
        broken = self._rng.random() < 0.2
        if broken:
            members.insert(self._rng.randint(0, len(members)), {"id": f"b{number}"})
        value = json.dumps(members).encode()
        if broken:
            self._feed.broken.append(value)
        self._feed.messages.append(Message(b"page|%d" % number, value, at))

    def _break(self, number: int, at: int) -> None:
        value = self._rng.choice(
            (
                b"{not json %d" % number,
                b"\xff\xfe%d" % number,
                b"[%d]" % number,
                b'{"id": "b%d", "headline": "  "}' % number,
                b'{"id": "b%d", "headline": "Words", "action": "burned"}' % number,
                b'{"id": "b%d", "headline": ["Words"]}' % number,
            )
        )
        self._feed.broken.append(value)
        self._feed.messages.append(Message(b"broken|%d" % number, value, at))

    def _send(self, message: Mapping[str, Any], at: int) -> None:
        key = f"{message['source']}|{message['id']}".encode()
        self._feed.stories.add((str(message["source"]).lower(), str(message["id"])))
        self._feed.messages.append(Message(key, json.dumps(message).encode(), at))


def send(bootstrap: str, topic: str, messages: Sequence[Message], partitions: int = 3) -> None:
    """Makes the topic if need be and puts the messages on it, each key in one partition."""
    from kafka import KafkaProducer

    from sentiment_monitor.ingest.publish import ensure_topic

    count = ensure_topic({"bootstrap_servers": [bootstrap]}, topic, partitions)
    producer = KafkaProducer(bootstrap_servers=[bootstrap], acks="all", linger_ms=5, metrics_enabled=False)
    try:
        results = [
            producer.send(
                topic, key=one.key, value=one.value, partition=zlib.crc32(one.key) % count, timestamp_ms=one.at_ms
            )
            for one in messages
        ]
        producer.flush(timeout=60)
        for result in results:
            result.get(timeout=1)
    finally:
        producer.close(timeout=5)


# -- results ------------------------------------------------------------------------------------------------------


class Results:
    """What one database holds, in a form that two databases can be compared by."""

    def __init__(self, url: str, group: str) -> None:
        self._database = Database(url)
        self._group = group

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *error: object) -> None:
        self._database.close()

    def offsets(self) -> dict[int, int]:
        """Next offset by partition."""
        table = schema.consumer_offsets
        with self._database.read() as connection:
            rows = connection.execute(
                select(table.c.partition, table.c.next_offset).where(table.c.consumer_group == self._group)
            )
            return {row.partition: row.next_offset for row in rows}

    def position(self) -> int:
        """Sum of the next offsets; 0 while there is no schema."""
        try:
            return sum(self.offsets().values())
        except DatabaseRefused:
            return 0

    def count(self, table: str) -> int:
        with self._database.read() as connection:
            return int(connection.scalar(select(func.count()).select_from(schema.metadata.tables[table])) or 0)

    def everything(self) -> dict[str, dict[Any, Any]]:
        """Every table of the hot loop by natural keys, without ids and times of receipt."""
        with self._database.read() as connection:
            rows = {
                name: [dict(row) for row in connection.execute(select(schema.metadata.tables[name])).mappings()]
                for name in (
                    *("stories", "scores", "copy_keys", "dead_letters", "consumer_offsets", "classifiers"),
                    "dropped_fields",
                )
            }
            kept = stored_buckets(connection)
        dropped: Counter[tuple[str, str, str]] = Counter()  # of all days: a test may run into the next one
        for row in rows["dropped_fields"]:
            dropped[row["source"], row["field"], row["reason"]] += row["stories"]
        key = {row["id"]: (row["source"], row["story_id"]) for row in rows["stories"]}
        stories = {}
        for row in rows["stories"]:
            row["copy_of"] = key[row["copy_of"]] if row["copy_of"] is not None else None
            stories[key[row["id"]]] = _without(row, "id", "received_ms")
        letters: dict[Any, Any] = {}
        for row in rows["dead_letters"]:
            place = (row["kafka_topic"], row["kafka_partition"], row["kafka_offset"])
            letters.setdefault(place, []).append(_without(row, "id", "received_ms"))
        return {
            "stories": stories,
            "scores": {key[row["story_id"]]: _without(row, "story_id", "scored_ms") for row in rows["scores"]},
            "copy_keys": {(row["key"], key[row["story_id"]]): row["minute"] for row in rows["copy_keys"]},
            "buckets": dict(kept),
            "dead_letters": letters,
            "offsets": {
                (row["topic"], row["partition"]): row["next_offset"]
                for row in rows["consumer_offsets"]
                if row["consumer_group"] == self._group
            },
            "classifiers": {row["id"]: row["manifest"] for row in rows["classifiers"]},
            "dropped_fields": dict(dropped),
        }

    def check(self) -> dict[str, dict[Any, Any]]:
        """Everything, after asserting what must hold whatever was read."""
        with self._database.read() as connection:
            assert stored_buckets(connection) == recompute_buckets(connection)
        found = self.everything()
        for place, letters in found["dead_letters"].items():
            assert len(letters) == 1, f"the dead letter at {place} is there {len(letters)} times"
        return found


def _without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def assert_same(found: Mapping[str, Mapping[Any, Any]], expected: Mapping[str, Mapping[Any, Any]]) -> None:
    """Compares table by table, and says in a few lines what differs."""
    problems = []
    for table, rows in expected.items():
        mine = found[table]
        missing = [key for key in rows if key not in mine]
        extra = [key for key in mine if key not in rows]
        other = [(key, mine[key], rows[key]) for key in rows if key in mine and mine[key] != rows[key]]
        if missing or extra or other:
            problems.append(
                f"{table}: {len(missing)} missing {missing[:3]}, {len(extra)} too many {extra[:3]}, "
                f"{len(other)} different (key, found, expected) {other[:2]}"
            )
    assert not problems, "\n".join(problems)
