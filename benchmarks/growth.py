"""How time grows with length: processor time at growing sizes, and the exponent between them."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

Work = Callable[[], object]
Make = Callable[[int], Work]
"""Makes what is to be timed, for an input of so many bytes."""

LINEAR = 1.4  # sorting and the machine's noise make a line this steep; a square is 2
_VISIBLE = 2e-3  # seconds: below, the exponent is that of the clock
_MOST = 20.0  # seconds that the next size may be expected to take


@dataclass(frozen=True, slots=True)
class Growth:
    """Processor seconds at each size."""

    path: str
    family: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    whole: bool = True  # False: the larger sizes would have taken too long
    further: float | None = None  # seconds at twice the largest size, where the way to the largest was steep

    @property
    def exponent(self) -> float:
        """Of the time by the size: 1 is linear, 2 quadratic; 0 where it is too short to tell.

        One steep step between others is that of a cache which no longer holds it; a square is steep from there on.
        """
        sizes, seconds = self.sizes, self.seconds
        if self.further is not None:
            sizes, seconds = (*sizes, 2 * sizes[-1]), (*seconds, self.further)
        slopes = [
            math.log(later / earlier) / math.log(more / less)
            for less, more, earlier, later in zip(sizes, sizes[1:], seconds, seconds[1:], strict=False)
            if later >= _VISIBLE
        ]
        return max(map(min, slopes, [*slopes[1:], math.inf]), default=0.0)

    @property
    def is_linear(self) -> bool:
        """Whether a longer input costs what its length says."""
        return self.whole and self.exponent <= LINEAR

    @property
    def at_largest(self) -> float:
        """Milliseconds at the largest size that was tried."""
        return self.seconds[-1] * 1e3


def grow(path: str, family: str, sizes: Sequence[int], make: Make) -> Growth:
    """Times a path at each size. What looks steeper than linear is timed again, and then at twice the largest size."""
    growth = _grown(path, family, sizes, make, 1)
    for repeats in (3, 5):
        if growth.is_linear:
            return growth
        growth = _grown(path, family, sizes, make, repeats)
    if growth.is_linear or not growth.whole:
        return growth
    return replace(growth, further=cpu_seconds(make(2 * sizes[-1]), 5))


def _grown(path: str, family: str, sizes: Sequence[int], make: Make, repeats: int) -> Growth:
    seconds: list[float] = []
    for number, size in enumerate(sizes):
        work = make(size)
        seconds.append(cpu_seconds(work, repeats if not seconds or seconds[-1] < 1 else 1))
        if number + 1 < len(sizes) and number > 0:
            slope = max(1.0, math.log(seconds[-1] / seconds[-2]) / math.log(size / sizes[number - 1]))
            if seconds[-1] * (sizes[number + 1] / size) ** slope > _MOST:
                return Growth(path, family, tuple(sizes[: number + 1]), tuple(seconds), whole=False)
    return Growth(path, family, tuple(sizes), tuple(seconds))


def cpu_seconds(work: Work, repeats: int = 1) -> float:
    """Processor time of this thread, the least of some runs: whatever else the machine does only adds to it."""
    best = math.inf
    for _ in range(repeats):
        began = time.thread_time_ns()
        work()
        best = min(best, time.thread_time_ns() - began)
    return max(best, 1) / 1e9


@contextmanager
def undisturbed() -> Iterator[None]:
    """Without the collection of garbage, which comes when it likes."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def grows_faster_than_its_input(make: Make, size: int) -> Growth | None:
    """The quick look: one path at a size and at eight times as much; None if it is linear.

    Whoever looks steep is looked at more closely, so that a busy machine convicts nobody, and then at four times as
    much again: a word of a hundred letters costs more than ten of ten, and one of a thousand is none.
    """
    for repeats in (1, 3, 7):
        small, large = cpu_seconds(make(size), repeats + 1), cpu_seconds(make(8 * size), repeats)
        # 8 is linear and 64 a square. A floor, because the first microseconds of a call are no growth.
        if large <= 18 * max(small, 20e-6):
            return None
    further = cpu_seconds(make(32 * size), 3)
    if further <= 9 * large:  # 4 is linear and 16 a square
        return None
    return Growth("", "", (size, 8 * size, 32 * size), (small, large, further))
