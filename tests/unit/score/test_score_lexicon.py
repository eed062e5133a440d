"""The word list finds its phrases, and asks for none where no word begins one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.domain.news import Text
from sentiment_monitor.score.lexicon import NEGATION_REACH, LexiconClassifier, _lists

NEGATIVE, POSITIVE, NEGATIONS, _ = _lists()
WORDS = sorted({word for phrase in NEGATIVE | POSITIVE | NEGATIONS for word in phrase.split()})


def hits(words: Sequence[str]) -> tuple[int, int]:
    """Bad and good phrases, the longest first at each place, by the definition."""
    bad = good = at = 0
    negated_until = -1
    while at < len(words):
        phrases = [" ".join(words[at : at + size]) for size in (3, 2, 1)]
        phrase = next((p for p in phrases if p in NEGATIVE | POSITIVE | NEGATIONS), words[at])
        if phrase in NEGATIVE | POSITIVE:
            is_bad = (phrase in NEGATIVE) != (at <= negated_until)
            bad, good = bad + is_bad, good + (not is_bad)
        elif phrase in NEGATIONS or phrase.endswith("n't"):
            negated_until = at + NEGATION_REACH
        at += len(phrase.split())
    return bad, good


@given(st.lists(st.sampled_from([*WORDS, "the", "bank", "didn't"]) | st.sampled_from(sorted(NEGATIONS)), max_size=30))
def test_hits_are_those_of_the_definition(words: list[str]) -> None:
    assert LexiconClassifier()._hits(" ".join(words)) == hits(words)


class Counting(frozenset[str]):
    """A set that counts what it is asked."""

    asked = 0

    def __contains__(self, phrase: object) -> bool:
        Counting.asked += 1
        return super().__contains__(phrase)


def test_a_word_that_begins_no_phrase_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = LexiconClassifier()
    monkeypatch.setattr(classifier, "_phrases", Counting(classifier._phrases))
    Counting.asked = 0
    classifier.score([Text("i t a " * 10_000)])
    assert Counting.asked == 0
    classifier.score([Text("bank fails to pay")])
    assert Counting.asked > 0
