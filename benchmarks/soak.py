"""Resident memory of `monitor run` under steady load. Two minutes by default; an hour: --seconds 3600."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import rig

from sentiment_monitor.ingest.publish import Publisher


def main() -> None:
    options = rig.parser(__doc__)
    options.add_argument("--seconds", type=float, default=120.0)
    options.add_argument("--rate", type=float, default=200.0, help="stories a second")
    options.add_argument("--database", default="sqlite", choices=("sqlite", "postgresql"))
    chosen = options.parse_args()
    rig.quiet()
    with rig.broker(chosen.broker) as address, rig.database(chosen.database) as url:
        rig.publish(address, "news", rig.stories(1))
        where = ["--bootstrap", address, "--database", url, "--classifier", chosen.classifier]
        command, environment = rig.monitor_run(*where, MONITOR_LOG__LEVEL="warning")
        process = subprocess.Popen(command, env=environment, cwd=Path(__file__).parent)
        stop = threading.Event()
        sender = threading.Thread(target=publish, args=(address, chosen.rate, chosen.seconds, stop))
        try:
            time.sleep(5)
            sender.start()
            samples = watch(process, chosen.seconds)
        finally:
            stop.set()
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            sender.join()
    half = len(samples) // 2
    seconds, sizes = (np.array(column) for column in zip(*samples, strict=True))
    slope = float(np.polyfit(seconds[half:], sizes[half:], 1)[0]) * 3600
    rig.report(
        minutes=chosen.seconds / 60,
        max_mb=float(sizes.max()),
        middle_mb=float(sizes[half]),
        end_mb=float(sizes[-1]),
        slope_mb_per_hour=slope,
    )


def watch(process: subprocess.Popen[bytes], seconds: float) -> list[tuple[float, float]]:
    """Sample (second, MB) until the time is over."""
    began, samples = time.monotonic(), []
    while (now := time.monotonic() - began) < seconds:
        if process.poll() is not None:
            raise SystemExit(f"monitor run ended with status {process.returncode}")
        samples.append((now, rig.rss_mb(process.pid)))
        time.sleep(1)
    return samples


def publish(address: str, rate: float, seconds: float, stop: threading.Event) -> None:
    """Send at an even pace."""
    publisher = Publisher({"bootstrap_servers": [address]}, "news")
    began = time.monotonic()
    for number, message in enumerate(rig.stories(int(rate * seconds))):
        if stop.wait(max(0.0, number / rate - (time.monotonic() - began))):
            break
        publisher.send(message)
    publisher.close()


if __name__ == "__main__":
    main()
