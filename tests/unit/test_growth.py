"""What the search for hostile input takes for steep."""

from __future__ import annotations

from growth import Growth

SIZES = (60_000, 250_000, 1_000_000)


def growth(*seconds: float, further: float | None = None) -> Growth:
    return Growth("decode", "digits", SIZES, seconds, further=further)


def test_a_line_is_linear_and_a_square_is_not() -> None:
    assert growth(0.006, 0.025, 0.1).is_linear
    assert not growth(0.0036, 0.0625, 1.0).is_linear


def test_one_steep_step_is_a_caches_and_a_square_is_steep_from_there_on() -> None:
    assert growth(0.006, 0.06, 0.24).is_linear
    assert not growth(0.006, 0.025, 0.25).is_linear, "nothing says how it goes on"
    assert growth(0.006, 0.025, 0.25, further=0.5).is_linear
    assert not growth(0.006, 0.025, 0.25, further=1.0).is_linear


def test_what_is_too_short_to_tell_is_linear() -> None:
    assert growth(1e-6, 1e-5, 1e-3).exponent == 0.0
