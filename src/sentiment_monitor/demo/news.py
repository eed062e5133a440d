"""The invented week: quiet days, then a day on which a bank gets into trouble.

Every company, person and sentence here is made up. The week is the same every time but for its dates, which end at
a given minute.
"""

from __future__ import annotations

import importlib.resources
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sentiment_monitor.times import DAY_MINUTES, MINUTE_MS, rfc3339

QUIET_DAYS = 6
SOURCES = ("northwire", "harbour-post", "tradelane", "citybrief", "the-ledger", "marketfloor", "daily-tiding")
WIRES = (*SOURCES, "coastal-news", "inland-herald", "bizdesk", "morning-sheet", "capital-echo")

WATCHLIST = (
    ("NRWK", ("Norwick Savings Bank", "Norwick Savings", "Norwick")),
    ("HBLN", ("Harbourline Bank", "Harbourline")),
    ("TLMC", ("Telmarc", "Telmarc Energy")),
    ("OSTR", ("Ostrava Foods", "Ostrava")),
    ("VLNT", ("Velantis", "Velantis Pharma")),
    ("BRXT", ("Braxted Motors", "Braxted")),
    ("QLNX", ("Quillonix",)),
    ("SMMR", ("Summerhay Retail", "Summerhay")),
    ("KDRN", ("Kedron Air",)),
    ("PLVA", ("Palvano Steel", "Palvano")),
)

# What is written about these companies on a day like any other.
_ORDINARY = (
    "{name} to report third-quarter figures on {day}",
    "{name} opens service centre in {town}",
    "{name} names {person} head of investor relations",
    "{name} keeps full-year outlook unchanged at strategy day in {town}",
    "{name} wins {n} million contract in {town}",
    "{name} moves back office to {town}, staff offered transfers",
    "Analysts lift {name} target to {n} on steady demand",
    "{name} shares edge higher in thin trade before {day} holiday",
    "{name} slips {n} cents as sector drifts",
    "{name} delays {town} site by {n} weeks over permit",
    "{name} to present at {town} conference on {day}",
    "{name} renews {n}-year supply agreement with {town} port",
    "Union and {name} agree {n} month wage deal in {town}",
    "{name} raises interim dividend to {n} cents",
    "{person} joins {name} board as independent director",
    "{name} completes routine {n} million bond placement",
)
_TOWNS = (
    "Leyburn",
    "Port Maris",
    "Aldgrave",
    "Santa Ilda",
    "Koriyama East",
    "Trondel",
    "Kisvar",
    "New Tamsin",
    "Obrecht",
)
_PEOPLE = ("Ines Halloran", "Tomas Brekke", "Priya Deshpande", "Olu Adekunle", "Marta Kowal", "Kenji Arakawa")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")

# Minutes into the last day, and what is then known of Norwick Savings Bank.
_TROUBLE = (
    (535, "Norwick Savings Bank puts bond portfolio up for sale at a loss of 410 million"),
    (561, "Norwick Savings seeks emergency capital after losses on bonds"),
    (584, "Shares in Norwick plunge 38% before trading is halted"),
    (602, "Venture funds tell companies to pull cash from Norwick Savings Bank"),
    (619, "Queues outside Norwick branches as depositors withdraw savings"),
    (641, "Rating agency cuts Norwick Savings to junk, citing deposit flight"),
    (663, "Norwick Savings Bank app fails as customers rush to move money"),
    (688, "Norwick rescue talks break down without a buyer"),
    (707, "Who is exposed to Norwick Savings Bank? Lenders face questions"),
    (731, "Regulator suspends withdrawals at Norwick Savings Bank"),
    (752, "How Norwick lost a quarter of its deposits in one morning"),
    (778, "Norwick Savings Bank placed in receivership, regulator says"),
)


@dataclass(frozen=True, slots=True)
class Sent:
    """One record of the week."""

    published_ms: int
    value: dict[str, Any] | bytes


def week(end_minute: int, stories: int) -> list[Sent]:
    """Every record of the week that ends at ``end_minute``, in order of publication.

    ``stories`` ordinary ones are spread over seven days. Of the last day's trouble each headline is repeated by a few
    other sources. One story is corrected, one company warns, and two records are broken.
    """
    rng = random.Random(20230310)  # noqa: S311  # the same week every time
    start = end_minute - (QUIET_DAYS + 1) * DAY_MINUTES
    last_day = end_minute - DAY_MINUTES
    sent = [*_background(rng, start, end_minute, stories), *_trouble(rng, last_day), *_small_events(last_day)]
    return sorted(sent, key=lambda record: record.published_ms)


def _background(rng: random.Random, start: int, end: int, stories: int) -> Iterator[Sent]:
    texts = [
        json.loads(line)["text"]
        for line in importlib.resources.files("sentiment_monitor.score")
        .joinpath("probe", "en.jsonl")
        .read_text(encoding="utf-8")
        .splitlines()
    ]
    rng.shuffle(texts)
    names = [names[0] for _, names in WATCHLIST]
    for number in range(stories):
        at = start + (end - start) * number // stories
        if number % 4 == 0:
            headline = rng.choice(_ORDINARY).format(
                name=rng.choice(names),
                town=rng.choice(_TOWNS),
                person=rng.choice(_PEOPLE),
                day=rng.choice(_DAYS),
                n=rng.randint(2, 90),
            )
        else:
            headline = texts[number % len(texts)]
        yield _story(at, rng.randrange(60), headline, rng.choice(SOURCES), f"n{number}")


def _trouble(rng: random.Random, day: int) -> Iterator[Sent]:
    for number, (minute, headline) in enumerate(_TROUBLE):
        first = SOURCES[number % len(SOURCES)]
        yield _story(day + minute, 0, headline, first, f"t{number}")
        others = [source for source in WIRES if source != first]
        for place, source in enumerate(rng.sample(others, rng.randint(2, 5))):
            wording = rng.choice((headline, f"UPDATE 1-{headline}", f"{headline} - {source.title()}", headline.upper()))
            yield _story(day + minute + 1 + 2 * place, 10 * place, wording, source, f"t{number}c{place}")


def _small_events(day: int) -> Iterator[Sent]:
    yield _story(day + 480, 0, "Palvano Steel warns on profit as orders dry up", "northwire", "warning")
    yield _story(day + 500, 0, "Regulator fines Harbourline Bank 90 million over sales calls", "citybrief", "fine")
    corrected = _message(
        day + 545, 0, "Regulator clears Harbourline Bank after review of sales calls", "citybrief", "fine"
    )
    yield Sent((day + 545) * 60_000, {**corrected, "action": "updated", "revision": 2})
    yield Sent((day + 600) * 60_000, b'{"headline": "cut off in the midd')
    yield Sent((day + 640) * 60_000, {"id": "empty", "source": "bizdesk", "published_at": _iso(day + 640, 0)})


def _story(minute: int, second: int, headline: str, source: str, identity: str) -> Sent:
    return Sent(minute * 60_000 + second * 1000, _message(minute, second, headline, source, identity))


def _message(minute: int, second: int, headline: str, source: str, identity: str) -> dict[str, Any]:
    return {
        "id": identity,
        "action": "created",
        "revision": 1,
        "headline": headline,
        "source": source,
        "published_at": _iso(minute, second),
    }


def _iso(minute: int, second: int) -> str:
    return rfc3339(minute * MINUTE_MS + second * 1000)
