"""Who published a headline, where its end says so: " - Inland-Herald", " | The Wall Street Journal"."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from pathlib import Path

from sentiment_monitor.enrich.folding import plain, straight

LISTED = Path(__file__).with_name("publishers.txt")

_MOST_CHARACTERS = 40
_MOST_NAMES = 3  # "... - Reuters - Yahoo Finance"
_MOST_WORDS = 6
_WORD = re.compile(r"[^\W_]+")
_SITE = re.compile(r"(?:[\w-]+\.)+(?:com|net|org|news|info|biz|tv|co\.[a-z]{2}|com\.[a-z]{2}|[a-z]{2})", re.IGNORECASE)
_EDITIONS = {"the", "com", "co", "uk", "us", "net", "org", "www", "online", "news", "digital"}
_SMALL_WORDS = {"of", "the", "and", "for"}
# What newspapers call themselves. Words that companies also end with ("Mail", "Standard", "Press") are not here.
_PAPERS = {
    "times", "post", "journal", "herald", "tribune", "gazette", "chronicle", "telegraph", "courier", "newswire",
    "newswires", "newsroom", "news", "observer", "guardian", "examiner", "dispatch", "inquirer", "sentinel",
    "magazine", "weekly",
}  # fmt: skip


def without_publisher(text: str, source: str) -> str:
    """Clean text without the name of its publisher at the end.

    What follows a dash names the publisher if it is the story's own ``source``, is on the list (publishers.txt), is the
    address of a site, or calls itself a newspaper. Anything else is news: "- stocks tumble", "- Sept 16".
    """
    return parted(text, source)[0]


def parted(text: str, source: str) -> tuple[str, tuple[str, ...]]:
    """:func:`without_publisher`, and which of the names taken off may be those of companies that the news is about.

    A company that sends its own news, and one that is called like a site, stand behind a headline as publishers do. A
    name that is listed or calls itself a newspaper, and a site that is the source, publish news about others.
    """
    ambiguous: tuple[str, ...] = ()
    for _ in range(_MOST_NAMES):
        end = _last_dash(text)
        if end <= 0 or len(text) - end - 3 > _MOST_CHARACTERS:
            break
        name = text[end + 3 :]
        if not is_publisher(name, source) or not _WORD.search(text, 0, end):
            break
        text = text[:end].rstrip()
        if not _is_press(name, source):
            ambiguous += (name,)
    return text, ambiguous


def _last_dash(text: str) -> int:
    end = max(text.rfind(" - "), text.rfind(" | "))
    return end if text.isascii() else max(end, text.rfind(" – "), text.rfind(" — "))


@lru_cache(maxsize=4_096)
def is_publisher(name: str, source: str) -> bool:
    """Whether a few words at the end of a headline of ``source`` are a publisher's name."""
    called = _called(name)
    return bool(called) and (called == _called(source) or _SITE.fullmatch(name) is not None or _is_press(name, source))


@lru_cache(maxsize=4_096)
def _is_press(name: str, source: str) -> bool:
    """Whether it is nothing but a publisher's name, whoever is watched."""
    is_own_site = name.casefold() == source.casefold() and _SITE.fullmatch(name) is not None
    return is_own_site or _called(name) in _listed() or _is_paper(name)


def _is_paper(name: str) -> bool:
    words = name.replace("-", " ").split()
    return (
        2 <= len(words) <= _MOST_WORDS
        and words[-1].casefold() in _PAPERS
        and not any(character.isdigit() for character in name)
        and all(word[0].isupper() or word in _SMALL_WORDS for word in words)
    )


def _called(name: str) -> str:
    """One spelling for "The Inland Herald", "inland-herald" and "InlandHerald.com"."""
    words = _WORD.findall(plain(straight(name)).casefold())
    return "".join(word for word in words if word not in _EDITIONS) or "".join(words)


@cache
def _listed() -> frozenset[str]:
    return frozenset(_called(line) for line in LISTED.read_text(encoding="utf-8").splitlines() if line)
