"""Hostile and merely odd messages: a story comes out, or a coded reason, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentiment_monitor.domain.news import Action, Position, Record, Story
from sentiment_monitor.errors import RecordError, SettingsError
from sentiment_monitor.ingest.decode import FIELDS, MAX_REVISION, Decoder

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
}


def decode(value: bytes | None, decoder: Decoder | None = None) -> Story:
    return (decoder or Decoder()).decode(Record(Position("news", 0, 7), None, value, STAMP))


def story(decoder: Decoder | None = None, **fields: Any) -> Story:
    return decode(json.dumps({"headline": "Bank fails", **fields}).encode(), decoder)


def code_of(value: bytes | None, decoder: Decoder | None = None) -> str:
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
        (None, "empty"),
        (b"", "empty"),
        (b"\xef\xbb\xbf", "not_json"),
        (b"not json", "not_json"),
        (b'{"headline": "cut', "not_json"),
        (b'{"headline": NaN}', "no_headline"),
        (b'{"headline": "x", "revision": Infinity}', "not_json"),
        (b'{"headline": "x", "revision": 1e400}', "not_json"),
        (b'{"headline": "x", "id": ' + b"9" * 5_000 + b"}", "not_json"),
        ('{"headline": "Börse"}'.encode("latin-1"), "not_utf8"),
        ('{"headline": "x"}'.encode("utf-16"), "not_utf8"),
        ('{"headline": "\ud800"}'.encode("utf-8", "surrogatepass"), "not_utf8"),
        (b"[" * 100_000, "not_json"),
        (b'{"headline":' * 50_000 + b"1" + b"}" * 50_000, "not_json"),
        (b"[]", "not_object"),
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
def test_unreadable_bytes_have_a_coded_reason(value: bytes | None, code: str) -> None:
    assert code_of(value) == code


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


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("headline", ["a"]),
        ("headline", {"en": "a"}),
        ("headline", True),
        ("id", {}),
        ("id", False),
        ("id", "x" * 513),
        ("source", "s" * 129),
        ("source", "İ" * 128),
        ("url", "u" * 4_001),
        ("headline", "h" * 10_001),
        ("body", []),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_field_of_the_wrong_kind_or_too_long_is_refused(field: str, value: object) -> None:
    assert code_of_fields(**{field: value}) == "bad_field"


# -- action and revision ----------------------------------------------------------------------------


def test_actions_are_read_in_any_case_and_blank_means_created() -> None:
    assert story(action=" UPDATED ").action is Action.UPDATED
    assert story(action="  ").action is story(action=None).action is Action.CREATED


@pytest.mark.parametrize("action", ["delete", 1, True, [], {"a": 1}, "created\nupdated"])
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
def test_what_is_no_revision_is_refused(revision: object) -> None:
    assert code_of_fields(revision=revision) == "bad_revision"


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
        ("^GSPC,0700.HK", None),
        (["EURUSD=X"], ("EURUSD=X",)),
    ],
)
def test_tickers_come_as_list_or_text(given: object, read: tuple[str, ...] | None) -> None:
    if read is None:
        assert code_of_fields(tickers=given) == "bad_field"
    else:
        assert story(tickers=given).tickers == read


@pytest.mark.parametrize(
    "junk",
    [7, True, {"a": 1}, [1], [None], [["AAPL"]], ["A B"], ["x" * 21], ["a\x00"], ["é"], [f"T{n}" for n in range(101)]],
    ids=lambda value: repr(value)[:30],
)
def test_tickers_that_are_junk_are_refused(junk: object) -> None:
    assert code_of_fields(tickers=junk) == "bad_field"


@pytest.mark.parametrize(
    ("given", "read"),
    [("EN", "en"), ("en-US", "en"), ("zh_Hant", "zh"), ("English", None), ("en\x00", None), (7, None), ("", None)],
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


def test_a_mapping_that_fails_on_a_message_is_a_coded_reason() -> None:
    assert code_of(b'{"title": 7}', Decoder({"headline": "join(', ', title)"})) == "mapping_failed"


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"titel": "title"}, "unknown field 'titel'"),
        ({"headline": "a["}, "not JMESPath"),
        ({"headline": ""}, "not JMESPath"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused_at_start(mapping: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said.replace("[", r"\[")):
        Decoder(mapping)
