from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.notify.signature import HEADER, sign, verify

NOW = 1_678_468_860


def test_a_genuine_message_is_accepted_under_any_spelling_of_the_header() -> None:
    value = sign("s3cret", b"body", NOW)
    assert verify("s3cret", {HEADER: value}, b"body", NOW + 299)
    assert verify("s3cret", {HEADER.lower(): value}, b"body", NOW - 299)
    assert verify("s3cret", {HEADER: f"{value},v1=of-an-older-secret"}, b"body", NOW)


@pytest.mark.parametrize(
    ("secret", "body", "now"),
    [("other", b"body", NOW), ("s3cret", b"bodY", NOW), ("s3cret", b"body", NOW + 301), ("s3cret", b"body", NOW - 301)],
)
def test_altered_old_or_foreign_messages_are_refused(secret: str, body: bytes, now: int) -> None:
    assert not verify(secret, {HEADER: sign("s3cret", b"body", NOW)}, body, now)


def test_the_time_cannot_be_moved() -> None:
    old = sign("s3cret", b"body", NOW - 9999).replace(str(NOW - 9999), str(NOW))
    assert not verify("s3cret", {HEADER: old}, b"body", NOW)


@given(st.text())
def test_nonsense_is_refused_quietly(value: str) -> None:
    assert not verify("s3cret", {HEADER: value}, b"body", NOW)
    assert not verify("s3cret", {HEADER: f"t={NOW},v1={value}"}, b"body", NOW)


def test_no_header_is_refused() -> None:
    assert not verify("s3cret", {}, b"body", NOW)
