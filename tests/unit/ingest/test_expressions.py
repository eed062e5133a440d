"""Expressions find what JMESPath finds, in a bounded number of steps."""

from __future__ import annotations

import json
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.domain.news import DeadLetter, Position, Record, Story
from sentiment_monitor.errors import RecordError
from sentiment_monitor.ingest.decode import MAX_STORIES, Decoder
from sentiment_monitor.ingest.expressions import MOST_STEPS, RECORD_STEPS, Expression, ExpressionError, Search

# Of every kind that a feed's mapping has.
EXPRESSIONS = (
    "to_string(id)", "title || headline", "join(' ', not_null(body, content, `[]`)[*].value)", "source.name || source",
    "links[0].href", "tickers[?value].name | [:100]", "tickers[?value > `1`].name", "data[]", "data[*].body", "*.name",
    "body.*", "data[].tickers[]", "{a: id, b: data[0]}", "[id, source]", "length(data)", "keys(source)", "data[-1]",
    "sort_by(data, &id)[0]", "map(&name, data)", "id == `1` && title", "!id", "data[::-1]", "contains(title, 'a')",
    "max_by(data, &value).name", "to_number(id)", "join(',', tickers)", "@", "merge(source, body)",
)  # fmt: skip
NAMES = st.sampled_from(
    ["id", "title", "headline", "body", "content", "value", "name", "source", "links", "href", "tickers", "data"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text("ab ", max_size=3),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(NAMES, values, max_size=5),
    max_leaves=20,
)


def find(expression: str, message: Any) -> Any:
    return Search().find(Expression.of("mapping", "body", expression), message)


@given(st.sampled_from(EXPRESSIONS), st.dictionaries(NAMES, JSON, max_size=8))
def test_it_finds_what_the_library_finds_and_fails_where_that_fails(expression: str, message: dict[str, Any]) -> None:
    try:
        expected = jmespath.search(expression, message)
    except (jmespath.exceptions.JMESPathError, ArithmeticError, LookupError, TypeError, ValueError):
        with pytest.raises(ExpressionError):
            find(expression, message)
    else:
        assert find(expression, message) == expected


class Counted(dict[str, Any]):
    """An item that counts how often any of its kind is asked."""

    asked = 0

    def get(self, key: str, default: Any = None) -> Any:
        Counted.asked += 1
        return super().get(key, default)


@pytest.mark.parametrize("expression", ["[*].value", "[?value].name", "map(&value, @)", "[].value", "[:].value"])
def test_of_a_list_without_end_so_many_items_are_looked_at(expression: str) -> None:
    Counted.asked = 0
    with pytest.raises(ExpressionError, match="too many items"):
        find(expression, [Counted() for _ in range(50_000)])
    assert Counted.asked <= MOST_STEPS


def test_the_reason_is_short_however_long_the_value() -> None:
    with pytest.raises(ExpressionError, match=r"join\(\) takes array-string, not ") as refused:
        find("join(' ', @)", ["a" * 100_000] * 3 + [1])
    assert len(str(refused.value)) < 300


def decode(value: Any, mapping: dict[str, str], stories: str = "") -> list[Story | DeadLetter]:
    decoder = Decoder(mapping, stories=stories, max_bytes=10_000_000)
    record = Record(Position("news", 0, 0), None, json.dumps(value).encode(), 1_772_438_400_000)
    return list(decoder.decode(record))


def test_a_field_of_endless_items_is_dropped_and_the_story_kept_wherever_its_name_stands() -> None:
    mapping = {"body": "blocks[*].text", "tickers": "blocks[?tag].name", "headline": "title || blocks[0]"}
    (story,) = decode({"title": "Kestrel Bank fails", "blocks": [1] * 100_000}, mapping)
    assert isinstance(story, Story)
    assert (story.headline, story.body, story.tickers) == ("Kestrel Bank fails", "", ())
    assert {(loss.field, loss.reason, loss.example) for loss in story.dropped} == {
        (field, "mapping_failed", "'it has too many items to look at'") for field in ("body", "tickers")
    }


def test_as_many_short_stories_as_a_record_may_hold_are_mapped_whole() -> None:
    mapping = {
        "id": "to_string(number)", "headline": "title || headline", "body": "join(' ', not_null(parts, `[]`)[*].value)",
        "source": "source.name || source", "url": "links[0].href || url", "tickers": "tickers[?value].name | [:100]",
    }  # fmt: skip
    item = {"title": "Kestrel Bank fails", "parts": [{"value": "It"}, {"value": "failed."}], "source": "wire",
            "links": [{"href": "https://a.example"}], "tickers": [{"name": "KSTR", "value": 1}]}  # fmt: skip
    stories = decode({"data": [{"number": number, **item} for number in range(MAX_STORIES)]}, mapping, "data[*]")
    assert len(stories) == MAX_STORIES
    assert {(story.body, story.tickers, story.dropped) for story in stories if isinstance(story, Story)} == {
        ("It failed.", ("KSTR",), ())
    }


def test_what_each_of_many_stories_looks_for_in_the_whole_message_is_bounded_together() -> None:
    mapping = {"body": "to_string([_envelope.ballast])", "headline": "title"}
    message = {"ballast": "x" * 500_000, "data": [{"title": "Kestrel Bank fails"}] * 1_000}
    stories = decode(message, mapping, "data")
    assert [story.headline for story in stories if isinstance(story, Story)] == ["Kestrel Bank fails"] * 1_000
    with_body = [story for story in stories if isinstance(story, Story) and story.body]
    assert 0 < len(with_body) <= RECORD_STEPS / 2_000


def test_stories_that_cannot_be_looked_for_are_a_dead_letter_that_says_so() -> None:
    with pytest.raises(RecordError, match="stories: it has too many items") as refused:
        decode({"data": [{"a": [{"b": 1}]}] * 100_000}, {}, "data[?a[?b]]")
    assert refused.value.code == "mapping_failed"
