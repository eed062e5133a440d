"""Groups token windows into batches of like length under a token budget."""

from __future__ import annotations

from collections.abc import Sequence


def batches(lengths: Sequence[int], *, budget: int, rows: int) -> list[list[int]]:
    """Return index lists that together hold every index once, longest windows first.

    A batch has at most ``rows`` windows and, padded to its longest, at most ``budget`` tokens (a single longer window
    is a batch of its own). Longest first: memory peaks at the start, and parallel streams end together.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    result: list[list[int]] = []
    for index in order:
        current = result[-1] if result else None
        if current is not None and len(current) < rows and (len(current) + 1) * lengths[current[0]] <= budget:
            current.append(index)
        else:
            result.append([index])
    return result
