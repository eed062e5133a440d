"""Wrapped values: compressed, framed, in Avro; each is opened within bounds, or named for what it is."""

from __future__ import annotations

import gzip
import io
import json
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import fastavro
import pytest

from sentiment_monitor.app.policy import decoder_of
from sentiment_monitor.domain.news import Position, Record, Story
from sentiment_monitor.domain.waits import put_down_by
from sentiment_monitor.errors import RecordError, RegistryAway, RegistryRefused, SettingsError
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.ingest.registry import SchemaRegistry
from sentiment_monitor.settings.feed import NewsSettings

PLAIN = json.dumps({"headline": "Bank fails", "id": "1"}).encode()
STAMP = 1_678_468_860_000


def decode(value: bytes, **options: Any) -> Story:
    (story,) = Decoder(**options).decode(Record(Position("news", 0, 7), None, value, STAMP))
    assert isinstance(story, Story)
    return story


def refusal(value: bytes, **options: Any) -> RecordError:
    with pytest.raises(RecordError) as raised:
        decode(value, **options)
    return raised.value


def framed(schema: int, payload: bytes) -> bytes:
    return b"\x00" + schema.to_bytes(4, "big") + payload


# -- gzip -------------------------------------------------------------------------------------------


def test_gzip_is_opened_in_any_number_of_members() -> None:
    assert decode(gzip.compress(PLAIN)).story_id == "1"
    assert decode(gzip.compress(PLAIN[:10]) + gzip.compress(PLAIN[10:]) + b"\x00\x00").story_id == "1"


def test_gzip_of_many_members_costs_no_more_than_its_length_says() -> None:
    filled = gzip.compress(b"") + b"\x00" * 40_000  # more than is given to the library at once
    assert decode(filled + gzip.compress(PLAIN[:10]) + filled * 3 + gzip.compress(PLAIN[10:])).story_id == "1"
    began = time.process_time()
    error = refusal(gzip.compress(b"") * 49_000)
    assert (error.code, error.detail) == ("bad_frame", "gzip of more than 1000 members")
    assert time.process_time() - began < 0.25


def test_gzip_that_would_fill_the_memory_is_stopped_at_the_limit() -> None:
    bomb = gzip.compress(b'{"headline": "' + b"x" * 100_000_000)
    began = time.process_time()
    error = refusal(bomb)
    assert error.code == "too_large"
    assert time.process_time() - began < 0.25


@pytest.mark.parametrize("damage", [lambda value: value[:-9], lambda value: value[:20] + b"\xff\xff" + value[22:]])
def test_gzip_that_is_damaged_is_named(damage: Any) -> None:
    error = refusal(damage(gzip.compress(PLAIN * 20)))
    assert (error.code, "gzip" in error.detail) == ("bad_frame", True)


# -- Confluent's wire format ------------------------------------------------------------------------


def test_framed_json_needs_no_registry() -> None:
    assert decode(framed(7, PLAIN)).story_id == "1"
    assert decode(gzip.compress(framed(7, PLAIN))).story_id == "1"


def test_framed_avro_without_a_registry_says_what_to_set() -> None:
    error = refusal(framed(7, b"\x14Bank fails"))
    assert error.code == "bad_frame"
    assert "Confluent framing with schema 7" in error.detail
    assert "news.schema_registry" in error.detail


SCHEMA = {
    "type": "record",
    "name": "News",
    "fields": [
        {"name": "title", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "guid", "type": ["null", "long"]},
        {"name": "symbols", "type": {"type": "array", "items": "string"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}},
        {"name": "raw", "type": "bytes"},
    ],
}
REFERRING = {
    "type": "record",
    "name": "Wrapped",
    "fields": [{"name": "news", "type": "News"}],
}
VALUE = {
    "title": "Bank fails",
    "at": datetime(2026, 11, 30, 10, tzinfo=UTC),
    "guid": 4711,
    "symbols": ["KSTR"],
    "price": Decimal("1.50"),
    "raw": b"\xff",
}


def avro(schema: Any, value: Any) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema, named_schemas={}), value)
    return buffer.getvalue()


