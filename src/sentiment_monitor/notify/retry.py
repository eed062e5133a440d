"""When to try a delivery again."""

from __future__ import annotations

from typing import Protocol

FIRST_MS = 2_000
CAP_MS = 15 * 60_000
GIVE_UP_MS = 24 * 3_600_000


class RandomSource(Protocol):
    """``random.Random`` and its kin."""

    def random(self) -> float:
        """A number in [0, 1)."""
        ...


def next_attempt(
    attempts: int,
    now_ms: int,
    retry_after_s: float | None,
    *,
    first_ms: int,
    random: RandomSource,
    give_up_ms: int = GIVE_UP_MS,
    cap_ms: int = CAP_MS,
) -> int | None:
    """Instant of the next attempt in milliseconds, or None to give up (the delivery has failed).

    ``attempts`` have failed so far (at least 1), the newest at ``now_ms``, the first at ``first_ms``. Exponential
    backoff with full jitter (Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog 2015), never under a
    tenth of the ceiling so that a lucky draw does not hammer. A receiver's Retry-After is a floor, up to the cap for
    giving up: when it asks for later than that, we give up now.
    """
    ceiling = min(cap_ms, FIRST_MS * 2 ** min(attempts - 1, 30))
    delay = max(ceiling / 10, random.random() * ceiling)
    if retry_after_s is not None:
        delay = max(delay, retry_after_s * 1000)
    at = now_ms + int(delay)
    return None if at - first_ms > give_up_ms else at
