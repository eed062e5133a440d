"""One behaviour of every classifier: stub, word list and the bundled network."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sentiment_monitor.domain.news import SENTIMENTS, Text
from sentiment_monitor.score import load
from sentiment_monitor.score.contract import Classifier

TEXTS = [
    Text("Kestrel Bank halts withdrawals after depositors pull billions"),
    Text("Northwind lifts its outlook", "Orders rose by a fifth in the third quarter, the company says."),
    Text("x"),
    Text("", "A body without a headline"),
    Text("宏达银行暂停提款 🚀"),
    Text("profit " * 400),
]


@pytest.fixture(scope="module", params=["stub", "lexicon", "bundled"])
def classifier(request: pytest.FixtureRequest) -> Iterator[Classifier]:
    # Of two engines the one that needs no build.
    classifier = load(request.param, engine="torch")
    yield classifier
    classifier.close()


def test_each_text_has_one_score_in_its_place_whatever_stands_beside_it(classifier: Classifier) -> None:
    together = classifier.score(TEXTS)
    assert len(together) == len(TEXTS)
    for text, score in zip(reversed(TEXTS), classifier.score(list(reversed(TEXTS))), strict=True):
        beside = together[TEXTS.index(text)]
        assert score.negative == pytest.approx(beside.negative, abs=1e-4)
        assert (score.topic, score.windows) == (beside.topic, beside.windows)
    assert classifier.score([]) == []


def test_a_score_is_three_probabilities_with_a_label_and_a_topic_that_the_classifier_knows(
    classifier: Classifier,
) -> None:
    for score in classifier.score(TEXTS):
        chances = (score.negative, score.neutral, score.positive)
        assert math.isclose(sum(chances), 1, abs_tol=1e-6)
        assert all(0 <= chance <= 1 for chance in chances)
        assert score.label in SENTIMENTS
        assert (score.topic in classifier.topics) if classifier.topics else score.topic is None
        assert 0 <= score.topic_confidence <= 1
        assert score.windows >= 1
        assert not score.truncated


def test_a_score_names_the_classifier_that_gave_it(classifier: Classifier) -> None:
    assert classifier.by.classifier == classifier.id
    assert "@" in classifier.id
    assert isinstance(json.loads(classifier.by.manifest), dict)
    for score in (*classifier.score(TEXTS), *classifier.score([*TEXTS, Text("")])):
        assert score.by == classifier.by
        assert not score.degraded, "the text's language is not for the classifier to know"


def test_the_same_text_has_the_same_score_from_any_thread(classifier: Classifier) -> None:
    expected = classifier.score(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for scores in pool.map(classifier.score, [TEXTS] * 8):
            assert scores == expected


def test_it_passes_its_own_golden_texts(classifier: Classifier) -> None:
    classifier.check_golden()
    assert all(len(language) == 2 for language in classifier.languages)


def test_equal_texts_have_equal_vectors_of_length_one_or_none_at_all(classifier: Classifier) -> None:
    vectors = classifier.vectors([*TEXTS, TEXTS[0], Text("")])
    assert len(vectors) == len(TEXTS) + 2
    assert classifier.vectors([]).shape[0] == 0
    if vectors.shape[1]:
        assert np.linalg.norm(vectors[: len(TEXTS)], axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-4)
        assert vectors[0] == pytest.approx(vectors[len(TEXTS)], abs=1e-4)
        assert vectors[0] @ vectors[1] < 0.999


def test_the_nearest_bad_news_is_of_the_same_kind() -> None:
    pairs = [
        (
            "Lender Oakmere halts withdrawals after a run on deposits",
            "Depositors queue at Kestrel Bank as withdrawals mount",
        ),
        ("Northwind Motors cuts 4,000 jobs as demand for its cars falls", "Ridge Software to lay off a tenth of staff"),
        ("Ridge Software sued by regulator over data breach", "Halden Telecom fined for leaking customer data"),
    ]
    classifier = load("bundled", engine="torch")
    vectors = classifier.vectors([Text(headline) for pair in pairs for headline in pair])
    classifier.close()
    alike = vectors @ vectors.T - 2 * np.eye(len(vectors))
    assert alike.argmax(axis=1).tolist() == [1, 0, 3, 2, 5, 4]
