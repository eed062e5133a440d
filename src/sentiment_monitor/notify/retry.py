"""When to try a delivery again."""

from __future__ import annotations

from typing import Protocol

FIRST_MS = 2_000
CAP_MS = 15 * 60_000
GIVE_UP_MS = 24 * 3_600_000
MIN_ATTEMPTS = 10  # they take some ten minutes, in which a clock that has jumped ahead is mostly set right again


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
    tenth of the ceiling so that a lucky draw does not hammer. We give up when the next attempt would lie more than
    ``give_up_ms`` after the first, but not before so many attempts: both instants are a wall clock's, which may jump.
    A receiver's Retry-After is a floor; when it asks for longer than ``give_up_ms``, we give up now.
    """
    ceiling = min(cap_ms, FIRST_MS * 2 ** min(attempts - 1, 30))
    delay = max(ceiling / 10, random.random() * ceiling)
    if retry_after_s is not None:
        delay = max(delay, retry_after_s * 1000)
    if delay > give_up_ms:
        return None
    at = now_ms + int(delay)
    return None if at - first_ms > give_up_ms and attempts >= MIN_ATTEMPTS else at
