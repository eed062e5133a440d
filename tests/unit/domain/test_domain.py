"""The values that travel between rooms, and the error tree."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from sentiment_monitor import errors
from sentiment_monitor.domain import alerts, news
from sentiment_monitor.domain.news import Score, Scorer, Sentiment
from sentiment_monitor.domain.series import dimension_of, series_of


def test_every_value_is_frozen_and_small() -> None:
    values = [cls for module in (alerts, news) for _, cls in inspect.getmembers(module, dataclasses.is_dataclass)]
    assert len(values) >= 8
    for cls in values:
        assert cls.__dataclass_params__.frozen, cls  # type: ignore[union-attr]  # present on every dataclass
        assert not hasattr(cls, "__dict__") or "__slots__" in vars(cls), cls


@pytest.mark.parametrize(
    ("label", "confidence"), [(Sentiment.NEGATIVE, 0.7), (Sentiment.NEUTRAL, 0.2), (Sentiment.POSITIVE, 0.1)]
)
def test_a_score_knows_its_sign_and_how_sure_its_label_is(label: Sentiment, confidence: float) -> None:
    score = Score(label, 0.7, 0.2, 0.1, None, 0.0, Scorer("stub@0", "none"))
    assert score.score == pytest.approx(-0.6)
    assert score.confidence == confidence


def test_a_story_counts_in_every_series_it_belongs_to() -> None:
    assert list(series_of("wire", "earnings", ("A", "B"))) == [
        "all", "topic:earnings", "ticker:A", "ticker:B", "source:wire",
    ]  # fmt: skip
    assert list(series_of("wire", None, ())) == ["all", "source:wire"]


@pytest.mark.parametrize(("series", "dimension"), [("all", "all"), ("ticker:A:B", "ticker"), ("source:", "source")])
def test_a_series_names_its_dimension(series: str, dimension: str) -> None:
    assert dimension_of(series) == dimension


def test_every_error_has_the_exit_code_that_the_tree_shows() -> None:
    assert errors.__doc__ is not None
    drawn = {}
    for line in errors.__doc__.splitlines():
        words = line.replace("├──", "").replace("└──", "").replace("│", "").split()
        if words and isinstance(getattr(errors, words[0], None), type):
            drawn[words[0]] = words[1]
    raised = {
        name: cls for name, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.MonitorError)
    }
    assert set(drawn) == set(raised)
    for name, code in drawn.items():
        if code.isdigit():
            assert raised[name].exit_code == int(code), name
    # RetryLater itself never ends the process; its two kinds do.
    assert (errors.BrokerAway.exit_code, errors.DatabaseAway.exit_code) == (4, 4)


def test_a_record_error_says_code_and_detail() -> None:
    assert str(errors.RecordError("bad_time", "soon")) == "bad_time: soon"
    assert str(errors.RecordError("empty")) == "empty"
