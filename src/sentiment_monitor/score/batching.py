"""Groups token windows into batches of like length."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def batches(lengths: Sequence[int], most: Callable[[int], int]) -> list[list[int]]:
    """Return index lists that together hold every index once, longest windows first.

    ``most`` says how many windows a batch may have when its longest is so many tokens long; at least one is taken.
    Longest first: memory peaks at the start, and parallel streams end together.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    result: list[list[int]] = []
    first = 0
    while first < len(order):
        stop = first + max(1, most(lengths[order[first]]))
        result.append(order[first:stop])
        first = stop
    return result


def within(budget: int, rows: int) -> Callable[[int], int]:
    """Return the ``most`` that keeps a batch within ``budget`` padded tokens and ``rows`` windows."""
    return lambda longest: min(rows, budget // max(1, longest))
