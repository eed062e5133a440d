"""Broken records by the hundred thousand through decoding and enrichment, and if asked into a database.

Good messages in several shapes are changed at random: values of every wrong type, hostile texts, bytes flipped, cut and
doubled, other encodings. Each must become a story that can be stored, or a dead letter with a documented code, within
50 ms of processor time. Prints what they became, and exits 1 with the bytes of those that became neither.

python benchmarks/fuzz.py --records 100000 --seed 5 --store sqlite
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from threading import Event
from typing import Any

import rig
from growth import cpu_seconds, undisturbed
from hostile_texts import FORMS, WORDS, characters
from stages import CHECKOUT, NOW, PARTITION

from sentiment_monitor.domain.news import DeadLetter, EnrichedStory, Position, Record, ScoredStory, Text
from sentiment_monitor.enrich.copies import wording
from sentiment_monitor.enrich.enricher import Enricher
from sentiment_monitor.enrich.names import Watchlist
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.score import load
from sentiment_monitor.score.text import clean
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.positions import PositionStore
from sentiment_monitor.store.stories.transaction import Batch, StoryWriter
from sentiment_monitor.stream.parcel import Parcel
from sentiment_monitor.stream.prepare import Preparing

SLOW_SECONDS = 0.05  # of a record; of a larger one, of so many of its stories or bytes
STORIES, BYTES_OF_A_RECORD = 100, 200_000
FAULTS = ("prepare_failed", "score_failed", "store_failed")  # codes of a fault of ours


@dataclass(frozen=True, slots=True)
class Shape:
    """How a feed writes, and how it is mapped."""

    name: str
    mapping: Mapping[str, str]
    good: str  # JSON
    stories: str = ""  # where in the message the stories lie


SHAPES = (
    Shape("headline alone", {}, '{"headline": "Kestrel Bank halts withdrawals"}'),
    Shape(
        "every field",
        {},
        """{"id": "n-1", "action": "updated", "revision": 3, "source": "Halden Wire", "url": "https://example.test/n-1",
        "headline": "Norwick Savings falls 7% & cuts $NWK guidance - Halden Wire", "language": "en-GB",
        "body": "<p>Shares of <b>Norwick</b> (NYSE: NWK) fell to $3.20.</p>\\n\\nAt https://example.test/a?b=c &amp;.",
        "published_at": "2026-03-02T07:59:30+01:00", "tickers": ["NWK", "KSTR.US", "BRK.B"]}""",
    ),
    Shape(
        "Chinese",
        {},
        """{"headline": "北城银行第三季度亏损扩大", "source": "北方通讯", "published_at": 1772438400, "language": "zh",
        "tickers": "700.HK, 9988.HK"}""",
    ),
    Shape("deletion", {}, '{"id": 81723, "action": "deleted", "source": "halden"}'),
    Shape(
        "syndication",
        {
            "id": "guid",
            "headline": "title",
            "body": "description",
            "url": "link",
            "published_at": "pubDate",
            "tickers": "symbols[].code",
        },
        """{"guid": 991, "title": "UPDATE 2-Halden Steel to close works", "description": "Two lines\\nof text",
        "link": "https://example.test/9", "pubDate": "Mon, 02 Mar 2026 07:00:00 GMT",
        "symbols": [{"code": "HLD", "name": "Halden Steel"}, {"code": null}]}""",
    ),
    Shape(
        "change of a table",
        {
            "id": "to_string(payload.after.id)",
            "headline": "payload.after.title",
            "body": "join(' ', payload.after.paragraphs)",
            "source": "payload.source.name",
            "published_at": "payload.ts_ms",
            "revision": "payload.after.version",
        },
        """{"payload": {"op": "c", "ts_ms": 1772438400123, "source": {"name": "Wire B", "db": "news"},
        "after": {"id": 5, "version": 2, "title": "Ostrava Chemicals wins permit", "paragraphs": ["One.", "Two."]}}}""",
    ),
    Shape(
        "page of stories",
        {"headline": "title", "source": "_envelope.provider", "id": "join('-', [_record.topic, to_string(nr)])"},
        """{"provider": "Halden Wire", "data": [{"nr": 1, "title": "Kestrel Bank sells its head office"},
        {"nr": 2, "title": "Norwick Savings names a chief", "tickers": ["NWK"], "published_at": "2026-03-02T07:59:30Z"},
        {"nr": 3, "title": "Kestrel Bank sells its head office", "action": "updated", "revision": 2}]}""",
        "data[]",
    ),
)
"""Messages written for this, in the shapes that feeds have."""


def spoilt(draw: Random) -> tuple[Shape, bytes]:
    """A message with one to four things wrong with it."""
    shape = draw.choice(SHAPES)
    value: Any = json.loads(shape.good)
    for _ in range(draw.choice((0, 1, 1, 2, 3))):
        value = _changed(draw, value)
    encoded = _encoded(draw, value)
    for _ in range(draw.choice((0, 0, 0, 1, 1, 3))):
        encoded = draw.choice(BYTES)(draw, encoded)
    return shape, encoded


def _changed(draw: Random, value: Any) -> Any:
    """The message with something at a random place of it done to it."""
    places = list(_places(value))
    if not places:
        return _wrong(draw)
    holder, key = draw.choice(places)
    match draw.randrange(9):
        case 0:
            del holder[key]
        case 1:
            holder[key] = [holder[key]] * draw.choice((0, 1, 2, 150))
        case 2:
            holder[key] = {"value": holder[key]}
        case 3 if isinstance(holder, dict):
            holder[_text(draw)] = holder.pop(key)
        case 4 if isinstance(holder[key], str):
            at = draw.randrange(len(holder[key]) + 1)
            holder[key] = holder[key][:at] + _text(draw) + holder[key][at:]
        case 5:
            other, name = draw.choice(places)
            if name in other if isinstance(other, dict) else name < len(other):
                holder[key] = other[name] if not isinstance(other[name], list | dict) else None
        case 6:
            holder[key] = _text(draw)
        case _:
            holder[key] = _wrong(draw)
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _wrong(draw: Random) -> Any:
    """A value that few expect."""
    return draw.choice(
        (
            None, True, False, "", " ", 0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 1.5, -0.0,
            1e308, 5e-324,
            math.nan, math.inf, [], {}, [[]], [None], [0, 1], [{"a": None}], "null", "None", "NaN", "undefined",
            "true", "0", "1e3",
            "2026-02-30", "2026-03-02 07:00", "20260302", "1772438400", "99999999999999999999", "١٢٣٤", "²",
            "²⁰²⁶", "1_000", "0x10",
            "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-03-02T24:00:00Z",
            "Mon, 32 Mar 2026 25:61:61 +9999",
            "CREATED", " deleted ", "upsert", "$", "$$KSTR", "^GSPC", "M&M.NS", "BTC/USD", "N/A", ",", ",,,",
            "A,,B", "A" * 30,
            ["KSTR", None], [700], [["KSTR"]], "en_GB", "xx-yy-zz", "zh-Hant-TW", "😀", "https://", "x" * 600,
            "x" * 5_000, "x" * 20_000,
            list(range(200)), {str(number): number for number in range(200)},
            draw.random() * 10 ** draw.randrange(-20, 20),
        )
    )  # fmt: skip


def _text(draw: Random) -> str:
    """A hostile text; mostly short, sometimes as long as a body."""
    pieces = [draw.choice(WORDS if draw.random() < 0.5 else characters()) for _ in range(draw.randint(1, 6))]
    text = "".join(piece * draw.choice((1, 1, 2, 40)) for piece in pieces)
    return (text * draw.choice((1, 1, 1, 10, 300)))[:30_000]


def _encoded(draw: Random, value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=draw.random() < 0.3)
    places = [match.end() for match in re.finditer('": ', text)]
    if places and draw.random() < 0.1:  # a value of a form that json.dumps does not write
        at = draw.choice(places)
        form = FORMS[draw.choice(list(FORMS))]("", draw.choice((10, 1_000, 2_000, 20_000)))
        text = f'{text[:at]}{form}, "what was here": {text[at:]}'
    return text.encode("utf-8", "surrogatepass")


def _at(draw: Random, value: bytes) -> int:
    return draw.randrange(len(value) + 1)


def _sliced(draw: Random, value: bytes) -> tuple[int, int]:
    begin = _at(draw, value)
    return begin, min(len(value), begin + draw.choice((1, 2, 10, 1_000)))


def _flip(draw: Random, value: bytes) -> bytes:
    changed = bytearray(value)
    for _ in range(draw.randint(1, 4)):
        if changed:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _insert(draw: Random, value: bytes) -> bytes:
    at = _at(draw, value)
    return (
        value[:at]
        + draw.choice((draw.randbytes(draw.randint(1, 9)), b'"', b"{", b"}", b"[", b"\\", b"\x00", b","))
        + value[at:]
    )


def _cut_out(draw: Random, value: bytes) -> bytes:
    begin, end = _sliced(draw, value)
    return value[:begin] + value[end:]


def _double(draw: Random, value: bytes) -> bytes:
    begin, end = _sliced(draw, value)
    return value[:end] + value[begin:end] * draw.choice((1, 2, 50)) + value[end:]


BYTES: tuple[Callable[[Random, bytes], bytes], ...] = (
    _flip,
    _flip,
    _insert,
    _cut_out,
    _double,
    lambda draw, value: value[: _at(draw, value)],
    lambda draw, value: draw.randbytes(draw.randint(0, 40)),
    lambda _, value: b"\xef\xbb\xbf" + value,
    lambda _, value: value.decode("utf-8", "replace").encode("utf-16"),
    lambda _, value: value.decode("utf-8", "replace").encode("latin-1", "replace"),
    lambda _, value: value.decode("utf-8", "replace").encode("utf-32"),
    lambda _, value: gzip.compress(value, mtime=0),
    lambda draw, value: b"\x00" + draw.randbytes(4) + value,
    lambda _, value: json.dumps(value.decode("utf-8", "replace")).encode(),
    lambda _, value: b"[" + value + b"]",
    lambda _, value: value + b"\n" + value,
    lambda _, value: b"",
)
"""What happens to bytes on their way."""


@dataclass(slots=True)
class Outcome:
    """What became of the records."""

    stories: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)  # for people, with the bytes
    slowest: tuple[float, bytes] = (0.0, b"")
    scored: list[ScoredStory] = field(default_factory=list)  # filled if they are to be stored

    def fault(self, what: str, shape: Shape, value: bytes) -> None:
        """Notes what must not happen."""
        self.faults.append(f"{what}\n    shape: {shape.name}\n    value {value!r:.600}")


def fuzz(
    records: int, seed: int, documented: frozenset[str], *, keep: bool = False, slow: float = SLOW_SECONDS
) -> Outcome:
    """Sends so many records through; ``keep`` keeps the stories, to store them; ``slow`` seconds are a fault."""
    draw, outcome = Random(seed), Outcome()
    enricher = Enricher(clean, watchlist=Watchlist.load(CHECKOUT / "deploy" / "watchlist.csv"))
    stages = {
        shape.name: Preparing(
            Decoder(shape.mapping, stories=shape.stories).decode, enricher.enrich_all, lambda: NOW, Event()
        )
        for shape in SHAPES
    }
    stub = load("stub")
    for offset in range(records):
        shape, value = spoilt(draw)
        record = Record(Position(*PARTITION, offset), None, value, NOW)
        parcel = Parcel(PARTITION, 0, offset, offset + 1, 0.0, [record])

        work = partial(stages[shape.name].prepare, [parcel])

        seconds = cpu_seconds(work)
        if seconds > slow / 2:  # perhaps the machine was: it is asked again
            seconds = min(seconds, cpu_seconds(work, 3))
        if seconds > slow * max(1, len(parcel.items) / STORIES, len(value) / BYTES_OF_A_RECORD):
            outcome.fault(f"took {1e3 * seconds:.0f} ms", shape, value)
        outcome.slowest = max(outcome.slowest, (seconds, value), key=lambda pair: pair[0])
        for item in parcel.items:
            if isinstance(item, DeadLetter):
                outcome.codes[item.code] += 1
                if item.code not in documented or item.code in FAULTS:
                    outcome.fault(f"became a dead letter {item.code}: {item.detail}", shape, value)
            elif isinstance(item, EnrichedStory):
                outcome.stories += 1
                if wrong := unfit(item):
                    outcome.fault(f"became a story that cannot be stored: {wrong}", shape, value)
                if keep:
                    deleted = item.story.action == "deleted"
                    score = None if deleted else stub.score([Text(item.text, item.body_text)])[0]
                    outcome.scored.append(ScoredStory(item, score))
    return outcome


def unfit(enriched: EnrichedStory) -> str:
    """What a database would refuse of a story, or a reader of it trip over; empty if nothing."""
    story = enriched.story
    texts = {
        "source": (story.source, 128), "id": (story.story_id, 512), "headline": (story.headline, 10_000),
        "url": (story.url, 4_000),
        "body": (story.body, 1_000_000), "text": (enriched.text, math.inf), "language": (enriched.language, 8),
    }  # fmt: skip
    for name, (text, most) in texts.items():
        if len(text) > most or "\x00" in text or text != text.encode("utf-8", "replace").decode():
            return f"{name} {text!r:.80}"
    if not (story.headline or story.action == "deleted") or not story.story_id or not story.source:
        return "no headline, id or source"
    if not 0 <= story.published_ms <= 253_402_300_799_000 or not -(2**63) <= (story.revision or 0) < 2**63:
        return f"published {story.published_ms}, revision {story.revision}"
    if any(not ticker or len(ticker) > 64 or "," in ticker or not ticker.isprintable() for ticker in enriched.tickers):
        return f"tickers {enriched.tickers}"
    return ""


def documented_codes() -> frozenset[str]:
    """The codes of dead letters that docs/data-contract.md explains."""
    text = (CHECKOUT / "docs" / "data-contract.md").read_text(encoding="utf-8")
    section = text.partition("\n## Dead letters\n")[2].partition("\n## ")[0]
    return frozenset(line.split("`")[1] for line in section.splitlines() if line.startswith("| `"))


def store(url: str, outcome: Outcome) -> None:
    """Stores what became stories, 500 at a time; what the database refuses is a fault."""
    database = Database(url)
    database.migrate()
    positions = PositionStore(database, "fuzz")
    writer = StoryWriter(database, positions, wording)
    reached = positions.ask({PARTITION: 0}, NOW)[PARTITION]
    for first in range(0, len(outcome.scored), 500):
        stories = outcome.scored[first : first + 500]
        try:
            writer.commit(Batch({PARTITION: (reached, reached + len(stories))}, stories), NOW)
        except Exception as error:  # noqa: BLE001  # whatever a driver raises
            outcome.faults.append(
                f"{url.partition(':')[0]} refuses one of the stories {first} to {first + 500}: {error}"
            )
        else:
            reached += len(stories)
    database.close()


def main() -> int:
    """The exit code."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--records", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--store", choices=("sqlite", "postgresql"), help="store the stories too")
    chosen = options.parse_args()
    rig.quiet()
    with undisturbed():
        outcome = fuzz(chosen.records, chosen.seed, documented_codes(), keep=bool(chosen.store))
    if chosen.store:
        with rig.database(chosen.store) as url:
            store(url, outcome)
    rig.report(records=chosen.records, stories=outcome.stories, slowest_ms=1e3 * outcome.slowest[0])
    rig.report(**dict(outcome.codes.most_common()))
    print(f"slowest: {outcome.slowest[1]!r:.200}")
    for fault in outcome.faults[:20]:
        print(f"- {fault}")
    if outcome.faults:
        print(f"{len(outcome.faults)} faults")
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
