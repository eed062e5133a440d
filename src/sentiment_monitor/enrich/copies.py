"""Keys by which a syndicated copy finds the story it repeats.

The first key is equal for headlines that are equal once case, punctuation, agency prefixes and source
suffixes are gone. The others are MinHash bands over the words (Broder 1997), mixed with the numbers among them,
which copies share: two headlines whose word sets have Jaccard similarity 0.9 share one with probability 0.99, at
0.5 with 0.28. A shared band only makes a candidate; :func:`is_copy` decides.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

BANDS, ROWS = 5, 4
MIN_WORDS = 5  # shorter headlines are copies only when they are equal
SIMILARITY = 0.8

_PREFIX = re.compile(
    r"^(?:(?:(?:update|wrapup)\s*\d*|refile|corrected|correction|exclusive|breaking(?: news)?|just in|watch|rpt|recap)"
    r"\s*[-:–—|]+\s*)+",
    re.IGNORECASE,
)
_SUFFIX = re.compile(r"\s+[-–—|]\s+((?:[\w.&'’ ]|(?<=\w)-(?=\w)){2,30})$")
_SMALL_WORDS = {"of", "the", "and", "for"}
_WORD = re.compile(r"[^\W_]+(?:[.,]\d+)*")
_HAS_DIGIT = re.compile(r"\d")

_random = np.random.Generator(np.random.PCG64(20230310))
_MULTIPLIERS = _random.integers(1, 2**63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_OFFSETS = _random.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64)
_BAND_NUMBERS = np.arange(BANDS, dtype=np.uint64)
_MIX = _random.integers(1, 2**63, (BANDS, ROWS), dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def words(headline: str) -> list[str]:
    """The words that identify a headline, in order."""
    return _WORD.findall(_bare(headline).casefold())


def _bare(headline: str) -> str:
    """The headline without what agencies put before it and sources behind it."""
    # One blank at a time: over long runs of them the search for a suffix takes the square of their length.
    text = _PREFIX.sub("", " ".join(headline.split()))
    suffix = _SUFFIX.search(text)
    # "Profit up - but not for long": a suffix names a source only if most of the headline stands before it.
    if suffix and suffix.start() * 2 > len(text) and _is_name(suffix[1]):
        text = text[: suffix.start()]
    return text


def _is_name(suffix: str) -> bool:
    """ "The Wall Street Journal" or "reuters.com", not "stocks tumble"."""
    return all(not word[0].islower() or "." in word.strip(".") or word in _SMALL_WORDS for word in suffix.split())


def copy_keys(headline: str) -> tuple[int, ...]:
    """The exact key, and ``BANDS`` near keys when the headline has enough words. Signed 64-bit integers."""
    return copy_keys_of([headline])[0]


def copy_keys_of(headlines: Sequence[str]) -> list[tuple[int, ...]]:
    """:func:`copy_keys` of each headline; of hundreds together it costs a tenth."""
    keys: list[tuple[int, ...]] = []
    long: list[int] = []  # which headlines have near keys
    begins: list[int] = []  # where the words of each of these begin in ``hashes``
    hashes: list[int] = []
    numbers: list[int] = []  # of each of these, a hash of its words with digits
    for place, headline in enumerate(headlines):
        headline_words = words(headline)
        joined = " ".join(headline_words) or headline
        exact = int.from_bytes(hashlib.blake2b(joined.encode(), digest_size=8).digest(), "big", signed=True)
        keys.append((exact,))
        distinct = set(headline_words)
        if len(distinct) >= MIN_WORDS:
            long.append(place)
            begins.append(len(hashes))
            hashes.extend([zlib.crc32(word.encode()) for word in distinct])
            # A feed whose headlines differ in a figure only would otherwise make candidates of each other by thousands.
            numbers.append(zlib.crc32(" ".join(sorted(filter(_HAS_DIGIT.search, distinct))).encode()))
    if long:
        for place, bands in zip(long, _bands(hashes, begins, numbers), strict=True):
            keys[place] += tuple(bands)
    return keys


def _bands(hashes: list[int], begins: list[int], numbers: list[int]) -> list[list[int]]:
    # Multiply-shift hashing; unsigned overflow is the modulus.
    mixed = (np.array(hashes, dtype=np.uint64)[:, None] * _MULTIPLIERS + _OFFSETS) >> np.uint64(32)
    minima = np.minimum.reduceat(mixed, begins).reshape(-1, BANDS, ROWS)
    mixed_numbers = np.array(numbers, dtype=np.uint64)[:, None] * _MULTIPLIERS[0]
    bands = ((minima * _MIX).sum(axis=2, dtype=np.uint64) + mixed_numbers) ^ _BAND_NUMBERS
    signed_bands: list[list[int]] = bands.view(np.int64).tolist()
    return signed_bands


def is_copy(headline: str, other: str) -> bool:
    """True when two headlines tell the same news: nearly the same words, the same numbers and the same names.

    A name is a word with a capital, so two headlines that capitalise every word must have the same words, or one of
    them more than the other.
    """
    a, b = _word_set(headline), _word_set(other)
    common = len(a & b)
    if common < SIMILARITY * (len(a) + len(b) - common):
        return False
    if min(len(a), len(b)) < MIN_WORDS:
        return words(headline) == words(other)
    if any(_HAS_DIGIT.search(word) for word in a ^ b):
        return False
    # "Agency cuts Kestrel Bank to junk" told of another bank differs in one word of many.
    return (a - b).isdisjoint(_names(headline)) or (b - a).isdisjoint(_names(other))


@lru_cache(maxsize=2_000)  # some 2 KB each
def _word_set(headline: str) -> frozenset[str]:
    return frozenset(words(headline))


def _names(headline: str) -> set[str]:
    capitals = " ".join(word for word in _WORD.findall(_bare(headline)) if word != word.casefold())
    return set(_WORD.findall(capitals.casefold()))
