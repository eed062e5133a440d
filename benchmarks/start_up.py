"""Seconds from `monitor run` to its word that it is ready, with a cached engine, and the memory it then holds."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from statistics import median

import rig

from sentiment_monitor.score import load


def main() -> None:
    options = rig.parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--databases", default="sqlite,postgresql", help="comma-separated")
    chosen = options.parse_args()
    rig.quiet()
    print(f"load average {os.getloadavg()[0]:.2f}")
    load(chosen.classifier).close()  # builds the engine if this machine has none yet
    with rig.broker(chosen.broker) as address:
        rig.publish(address, "news", rig.stories(1))
        for kind in chosen.databases.split(","):
            with rig.database(kind) as url:
                found = [start(address, url, chosen.classifier) for _ in range(chosen.rounds)]
            times, memory = zip(*found, strict=True)
            rig.report(database=kind, first_s=f"{times[0]:.2f}", median_s=f"{median(times):.2f}",
                       slowest_s=f"{max(times):.2f}", resident_mb=max(memory))  # fmt: skip


def start(address: str, url: str, classifier: str) -> tuple[float, float]:
    """Start the real process, wait for `monitor.ready`, stop it."""
    options = ["--bootstrap", address, "--database", url, "--classifier", classifier]
    command, environment = rig.monitor_run(*options, MONITOR_LOG__FORMAT="json", PYTHONUNBUFFERED="1")
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parent)
    assert process.stderr
    try:
        for line in process.stderr:
            if "monitor.ready" in line:
                return time.monotonic() - began, rig.rss_mb(process.pid)
        raise SystemExit(f"monitor run ended with status {process.wait()}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.stderr.close()
        process.wait(60)


if __name__ == "__main__":
    main()
