"""What text from outside may do in a channel: be read, and nothing else."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.notify.channels import (
    CHANNELS,
    DINGTALK,
    FEISHU,
    HTML,
    MOST_CHARACTERS,
    PLAIN,
    SLACK,
    WECOM,
    Channel,
    fitting,
    web_address,
)

HOSTILE = [
    "<!here> <!channel> <!everyone> <@U012AB3CD>",
    "@all @everyone @13800000000 <@all> <@userid>",
    '<at id=all></at><at user_id="all">x</at>',
    "&lt;at id=all&gt;&lt;/at&gt;",
    "&#60;!here&#62;",
    "[log in here](https://evil.example/login)",
    "![x](https://evil.example/pixel.png)",
    "<https://evil.example|your bank>",
    "https://evil.example/login www.evil.example evil.example HTTPS://EVIL.EXAMPLE",
    "mailto:ceo@evil.example tel:+4912345",
    "**bold** *bold* _it_ ~~gone~~ `code` ```code```",
    "line one\n# heading\r\n> quote\n- item\u2028# heading\u2029x\x0by\x85z",
    "<b>bold</b><script>alert(1)</script><img src=x onerror=alert(1)>",
    "\u202egnitirw\u202c \u200bzero\u2060width\ufeff \x00\x1b[31mred",
    "| a | b |\n|---|---|",
    '<font color="warning">red</font>',
    "\\*escaped\\* \\[x\\](y)",
    "{{ 7 * 7 }} {% raw %}",
]
texts = st.one_of(
    st.text(max_size=200),
    st.lists(st.sampled_from([*HOSTILE, "Acme", " ", "\n"]), max_size=6).map("".join),
    st.text("<>&@[](){}!|*_~`#\\/:.;\n\r\t abcW0%\"'=", max_size=80),
)
markdown = pytest.mark.parametrize("channel", [DINGTALK, WECOM, FEISHU], ids=lambda channel: channel.name)
# What makes addresses of text without being asked looks for these.
ADDRESS = re.compile(
    r"[a-z][a-z0-9+.-]*://|\bwww\.[a-z]|[a-z0-9]\.[a-z]{2}|mailto:[^\s\u200b]|tel:[^\s\u200b]", re.IGNORECASE | re.ASCII
)


@pytest.mark.parametrize("channel", CHANNELS.values(), ids=CHANNELS)
@given(texts)
def test_a_value_is_one_bounded_line_without_anything_unseen_and_links_nowhere(channel: Channel, text: str) -> None:
    shown = channel.escape(text)
    assert shown.splitlines() in ([shown], [])
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", shown)
    assert len(html.unescape(shown)) <= 2 * MOST_CHARACTERS
    assert not ADDRESS.search(html.unescape(shown))


@markdown
@given(texts)
def test_in_a_chats_markdown_a_value_calls_links_and_formats_nothing(channel: Channel, text: str) -> None:
    shown = channel.escape(text)
    assert not set(shown) & set("*_~`<>[]#@|\\")
    assert not re.search(r"&#?\w+;", shown)


@given(texts)
def test_in_slack_a_value_is_no_markup(text: str) -> None:
    shown = SLACK.escape(text)
    assert not set(shown) & set("*_~`<>@")
    assert not re.search(r"&(?!(amp|lt|gt);)", shown)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(texts)
def test_in_html_a_value_is_text(text: str) -> None:
    reader = _Tags()
    reader.feed(f"<p>{HTML.escape(text)}</p>")
    reader.close()
    assert reader.tags == ["p"]


@given(texts, texts)
def test_a_link_leads_to_the_web_and_nowhere_else_and_its_text_stays_inside(text: str, address: str) -> None:
    safe = web_address(address)
    if safe is not None:
        assert re.fullmatch(r"https?://[\w.-]+(:\d+)?([/?#][!-~]*)?", safe)
        assert not set(safe) & set("()<>[]|\"'\\` ")
    for channel in (DINGTALK, WECOM, FEISHU):
        link = channel.link(channel.escape(text), address)
        assert link.count("](") == (safe is not None)
        assert link.count("[") == link.count("]") == (safe is not None)
    reader = _Tags()
    reader.feed(HTML.link(HTML.escape(text), address))
    reader.close()
    assert reader.tags == (["a"] if safe else [])


@pytest.mark.parametrize(
    "address",
    [
        "",
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "https://",
        "https://bank.example@evil.example/",
        "https://user:pass@evil.example/",
        "https://evil.example\n/x",
        "https://evil .example/",
        "https://evil.example|bank/",
        "https://evil.example>x",
        "https://[::1",
        "http://a.example:99999/",
        "https://e.example/" + "x" * 2_000,
        "ftp://files.example/x",
    ],
)
def test_what_is_no_address_of_the_web_is_not_linked(address: str) -> None:
    assert web_address(address) is None
    assert SLACK.link("text", address) == PLAIN.link("text", address) == "text"


def test_an_address_keeps_what_it_says() -> None:
    assert web_address("https://news.example:8443/a%20b?q=1&r=ü#x") == "https://news.example:8443/a%20b?q=1&r=%C3%BC#x"
    assert SLACK.link("A &amp; B", "https://n.example/?a=1&b=2") == "<https://n.example/?a=1&amp;b=2|A &amp; B>"
    assert DINGTALK.link("text", "https://n.example/a_(b)") == "[text](https://n.example/a_%28b%29)"


def test_ordinary_text_is_read_as_it_stands() -> None:
    plain = "Kestrel Bank's Q3: profit up 4.5% – 银行 (S&P 500)"
    assert PLAIN.escape(plain) == DINGTALK.escape(plain) == plain
    assert SLACK.escape(plain) == plain.replace("&", "&amp;")
    assert html.unescape(HTML.escape(plain)) == plain


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=30), st.integers(10, 300))
def test_a_text_that_is_too_long_loses_whole_lines_and_says_so(lines: list[str], most: int) -> None:
    text = fitting(lines, most, "\n")
    assert len(text.encode()) <= most
    whole = "\n".join(lines)
    assert text == whole or (text.endswith("…") and whole.startswith(text.removesuffix("…").rstrip("\n")))
