"""Silences and matchers as values: which alerts are meant, and when."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.domain.matchers import MOST_CHARACTERS, Comparison, Matcher, all_fit
from sentiment_monitor.domain.people import Silence, SilenceState

LABELS = {"series": "ticker:KSTR", "value": "KSTR", "severity": "critical"}


@pytest.mark.parametrize(
    ("written", "label", "comparison", "value"),
    [
        ("series=ticker:KSTR", "series", "=", "ticker:KSTR"),
        (' series = "ticker:KSTR" ', "series", "=", "ticker:KSTR"),
        ("severity!=critical", "severity", "!=", "critical"),
        ('value=~"KS.*"', "value", "=~", "KS.*"),
        ("value!~KS|AB", "value", "!~", "KS|AB"),
        ('value="a \\"quoted\\" \\\\ one"', "value", "=", 'a "quoted" \\ one'),
        ("value=", "value", "=", ""),
        ("value==x", "value", "=", "=x"),
    ],
)
def test_a_matcher_is_read_as_alertmanager_writes_it(written: str, label: str, comparison: str, value: str) -> None:
    assert Matcher.of(written) == Matcher(label, Comparison(comparison), value)


@pytest.mark.parametrize("written", ["", "series", "=x", "1a=x", "a b=x", 'a=~"("', "a=" + "x" * MOST_CHARACTERS])
def test_what_is_no_matcher_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"matcher|regular expression"):
        Matcher.of(written)


@pytest.mark.parametrize(
    ("written", "fits"),
    [
        ("value=KSTR", True),
        ("value=KS", False),
        ("value!=KSTR", False),
        ("value!=KS", True),
        ("value=~KS.*", True),
        ("value=~KS", False),  # the whole label
        ("value!~KS.*", False),
        ("value!~KS", True),
        ("team=", True),  # a label that there is not is empty
        ("team=~.*", True),
        ("team=~.+", False),
        ("team!=x", True),
    ],
)
def test_a_matcher_fits_the_whole_label(written: str, fits: bool) -> None:
    assert Matcher.of(written).fits(LABELS) is fits


@pytest.mark.parametrize("expression", ["(a+)+b", "(a|aa)+b", "(.*)*(.*)*b", "(?:a?){60}a{60}b", "(.{0,9}){0,9}b"])
def test_no_expression_holds_a_tick_up(expression: str) -> None:
    """Python's own need longer for the first of them than anybody waits."""
    matcher = Matcher.of(f"series=~{expression}")
    started = time.process_time()
    assert not any(matcher.fits({"series": "a" * 199 + "!"}) for _ in range(3))
    assert time.process_time() - started < 1


@pytest.mark.parametrize("expression", ["(?=KS).*", r"(.)\1", "(.*){100}" * 60, r"\pL{1000}"])
def test_an_expression_that_would_cost_too_much_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="bounded time"):
        Matcher.of(f"series=~{expression}")


@given(
    label=st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True),
    comparison=st.sampled_from([Comparison.EQUAL, Comparison.DIFFERENT]),
    value=st.text(max_size=50),
)
def test_what_is_written_is_read_again(label: str, comparison: Comparison, value: str) -> None:
    matcher = Matcher(label, comparison, value)
    assert Matcher.of(str(matcher)) == matcher


@pytest.mark.parametrize(
    ("expression", "fitting"),
    [
        *(("ticker:KS.*", "ticker:KSTR"), ("(ticker|group):.+", "group:banks"), (".*bank.*|.*credit.*", "group:banks")),
        *(("[]*+?(|)]+", "(*)"), ("[^]*]+", "ab"), (r"a\\*\\(b", "a*(b"), ("(?i:ks)(tr)?", "KS")),
    ],
)
def test_expressions_that_people_write_are_compared(expression: str, fitting: str) -> None:
    assert Matcher.of(f'series=~"{expression}"').fits({"series": fitting})


def test_all_matchers_must_fit() -> None:
    both = [Matcher.of("value=KSTR"), Matcher.of("severity=warning")]
    assert not all_fit(both, LABELS)
    assert all_fit(both[:1], LABELS)
    assert all_fit([], LABELS)


@pytest.mark.parametrize(
    ("minute", "state", "mutes"),
    [
        (99, SilenceState.PENDING, False),
        (100, SilenceState.ACTIVE, True),
        (199, SilenceState.ACTIVE, True),
        (200, SilenceState.EXPIRED, False),
    ],
)
def test_a_silence_mutes_from_its_begin_to_before_its_end(minute: int, state: SilenceState, mutes: bool) -> None:
    silence = Silence(1, (Matcher.of("value=KSTR"),), 100, 200, "ann", "")
    assert (silence.state(minute), silence.mutes(LABELS, minute)) == (state, mutes)
    assert not silence.mutes({"value": "AAPL"}, minute)
