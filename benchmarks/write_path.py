"""CPU of the batch transaction alone: stories are prepared beforehand, only StoryWriter.commit is counted.

CPU and not wall time, so that other work on the machine changes little. On PostgreSQL the server's own CPU is told too.

python benchmarks/write_path.py --stories 6000 --batch 1000
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import os
import pstats
import time

import rig

from sentiment_monitor.app import build as root
from sentiment_monitor.domain.news import Position, Record, ScoredStory, Story, Text
from sentiment_monitor.enrich.copies import wording
from sentiment_monitor.enrich.enricher import Enricher
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.score import load
from sentiment_monitor.score.text import clean
from sentiment_monitor.store.buckets import recompute_buckets, stored_buckets
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.positions import PositionStore
from sentiment_monitor.store.stories.transaction import Batch, StoryWriter

TOPIC = ("news", 0)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--stories", type=int, default=6_000)
    options.add_argument("--batch", type=int, default=1_000)
    options.add_argument("--databases", default="sqlite,postgresql", help="comma-separated")
    options.add_argument("--profile", action="store_true", help="print where the writing thread spends its time")
    chosen = options.parse_args()
    rig.quiet()
    print(f"load average {os.getloadavg()[0]:.2f}")
    scored = prepared(chosen.stories)
    gc.freeze()  # as the service does; what was prepared is not the transaction's to look through
    for kind in chosen.databases.split(","):
        with rig.database(kind) as url:
            measure(url, kind, scored, chosen)


def prepared(count: int) -> list[ScoredStory]:
    """Stories as the scoring thread hands them over."""
    decoder, enricher, classifier, now = Decoder(), Enricher(clean), load("stub"), root.now_ms()
    made = []
    for offset, message in enumerate(rig.stories(count)):
        # Spread over half an hour, as a backlog is: each batch then meets several minutes.
        value = json.dumps({**message, "published_at": now - (count - offset) * 1_800_000 // count}).encode()
        (story,) = decoder.decode(Record(Position(*TOPIC, offset), None, value, now))
        assert isinstance(story, Story)
        enriched = enricher.enrich(story, now)
        made.append(ScoredStory(enriched, classifier.score([Text(enriched.text, enriched.body_text)])[0]))
    return made


def measure(url: str, kind: str, scored: list[ScoredStory], chosen: argparse.Namespace) -> None:
    """All stories into an empty database, the first batch uncounted."""
    database = Database(url)
    database.migrate()
    positions = PositionStore(database, "g")
    writer = StoryWriter(database, positions, wording)
    reached = positions.ask({TOPIC: 0}, root.now_ms())[TOPIC]
    ours = server = wall = 0.0
    copies = 0
    profile = cProfile.Profile()
    for start in range(0, len(scored), chosen.batch):
        some = scored[start : start + chosen.batch]
        batch = Batch({TOPIC: (reached, reached + len(some))}, some)
        before = rig.server_seconds(), time.perf_counter(), time.process_time()
        if chosen.profile and start:
            profile.enable()
        copies += writer.commit(batch, root.now_ms()).copies
        profile.disable()
        if start:
            ours += time.process_time() - before[2]
            wall += time.perf_counter() - before[1]
            server += rig.server_seconds() - before[0]
        reached += len(some)
    thousands = (len(scored) - chosen.batch) / 1_000
    rig.report(database=kind, batch=chosen.batch, copies=copies, cpu_ms_per_1000=1e3 * ours / thousands,
               server_cpu_ms_per_1000=1e3 * server / thousands, wall_ms_per_1000=1e3 * wall / thousands)  # fmt: skip
    if chosen.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    with database.read() as connection:
        assert stored_buckets(connection) == recompute_buckets(connection)
    database.close()


if __name__ == "__main__":
    main()
