"""The cookbook of feeds: what docs/feeds.md says of each shape is what the decoder does with it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from sentiment_monitor.app.policy import decoder_of
from sentiment_monitor.domain.news import Action, Position, Record, Story
from sentiment_monitor.settings.feed import NewsSettings
from sentiment_monitor.times import rfc3339

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "feeds.md").read_text(encoding="utf-8")
STAMP = 1_796_050_900_000  # 2026-11-30T15:01:40Z
PROMISED = (
    "NewsAPI", "Benzinga", "Alpaca", "Polygon", "Finnhub", "Marketaux", "Tiingo", "EODHD", "GDELT", "StockNewsAPI",
    "Dow Jones DNA", "LSEG", "Debezium", "Kafka Connect", "CloudEvents",
)  # fmt: skip


class Shape(NamedTuple):
    name: str
    news: NewsSettings
    message: bytes
    arrives: list[list[str]]  # source, id, headline, published, tickers


def shapes() -> list[Shape]:
    chapter = PAGE.partition("\n## Shapes\n")[2].partition("\n## ")[0]
    return [_shape(*part.split("\n", 1)) for part in chapter.split("\n### ")[1:]]


def _shape(name: str, text: str) -> Shape:
    toml, message = (re.findall(rf"^```{kind}\n(.*?)^```$", text, re.M | re.S) for kind in ("toml", "json"))
    rows = re.findall(r"^\|(.*)\|$", text, re.M)[2:]
    cells = [[cell.strip().strip("`") for cell in row.split("|")] for row in rows]
    return Shape(name, NewsSettings(**tomllib.loads(toml[0])["news"]), message[0].encode(), cells)


SHAPES = shapes()


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_documented_shape_arrives_as_documented(shape: Shape) -> None:
    readings = decoder_of(shape.news).decode(Record(Position("news", 0, 0), None, shape.message, STAMP))
    stories = [reading for reading in readings if isinstance(reading, Story)]
    assert len(stories) == len(readings), readings
    assert [_row(story) for story in stories] == shape.arrives
    assert [story.dropped for story in stories] == [()] * len(stories)


def _row(story: Story) -> list[str]:
    if story.action is Action.DELETED:
        return [story.source, story.story_id, "(deleted)", "", ""]
    return [story.source, story.story_id, story.headline, rfc3339(story.published_ms), " ".join(story.tickers)]


def test_every_feed_that_is_promised_is_there() -> None:
    assert set(PROMISED) <= {shape.name for shape in SHAPES}


def test_a_row_that_debezium_deletes_is_a_deletion() -> None:
    (shape,) = (shape for shape in SHAPES if shape.name == "Debezium")
    message = b'{"before": {"id": 4711, "source": "ridgewire"}, "after": null, "op": "d", "ts_ms": 1}'
    (story,) = decoder_of(shape.news).decode(Record(Position("news", 0, 0), None, message, STAMP))
    assert isinstance(story, Story)
    assert _row(story) == ["ridgewire", "4711", "(deleted)", "", ""]


def test_a_key_of_kafka_connect_names_the_story_that_its_tombstone_deletes() -> None:
    (shape,) = (shape for shape in SHAPES if shape.name == "Kafka Connect")
    key = b'{"schema": {}, "payload": {"id": 4711, "source": "ridgewire"}}'
    (story,) = decoder_of(shape.news).decode(Record(Position("news", 0, 0), key, None, STAMP))
    assert isinstance(story, Story)
    assert _row(story) == ["ridgewire", "4711", "(deleted)", "", ""]
