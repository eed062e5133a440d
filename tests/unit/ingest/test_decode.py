"""Hostile and merely odd messages: a story comes out, or a coded reason, and nothing else."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentiment_monitor.domain.news import Action, Position, Record, Story
from sentiment_monitor.errors import RecordError, SettingsError
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.ingest.fields import FIELDS, MAX_REVISION, Losses, read_tickers

STAMP = 1_678_468_860_000  # 2023-03-10T17:21:00Z
CODES = {
    "empty",
    "too_large",
    "not_utf8",
    "not_json",
    "not_object",
    "mapping_failed",
    "no_headline",
    "bad_field",
    "bad_action",
    "bad_revision",
    "bad_time",
    "bad_frame",
    "no_stories",
    "too_many_stories",
    "bad_key",
}


def decode(value: bytes, decoder: Decoder | None = None, stamp: int = STAMP) -> Story:
    (reading,) = (decoder or Decoder()).decode(Record(Position("news", 0, 7), None, value, stamp))
    assert isinstance(reading, Story)
    return reading


def story(decoder: Decoder | None = None, **fields: Any) -> Story:
    return decode(json.dumps({"headline": "Bank fails", **fields}).encode(), decoder)


def dropped(story: Story) -> list[tuple[str, str]]:
    return [(loss.field, loss.reason) for loss in story.dropped]


def code_of(value: bytes, decoder: Decoder | None = None) -> str:
    with pytest.raises(RecordError) as raised:
        decode(value, decoder)
    assert raised.value.code in CODES
    return raised.value.code


def code_of_fields(**fields: Any) -> str:
    return code_of(json.dumps({"headline": "Bank fails", **fields}).encode())


# -- bytes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf", "not_json"),
        (b"not json", "not_json"),
        (b'{"headline": "cut', "not_json"),
        (b'{"headline": NaN}', "no_headline"),
        ('{"headline": "Börse"}'.encode("latin-1"), "not_utf8"),
        ('{"headline": "x"}'.encode("utf-16"), "not_utf8"),
        ('{"headline": "\ud800"}'.encode("utf-8", "surrogatepass"), "not_utf8"),
        (b"[" * 100_000, "not_json"),
        (b'{"headline":' * 50_000 + b"1" + b"}" * 50_000, "not_json"),
        (b"null", "not_object"),
        (b'"Bank fails"', "not_object"),
        (b"7", "not_object"),
        (b"{}", "no_headline"),
        (b'{"headline": ""}', "no_headline"),
        (b'{"headline": " \\u0000\\n "}', "no_headline"),
        (b'{"headline": null}', "no_headline"),
        (b'{"headline": "x"}' + b" " * 1_000_001, "too_large"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_unreadable_bytes_have_a_coded_reason(value: bytes, code: str) -> None:
    assert code_of(value) == code


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e400", "9" * 5_000, "-" + "9" * 5_000])
@pytest.mark.parametrize("field", ["volume", "id", "revision", "published_at", "body"])
def test_a_number_beyond_every_number_costs_its_field_at_most(field: str, number: str) -> None:
    read = decode(f'{{"headline": "Bank fails", "{field}": {number}}}'.encode())
    assert (read.headline, read.revision, read.published_ms) == ("Bank fails", None, STAMP)


def test_a_byte_order_mark_is_no_reason_to_refuse() -> None:
    assert decode(b'\xef\xbb\xbf{"headline": "Bank fails"}').headline == "Bank fails"


def test_only_a_headline_is_required() -> None:
    found = story()
    assert (found.action, found.revision, found.source, found.body, found.url) == (
        Action.CREATED, None, "unknown", "", "",
    )  # fmt: skip
    assert (found.published_ms, found.tickers, found.language) == (STAMP, (), None)
    assert found.position == Position("news", 0, 7)


def test_nul_and_outer_white_space_are_taken_out() -> None:
    assert story(headline="\x00 Bank\x00 fails \n", id=" a\x00 ").headline == "Bank fails"
    assert story(id=" a\x00 ").story_id == "a"


def test_fields_that_nobody_asked_for_are_ignored() -> None:
    assert story(extra={"deep": [1, {"x": None}]}).headline == "Bank fails"


@given(st.binary(max_size=200))
@example(b'{"headline": "x", "published_at": ' + b"9" * 400 + b"}")
def test_no_bytes_raise_anything_but_a_coded_reason(value: bytes) -> None:
    code: str | None = None
    try:
        decode(value)
    except RecordError as error:
        code = error.code
    assert code is None or code in CODES


_junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.just(10**300)
    | st.just("9999-12-31"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(FIELDS), _junk))
@example({"headline": "x", "published_at": 10**400})
@example({"headline": "x", "published_at": "0001-01-01T00:00:00+14:00"})
@example({"headline": "x", "published_at": "9999-12-31T23:59:59-14:00"})
@example({"headline": "x", "language": "en\x00"})
@example({"headline": "x", "source": "İ" * 128})
def test_whatever_the_fields_hold_a_story_fits_the_database(fields: dict[str, Any]) -> None:
    try:
        found = decode(json.dumps(fields).encode())
    except RecordError:
        return
    assert 0 < len(found.story_id) <= 512
    assert 0 < len(found.source) <= 128
    assert found.language is None or (found.language.isascii() and len(found.language) <= 8)
    assert 0 <= found.published_ms <= 253_402_300_799_000
    assert found.revision is None or 0 <= found.revision <= MAX_REVISION
    for text in (found.headline, found.body, found.url, found.source, found.story_id, *found.tickers):
        text.encode()
        assert "\x00" not in text


# -- identity ---------------------------------------------------------------------------------------


def test_without_an_id_the_same_source_url_and_headline_are_the_same_story() -> None:
    assert story(source="A", url="u").story_id == story(source="a", url="u", body="other").story_id
    assert story(source="A", url="u").story_id != story(source="A", url="v").story_id
    assert story(source="A", url="u").story_id != story(source="Au").story_id


def test_a_number_and_its_text_are_the_same_id() -> None:
    assert story(id=7).story_id == story(id="7").story_id == "7"
    assert story(id=0).story_id == "0"


def test_sources_are_one_in_whatever_case_the_configured_one_too() -> None:
    assert story(source=" Reuters ").source == "reuters"
    assert story(Decoder(default_source=" Newswire ")).source == "newswire"


def test_the_same_title_on_another_day_is_another_story() -> None:
    evenings = {story(source="A", published_at=f"2026-11-{day}T20:00:00Z").story_id for day in range(10, 18)}
    assert len(evenings) == 8
    assert story(published_at="2026-11-10T07:00Z").story_id == story(published_at="2026-11-10T23:59Z").story_id


@pytest.mark.parametrize("nothing", ["null", "None", "NaN", " undefined ", "n/a", "NULL"])
def test_a_word_for_nothing_is_no_id(nothing: str) -> None:
    first, second = story(id=nothing, headline="Bank fails"), story(id=nothing, headline="Bank is saved")
    assert first.story_id != second.story_id
    assert dropped(first) == [("id", "placeholder")]


def test_an_expression_that_makes_null_of_nothing_gives_no_id() -> None:
    decoder = Decoder({"id": "to_string(guid)"})
    assert decode(b'{"headline": "a", "guid": 7}', decoder).story_id == "7"
    assert decode(b'{"headline": "a"}', decoder).story_id != decode(b'{"headline": "b"}', decoder).story_id


def test_ids_and_sources_that_are_too_long_still_tell_stories_apart() -> None:
    first, second = story(id="x" * 513 + "1", source="s" * 129 + "1"), story(id="x" * 513 + "2", source="s" * 129 + "2")
    assert first.story_id != second.story_id
    assert first.source != second.source
    assert first.source.startswith("s" * 100)
    assert story(id="x" * 513 + "1").story_id == first.story_id
    assert dropped(first) == [("id", "too_long"), ("source", "too_long")]


# -- what an optional field may hold ----------------------------------------------------------------


@pytest.mark.parametrize("value", [["a"], {"en": "a"}, True], ids=repr)
def test_a_headline_of_the_wrong_kind_is_refused(value: object) -> None:
    assert code_of_fields(headline=value) == "bad_field"


_JUNK: list[Any] = [
    [],
    {},
    True,
    7,
    -1,
    1.5,
    "",
    " ",
    "n/a",
    "x" * 20_000,
    ["a", None],
    {"a": {"b": [1]}},
    None,
    "^",
    "\x00",
]
_OPTIONAL = sorted(set(FIELDS) - {"headline", "action"})


@pytest.mark.parametrize("value", _JUNK, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("field", _OPTIONAL)
def test_whatever_an_optional_field_holds_the_story_is_read(field: str, value: Any) -> None:
    plain, odd = story(), story(**{field: value})
    assert (odd.headline, odd.action) == (plain.headline, plain.action)
    others = set(_OPTIONAL) - {field}
    assert all(
        _value(odd, name) == _value(plain, name) for name in others - {"id"} - ({"url"} if field == "id" else set())
    )


def _value(story: Story, field: str) -> object:
    return getattr(story, {"id": "story_id", "published_at": "published_ms"}.get(field, field))


@pytest.mark.parametrize(
    ("field", "value", "reason", "read"),
    [
        ("source", ["a"], "wrong_type", "unknown"),
        ("source", "s" * 129, "too_long", None),
        ("source", "İ" * 128, "too_long", None),
        ("url", {"href": "u"}, "wrong_type", ""),
        ("url", "u" * 4_001, "too_long", ""),
        ("headline", "h" * 10_001, "too_long", "h" * 10_000),
        ("body", "b" * 50_001, "too_long", "b" * 50_000),
        ("body", [], "wrong_type", ""),
        ("body", "None", "placeholder", ""),
        ("id", False, "wrong_type", None),
        ("published_at", "yesterday", "bad_time", STAMP),
        ("published_at", {"at": 1}, "bad_time", STAMP),
        ("language", 7, "not_a_code", None),
        ("language", "Klingon", "not_a_code", None),
        ("tickers", {"a": 1}, "wrong_type", ()),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_cannot_be_read_is_dropped_with_a_reason(field: str, value: Any, reason: str, read: object) -> None:
    odd = story(**{field: value})
    assert dropped(odd) == [(field, reason)]
    assert read is None or _value(odd, field) == read
    assert len(odd.dropped[0].example) <= 160


def test_a_long_address_is_dropped_but_tells_stories_apart() -> None:
    assert story(url="u" * 5_000 + "1").story_id != story(url="u" * 5_000 + "2").story_id


# -- action and revision ----------------------------------------------------------------------------


def test_actions_are_read_in_any_case_and_blank_means_created() -> None:
    assert story(action=" UPDATED ").action is Action.UPDATED
    assert story(action="  ").action is story(action=None).action is Action.CREATED


@pytest.mark.parametrize(
    ("word", "action"),
    [("c", Action.CREATED), ("r", Action.CREATED), ("Corrected", Action.UPDATED), ("u", Action.UPDATED)]
    + [(word, Action.DELETED) for word in ("delete", "d", "retracted", "KILL")],
)
def test_other_words_for_the_three_actions_are_known(word: str, action: Action) -> None:
    assert story(id="1", action=word).action is action


@pytest.mark.parametrize("action", ["expunge", 1, True, [], {"a": 1}, "created\nupdated"])
def test_an_unknown_action_is_refused(action: object) -> None:
    assert code_of_fields(action=action) == "bad_action"


def test_a_deletion_needs_an_id_but_no_headline() -> None:
    assert story(action="deleted", id="a", headline=None).headline == ""
    assert code_of_fields(action="deleted", headline=None) == "no_headline"


@pytest.mark.parametrize(("given", "read"), [(0, 0), (7.0, 7), ("12", 12), (" 3 ", 3), ("", None), ("  ", None)])
def test_revisions_are_whole_numbers_however_written(given: object, read: int | None) -> None:
    assert story(revision=given).revision == read


@pytest.mark.parametrize(
    "revision", [True, False, -1, 1.5, "1.0", "one", MAX_REVISION + 1, 1e300, "9" * 5_000, [], {"n": 1}]
)
def test_what_is_no_revision_is_dropped_but_for_a_deletion_which_would_be_final(revision: object) -> None:
    odd = story(revision=revision)
    assert (odd.revision, dropped(odd)) == (None, [("revision", "bad_revision")])
    assert code_of_fields(revision=revision, action="deleted", id="1") == "bad_revision"


def test_what_a_terminal_would_obey_is_not_stored() -> None:
    told = story(headline="\x1b[2JBank\x07 fails\x9b", source="s\x1b[5m", body="first\nsecond\tthird", id="a\x00b")
    assert (told.headline, told.source, told.body, told.story_id) == (
        "[2JBank fails",
        "s[5m",
        "first\nsecond\tthird",
        "ab",
    )


@pytest.mark.parametrize("cut", [b"\\ud83d", b"\\ude00 x"])
def test_half_an_emoji_costs_a_letter_and_not_the_story(cut: bytes) -> None:
    story = decode(b'{"headline": "Acme raises outlook ' + cut + b'", "volume": NaN}')
    assert story.headline.startswith("Acme raises outlook ?")


# -- tickers and language ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("aapl, $msft,,AAPL", ("AAPL", "MSFT")),
        (["aapl", " $BRK.B ", "", "AAPL"], ("AAPL", "BRK.B")),
        ("", ()),
        ([], ()),
        (None, ()),
        ("^GSPC;0700.HK|BTC/USD", ("0700.HK", "BTC/USD", "^GSPC")),
        (["EURUSD=X", "M&M.NS", "BRK/B", ".DJI", "BTC_USD"], (".DJI", "BRK/B", "BTC_USD", "EURUSD=X", "M&M.NS")),
        ([700, None, "KSTR"], ("700", "KSTR")),
        (700, ("700",)),
        ("NAN", ("NAN",)),
    ],
)
def test_tickers_come_as_list_or_text(given: object, read: tuple[str, ...]) -> None:
    odd = story(tickers=given)
    assert (odd.tickers, odd.dropped) == (read, ())


@pytest.mark.parametrize(
    ("junk", "reason"),
    [
        (True, "wrong_type"),
        (["KSTR", {"a": 1}], "wrong_type"),
        (["KSTR", 1.5], "wrong_type"),
        (["KSTR", ["AAPL"]], "wrong_type"),
        ("KSTR,N/A", "placeholder"),
        ("KSTR,None,NaN", "placeholder"),
        (["KSTR", "A B"], "not_a_ticker"),
        (["KSTR", "x" * 33], "not_a_ticker"),
        (["KSTR", "a\x00"], "not_a_ticker"),
        (["KSTR", "é"], "not_a_ticker"),
        (["KSTR", "^", ".", "100%"], "not_a_ticker"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_ticker_that_is_none_costs_itself_and_nothing_else(junk: object, reason: str) -> None:
    odd = story(tickers=junk)
    assert odd.tickers == (() if junk is True else ("KSTR",))
    assert dropped(odd) == [("tickers", reason)]


@pytest.mark.parametrize(
    "many", ["-," * 480_000, ["-"] * 150_000, [None] * 150_000, [[]] * 200_000, "," * 900_000, ["KSTR"] * 120_000]
)
def test_no_more_than_some_hundred_tickers_are_looked_at_whatever_they_are(many: Any) -> None:
    losses: Losses = []
    began = time.thread_time()
    read_tickers(many, losses)
    assert time.thread_time() - began < 0.05
    assert ("tickers", "too_many") in [(loss.field, loss.reason) for loss in losses]


def test_of_very_many_tickers_the_first_hundred_count() -> None:
    odd = story(tickers=[f"T{number}" for number in range(150)])
    assert set(odd.tickers) == {f"T{number}" for number in range(100)}
    assert dropped(odd) == [("tickers", "too_many")]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("EN", "en"),
        ("en-US", "en"),
        ("zh_Hant", "zh"),
        ("English", "en"),
        ("eng", "en"),
        ("Klingon", None),
        ("en\x00", None),
        (7, None),
        ("", None),
    ],
)
def test_a_language_is_a_code_or_is_left_to_be_detected(given: object, read: str | None) -> None:
    assert story(language=given).language == read


# -- mapping ----------------------------------------------------------------------------------------


def test_a_mapping_reads_feeds_with_other_names() -> None:
    decoder = Decoder({"headline": "title", "source": "feed.name", "tickers": "entities[?type=='stock'].code"})
    found = decode(
        json.dumps(
            {
                "title": "Bank fails",
                "feed": {"name": "Wire"},
                "entities": [{"type": "stock", "code": "sivb"}, {"type": "person", "code": "x"}],
                "id": "7",
            }
        ).encode(),
        decoder,
    )
    assert (found.headline, found.source, found.tickers, found.story_id) == ("Bank fails", "wire", ("SIVB",), "7")


def test_a_mapping_to_what_is_not_there_is_a_missing_field() -> None:
    assert code_of(b'{"headline": "x"}', Decoder({"headline": "title"})) == "no_headline"
    assert decode(b'{"headline": "x"}', Decoder({"body": "a.b[3].c"})).body == ""


@pytest.mark.parametrize("value", [["Bank", "fails"], {"en": "Bank fails"}, [[1]]])
def test_a_mapping_to_a_list_or_object_is_refused(value: object) -> None:
    assert code_of(json.dumps({"title": value}).encode(), Decoder({"headline": "title"})) == "bad_field"


def test_an_expression_that_fails_costs_its_field() -> None:
    decoder = Decoder({"body": "join(' ', [lead, body.text])"})
    odd = decode(b'{"headline": "Bank fails", "lead": null, "body": {"text": "It did."}}', decoder)
    assert (odd.headline, odd.body, dropped(odd)) == ("Bank fails", "", [("body", "mapping_failed")])


@pytest.mark.parametrize("mapping", [{"headline": "join(', ', title)"}, {"headline": "title", "action": "abs(title)"}])
def test_an_expression_that_fails_where_nothing_can_be_left_out_is_a_coded_reason(mapping: dict[str, str]) -> None:
    assert code_of(b'{"title": "7"}', Decoder(mapping)) == "mapping_failed"


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"titel": "title"}, "unknown field 'titel'"),
        ({"headline": "a["}, "not JMESPath"),
        ({"headline": ""}, "not JMESPath"),
        ({"headline": "title || upper(head)"}, "no function upper"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused_at_start(mapping: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said.replace("[", r"\[")):
        Decoder(mapping)


# -- several stories in a record --------------------------------------------------------------------


def readings(value: object, decoder: Decoder | None = None) -> list[str]:
    """The headline of each story, the code of each dead letter, with its part."""
    record = Record(Position("news", 0, 7), b"k", json.dumps(value).encode(), STAMP)
    return [
        f"{reading.part}:{reading.headline if isinstance(reading, Story) else reading.code}"
        for reading in (decoder or Decoder()).decode(record)
    ]


A, B = {"headline": "a"}, {"headline": "b"}


@pytest.mark.parametrize(
    ("stories", "message", "read"),
    [
        ("", [A, B], ["0:a", "1:b"]),
        ("", [], []),
        ("", [A, 7, {}, B], ["0:a", "1:not_object", "2:no_headline", "3:b"]),
        ("data[]", {"data": [A, B]}, ["0:a", "1:b"]),
        ("data", {"data": [A]}, ["0:a"]),
        ("data[]", {"data": []}, []),
        ("data", {"data": A}, ["None:a"]),
        ("data", {"data": json.dumps(A)}, ["None:a"]),
        ("data", {"data": json.dumps([A, B])}, ["0:a", "1:b"]),
        ("data[]", {"data": [json.dumps(A), "no"]}, ["0:a", "1:not_object"]),
        ("[?T=='n']", [{"T": "n", **A}, {"T": "success"}], ["0:a"]),
        ("after || before", {"before": None, "after": A}, ["None:a"]),
    ],
    ids=repr,
)
def test_a_record_holds_any_number_of_stories(stories: str, message: object, read: list[str]) -> None:
    assert readings(message, Decoder(stories=stories)) == read


def test_json_within_a_json_string_is_opened() -> None:
    assert readings(json.dumps(A)) == ["None:a"]
    assert readings(json.dumps([A, B])) == ["0:a", "1:b"]


@pytest.mark.parametrize(("stories", "code"), [("data[]", "no_stories"), ("sum(data)", "mapping_failed")])
def test_a_message_without_the_place_of_the_stories_is_a_coded_reason(stories: str, code: str) -> None:
    assert code_of(b'{"headline": "x"}', Decoder(stories=stories)) == code


def test_a_record_of_more_stories_than_fit_is_a_coded_reason() -> None:
    assert code_of(b"[" + b"{}," * 10_000 + b"{}]") == "too_many_stories"


def test_a_story_within_a_message_is_mapped_and_still_sees_what_is_around_it() -> None:
    decoder = Decoder(
        {"headline": "title", "source": "_envelope.feed", "id": "join('-', [_record.key, n])", "body": "_record.topic"},
        stories="items",
    )
    record = Record(Position("news", 0, 7), b"k", b'{"feed": "Ridgewire", "items": [{"title": "a", "n": "1"}]}', STAMP)
    (read,) = decoder.decode(record)
    assert isinstance(read, Story)
    assert (read.headline, read.source, read.story_id, read.body) == ("a", "ridgewire", "k-1", "news")


# -- tombstones -------------------------------------------------------------------------------------


def tombstone(record_key: bytes | None, **options: Any) -> list[tuple[str, str, Action]]:
    readings = Decoder(**options).decode(Record(Position("news", 0, 7), record_key, None, STAMP))
    return [(one.source, one.story_id, one.action) for one in readings if isinstance(one, Story)]


def test_a_tombstone_is_no_story_and_no_dead_letter() -> None:
    assert Decoder().decode(Record(Position("news", 0, 7), b"a", None, STAMP)) == ()
    assert tombstone(None, tombstones="delete") == []


@pytest.mark.parametrize(
    ("key", "paths", "read"),
    [
        (b"4711", {}, ("unknown", "4711")),
        (b'"abc-1"', {}, ("unknown", "abc-1")),
        (b'"abc-1', {}, ("unknown", '"abc-1')),
        (b"[wire] 4", {}, ("unknown", "[wire] 4")),
        (b'"abc-1"', {"id": "@"}, ("unknown", "abc-1")),
        (b'{"id": 4711}', {"id": "id"}, ("unknown", "4711")),
        (
            b'{"payload": {"id": "a", "feed": "Ridgewire"}}',
            {"id": "payload.id", "source": "payload.feed"},
            ("ridgewire", "a"),
        ),
    ],
)
def test_a_tombstone_deletes_the_story_that_its_key_names(
    key: bytes, paths: dict[str, str], read: tuple[str, str]
) -> None:
    assert tombstone(key, tombstones="delete", key=paths) == [(*read, Action.DELETED)]


@pytest.mark.parametrize(
    "key",
    [b"", b" ", b"null", b"\x00\x00\x00\x00\x07\x06abc", (4711).to_bytes(8), b"abc\x00", b"\xff", b'{"id": 1}', b"[1]"],
)
def test_a_tombstone_whose_key_names_nothing_is_a_coded_reason(key: bytes) -> None:
    with pytest.raises(RecordError, match="bad_key"):
        tombstone(key, tombstones="delete")
