"""From text to scores."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from sentiment_monitor.domain.news import SENTIMENTS, Scorer, Sentiment, Text
from sentiment_monitor.errors import ClassifierError
from sentiment_monitor.score import load, manifest
from sentiment_monitor.score.checkpoint import open_checkpoint
from sentiment_monitor.score.classifier import NeuralClassifier, decide
from sentiment_monitor.score.contract import Logits, Vectors
from sentiment_monitor.score.files import as_record, score_file
from sentiment_monitor.score.lexicon import LexiconClassifier, StubClassifier
from sentiment_monitor.score.text import clean

TEXTS = [Text("bank loss"), Text("profit " * 30), Text("a"), Text("loss", "bank profit " * 40), Text("profit, bank!")]


@pytest.fixture(scope="module")
def classifier(tiny: Path) -> Iterator[NeuralClassifier]:
    made = load(str(tiny), engine="torch")
    assert isinstance(made, NeuralClassifier)
    yield made
    made.close()


class _Counting:
    """An engine that counts windows and answers with their lengths."""

    name, tolerance = "counting", 0.01

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def logits(self, windows: Sequence[Sequence[int]]) -> Logits:
        self.seen += [list(window) for window in windows]
        return np.array([[len(w) % 7, 0, 1, 0, 1] for w in windows], dtype=np.float32)

    def vectors(self, windows: Sequence[Sequence[int]]) -> Vectors:
        return np.array([[len(w), 1] for w in windows], dtype=np.float32)

    def close(self) -> None:
        pass


def test_probabilities_sum_to_one_and_label_is_the_likeliest(classifier: NeuralClassifier) -> None:
    for score in classifier.score(TEXTS):
        chances = [score.negative, score.neutral, score.positive]
        assert math.isclose(sum(chances), 1, abs_tol=1e-9)
        assert score.label == SENTIMENTS[int(np.argmax(chances))]
        assert score.topic in classifier.topics


def test_order_is_kept_whatever_the_lengths(classifier: NeuralClassifier) -> None:
    together = load(str(classifier.checkpoint.directory), engine="torch", remember=0).score(TEXTS)
    for text, score in zip(TEXTS, together, strict=True):
        alone = classifier.score([text])[0]
        assert alone.negative == pytest.approx(score.negative, abs=1e-5)


@pytest.mark.parametrize("raw", ["🚀📉 $HLDN", "a\x00b", "\u202eabc\u202c", "好", "\ud800", "x" * 5_000])
def test_odd_text_is_scored(classifier: NeuralClassifier, raw: str) -> None:
    assert classifier.score([Text(clean(raw))])[0].windows >= 1


def test_empty_text_is_neutral_and_uncertain(classifier: NeuralClassifier) -> None:
    score = classifier.score([Text("")])[0]
    assert (score.label, score.uncertain, score.topic) == (Sentiment.NEUTRAL, True, None)


def test_no_text_gives_no_scores(classifier: NeuralClassifier) -> None:
    assert classifier.score([]) == []


def test_ten_thousand_words_end_at_the_ceiling_and_say_so(classifier: NeuralClassifier) -> None:
    score = classifier.score([Text("loss", "bank " * 10_000)])[0]
    assert (score.windows, score.truncated) == (16, True)


def test_every_token_of_a_long_story_reaches_the_engine(tiny: Path) -> None:
    engine = _Counting()
    classifier = NeuralClassifier(open_checkpoint(tiny), engine, max_windows=16, remember=0)
    score = classifier.score([Text("bank " * 100, "profit " * 200)])[0]
    inner = [token for window in engine.seen for token in window[1:-1]]
    assert len(inner) == 300
    assert score.windows == len(engine.seen)
    assert not score.truncated


def test_equal_texts_are_computed_once_and_the_oldest_are_forgotten(tiny: Path) -> None:
    engine = _Counting()
    classifier = NeuralClassifier(open_checkpoint(tiny), engine, max_windows=16, remember=2)
    classifier.score([Text("bank"), Text("bank"), Text("loss")])
    classifier.score([Text("bank"), Text("loss")])
    assert len(engine.seen) == 2
    classifier.score([Text("profit")])
    classifier.score([Text("bank")])
    assert len(engine.seen) == 4
    assert classifier.score([Text("bank", "loss")]) != classifier.score([Text("bankloss")])


def test_a_score_names_its_classifier_also_when_it_is_remembered_or_of_an_empty_text(
    copy: Callable[..., Path],
) -> None:
    directory = copy()
    manifest.write(directory, {**FACTS, "temperatures": {"sentiment": 1.5, "topic": 1.0}})
    calibrated = NeuralClassifier(open_checkpoint(directory), _Counting(), max_windows=16, remember=10)
    plain = NeuralClassifier(open_checkpoint(copy()), _Counting(), max_windows=16, remember=10)
    for classifier, calibration in (
        (calibrated, "temperature 1.500"),
        (plain, "none"),
        (calibrated, "temperature 1.500"),
    ):
        scores = classifier.score([Text("bank"), Text("")])
        assert [score.by for score in scores] == [Scorer(classifier.id, calibration, classifier.by.manifest)] * 2
    assert json.loads(calibrated.by.manifest)["name"] == "tiny"
    assert calibrated.id != plain.id


FACTS = {
    "name": "tiny",
    "labels": ["sentiment/negative", "sentiment/neutral", "sentiment/positive", "topic/earnings", "topic/macro"],
    "languages": ["en"],
    "temperatures": {},
    "golden": [],
}


def test_golden_texts_are_compared_on_loading(copy: Callable[..., Path]) -> None:
    directory = copy()
    true = load(str(directory), engine="torch").score([Text("bank loss")])[0]
    golden = {"headline": "bank loss", "negative": true.negative, "neutral": true.neutral, "positive": true.positive}
    manifest.write(directory, {**FACTS, "golden": [golden]})
    load(str(directory), engine="torch").close()
    wrong = {**golden, "negative": true.negative + 0.2}
    manifest.write(directory, {**FACTS, "golden": [wrong]})
    with pytest.raises(ClassifierError, match="golden"):
        load(str(directory), engine="torch")


def test_thresholds_decide_before_the_likeliest() -> None:
    assert decide((0.4, 0.6, 0.0), {"negative": 0.35}) is Sentiment.NEGATIVE
    assert decide((0.5, 0.3, 0.2), {"negative": 0.6}) is Sentiment.NEUTRAL
    assert decide((0.4, 0.1, 0.5), {"negative": 0.4, "positive": 0.4}) is Sentiment.NEGATIVE
    assert decide((0.2, 0.3, 0.5), {}) is Sentiment.POSITIVE


def test_a_headline_read_with_its_body_has_thresholds_of_its_own(copy: Callable[..., Path]) -> None:
    directory = copy()
    never, always = {"negative": 1.0}, {"negative": 1e-6}
    stories = [Text("bank loss"), Text("bank loss", "profit"), Text("", "bank loss")]
    for chosen, labels in (
        ({"thresholds": never, "thresholds_with_body": always}, [False, True, False]),
        ({"thresholds": always, "thresholds_with_body": never}, [True, False, True]),
        ({"thresholds": always}, [True, True, True]),
    ):
        manifest.write(directory, {**FACTS, **chosen})
        made = load(str(directory), engine="torch")
        assert [score.label is Sentiment.NEGATIVE for score in made.score(stories)] == labels
        made.close()


@pytest.mark.parametrize(
    ("headline", "label"),
    [
        ("Tarn Savings collapses as depositors flee", Sentiment.NEGATIVE),
        ("Kestrel raises guidance after record profit", Sentiment.POSITIVE),
        ("Elmet to publish results in May", Sentiment.NEUTRAL),
        ("Halden averts default", Sentiment.POSITIVE),
        ("Brackwater not profitable", Sentiment.NEGATIVE),
        ("", Sentiment.NEUTRAL),
    ],
)
def test_the_lexicon_knows_plain_words_and_negation(headline: str, label: Sentiment) -> None:
    assert LexiconClassifier().score([Text(headline)])[0].label is label


def test_the_stub_is_stable() -> None:
    assert StubClassifier().score([Text("a")]) == StubClassifier().score([Text("a")])


def test_files_are_scored_in_order(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("title,n\n" + "".join(f"bank {n},{n}\n" for n in range(2_100)), encoding="utf-8")
    scored = list(score_file(path, StubClassifier(), text_column="title"))
    assert [text.headline for text, _ in scored] == [f"bank {n}" for n in range(2_100)]
    assert set(as_record(scored[0][0].headline, scored[0][1])) >= {
        "text",
        "label",
        "probabilities",
        "score",
        "confidence",
        "topic",
    }
