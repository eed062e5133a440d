"""How old a story is when it is committed, under a Poisson load: published by another process, on a real broker."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from typing import Any

import numpy as np
import rig

from sentiment_monitor.app import build as root
from sentiment_monitor.ingest.publish import Publisher

WARM_UP_SECONDS = 3.0  # not counted: the group forms, the engine warms up


def main() -> None:
    options = rig.parser(__doc__)
    options.add_argument("--rate", type=float, default=20.0, help="stories a second")
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--databases", default="sqlite,postgresql", help="comma-separated")
    options.add_argument("--seed", type=int, default=5)
    options.add_argument("--publish-to", help="(the publishing process itself)")
    chosen = options.parse_args()
    if chosen.publish_to:
        publish(chosen)
        return
    rig.quiet()
    print(f"load average {os.getloadavg()[0]:.2f}")
    with rig.broker(chosen.broker) as address:
        for kind in chosen.databases.split(","):
            with rig.database(kind) as url:
                measure(address, url, kind, chosen)


def measure(address: str, url: str, kind: str, chosen: Any) -> None:
    """One run on one database."""
    topic = f"news-{kind}"
    rig.publish(address, topic, rig.stories(1))
    service = root.build(rig.settings_for(address, url, chosen.classifier, topic), roles=["ingest"])
    ages: list[tuple[float, float]] = []  # published at, age in ms

    def committed(batch: Any, at: float) -> None:
        for item in batch.scored:
            published = float(item.enriched.story.url.removeprefix("bench:") or 0)
            ages.append((published, 1000 * (at - published)))

    assert service.pipeline
    rig.TimedWriter(service.pipeline, committed)
    with rig.running(service) as pipeline:
        while not pipeline.progress.records:
            time.sleep(0.05)
        ages.clear()
        command = [sys.executable, __file__, "--publish-to", f"{address}/{topic}", "--rate", str(chosen.rate)]
        command += ["--seconds", str(chosen.seconds), "--seed", str(chosen.seed)]
        sent = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        deadline = time.monotonic() + 30
        while pipeline.progress.records < sent + 1 and time.monotonic() < deadline:
            time.sleep(0.05)
    start = min(published for published, _ in ages)
    counted = [age for published, age in ages if published > start + WARM_UP_SECONDS]
    p50, p90, p99, most = np.percentile(counted, [50, 90, 99, 100])
    rig.report(database=kind, stories=len(counted), p50_ms=float(p50), p90_ms=float(p90), p99_ms=float(p99),
               max_ms=float(most))  # fmt: skip


def publish(chosen: Any) -> None:
    """Send at random moments; each story carries its moment of sending, to the microsecond."""
    address, _, topic = chosen.publish_to.partition("/")
    publisher = Publisher({"bootstrap_servers": [address]}, topic)
    publisher.send({"headline": "The connection is opened before the clock starts", "url": f"bench:{time.time():.6f}"})
    publisher.flush()
    draw = random.Random(chosen.seed)
    end = time.time() + chosen.seconds
    due = time.time()
    sent = 1
    for message in rig.stories(int(chosen.rate * chosen.seconds * 2)):
        due += draw.expovariate(chosen.rate)
        if due > end:
            break
        time.sleep(max(0.0, due - time.time()))
        publisher.send({**message, "url": f"bench:{time.time():.6f}"})
        sent += 1
    publisher.flush()
    publisher.close()
    print(sent)


if __name__ == "__main__":
    main()
