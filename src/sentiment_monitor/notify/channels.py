"""Channels: how each marks up text, what text from outside must not do there, and how much it takes.

A headline may say anything. Wherever it is shown it calls nobody (@all, <!here>), links nowhere (an address in it is
broken by a sign without width), formats nothing and begins no line of its own. Where a channel has an escape that all
its clients know, that is used; where it has none, or only some clients know it, a sign that would act is replaced by
one that only looks like it. What links is an address of its own, of the web and encoded.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

MOST_CHARACTERS = 400  # of one value, such as a headline
_MOST_ADDRESS = 2_000  # characters
_CUT = "…"

# Breaks and what a reader does not see: controls, what turns the direction of writing, marks without width.
_BREAKS = re.compile(r"[\s\x1c-\x1f\x85\u2028\u2029]+")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
# What clients make links of without being asked: a scheme, and names with a dot before letters.
_LINKED = re.compile(r"(?<=:)(?=//)|(?<=[^\W_]\.)(?=[^\W\d_]{2})|(?<=mailto:)|(?<=tel:)", re.IGNORECASE)
_ENTITY = re.compile(r"&(?=#?\w+;)")
_SAFE_IN_ADDRESS = "%/:?#&=+,;!$~-._"

# By these, text from outside could mark up something in a chat's Markdown.
_LOOK_ALIKE = str.maketrans(
    {
        "*": "∗",
        "_": "ˍ",
        "~": "∼",
        "`": "ˋ",
        "<": "‹",
        ">": "›",
        "[": "［",
        "]": "］",
        "#": "＃",
        "@": "＠",
        "|": "∣",
        "\\": "＼",
    }
)
_SLACK_LOOK_ALIKE = str.maketrans({"*": "∗", "_": "ˍ", "~": "∼", "`": "ˋ", "@": "＠"})


@dataclass(frozen=True, slots=True)
class Channel:
    """One way of marking up text. The text given to ``bold`` and ``link`` is escaped already."""

    name: str
    escape_flat: Callable[[str], str]  # of one line
    bold: Callable[[str], str]
    link_to: Callable[[str, str], str]  # a text and an address that is safe to show
    most_bytes: int  # of a message's text, in UTF-8
    break_line: str = "\n"

    def escape(self, value: object) -> str:
        """A value from outside as it may be shown, in one line of at most ``MOST_CHARACTERS``."""
        return self.escape_flat(unlinked(flat(str(value))))

    def link(self, text: str, address: str) -> str:
        """The text as a link, or as it is where the address is none of the web. ``text`` is escaped already."""
        safe = web_address(address)
        return self.link_to(text, safe) if safe else text


def flat(text: str) -> str:
    """One line without anything unseen, of at most ``MOST_CHARACTERS``."""
    line = _UNSEEN.sub("", _BREAKS.sub(" ", text[: 4 * MOST_CHARACTERS])).strip()
    return line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 1].rstrip() + _CUT


def unlinked(text: str) -> str:
    """The text with a sign without width wherever a client would otherwise see an address in it."""
    return _LINKED.sub("\u200b", text)


def web_address(address: str) -> str | None:
    """An address as it may be linked: http or https, a host, no login, all else encoded; None for any other."""
    if len(address) > _MOST_ADDRESS:
        return None
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or _UNSEEN.search(address):
        return None
    if not re.fullmatch(r"[\w.-]+(:\d+)?", parts.netloc):
        return None
    return quote(address, safe=_SAFE_IN_ADDRESS)


def fitting(lines: list[str], most_bytes: int, break_line: str) -> str:
    """As many whole lines as fit, and a sign where some had to go: markup that is cut in two would mark up the rest."""
    text = break_line.join(lines)
    if len(text.encode()) <= most_bytes:
        return text
    kept = list(lines)
    while kept and len(break_line.join([*kept, _CUT]).encode()) > most_bytes:
        kept.pop()
    return break_line.join([*kept, _CUT])


def _quieted(text: str) -> str:
    return _ENTITY.sub("＆", text.translate(_LOOK_ALIKE))


def _of_html(text: str) -> str:
    return html.escape(text)


def _of_slack(text: str) -> str:
    return html.escape(text.translate(_SLACK_LOOK_ALIKE), quote=False)


def _of_plain(text: str) -> str:
    # Chats that take Markdown for plain text: a sign without width keeps "@everyone" from calling everyone.
    return text.replace("@", "@\u200b").replace("](", "]\u200b(")


def _same(text: str) -> str:
    return text


PLAIN = Channel("plain", _of_plain, _same, lambda text, address: f"{text} {address}", 30_000)
MAIL = Channel("mail", _same, _same, lambda text, address: f"{text} {address}", 200_000)
HTML = Channel(
    "html",
    _of_html,
    lambda text: f"<strong>{text}</strong>",
    lambda text, address: f'<a href="{html.escape(address)}" rel="noopener noreferrer">{text}</a>',
    400_000,
    "<br>\n",
)
SLACK = Channel(
    "slack", _of_slack, lambda text: f"*{text}*", lambda text, address: f"<{html.escape(address)}|{text}>", 12_000
)
_MARKDOWN_LINK = "[{}]({})".format
# Limits of the services: 20,000 bytes a request, 4,096 bytes of Markdown, 30,000 bytes a card. The rest is for what is
# around the text.
DINGTALK = Channel("dingtalk", _quieted, lambda text: f"**{text}**", _MARKDOWN_LINK, 16_000, "\n\n")
WECOM = Channel("wecom", _quieted, lambda text: f"**{text}**", _MARKDOWN_LINK, 4_000)
FEISHU = Channel("feishu", _quieted, lambda text: f"**{text}**", _MARKDOWN_LINK, 16_000)

CHANNELS = {channel.name: channel for channel in (PLAIN, MAIL, HTML, SLACK, DINGTALK, WECOM, FEISHU)}
