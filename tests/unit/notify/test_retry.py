from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.notify.retry import CAP_MS, FIRST_MS, GIVE_UP_MS, MIN_ATTEMPTS, next_attempt

NOW = 10**12


@given(st.integers(1, 10**6), st.integers(0, GIVE_UP_MS), st.none() | st.floats(0, 10**7), st.integers())
def test_the_next_attempt_is_later_and_within_bounds(
    attempts: int, since_ms: int, retry_after_s: float | None, seed: int
) -> None:
    at = next_attempt(attempts, NOW, retry_after_s, first_ms=NOW - since_ms, random=random.Random(seed))
    if at is None:
        assert since_ms + max(CAP_MS, (retry_after_s or 0) * 1000) >= GIVE_UP_MS
    else:
        assert at > NOW
        assert at - (NOW - since_ms) <= GIVE_UP_MS or attempts < MIN_ATTEMPTS
        assert at - NOW <= max(CAP_MS, (retry_after_s or 0) * 1000)
        assert at - NOW >= int((retry_after_s or 0) * 1000)


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    class Highest:
        def random(self) -> float:
            return 1.0

    waits = [(next_attempt(n, NOW, None, first_ms=NOW, random=Highest()) or 0) - NOW for n in range(1, 12)]
    assert waits[:3] == [FIRST_MS, 2 * FIRST_MS, 4 * FIRST_MS]
    assert waits[-1] == CAP_MS


def test_jitter_spreads_attempts() -> None:
    source = random.Random(1)
    waits = {next_attempt(5, NOW, None, first_ms=NOW, random=source) for _ in range(50)}
    assert len(waits) > 40


def test_it_gives_up_after_its_time_or_when_asked_to_wait_longer() -> None:
    source = random.Random(1)
    assert next_attempt(99, NOW, None, first_ms=NOW - GIVE_UP_MS, random=source) is None
    assert next_attempt(1, NOW, GIVE_UP_MS / 1000 + 1, first_ms=NOW, random=source) is None
    assert next_attempt(1, NOW, None, first_ms=NOW, random=source, give_up_ms=1) is None


def test_it_does_not_give_up_before_it_has_tried_a_number_of_times_however_old_it_looks() -> None:
    source = random.Random(1)
    for attempts in range(1, MIN_ATTEMPTS):
        for retry_after_s in (None, 600.0):
            at = next_attempt(attempts, NOW, retry_after_s, first_ms=NOW - 9 * GIVE_UP_MS, random=source)
            assert at is not None
            assert at > NOW
    assert next_attempt(MIN_ATTEMPTS, NOW, None, first_ms=NOW - 9 * GIVE_UP_MS, random=source) is None