class Registry:
    """A schema registry on this machine. ``trouble`` is answered while it is set."""

    def __init__(self) -> None:
        self.trouble: int | None = None
        self.statuses: dict[str, int] = {}
        self.asked: list[str] = []
        self.authorization: str | None = None
        self.answers: dict[str, Any] = {
            "/schemas/ids/1": {"schema": json.dumps(SCHEMA)},
            "/schemas/ids/2": {"schema": "{}", "schemaType": "JSON"},
            "/schemas/ids/3": {"schema": "syntax", "schemaType": "PROTOBUF"},
            "/schemas/ids/4": {
                "schema": json.dumps(REFERRING),
                "references": [{"name": "News", "subject": "news/value", "version": 1}],
            },
            "/subjects/news%2Fvalue/versions/1": {"schema": json.dumps(SCHEMA)},
            "/schemas/ids/5": {"schema": "no schema"},
            "/schemas/ids/6": ["a page of something else"],
            "/schemas/types": ["JSON", "AVRO"],
        }
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                registry.authorization = self.headers.get("Authorization")
                answer = registry.answers.get(self.path)
                status = registry.trouble or registry.statuses.get(self.path)
                self.send_response(status or (200 if answer is not None else 404))
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture(scope="module")
def served() -> Iterator[Registry]:
    registry = Registry()
    thread = threading.Thread(target=registry.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield registry
    registry.server.shutdown()
    registry.server.server_close()
    thread.join()


@pytest.fixture
def registry(served: Registry) -> Registry:
    served.trouble, served.statuses, served.asked = None, {}, []
    return served


@pytest.fixture
def schemas(registry: Registry) -> Iterator[SchemaRegistry]:
    schemas = SchemaRegistry(registry.url)
    yield schemas
    schemas.close()


MAPPING = {"headline": "title", "id": "to_string(guid)", "published_at": "at", "tickers": "symbols", "body": "price"}


def test_avro_is_read_by_the_registrys_schema_which_is_fetched_once(
    registry: Registry, schemas: SchemaRegistry
) -> None:
    for _ in range(3):
        story = decode(framed(1, avro(SCHEMA, VALUE)), mapping=MAPPING, schemas=schemas)
    assert (story.headline, story.story_id, story.tickers, story.body) == ("Bank fails", "4711", ("KSTR",), "1.50")
    assert story.published_ms == int(datetime(2026, 11, 30, 10, tzinfo=UTC).timestamp() * 1000)
    assert story.dropped == ()
    assert registry.asked == ["/schemas/ids/1"]


def test_a_schema_that_refers_to_another_is_read(registry: Registry, schemas: SchemaRegistry) -> None:
    whole = {**REFERRING, "fields": [{"name": "news", "type": SCHEMA}]}
    value = framed(4, avro(whole, {"news": VALUE}))
    assert decode(value, mapping=MAPPING, stories="news", schemas=schemas).story_id == "4711"
    assert registry.asked == ["/schemas/ids/4", "/subjects/news%2Fvalue/versions/1"]


def test_a_schema_of_json_is_read_as_json(schemas: SchemaRegistry) -> None:
    assert decode(framed(2, PLAIN), schemas=schemas).story_id == "1"


@pytest.mark.parametrize(
    ("value", "code", "said"),
    [
        (framed(3, b"\x00\x0a"), "bad_frame", "PROTOBUF"),
        (framed(99, b"\x00"), "unknown_schema", "no schema 99"),
        (framed(1, b"\x14Bank"), "bad_frame", "not Avro of schema 1"),
        (framed(1, avro(SCHEMA, VALUE) + b"!"), "bad_frame", "more bytes"),
        (framed(5, b""), "bad_frame", "schema 5 cannot be used"),
    ],
)
def test_what_the_registry_does_not_help_with_is_a_coded_reason(
    schemas: SchemaRegistry, value: bytes, code: str, said: str
) -> None:
    error = refusal(value, schemas=schemas)
    assert (error.code, said in error.detail) == (code, True)


@pytest.mark.parametrize(("status", "error"), [(503, RegistryAway), (429, RegistryAway), (401, RegistryRefused)])
def test_a_registry_in_trouble_is_no_reason_for_a_dead_letter(
    registry: Registry, schemas: SchemaRegistry, status: int, error: type[Exception]
) -> None:
    registry.trouble = status
    with pytest.raises(error):
        decode(framed(1, b""), schemas=schemas)
    registry.trouble = None
    assert decode(framed(1, avro(SCHEMA, VALUE)), mapping=MAPPING, schemas=schemas).story_id == "4711"


def test_a_registry_that_does_not_answer_is_away(registry: Registry) -> None:
    schemas = SchemaRegistry("http://127.0.0.1:9")
    with pytest.raises(RegistryAway):
        decode(framed(1, b""), schemas=schemas)
    schemas.close()


def test_what_is_no_registry_stops_the_process(schemas: SchemaRegistry) -> None:
    with pytest.raises(RegistryRefused):
        decode(framed(6, b""), schemas=schemas)


@pytest.mark.parametrize("status", [400, 403, 405, 406, 409, 410, 413, 422])
def test_an_id_that_the_registry_does_not_like_ends_no_process(
    registry: Registry, schemas: SchemaRegistry, status: int
) -> None:
    registry.statuses["/schemas/ids/4294967295"] = status
    error = refusal(framed(0xFFFFFFFF, b"x"), schemas=schemas)
    assert error.code == "unknown_schema"
    assert str(status) in error.detail
    assert decode(framed(1, avro(SCHEMA, VALUE)), mapping=MAPPING, schemas=schemas).story_id == "4711"


@pytest.mark.parametrize("status", [301, 401, 403, 407])
def test_a_registry_that_gives_us_nothing_at_all_ends_the_process_and_names_only_its_host(
    registry: Registry, status: int
) -> None:
    registry.trouble = status
    schemas = SchemaRegistry(registry.url.replace("//", "//monitor:s3cret@"))
    with pytest.raises(RegistryRefused) as raised:
        decode(framed(1, b""), schemas=schemas)
    schemas.close()
    assert f"127.0.0.1:{registry.server.server_port}: status {status}" in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_a_schema_that_cannot_be_had_is_asked_for_once_in_some_seconds(
    registry: Registry, schemas: SchemaRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for schema in (99, 3):
        assert len({str(refusal(framed(schema, b"x"), schemas=schemas)) for _ in range(5)}) == 1
    assert registry.asked == ["/schemas/ids/99", "/schemas/ids/3"]
    monkeypatch.setattr("sentiment_monitor.ingest.registry._UNREADABLE_SECONDS", 0.0)
    later = SchemaRegistry(registry.url)
    for _ in range(2):
        refusal(framed(99, b"x"), schemas=later)
    later.close()
    assert registry.asked[2:] == ["/schemas/ids/99"] * 2


def test_while_the_registry_is_asked_the_record_is_put_down(schemas: SchemaRegistry, registry: Registry) -> None:
    steps: list[str] = []

    @contextmanager
    def putting_down() -> Iterator[None]:
        steps.append(f"down {len(registry.asked)}")
        yield
        steps.append(f"up {len(registry.asked)}")

    for _ in range(2):
        with put_down_by(putting_down):
            decode(framed(2, PLAIN), schemas=schemas)
    assert steps == ["down 0", "up 1"]


def test_the_registry_is_told_who_asks(registry: Registry) -> None:
    schemas = SchemaRegistry(registry.url, username="monitor", password="word")
    decode(framed(2, PLAIN), schemas=schemas)
    schemas.close()
    assert registry.authorization == "Basic bW9uaXRvcjp3b3Jk"


def test_without_the_extra_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastavro", None)
    with pytest.raises(SettingsError, match=r"sentiment-monitor\[avro\]"):
        decoder_of(NewsSettings(schema_registry="https://registry.example"))


# -- what a value looks like ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (PLAIN.decode().encode("utf-16"), "UTF-16"),
        (PLAIN.decode().encode("utf-16-le"), "UTF-16"),
        (PLAIN.decode().encode("utf-16-be"), "UTF-16"),
        (PLAIN.decode().encode("utf-32"), "UTF-32"),
        ('{"headline": "Börse"}'.encode("latin-1"), "another encoding"),
        ('{"headline": "银行"}'.encode("gb18030"), "another encoding"),
        (b"\x82\xa8headline\xaaBank fails\xa2id\x01", "MessagePack"),
        (b"\xa1\x68headline\x6aBank fails", "CBOR"),
        (b"Obj\x01\x04\x16avro.schema", "an Avro file"),
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"\x28\xb5\x2f\xfd\x24\x00", "zstd"),
        (b"\x04\x22\x4d\x18\x60", "lz4"),
        (b"PK\x03\x04\x14", "zip"),
        (zlib.compress(PLAIN), "binary data"),
        (b"<rss><channel/></rss>", "XML"),
        (b"{'headline': 'Bank fails'}", "Python dict"),
        (PLAIN + b"\n" + PLAIN, "one a line"),
        (b"eyJoZWFkbGluZSI6ICJCYW5rIGZhaWxzIn0=", "base64"),
        (b"payload=%7B%22headline%22", "form"),
        (framed(1, b"\x00"), "schema 1"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_bytes_that_cannot_be_read_are_named_for_what_they_are(value: bytes, said: str) -> None:
    assert said in refusal(value).detail


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"data": [{"title": "x"}]}, 'news.stories = "data[]"'),
        ({"response": {"hits": [{"title": "x"}]}}, 'news.stories = "response.hits[]"'),
        ({"before": None, "after": {"title": "x"}, "op": "c"}, "Debezium"),
        ({"schema": {}, "payload": {"op": "d", "before": {}, "after": None}}, "payload.after || payload.before"),
        ({"schema": {}, "payload": {"title": "x"}}, 'news.stories = "payload"'),
        ({"specversion": "1.0", "type": "news", "data": {"title": "x"}}, "a CloudEvent"),
        ({"title": "x", "url": "u"}, 'headline = "title"'),
        ({"item": {"title": "x"}}, 'news.stories = "item"'),
        ({"the items": [{"title": "x"}]}, """news.stories = '"the items"[]'"""),
        ({"Title": "x", "stocks": [{"name": "KSTR"}]}, 'headline = "Title"'),
        ({"headline": "", "stocks": [{"name": "KSTR"}]}, "its fields are stocks"),
        ({"a": 1, "b": 2}, "its fields are a, b"),
    ],
    ids=repr,
)
def test_a_message_of_another_shape_says_what_to_set(message: object, said: str) -> None:
    error = refusal(json.dumps(message).encode())
    assert (error.code, said in error.detail) == ("no_headline", True)
