"""``python -m sentiment_monitor.bench.worker RUN CHECKPOINT CACHE CPUS``: one run in a process of its own.

Reads one JSON request a line on standard input and answers each with one line: first the texts, then as many rounds
as the parent wants. Its own process means that peak memory, CPU time and cycles are its own.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from sentiment_monitor.bench.cycles import CycleCounter

LIMIT = "limit"  # the run that measures the machine instead of a contender
_STATUS = Path("/proc/self/status")


def main(arguments: Sequence[str]) -> int:
    """Serve until standard input ends."""
    name, directory, cache, cpus = arguments
    # Libraries print on standard output; the answers go where only they go.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    counter = CycleCounter()  # before anything starts a thread: only later threads are counted
    if int(cpus) and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cpus)])
    if name == LIMIT:
        from sentiment_monitor.bench.limit import Peak

        peak = Peak()
        _serve(answers, lambda request: dict(peak.measure()))
        return 0
    from sentiment_monitor.bench.contenders import load

    contender = load(name, Path(directory), Path(cache))
    _serve(answers, _Rounds(contender.label, counter).answer)
    return 0


def _serve(answers: TextIO, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


class _Rounds:
    def __init__(self, label: Callable[[Sequence[str]], Sequence[str]], counter: CycleCounter) -> None:
        self._label = label
        self._counter = counter
        self._texts: list[str] = []
        self._number = 0

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if "texts" in request:
            self._texts = request["texts"]
            return {"labels": list(self._label(self._texts)), "no_cycles": self._counter.reason}
        return self._round(request["seconds"], request["singles"])

    def _round(self, seconds: float, singles: int) -> dict[str, Any]:
        """All texts, again and again for ``seconds`` but once at least, then ``singles`` one at a time."""
        stories = 0
        cycles, cpu, began = self._counter.read(), time.process_time(), time.perf_counter()
        while not stories or time.perf_counter() - began < seconds:
            self._label(self._texts)
            stories += len(self._texts)
        took = time.perf_counter() - began
        cpu = time.process_time() - cpu
        after = self._counter.read()
        latencies = []
        for _ in range(singles):
            text = self._texts[self._number % len(self._texts)]
            self._number += 1
            start = time.perf_counter()
            self._label([text])
            latencies.append(1000 * (time.perf_counter() - start))
        return {
            "stories_per_s": stories / took,
            "cpu_s_per_story": cpu / stories,
            "cycles_per_story": None if cycles is None or after is None else (after - cycles) / stories,
            "latencies_ms": latencies,
            "peak_mb": peak_mb(),
        }


def peak_mb() -> float:
    """Return the most memory this process held so far, in MB of 1,000,000 bytes.

    Linux's own high-water mark where there is one: getrusage counts the parent's memory in a child that was just made.
    """
    if _STATUS.is_file():
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
