"""Figures, calibration, evaluation."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, precision_recall_fscore_support

from sentiment_monitor.domain.news import Text
from sentiment_monitor.errors import UsageError
from sentiment_monitor.score.lexicon import LexiconClassifier, StubClassifier
from sentiment_monitor.train import metrics, thresholds
from sentiment_monitor.train.evaluate import Labelled, evaluate, read_labelled


def test_figures_equal_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    truth, predicted = generator.integers(0, 4, 500), generator.integers(0, 4, 500)
    table = metrics.confusion(truth, predicted, 4)
    expected = precision_recall_fscore_support(truth, predicted)
    for mine, theirs in zip(metrics.per_class(table), expected[:3], strict=True):
        assert mine == pytest.approx(theirs)
    assert metrics.macro_f1(truth, predicted, 6) == pytest.approx(f1_score(truth, predicted, average="macro"))


def test_average_precision_equals_that_of_scikit_learn_with_ties() -> None:
    generator = np.random.default_rng(3)
    truth = generator.random(300) < 0.4
    for levels in (2, 7, 10_000):
        chance = generator.integers(0, levels, 300) / levels
        assert metrics.average_precision(chance, truth) == pytest.approx(average_precision_score(truth, chance))
    assert metrics.average_precision(chance, np.zeros(300, dtype=bool)) == 0.0


def test_thresholds_keep_the_precision_where_they_were_chosen_and_are_measured_elsewhere() -> None:
    generator = np.random.default_rng(4)
    truth = generator.integers(0, 3, 4_000)
    logits = generator.normal(0, 1.0, (4_000, 3)) + np.eye(3)[truth] * 1.5 + np.array([-1.0, 1.0, -1.0])
    chances = metrics.softmax(logits)
    chosen = thresholds.choose(chances, truth, 0.8)
    labels = thresholds.apply(chances, chosen)
    table = metrics.confusion(truth, labels, 3)
    precision, recall, _ = metrics.per_class(table)
    assert 0.8 <= precision[0] < 0.83  # the lowest threshold that keeps it, not a safe one
    assert recall[0] > metrics.per_class(metrics.confusion(truth, chances.argmax(axis=1), 3))[1][0]
    assert metrics.macro_f1(truth, labels, 3) > metrics.macro_f1(truth, chances.argmax(axis=1), 3)
    halves = thresholds.half_of([f"text {n}" for n in range(4_000)])
    assert 0.45 < halves.mean() < 0.55
    first, second = thresholds.crossed(chances, truth, halves, 0.8)
    assert (first["n"], second["n"]) == (halves.sum(), (~halves).sum())
    assert first["thresholds"] == thresholds.choose(chances[~halves], truth[~halves], 0.8)
    assert first["precision"] == pytest.approx(0.8, abs=0.05)


def test_no_threshold_when_none_keeps_the_precision() -> None:
    chances = np.tile([0.3, 0.5, 0.2], (20, 1))
    assert thresholds.choose(chances, np.ones(20, dtype=int), 0.8) == {}
    assert thresholds.apply(chances, {}).tolist() == [1] * 20


def test_temperature_undoes_overconfidence_and_lowers_the_loss() -> None:
    generator = np.random.default_rng(1)
    logits = generator.normal(0, 1.5, (4_000, 3))
    chances = metrics.softmax(logits)
    truth = np.array([generator.choice(3, p=row) for row in chances])
    temperature = metrics.fit_temperature(logits * 3, truth)
    assert temperature == pytest.approx(3, rel=0.1)

    def loss(scaled: metrics.Floats) -> float:
        return float(-np.log(metrics.softmax(scaled)[np.arange(len(truth)), truth]).mean())

    assert loss(logits * 3 / temperature) < loss(logits * 3)


def test_calibration_error_is_the_gap_of_confidence_and_accuracy() -> None:
    right = np.array([True] * 6 + [False] * 4)
    assert metrics.expected_calibration_error(np.full(10, 0.9), right) == pytest.approx(0.3)
    assert metrics.expected_calibration_error(np.full(10, 0.6), right) == pytest.approx(0.0)
    assert metrics.expected_calibration_error(np.ones(10), np.ones(10, dtype=bool)) == 0


def test_bootstrap_interval_holds_the_value() -> None:
    values = np.random.default_rng(2).random(300)
    low, high = metrics.bootstrap(lambda index: float(values[index].mean()), 300, repeats=200)
    assert low < values.mean() < high
    assert high - low < 0.1


def test_the_result_has_the_promised_shape() -> None:
    rows = [
        Labelled(Text("profit surges"), "positive", "earnings"),
        Labelled(Text("bank collapses"), "negative"),
        Labelled(Text("results in May"), "neutral"),
    ]
    result = evaluate(rows, LexiconClassifier())
    assert set(result) == {"sentiment", "topic"}
    assert result["topic"] is None
    assert result["sentiment"]["accuracy"] == result["sentiment"]["macro_f1"] == 1
    assert set(result["sentiment"]) == {"n", "accuracy", "macro_f1", "ece", "per_class", "average_precision"}
    assert set(result["sentiment"]["per_class"]["negative"]) == {"precision", "recall", "f1", "n"}
    seen: list[int] = []
    stub = evaluate(rows, StubClassifier(), intervals=True, progress=lambda done, _: seen.append(done))
    assert stub["topic"]["n"] == 1
    assert set(stub["intervals"]) == {"sentiment", "topic"}
    assert seen == [3]
    with pytest.raises(UsageError, match="unknown topics weather"):
        evaluate([Labelled(Text("x"), None, "weather")], StubClassifier())


def test_files_are_evaluated_by_mapped_names_and_by_label_files(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\nprofit surges,1\nbank collapses,0\n", encoding="utf-8")
    classifier = LexiconClassifier()
    mapping = {"0": "negative", "1": "positive"}
    rows = read_labelled(path, text_column="text", sentiment_column="label", mapping=mapping)
    assert evaluate(rows, classifier)["sentiment"]["accuracy"] == 1
    with pytest.raises(UsageError, match="map it"):
        read_labelled(path, text_column="text", sentiment_column="label")
    with pytest.raises(UsageError, match="its columns are: text, label"):
        read_labelled(path, text_column="title", sentiment_column="label")
    labels = tmp_path / "labels.csv"
    digest = hashlib.sha1(b"bank collapses", usedforsecurity=False).hexdigest()
    labels.write_text(f"sha1,label\n{digest},negative\n", encoding="utf-8")
    assert evaluate(read_labelled(path, text_column="text", labels=labels), classifier)["sentiment"]["n"] == 1
