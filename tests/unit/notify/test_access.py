from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_monitor.notify.access import fits, sealed


@settings(max_examples=10)
@given(st.text(max_size=40), st.text(max_size=40))
def test_a_seal_fits_its_own_access_and_no_other(access: str, other: str) -> None:
    seal = sealed(access)
    assert fits(access, seal)
    assert fits(other, seal) == (access == other)
    assert len(seal) <= 160  # the column


def test_a_seal_shows_nothing_and_is_never_the_same() -> None:
    assert "hunter2" not in sealed("hunter2")
    assert sealed("hunter2") != sealed("hunter2")
