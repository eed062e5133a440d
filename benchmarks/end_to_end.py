"""Stories a second from Kafka to the committed row, against the same classifier called alone, in turns.

python benchmarks/end_to_end.py --classifier DIR
python benchmarks/end_to_end.py --classifier stub --stories 20000
"""

from __future__ import annotations

import os
import time
from statistics import median
from typing import Any

import rig

from sentiment_monitor.app import build as root
from sentiment_monitor.domain.news import Text
from sentiment_monitor.ingest.memory import MemorySource
from sentiment_monitor.score import load
from sentiment_monitor.score.text import clean


def main() -> None:
    options = rig.parser(__doc__)
    options.add_argument("--stories", type=int, default=6_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--databases", default="sqlite,postgresql", help="comma-separated")
    options.add_argument("--source", choices=("broker", "memory"), default="broker")
    chosen = options.parse_args()
    rig.quiet()
    print(f"load average {os.getloadavg()[0]:.2f}")
    messages = rig.stories(chosen.stories)
    texts = [Text(clean(message["headline"])) for message in messages]
    kinds = chosen.databases.split(",")
    rates: dict[str, list[float]] = {name: [] for name in ("alone", *kinds)}
    with rig.broker(chosen.broker if chosen.source == "broker" else "embedded") as address:
        if chosen.source == "broker":
            rig.publish(address, "news", messages)
        for number in range(chosen.rounds):
            rates["alone"].append(alone(chosen.classifier, texts))
            rig.report(round=number, alone=rates["alone"][-1])
            for kind in kinds:
                with rig.database(kind) as url:
                    found = end_to_end(address, url, chosen, messages)
                rates[kind].append(found["rate"])
                rig.report(round=number, database=kind, **found)
    base = median(rates["alone"])
    for name, own in rates.items():
        rig.report(
            run=name, stories_per_s=median(own), of_alone=f"{median(own) / base:.1%}", low=min(own), high=max(own)
        )
    ratios = {kind: [one / base for one, base in zip(rates[kind], rates["alone"], strict=True)] for kind in kinds}
    rig.report(ratio_in_round={kind: f"{median(own):.1%}" for kind, own in ratios.items()})


def alone(name: str, texts: list[Text]) -> float:
    """The classifier on all texts in one call."""
    classifier = load(name, remember=0)
    classifier.score(texts[:256])
    began = time.perf_counter()
    classifier.score(texts)
    rate = len(texts) / (time.perf_counter() - began)
    classifier.close()
    return rate


def end_to_end(address: str, url: str, chosen: Any, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """From the first record fetched to the last commit."""
    import json

    settings = rig.settings_for(address, url, chosen.classifier, "news")
    first: list[float] = []
    last: list[float] = []
    cpu: list[tuple[float, float]] = []  # ours and the database server's, at the first fetch and at the end

    def source(positions: Any) -> Any:
        if chosen.source == "memory":
            made: Any = MemorySource(lambda starts: positions.ask(starts, root.now_ms()))
            now = root.now_ms()
            for partition in range(rig.PARTITIONS):
                part = messages[partition :: rig.PARTITIONS]
                values = [json.dumps({**message, "published_at": now}).encode() for message in part]
                made.append(("news", partition), values)
        else:
            made = root.kafka_source(settings, positions)
        poll = made.poll

        def timed(*arguments: Any, **named: Any) -> Any:
            before = time.time()
            fetched = poll(*arguments, **named)
            if fetched and not first:
                first.append(before if chosen.source == "memory" else time.time())
                cpu.append((time.process_time(), rig.server_seconds()))
            return fetched

        made.poll = timed
        return made

    service = root.build(settings, roles=["ingest"], source=source)
    assert service.classifier
    service.classifier.score([Text("A first story warms the engine up")])
    assert service.pipeline
    rig.TimedWriter(service.pipeline, lambda batch, at: last.append(at))
    with rig.running(service) as pipeline:
        deadline = time.monotonic() + 600
        while pipeline.progress.records < len(messages) and time.monotonic() < deadline and not pipeline._failure:
            time.sleep(0.05)
        cpu.append((time.process_time(), rig.server_seconds()))
    progress = pipeline.progress
    took = last[-1] - first[0]
    stages = ("prepare", "score", "write")
    busy = {stage: pipeline.metrics.value("stage_busy_seconds_total", stage=stage) or 0.0 for stage in stages}
    return {
        "rate": progress.records / took,
        "copies": progress.written.copies,
        "batches": progress.batches,
        "cpu_ms_per_1000": 1e6 * (cpu[1][0] - cpu[0][0]) / progress.records,
        "server_cpu_ms_per_1000": 1e6 * (cpu[1][1] - cpu[0][1]) / progress.records,
        "busy": {name: f"{seconds / took:.0%}" for name, seconds in busy.items()},
    }


if __name__ == "__main__":
    main()
